"""Shapes of what people get about allocations."""

from __future__ import annotations

from rest_framework import serializers

from ..models import Allocation


class AllocationSerializer(serializers.ModelSerializer):
    """What a holder (a VM) has, where, and since when."""

    zone = serializers.CharField(source="zone.name")
    host = serializers.CharField(source="host.name", help_text="in a zone that DRS places: the bin of all its hosts")
    seen_on = serializers.CharField(
        source="seen_on.name", default=None, allow_null=True, help_text="there, the host where DRS has put it"
    )
    datastore = serializers.CharField(source="datastore.name")
    pool = serializers.CharField(source="pool.name")
    name = serializers.SerializerMethodField()

    class Meta:
        model = Allocation
        fields = [
            "id", "holder", "name", "tenant_id", "project_id", "zone", "host", "seen_on", "datastore", "pool", "vcpu",
            "memory_mib", "storage_gib", "vcpu_from_hold", "memory_from_hold_mib", "created", "released",
        ]  # fmt: skip

    def get_name(self, allocation: Allocation) -> str:
        return str(allocation.ask.get("name", ""))


class WhySerializer(serializers.Serializer):
    """Why a holder stands where it does: what was asked, what each filter left, how close the choice was."""

    allocation = AllocationSerializer()
    sentence = serializers.CharField()
    ask = serializers.DictField()
    why = serializers.DictField()
