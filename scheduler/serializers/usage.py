"""Shapes of showback."""

from __future__ import annotations

from rest_framework import serializers


class UsageQuery(serializers.Serializer):
    """`from` and `to`, with their offsets; what is left out has a default."""

    to = serializers.DateTimeField(required=False)

    def get_fields(self) -> dict[str, serializers.Field]:
        return {"from": serializers.DateTimeField(required=False), **super().get_fields()}


class AmountsSerializer(serializers.Serializer):
    """Amounts times seconds, exact; and as hours, for reading."""

    vcpu_seconds = serializers.IntegerField()
    memory_mib_seconds = serializers.IntegerField()
    storage_gib_seconds = serializers.IntegerField()
    vcpu_hours = serializers.FloatField()
    memory_gib_hours = serializers.FloatField()
    storage_gib_hours = serializers.FloatField()


class HeldSerializer(AmountsSerializer):
    """One project's part in one zone."""

    project = serializers.CharField()
    project_id = serializers.UUIDField()
    zone = serializers.CharField()
    zone_id = serializers.UUIDField()
    vms = serializers.IntegerField(help_text="how many VMs held it")


class UsageSerializer(serializers.Serializer):
    """What was held in `[from, to)`."""

    to = serializers.DateTimeField()
    known_until = serializers.DateTimeField()
    total = AmountsSerializer()
    items = HeldSerializer(many=True)

    def get_fields(self) -> dict[str, serializers.Field]:
        return {"from": serializers.DateTimeField(), **super().get_fields()}
