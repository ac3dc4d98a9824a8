"""Field types that every room uses the same way, and the base that refuses what it does not know."""

from __future__ import annotations

import re
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

NAME = re.compile(r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$")
NAME_SENTENCE = "Lower-case letters, digits and hyphens; begins with a letter, ends with a letter or digit, at most 63."
BIGINT = 2**63 - 1
TRUTHS = {"true": True, "1": True, "false": False, "0": False}  # how an address says yes and no

valid_name = RegexValidator(re.compile(r"\A[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z"), NAME_SENTENCE)


class Text(serializers.CharField):
    """A string that was written as one: numbers and booleans are not taken for text."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Truth(serializers.BooleanField):
    """true or false, and not what may be taken for them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class NameField(Text):
    """An object's name: a DNS label that begins with a letter."""

    def __init__(self, *, max_length: int = 63, **options: Any) -> None:
        super().__init__(max_length=max_length, trim_whitespace=False, **options)
        self.validators.append(valid_name)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know, by name."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [name for name in data if name not in self.fields or self.fields[name].read_only]
            if unknown:
                raise serializers.ValidationError({str(name): ["There is no such field here."] for name in unknown})
        return super().to_internal_value(data)


class WholeNumber(serializers.IntegerField):
    """An integer that was written as one: no strings, fractions or booleans."""

    def __init__(self, *, minimum: int = 0, maximum: int = 1_000_000_000, **options: Any) -> None:
        super().__init__(min_value=minimum, max_value=maximum, **options)

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)
