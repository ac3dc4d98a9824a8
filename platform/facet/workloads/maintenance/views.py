"""Views of maintenance: shape in, one call, answer out. A drain places, see Endpoint.placed_once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import Case, Count, OuterRef, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from rest_framework.response import Response

from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from infra.models import Host, Zone
from infra.serializers import HostSerializer, ZoneSerializer
from infra.views import Inspected, ZoneEndpoint
from scheduler.core.standing import Relocation
from scheduler.models import Allocation

from ..models import Drain
from . import plan, services
from . import serializers as shapes
from .plan import Leaving

HOSTS = Host.objects.filter(site__deleted_at=None).select_related("zone")


class HostMaintenanceEndpoint(Endpoint):
    """One host, and whether it takes anything new."""

    queryset = HOSTS
    serializer_class = HostSerializer
    verbs = {"retrieve": "site.read", "cordon": "site.write", "uncordon": "site.write"}

    def cordon(self, request: Any, **kwargs: Any) -> Response:
        """Nothing new is placed here; what stands here stays. Said twice, it is once."""
        return self._set(services.cordon)

    def uncordon(self, request: Any, **kwargs: Any) -> Response:
        """It takes new work again. Refused while it is being drained."""
        return self._set(services.uncordon)

    def _set(self, verb: Callable[..., None]) -> Response:
        def work() -> Answer:
            host = self.get_object()
            verb(host=host, by=self.access.actor)
            return 200, self.get_serializer(HOSTS.get(pk=host.pk)).data

        return self.once(work)


class ZoneResumeEndpoint(Inspected):
    """A zone that was drained, and is to take new work again."""

    queryset = ZoneEndpoint.queryset
    serializer_class = ZoneSerializer
    verbs = {"resume": "zone.write"}

    def resume(self, request: Any, **kwargs: Any) -> Response:
        """Take new work again after a drain. Said twice, it is once."""

        def work() -> Answer:
            zone = self.get_object()
            services.resume(zone=zone, by=self.access.actor)
            return 200, self.get_serializer(self.get_queryset().get(pk=zone.pk)).data

        return self.once(work)


# --- drains --------------------------------------------------------------------------------------------------------


def drains() -> QuerySet[Drain]:
    """With how many VMs are left there."""
    live = Allocation.objects.filter(released=None).order_by().values("released").annotate(count=Count("pk"))
    here = live.filter(host_id=OuterRef("host_id")).values("count")[:1]
    anywhere = live.filter(host__zone_id=OuterRef("zone_id")).values("count")[:1]
    left = Case(When(host=None, then=Subquery(anywhere)), default=Subquery(here))
    return Drain.objects.select_related("zone", "host").annotate(left=Coalesce(left, 0))


ACCEPTED = (202, accepted("drain", shapes.DrainSerializer))


class DrainEndpoint(Endpoint):
    """Hosts and zones that are being emptied, or were."""

    serializer_class = shapes.DrainSerializer
    verbs = {"list": "site.read", "retrieve": "site.read"}
    filter_fields = ("phase", "zone_id", "host_id")

    def get_queryset(self) -> QuerySet[Drain]:
        return drains()


class DrainBegin(Endpoint):
    """What draining a host and draining a zone share."""

    placing = True
    serializer_class = shapes.DrainSerializer
    answers = {"drain": ACCEPTED}

    def _drain(self, read: Callable[[], Leaving]) -> Response:
        def write(leaving: Leaving, found: Relocation) -> Answer:
            drain, operation = services.begin(leaving=leaving, found=found, by=self.access.actor)
            shown = shapes.DrainSerializer(drains().get(pk=drain.pk)).data
            return 202, {"operation": OperationSerializer(operation).data, "drain": shown}

        return self.placed_once(read=read, decide=plan.prove, write=write)


class HostDrainEndpoint(DrainBegin):
    """A host to be emptied."""

    queryset = HOSTS
    verbs = {"drain": "site.write"}

    def drain(self, request: Any, **kwargs: Any) -> Response:
        """Close it and move all of its VMs live; refused, naming who, unless all of them fit elsewhere in its zone."""
        return self._drain(lambda: services.read_host(self.found))


class ZoneDrainEndpoint(DrainBegin):
    """A zone to be emptied."""

    queryset = Zone.objects.filter(deleted_at=None)
    verbs = {"drain": "zone.write"}

    def drain(self, request: Any, **kwargs: Any) -> Response:
        """Close it and move all of its VMs live into the other zones that each was asked for in; or name who cannot."""
        return self._drain(lambda: services.read_zone(self.found))
