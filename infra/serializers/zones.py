"""Shapes of zones and storage classes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, WholeNumber

from ..models import (
    DriftPolicy,
    Placement,
    StorageClass,
    UnmanagedVm,
    Zone,
    ZonePhase,
)
from ..services import MOST_HOSTS
from .forms import ASK_IT, FaultReasonSerializer, PlaceSerializer


class SelectorField(serializers.JSONField):
    """{"vsphere_cluster": name} | {"hosts": [names]} | {"label": "key=value"}"""

    FORM = 'One of {"vsphere_cluster": name}, {"hosts": [names]}, {"label": "key=value"}.'

    def to_internal_value(self, data: Any) -> Any:
        match data:
            case {"vsphere_cluster": str(name), **rest} if not rest and 0 < len(name) <= 255:
                return data
            case {"hosts": list(names), **rest} if not rest and names:
                if len(names) > MOST_HOSTS:
                    raise serializers.ValidationError({"hosts": [f"At most {MOST_HOSTS} hosts."]})
                if not all(isinstance(name, str) and 0 < len(name) <= 255 for name in names):
                    raise serializers.ValidationError({"hosts": ["A list of names."]})
                return data
            case {"label": str(label), **rest} if not rest and label.partition("=")[0] and "=" in label:
                return data
        raise serializers.ValidationError(self.FORM)


class Overcommit(serializers.DecimalField):
    """1 to 100, two decimals, written as a number."""

    def __init__(self, **options: Any) -> None:
        limits = {"min_value": Decimal(1), "max_value": Decimal(100)}
        super().__init__(max_digits=5, decimal_places=2, coerce_to_string=False, **limits, **options)

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class NamesField(serializers.ListField):
    """Names or refs of a site's objects."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(max_length=255), max_length=200, **options)


class ZoneRequest(StrictSerializer):
    name = NameField()
    site = Text(max_length=63)
    selector = SelectorField()
    datastores = NamesField(required=False, default=list)
    networks = NamesField(required=False, default=list)
    endpoint_range = Text(max_length=64, required=False, allow_blank=True, default="")
    cpu_overcommit = Overcommit(required=False, default=Decimal(4))
    memory_overcommit = Overcommit(required=False, default=Decimal(1))
    failover_hosts = WholeNumber(
        maximum=MOST_HOSTS, required=False, default=0, help_text="the room of so many hosts is kept free for restarts"
    )
    drift_policy = serializers.ChoiceField(
        choices=DriftPolicy.choices, required=False, default=DriftPolicy.REPORT,
        help_text="what was changed by hand at the site is told, or put right too",
    )  # fmt: skip
    placement = serializers.ChoiceField(
        choices=Placement.choices, required=False, default=Placement.FACET,
        help_text="who chooses the host of a VM: Facet; or DRS, in a zone of one vSphere cluster. It stays as it is",
    )  # fmt: skip
    vlan_range = Text(
        max_length=255, required=False, allow_blank=True, default="",
        help_text='"100-199,300": tags for networks of projects\' own; no two zones of a site share one',
    )  # fmt: skip
    switch = Text(
        max_length=255, required=False, allow_blank=True, default="",
        help_text="the distributed switch that they are made on; left out: the only one that there is",
    )  # fmt: skip


class ZoneChange(StrictSerializer):
    selector = SelectorField(required=False)
    datastores = NamesField(required=False)
    networks = NamesField(required=False)
    endpoint_range = Text(max_length=64, required=False, allow_blank=True)
    cpu_overcommit = Overcommit(required=False)
    memory_overcommit = Overcommit(required=False)
    failover_hosts = WholeNumber(maximum=MOST_HOSTS, required=False)
    drift_policy = serializers.ChoiceField(choices=DriftPolicy.choices, required=False)
    vlan_range = Text(max_length=255, required=False, allow_blank=True)
    switch = Text(max_length=255, required=False, allow_blank=True)


