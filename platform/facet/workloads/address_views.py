"""The addresses of a project's network: who has which, and those that are kept for something else than a VM's card."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer

from . import addresses
from . import nic_shapes as shapes
from .models import Address, Network


def _addresses() -> QuerySet[Address]:
    return Address.objects.select_related("network", "nic__vm")


class NetworkAddressEndpoint(Endpoint):
    """The addresses that a network has given out."""

    parent_model = Network
    serializer_class = shapes.AddressSerializer
    verbs = {"list": "network.read", "create": "network.write"}
    requests = {"create": shapes.AddressRequest}
    answers = {"create": (201, shapes.AddressSerializer)}

    def get_queryset(self) -> QuerySet[Address]:
        return _addresses().filter(network_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Keep an address: the one that is named, or the lowest that is free. It is given to nobody else meanwhile."""
        data = self.valid()

        def work() -> Answer:
            made = addresses.keep(network=self.parent, by=self.access.actor, **data)
            return 201, self.get_serializer(made).data

        return self.once(work)


class AddressEndpoint(Endpoint):
    """One address that is given out."""

    serializer_class = shapes.AddressSerializer
    verbs = {"retrieve": "network.read", "destroy": "network.write"}
    answers = {"destroy": (204, None)}

    def get_queryset(self) -> QuerySet[Address]:
        return _addresses()

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Give back an address that was kept. One of a VM's card goes with its VM: 409 names it."""
        addresses.drop(self.get_object(), by=self.access.actor)
        return Response(status=204)
