"""Shapes of what people ask of a VM that stands."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import BIGINT, StrictSerializer, Text, Truth, WholeNumber

from .power import WITHIN_S
from .resizing import DIMENSIONS

LONGEST_STOP_S = 3600
MOST_VCPU = 768  # of a VM on vSphere 8
MOST_GIB = 62 * 1024  # of a virtual disk there


class StopRequest(StrictSerializer):
    """How long its guest may take to shut down; then it is powered off."""

    within_s = WholeNumber(maximum=LONGEST_STOP_S, required=False, default=WITHIN_S, help_text="0: off at once")


class StartRequest(StrictSerializer):
    """Nothing needs to be said."""


class ResizeRequest(StrictSerializer):
    """Another flavor, or what shall differ. A disk grows only."""

    flavor = Text(max_length=63, required=False)
    vcpu = WholeNumber(minimum=1, maximum=MOST_VCPU, required=False)
    memory_mib = WholeNumber(minimum=1, maximum=BIGINT >> 20, required=False)
    disk_gib = WholeNumber(minimum=1, maximum=MOST_GIB, required=False)
    may_stop = Truth(required=False, default=False, help_text="it may be stopped where this size needs it off")

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        own = [name for name in DIMENSIONS if name in data]
        if "flavor" in data and own:
            raise serializers.ValidationError({own[0]: ["The flavor says it already."]})
        if "flavor" not in data and not own:
            raise serializers.ValidationError({"flavor": ["Say a flavor, or vcpu, memory_mib or disk_gib."]})
        return data


class ConsoleSerializer(serializers.Serializer[Any]):
    """What a VM's guest has written onto its console, the newest last."""

    text = serializers.CharField(allow_blank=True)
