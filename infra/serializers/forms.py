"""Forms that several shapes share."""

from __future__ import annotations

from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from facet.rest.fields import Text

IMAGE_NAME = r"^[a-z]([a-z0-9.-]{0,61}[a-z0-9])?\Z"


VERSION = r"^[A-Za-z0-9]([A-Za-z0-9.+_-]{0,30}[A-Za-z0-9])?\Z"


MANIFEST_BYTES = 1_500_000


ASK_IT = {"sentence": "The zone is not in order.", "action": "Ask IT; it sees why."}


class Pattern(Text):
    """A string of this form, and of no other type."""

    def __init__(self, form: str, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)
        self.validators.append(RegexValidator(form, f"Not of the form {form.removesuffix(chr(92) + 'Z')}$."))


class PlaceSerializer(serializers.Serializer):
    id = serializers.UUIDField()
    name = serializers.CharField()


class FaultReasonSerializer(serializers.Serializer):
    """Why an object is not as it should be."""

    code = serializers.CharField()
    sentence = serializers.CharField()
    action = serializers.CharField()