class ZoneSerializer(serializers.ModelSerializer):
    """An availability zone. Who may not inspect zones sees null where its site would show."""

    site = PlaceSerializer(allow_null=True)
    selector = serializers.DictField(allow_null=True)
    datastores = PlaceSerializer(many=True, allow_null=True)
    networks = PlaceSerializer(many=True, allow_null=True)
    endpoint_range = serializers.CharField(allow_null=True, allow_blank=True)
    hosts = serializers.IntegerField(source="host_count", allow_null=True)
    cpu_overcommit = serializers.FloatField(allow_null=True)
    memory_overcommit = serializers.FloatField(allow_null=True)
    failover_hosts = serializers.IntegerField(allow_null=True)
    drift_policy = serializers.ChoiceField(choices=DriftPolicy.choices, allow_null=True)
    placement = serializers.ChoiceField(choices=Placement.choices, allow_null=True)
    vlan_range = serializers.CharField(allow_null=True, allow_blank=True)
    switch = serializers.CharField(allow_null=True, allow_blank=True)
    simulated = serializers.BooleanField(source="site.simulated")
    phase = serializers.ChoiceField(choices=ZonePhase.choices)
    reason = FaultReasonSerializer(allow_null=True)

    INSIDE = (
        "site", "selector", "datastores", "networks", "endpoint_range", "hosts", "cpu_overcommit", "memory_overcommit",
        "failover_hosts", "drift_policy", "placement", "vlan_range", "switch",
    )  # fmt: skip

    class Meta:
        model = Zone
        fields = [
            "id", "name", "site", "simulated", "phase", "reason", "selector", "hosts", "datastores", "networks",
            "endpoint_range", "cpu_overcommit", "memory_overcommit", "failover_hosts", "drift_policy",
            "placement", "vlan_range", "switch", "generation", "observed_generation", "created_at",
        ]  # fmt: skip

    def to_representation(self, zone: Zone) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(zone)
        if not self.context["inspects"]:
            shown |= dict.fromkeys(self.INSIDE)
            shown["reason"] = {"code": shown["reason"]["code"], **ASK_IT} if shown["reason"] else None
        return shown


class UnmanagedVmSerializer(serializers.ModelSerializer):
    """A VM on a host of a zone that Facet neither made nor manages. `key`: its instanceUuid."""

    host = PlaceSerializer(allow_null=True)
    datastores = serializers.ListField(source="datastore_refs", child=serializers.CharField(), help_text="their refs")

    class Meta:
        model = UnmanagedVm
        fields = [
            "ref", "key", "name", "host", "datastores", "vcpu", "memory_mib", "disk_gib", "power", "address", "seen_at",
        ]  # fmt: skip


POLICY = (
    "Instead of datastores: a storage policy of the site, by name or ref. Its datastores are those that satisfy it."
)


def either(data: dict[str, Any]) -> dict[str, Any]:
    if ("datastores" in data) == ("policy" in data):
        raise serializers.ValidationError({"datastores": ["Say either datastores or a policy."]})
    return data


class StorageClassRequest(StrictSerializer):
    """A kind of storage, and the datastores of the zone that it means there."""

    name = NameField()
    datastores = NamesField(allow_empty=False, required=False)
    policy = Text(max_length=255, required=False, help_text=POLICY)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        return either(data)


class StorageClassChange(StrictSerializer):
    datastores = NamesField(allow_empty=False, required=False)
    policy = Text(max_length=255, required=False, help_text=POLICY)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        return either(data)


class StorageClassSerializer(serializers.ModelSerializer):
    """What a zone offers by this name. Who may not inspect zones sees null for its datastores and policy."""

    zone = PlaceSerializer()
    datastores = PlaceSerializer(many=True, allow_null=True)
    policy = PlaceSerializer(allow_null=True)

    class Meta:
        model = StorageClass
        fields = ["id", "name", "zone", "policy", "datastores", "created_at", "generation"]

    def to_representation(self, found: StorageClass) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(found)
        return shown if self.context["inspects"] else shown | {"datastores": None, "policy": None}


class ResourceSerializer(serializers.Serializer):
    """One resource of a zone. `free`: what single hosts or datastores could still grant, summed."""

    resource = serializers.ChoiceField(choices=["vcpu", "memory_mib", "storage_gib"])
    capacity = serializers.IntegerField()
    limit = serializers.IntegerField()
    claimed = serializers.IntegerField()
    unmanaged = serializers.IntegerField()
    overdrawn = serializers.IntegerField()
    free = serializers.IntegerField()


class AddressesSerializer(serializers.Serializer):
    total = serializers.IntegerField()
    free = serializers.IntegerField()
