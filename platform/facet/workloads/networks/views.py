"""Views of networks and firewalls: shape in, one call, receipt out."""

from __future__ import annotations

from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from rest_framework.response import Response

from facet.operations.models import Operation
from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from tenants.models import Project

from ..models import Firewall, Network
from . import firewall, services
from . import serializers as shapes

ACCEPTED = accepted("network", shapes.OwnNetworkSerializer)


def networks() -> QuerySet[Network]:
    """Living networks with what their answers need."""
    wanted = Firewall.objects.filter(pk=OuterRef("project_id")).values("generation")[:1]
    return (
        Network.objects.filter(deleted_at=None)
        .select_related("project__tenant", "zone__site")
        .annotate(firewall_wanted=Coalesce(Subquery(wanted), Value(0)))
    )


def document(network: Network) -> dict[str, Any]:
    """A network as its own GET shows it."""
    shown: dict[str, Any] = shapes.OwnNetworkSerializer(networks().get(pk=network.pk)).data
    return shown


def _receipt(operation: Operation, network: Network) -> Answer:
    return 202, {"operation": OperationSerializer(operation).data, "network": document(network)}


class ProjectNetworkEndpoint(Endpoint):
    """A project's own networks."""

    parent_model = Project
    serializer_class = shapes.OwnNetworkSerializer
    verbs = {"list": "network.read", "create": "network.write"}
    requests = {"create": shapes.OwnNetworkRequest}
    answers = {"create": (202, ACCEPTED)}
    filter_fields = ("name", "phase")

    def get_queryset(self) -> QuerySet[Network]:
        return networks().filter(project_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Ask for a network: a VLAN of the zone's that nobody else has, and this subnet."""
        data = self.valid()

        def work() -> Answer:
            network, operation = services.create_network(project=self.parent, by=self.access.actor, **data)
            return _receipt(operation, network)

        return self.once(work)


class NetworkEndpoint(Endpoint):
    """One network."""

    serializer_class = shapes.OwnNetworkSerializer
    verbs = {"retrieve": "network.read", "update": "network.write", "destroy": "network.write"}
    requests = {"update": shapes.OwnNetworkChange}
    answers = {"update": (202, ACCEPTED), "destroy": (202, ACCEPTED)}

    def get_queryset(self) -> QuerySet[Network]:
        return networks()

    def _check(self, locked: Network) -> None:
        self.check_if_match(locked, document)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Another name, gateway or servers of names; VMs that stand keep what they were given."""
        changed, operation = services.update_network(
            network=self.get_object(), changes=dict(self.valid()), by=self.access.actor, check=self._check
        )
        status, body = _receipt(operation, changed)
        return Response(body, status=status)

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Delete a network. Said twice, it is the same delete. Refused while VMs are on it: 409 names them."""
        network = self.get_object()
        operation = services.delete_network(network=network, by=self.access.actor, check=self._check)
        status, body = _receipt(operation, network)
        return Response(body, status=status)


class FirewallEndpoint(Endpoint):
    """A project's firewall: ordered rules for all of its networks, those that come later too."""

    parent_model = Project
    serializer_class = shapes.FirewallSerializer
    verbs = {"retrieve": "network.read", "update": "network.write"}
    requests = {"update": shapes.FirewallRequest}
    answers = {"update": (202, accepted("firewall", shapes.FirewallSerializer))}

    def get_queryset(self) -> QuerySet[Firewall]:
        return Firewall.objects.filter(pk=self.kwargs["parent_pk"])

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """The rules, in order. What none of them matches passes."""
        return self.shown(self.get_queryset().first() or self._none())

    def _none(self) -> Firewall:
        return Firewall(project=self.parent, tenant_id=self.parent.tenant_id)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Replace all rules; the operation ends when every network has them. Rules have no memory where the layer's
        filter has none (`isolation` of a network): then answers must be allowed too."""
        data = self.valid()
        held = services.hold_project(self.parent)
        self.check_if_match(held, lambda found: self.get_serializer(found).data)
        found, operation = firewall.set_rules(
            firewall=held, project=self.parent, rules=data["rules"], by=self.access.actor
        )
        body = {"operation": OperationSerializer(operation).data, "firewall": self.get_serializer(found).data}
        return Response(body, status=202)
