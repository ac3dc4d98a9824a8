"""Zones, and the storage classes that they offer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Case, Count, Prefetch, Q, QuerySet, When
from rest_framework.response import Response

from facet.operations.serializers import accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer

from .. import serializers as shapes
from .. import services, storage
from ..models import Datastore, Placement, StorageClass, UnmanagedVm, Zone
from .receipts import Inspected, receipt


class ZoneEndpoint(Inspected):
    """Availability zones: hosts, datastores and networks of one site, carved by IT."""

    queryset = (
        Zone.objects.filter(deleted_at=None)
        .select_related("site")
        .prefetch_related("datastores", "networks")
        .annotate(
            host_count=Case(
                When(placement=Placement.DRS, then=Count("hosts__members", distinct=True)),
                default=Count("hosts", distinct=True),
            )
        )
    )
    serializer_class = shapes.ZoneSerializer
    verbs = {
        "list": "zone.read",
        "retrieve": "zone.read",
        "create": "zone.write",
        "update": "zone.write",
        "destroy": "zone.write",
    }
    requests = {"create": shapes.ZoneRequest, "update": shapes.ZoneChange}
    answers = {
        "create": (202, accepted("zone", shapes.ZoneSerializer)),
        "update": (202, accepted("zone", shapes.ZoneSerializer)),
        "destroy": (202, accepted("zone", shapes.ZoneSerializer)),
    }
    filter_fields = ("name", "phase")

    def document(self, id: UUID) -> dict[str, Any]:
        """A zone as its own GET shows it."""
        shown: dict[str, Any] = self.get_serializer(self.get_queryset().get(pk=id)).data
        return shown

    def create(self, request: Any) -> Response:
        """Carve a zone; a worker makes it visible at the site."""
        data = self.valid()

        def work() -> Answer:
            site = services.site_by_name(data.pop("site"))
            zone, operation = services.create_zone(site=site, **data, by=self.access.actor)
            return receipt(operation, zone=self.document(zone.id))

        return self.once(work)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Change what a zone is carved of. What holds claims stays."""
        zone = self.get_object()
        self.check_if_match(zone, lambda found: self.get_serializer(found).data)
        zone, operation = services.update_zone(zone=zone, changes=dict(self.valid()), by=self.access.actor)
        status, body = receipt(operation, zone=self.document(zone.id))
        return Response(body, status=status)

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Give a zone's hosts back. Nothing may be in use there."""
        zone = self.get_object()
        operation = services.delete_zone(zone=zone, by=self.access.actor)
        status, body = receipt(operation, zone=self.document(zone.id))
        return Response(body, status=status)


class StorageClassView(Inspected):
    """What the endpoints of storage classes share."""

    queryset = (
        StorageClass.objects.filter(zone__deleted_at=None)
        .select_related("zone", "policy")
        .prefetch_related(Prefetch("datastores", Datastore.objects.order_by("name", "id")))
        .order_by("id")
    )
    serializer_class = shapes.StorageClassSerializer

    def document(self, id: UUID) -> dict[str, Any]:
        """A storage class as its own GET shows it."""
        shown: dict[str, Any] = self.get_serializer(self.queryset.get(pk=id)).data
        return shown


class ZoneStorageClassEndpoint(StorageClassView):
    """The storage classes that a zone offers."""

    parent_model = Zone
    verbs = {"list": "zone.read", "create": "zone.write"}
    requests = {"create": shapes.StorageClassRequest}
    answers = {"create": (201, shapes.StorageClassSerializer)}

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(zone_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Offer storage by a name that teams ask for: some of the zone's datastores, or those that satisfy a policy."""
        data = self.valid()

        def work() -> Answer:
            return 201, self.document(storage.create(zone=self.parent, **data, by=self.access.actor).id)

        return self.once(work)


class StorageClassEndpoint(StorageClassView):
    """One storage class of a zone."""

    verbs = {"retrieve": "zone.read", "update": "zone.write", "destroy": "zone.write"}
    requests = {"update": shapes.StorageClassChange}
    answers = {"destroy": (204, None)}

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Other datastores, or another policy, for disks to come; what lies on a datastore stays there."""
        found = self.get_object()
        self.check_if_match(found, lambda one: self.get_serializer(one).data)
        changed = storage.update(found=found, **self.valid(), by=self.access.actor)
        return self.shown(self.queryset.get(pk=changed.pk))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Offer it no more. Refused while something that stands in the zone was asked for with it."""
        storage.delete(found=self.get_object(), by=self.access.actor)
        return Response(status=204)


class UnmanagedVmEndpoint(Endpoint):
    """VMs on a zone's hosts that Facet neither made nor manages: nobody's, so IT alone sees them."""

    queryset = UnmanagedVm.objects.select_related("host")
    parent_model = Zone
    serializer_class = shapes.UnmanagedVmSerializer
    verbs = {"list": "zone.inspect"}
    filter_fields = ("name", "power")

    def get_queryset(self) -> QuerySet[Any]:
        zone = self.kwargs["parent_pk"]
        return super().get_queryset().filter(Q(host__zone_id=zone) | Q(host__bin__zone_id=zone))
