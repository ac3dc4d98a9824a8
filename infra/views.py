"""Views: shape in, one call, answer out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Count, Prefetch, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from facet.operations.models import Operation
from facet.operations.serializers import OperationSerializer, ReceiptSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import Invalid

from . import catalogue, figures, outside, services, storage
from . import serializers as shapes
from .drivers import base, factory
from .models import Addon, Datastore, Flavor, Host, Image, PhysicalNetwork, Site, StorageClass, Template, Zone


def receipt(operation: Operation, **more: Any) -> Answer:
    return 202, {"operation": OperationSerializer(operation).data} | more


# --- sites ---------------------------------------------------------------------------------------------------------


class SiteEndpoint(Endpoint):
    """vCenters and simulators that Facet works on."""

    queryset = Site.objects.filter(deleted_at=None)
    serializer_class = shapes.SiteSerializer
    verbs = {
        "list": "site.read",
        "retrieve": "site.read",
        "create": "site.write",
        "update": "site.write",
        "destroy": "site.write",
        "sync": "site.write",
        "resume": "site.write",
    }
    requests = {"create": shapes.SiteRequest, "update": shapes.SiteChange}
    answers = {
        "create": (202, accepted("site", shapes.SiteSerializer)),
        "update": (202, accepted("site", shapes.SiteSerializer)),
        "destroy": (202, accepted("site", shapes.SiteSerializer)),
        "sync": (202, ReceiptSerializer),
        "resume": (202, ReceiptSerializer),
    }
    filter_fields = ("name", "driver", "phase")

    def _receipt(self, operation: Operation, site: Site) -> Answer:
        site.refresh_from_db()
        return receipt(operation, site=self.get_serializer(site).data)

    def create(self, request: Any) -> Response:
        """Register a site; a worker logs in there and takes its inventory."""
        data = self.valid()

        def work() -> Answer:
            site, operation = services.add_site(**data, by=self.access.actor)
            return self._receipt(operation, site)

        return self.once(work)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Give another way to the same site: every process then opens new sessions."""
        site = self.get_object()
        self.check_if_match(site, lambda found: self.get_serializer(found).data)
        site, operation = services.update_site(site=site, changes=dict(self.valid()), by=self.access.actor)
        status, body = self._receipt(operation, site)
        return Response(body, status=status)

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Forget a site that has no zones. Nothing at the site is touched."""
        site = self.get_object()
        status, body = self._receipt(services.delete_site(site=site, by=self.access.actor), site)
        return Response(body, status=status)

    def sync(self, request: Any, **kwargs: Any) -> Response:
        """Take the inventory now."""
        return self.once(lambda: receipt(services.sync_site(site=self.get_object(), by=self.access.actor)))

    def resume(self, request: Any, **kwargs: Any) -> Response:
        """A person has looked at a site that is held back, and lets it go on."""
        return self.once(lambda: receipt(services.resume_site(site=self.get_object(), by=self.access.actor)))


class CheckEndpoint(Endpoint):
    """Try the way to a site. No transaction is open while the site is asked; a call's time is bounded."""

    queryset = Site.objects.filter(deleted_at=None)
    serializer_class = shapes.CheckSerializer
    placing = True
    verbs = {"check": "site.write", "check_new": "site.write"}
    requests = {"check_new": shapes.WaySerializer}

    def check(self, request: Any, **kwargs: Any) -> Response:
        """Does a registered site answer?"""
        return self._try(lambda: outside.connection_of(self.get_object()))

    def check_new(self, request: Any) -> Response:
        """Would a site answer, before it is registered?"""
        data = self.valid()
        del data["name"]

        def read() -> base.Connection:
            way = {name: data[name] for name in ("driver", "endpoint", "ca_pem")}
            return outside.connection(**data | {"ca_pem": services.check_connection(**way)})

        return self._try(read)

    def _try(self, read: Any) -> Response:
        return self.placed_once(read=read, decide=first_contact, write=lambda _, found: (200, found))


def first_contact(connection: base.Connection) -> dict[str, Any]:
    """Log in there with a session of its own."""
    driver = factory.connect(connection)
    try:
        found = driver.check()
    except base.DriverError as error:
        problem = {"code": error.code, "detail": error.reason}
        return {"ok": False, "product": "", "version": "", "simulated": None, "problem": problem}
    finally:
        driver.close()
    answer = {"product": found.product, "version": found.version, "simulated": found.simulated}
    return {"ok": True, **answer, "problem": None}


class SitePartEndpoint(Endpoint):
    """What stands in a site, as it was last observed."""

    parent_model = Site
    verbs = {"list": "site.read"}
    filter_fields = ("name", "present")

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(site_id=self.kwargs["parent_pk"], site__deleted_at=None)


class HostEndpoint(SitePartEndpoint):
    """A site's hosts."""

    queryset = Host.objects.select_related("zone")
    serializer_class = shapes.HostSerializer
    filter_fields = ("name", "state", "vsphere_cluster")

    @extend_schema(parameters=[OpenApiParameter("zone", str, description="of this zone alone: its name or id")])
    def list(self, request: Any, **kwargs: Any) -> Response:
        found = self.filter_queryset(self.get_queryset())
        zone = request.query_params.get("zone")
        if zone is not None:
            if "\x00" in zone:
                raise Invalid({"zone": "Not a value of this filter."})
            found = found.filter(zone=services.zone_by_name(zone))
        return self.page(found)


