"""Shapes of a zone's capacity."""

from __future__ import annotations

from rest_framework import serializers

from infra.serializers import AddressesSerializer, ResourceSerializer


class PromisedResourceSerializer(ResourceSerializer):
    """`guaranteed`: promised to tenants' pools. `guaranteed_free`: the part of it that no VM uses; it is claimed."""

    guaranteed = serializers.IntegerField()
    guaranteed_free = serializers.IntegerField()


class FlavorCountSerializer(serializers.Serializer):
    """How many VMs of a flavor still fit, if all were of that one; guarantees and disks aside."""

    flavor = serializers.CharField()
    count = serializers.IntegerField()


class BackTestSerializer(serializers.Serializer):
    """What the same rule, told what was known `days` ago, missed by since then, on average."""

    days = serializers.FloatField()
    error = serializers.FloatField(help_text="in the resource's unit")
    error_share = serializers.FloatField(allow_null=True, help_text="of the limit")


class ForecastSerializer(serializers.Serializer):
    """Null where it does not grow."""

    resource = serializers.CharField()
    per_day = serializers.FloatField()
    days_to_full = serializers.FloatField(allow_null=True)
    full_at = serializers.DateTimeField(allow_null=True)
    history_days = serializers.FloatField()
    back_test = BackTestSerializer()


class FragmentationSerializer(serializers.Serializer):
    """The part of the free room, 0 to 1, that the largest VM that fits somewhere could not use."""

    vcpu = serializers.FloatField()
    memory_mib = serializers.FloatField()


class CapacitySerializer(serializers.Serializer):
    items = PromisedResourceSerializer(many=True)
    hosts = serializers.DictField(child=serializers.IntegerField(), help_text="how many in each state")
    endpoints = AddressesSerializer()
    failover_hosts = serializers.IntegerField(help_text="room of so many hosts is kept free; limits are without it")
    largest_flavor = serializers.CharField(allow_null=True, help_text="the largest that still fits on a host")
    flavors = FlavorCountSerializer(many=True)
    fragmentation = FragmentationSerializer()
    forecast = ForecastSerializer(many=True, help_text="empty while the history is shorter than a day")
