"""Shapes of what-ifs."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import StrictSerializer, Text, WholeNumber

from .capacity import FlavorCountSerializer, FragmentationSerializer

KINDS = ("drain_hosts", "drain_zone", "lose_zone", "add_hosts", "replay")
MOST_HOSTS = 1000
MOST_DAYS = 366
# kind -> the fields that it takes
FIELDS = {
    "drain_hosts": {"hosts"},
    "drain_zone": set(),
    "lose_zone": set(),
    "add_hosts": {"count", "like"},
    "replay": {"days", "count", "like"},
}
NEEDED = {"drain_hosts": {"hosts"}, "add_hosts": {"count", "like"}, "replay": {"days"}}


class WhatIfRequest(StrictSerializer):
    """One supposition. `hosts` and `like` name hosts of the zone."""

    kind = serializers.ChoiceField(choices=KINDS)
    hosts = serializers.ListField(child=Text(max_length=255), allow_empty=False, max_length=MOST_HOSTS, required=False)
    count = WholeNumber(minimum=1, maximum=MOST_HOSTS, required=False)
    like = Text(max_length=255, required=False)
    days = WholeNumber(minimum=1, maximum=MOST_DAYS, required=False)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        """Each kind with its own fields; hosts are counted and described together."""
        kind, said = data["kind"], set(data) - {"kind"}
        needed = NEEDED.get(kind, set()) | ({"count", "like"} if said & {"count", "like"} else set())
        wrong = {name: [f"{kind} takes no {name}."] for name in said - FIELDS[kind]}
        wrong |= {name: [f"{kind} needs it."] for name in needed - said if name in FIELDS[kind]}
        if wrong:
            raise serializers.ValidationError(wrong)
        return data


class MoveSerializer(serializers.Serializer):
    """Where a VM would go."""

    id = serializers.UUIDField()
    vm = serializers.CharField()
    tenant = serializers.CharField()
    project = serializers.CharField()
    to = serializers.CharField()
    zone = serializers.CharField()
    datastore = serializers.CharField(allow_blank=True)

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.CharField()}


class UnplacedSerializer(serializers.Serializer):
    """A VM that would find no room, and why."""

    id = serializers.UUIDField()
    vm = serializers.CharField()
    tenant = serializers.CharField()
    project = serializers.CharField()
    sentence = serializers.CharField()
    filters = serializers.ListField(child=serializers.DictField())
    limits = serializers.ListField(child=serializers.DictField())

    def get_fields(self) -> dict[str, serializers.Field]:
        return {**super().get_fields(), "from": serializers.CharField(allow_blank=True)}


class LackingSerializer(serializers.Serializer):
    """A guarantee whose room on these hosts would find no other."""

    pool = serializers.CharField()
    tenant = serializers.CharField()
    vcpu = serializers.IntegerField()
    memory_mib = serializers.IntegerField()


class FitSerializer(serializers.Serializer):
    """What fits in the zone."""

    flavors = FlavorCountSerializer(many=True)
    fragmentation = FragmentationSerializer()


class WhatIfSerializer(serializers.Serializer):
    """What would happen. The lists show the first thousand; the counts are of all."""

    kind = serializers.ChoiceField(choices=KINDS)
    fits = serializers.BooleanField()
    sentence = serializers.CharField()
    asked = serializers.IntegerField(help_text="VMs that would have to find room")
    placed = serializers.IntegerField()
    moves = MoveSerializer(many=True)
    unplaced = UnplacedSerializer(many=True)
    guarantees = LackingSerializer(many=True)
    before = FitSerializer()
    after = FitSerializer()