class DatastoreEndpoint(SitePartEndpoint):
    """A site's datastores."""

    queryset = Datastore.objects.prefetch_related("zones")
    serializer_class = shapes.DatastoreSerializer


class NetworkEndpoint(SitePartEndpoint):
    """A site's networks."""

    queryset = PhysicalNetwork.objects.prefetch_related("zones")
    serializer_class = shapes.NetworkSerializer


class TemplateEndpoint(SitePartEndpoint):
    """What a site offers to make images of."""

    queryset = Template.objects.all()
    serializer_class = shapes.TemplateSerializer


# --- zones ---------------------------------------------------------------------------------------------------------


class Inspected(Endpoint):
    """An endpoint whose answers show the inside of sites to those who may inspect zones, and to no one else."""

    def get_serializer_context(self) -> dict[str, Any]:
        return super().get_serializer_context() | {"inspects": self._inspects()}

    def _inspects(self) -> bool:
        return bool(self.request) and self.access.may("zone.inspect")


class ZoneEndpoint(Inspected):
    """Availability zones: hosts, datastores and networks of one site, carved by IT."""

    queryset = (
        Zone.objects.filter(deleted_at=None)
        .select_related("site")
        .prefetch_related("datastores", "networks")
        .annotate(host_count=Count("hosts", distinct=True))
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
        .select_related("zone")
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
        """Offer storage by a name that teams ask for: some of the zone's datastores."""
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
        """Other datastores, for disks to come; what lies on a datastore stays there."""
        found = self.get_object()
        self.check_if_match(found, lambda one: self.get_serializer(one).data)
        changed = storage.update(found=found, **self.valid(), by=self.access.actor)
        return self.shown(self.queryset.get(pk=changed.pk))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Offer it no more. Refused while something that stands in the zone was asked for with it."""
        storage.delete(found=self.get_object(), by=self.access.actor)
        return Response(status=204)


# --- the catalogue -------------------------------------------------------------------------------------------------


class FlavorEndpoint(Endpoint):
    """Shapes of VMs that teams ask for by name."""

    queryset = Flavor.objects.all()
    serializer_class = shapes.FlavorSerializer
    verbs = {"list": "catalogue.read", "retrieve": "catalogue.read"}


class ImageEndpoint(Inspected):
    """Templates, published for a framework and version."""

    queryset = (
        Image.objects.filter(site__deleted_at=None).select_related("site", "template").prefetch_related("site__zones")
    )
    serializer_class = shapes.ImageSerializer
    verbs = {
        "list": "catalogue.read",
        "retrieve": "catalogue.read",
        "create": "catalogue.write",
        "destroy": "catalogue.write",
    }
    requests = {"create": shapes.ImageRequest}
    answers = {"create": (201, shapes.ImageSerializer), "destroy": (204, None)}
    filter_fields = ("name", "framework", "version")

    def create(self, request: Any) -> Response:
        """Publish a template. `warnings` says what would keep clusters from being made of it."""
        data = self.valid()

        def work() -> Answer:
            site = services.site_by_name(data.pop("site"))
            return 201, self.get_serializer(catalogue.add_image(site=site, **data, by=self.access.actor)).data

        return self.once(work)

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Take it out of the catalogue. A VM that was made of it keeps it in use."""
        catalogue.delete_from_catalogue(self.get_object(), kind="image", by=self.access.actor)
        return Response(status=204)


class AddonEndpoint(Endpoint):
    """Manifests that Facet applies to clusters."""

    queryset = Addon.objects.all()
    serializer_class = shapes.AddonSerializer
    verbs = {
        "list": "catalogue.read",
        "retrieve": "catalogue.read",
        "create": "catalogue.write",
        "destroy": "catalogue.write",
    }
    requests = {"create": shapes.AddonRequest}
    answers = {"create": (201, shapes.AddonSerializer), "destroy": (204, None)}
    filter_fields = ("name", "kind", "version")

    def create(self, request: Any) -> Response:
        """Import a manifest."""
        data = self.valid()
        return self.once(lambda: (201, self.get_serializer(catalogue.import_addon(**data, by=self.access.actor)).data))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Take it out of the catalogue. Clusters that have it keep it."""
        catalogue.delete_from_catalogue(self.get_object(), kind="addon", by=self.access.actor)
        return Response(status=204)


class VersionEndpoint(Endpoint):
    """What versions the images offer."""

    queryset = Image.objects.all()
    pagination_class = None
    serializer_class = shapes.VersionsSerializer
    verbs = {"retrieve": "catalogue.read"}

    @extend_schema(parameters=[OpenApiParameter("framework", str, description="of this framework alone")])
    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """Each version of each framework, and the zones where clusters of it can be made."""
        framework = request.query_params.get("framework")
        if framework is not None and "\x00" in framework:
            raise Invalid({"framework": "Not a value of this filter."})
        return Response({"items": figures.versions(framework)})
