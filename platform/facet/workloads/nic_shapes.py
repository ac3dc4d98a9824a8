"""Shapes of network cards, and of the addresses of a project's network."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text

from . import nics
from .models import VM, Address

MOST_NICS = 10  # cards of a VM on vSphere
LONGEST_ADDRESS = 45


class NicRequest(StrictSerializer):
    """A network card."""

    network = Text(max_length=255, help_text="by name or id: the project's own, or one that the zone lends")
    address = Text(
        max_length=LONGEST_ADDRESS, required=False, allow_blank=True, default="",
        help_text="a fixed one of the project's own network; left out: the lowest that is free",
    )  # fmt: skip


class NicsField(serializers.ListField):
    """A VM's network cards, in order; left out: one, on the first network that its zone lends."""

    child = NicRequest()

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MOST_NICS, **options)


class NicSerializer(serializers.Serializer[Any]):
    """A card as it was asked for. `address_wanted`: what Facet gave to it; what its guest has told is `addresses`."""

    network = serializers.CharField()
    address_wanted = serializers.CharField(allow_null=True)


@extend_schema_field(NicSerializer(many=True))
class ShownNics(serializers.Field[Any, Any, Any, Any]):
    """The cards of a VM that was read by views.vms."""

    def to_representation(self, value: VM) -> list[dict[str, str | None]]:
        return nics.shown(value)


# --- addresses -----------------------------------------------------------------------------------------------------


class AddressRequest(StrictSerializer):
    """An address to be kept."""

    name = NameField(help_text="what it is for")
    address = Text(
        max_length=LONGEST_ADDRESS, required=False, allow_blank=True, default="", help_text="left out: the lowest free"
    )


class HolderSerializer(serializers.Serializer[Any]):
    """The VM whose card has an address."""

    id = serializers.UUIDField()
    name = serializers.CharField()


class AddressSerializer(serializers.ModelSerializer[Address]):
    """An address that is given out: to the card of a VM, or kept under a name."""

    network = serializers.CharField(source="network.name")
    vm = HolderSerializer(source="nic.vm", allow_null=True, default=None)

    class Meta:
        model = Address
        fields = ["id", "network", "address", "name", "vm", "created_at"]
