"""Shapes of what people send and get about pools."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, Truth, WholeNumber

from ..guarantees import Amounts
from ..models import PoolModel, PoolPhase, ResourcePool
from ..services import Limits

MOST = 10**12
SURVIVES = "a tenant's pool: its guarantee is kept a second time, as spare room in the tenant's other such pools"
WITH_ZONES = "the tenant's pools in these zones are to survive, or not, as this one"


class AmountsField(serializers.DictField):
    """{"vcpu": 8, "memory_mib": 32768}; each at least 1, and none but these."""

    child = WholeNumber(minimum=1, maximum=MOST)

    def to_internal_value(self, data: Any) -> Amounts:
        return Amounts(**self._known(data))

    def _known(self, data: Any) -> dict[str, Any]:
        amounts: dict[str, Any] = super().to_internal_value(data)
        unknown = [name for name in amounts if name not in Amounts._fields]
        if unknown:
            sentence = f"Resources of a pool: {', '.join(Amounts._fields)}."
            raise serializers.ValidationError({name: [sentence] for name in unknown})
        return amounts


class LimitsField(AmountsField):
    """As amounts; what is null or left out has no limit."""

    child = WholeNumber(minimum=1, maximum=MOST, allow_null=True)

    def to_internal_value(self, data: Any) -> Limits:  # type: ignore[override]  # limits are amounts that may be none
        return Limits(**self._known(data))


class PoolRequest(StrictSerializer):
    """A pool that is asked for."""

    zone = Text(max_length=63)
    model = serializers.ChoiceField(choices=PoolModel.choices)
    name = NameField(required=False, allow_blank=True, default="")
    reserved = AmountsField(required=False, default=Amounts)
    limit = LimitsField(required=False, allow_null=True, default=Limits)
    largest_shape = Text(max_length=63, required=False, allow_blank=True, default="")
    survives_zone_loss = Truth(required=False, default=False, help_text=SURVIVES)
    with_zones = serializers.ListField(
        child=Text(max_length=63), max_length=64, required=False, default=list, help_text=WITH_ZONES
    )


class PoolChange(StrictSerializer):
    """What of a pool shall be otherwise; what is left out stays."""

    model = serializers.ChoiceField(choices=PoolModel.choices, required=False)
    reserved = AmountsField(required=False)
    limit = LimitsField(required=False, allow_null=True)
    largest_shape = Text(max_length=63, required=False, allow_blank=True)
    survives_zone_loss = Truth(required=False, help_text=SURVIVES)
    with_zones = serializers.ListField(child=Text(max_length=63), max_length=64, required=False, help_text=WITH_ZONES)


class IdField(serializers.UUIDField):
    """An id that was written as one: numbers are not taken for it."""

    def to_internal_value(self, data: Any) -> UUID:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        found: UUID = super().to_internal_value(data)
        return found


class TransferRequest(StrictSerializer):
    """Guaranteed room that goes to another pool of the same zone."""

    to = IdField(help_text="the pool that gets it")
    vcpu = WholeNumber(minimum=1, maximum=MOST, required=False, default=0)
    memory_mib = WholeNumber(minimum=1, maximum=MOST, required=False, default=0)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not (attrs["vcpu"] or attrs["memory_mib"]):
            raise serializers.ValidationError({"vcpu": ["Say vcpu, memory_mib or both."]})
        return attrs


class PairSerializer(serializers.Serializer):
    """vCPU and memory."""

    vcpu = serializers.IntegerField()
    memory_mib = serializers.IntegerField()


class LimitPairSerializer(serializers.Serializer):
    """vCPU and memory; null is no limit."""

    vcpu = serializers.IntegerField(allow_null=True)
    memory_mib = serializers.IntegerField(allow_null=True)


class HandedDownSerializer(serializers.Serializer):
    """What project pools were cut from a tenant's."""

    reserved = PairSerializer()
    limit = PairSerializer()


class PoolSerializer(serializers.ModelSerializer):
    zone = serializers.CharField(source="zone.name")
    model = serializers.ChoiceField(choices=PoolModel.choices)
    phase = serializers.ChoiceField(choices=PoolPhase.choices)
    reason = serializers.DictField(allow_null=True)
    reserved = serializers.SerializerMethodField()
    limit = serializers.SerializerMethodField()
    used = serializers.SerializerMethodField()
    handed_down = serializers.SerializerMethodField()
    spare = serializers.SerializerMethodField()

    class Meta:
        model = ResourcePool
        fields = [
            "id", "name", "zone", "zone_id", "tenant_id", "project_id", "parent_id", "model", "largest_shape", "phase",
            "reason", "reserved", "limit", "used", "handed_down", "survives_zone_loss", "spare", "generation",
            "observed_generation", "created_at",
        ]  # fmt: skip

    def get_reserved(self, pool: ResourcePool) -> PairSerializer:
        return _pair(pool.vcpu_reserved, pool.memory_reserved_mib)

    def get_limit(self, pool: ResourcePool) -> LimitPairSerializer:
        return _pair(pool.vcpu_limit, pool.memory_limit_mib)

    def get_used(self, pool: ResourcePool) -> PairSerializer:
        return _pair(pool.vcpu_used, pool.memory_used_mib)

    def get_handed_down(self, pool: ResourcePool) -> HandedDownSerializer:
        return {  # type: ignore[return-value]  # the annotation is what the schema says of it
            "reserved": _pair(pool.vcpu_reserved_handed_down, pool.memory_reserved_handed_down_mib),
            "limit": _pair(pool.vcpu_handed_down, pool.memory_handed_down_mib),
        }

    def get_spare(self, pool: ResourcePool) -> PairSerializer:
        return _pair(pool.vcpu_spare, pool.memory_spare_mib)


def _pair(vcpu: int | None, memory_mib: int | None) -> Any:
    return {"vcpu": vcpu, "memory_mib": memory_mib}
