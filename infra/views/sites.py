"""Sites, and what stands in them."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from facet.operations.models import Operation
from facet.operations.serializers import ReceiptSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import Invalid

from .. import bins, outside, privileges, services
from .. import serializers as shapes
from ..drivers import base, factory
from ..models import Datastore, Host, HostKind, PhysicalNetwork, Site, Template
from .receipts import receipt


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
        missing = privileges.recorded(driver.missing_privileges())
    except base.DriverError as error:
        problem = {"code": error.code, "detail": error.reason}
        return {
            "ok": False,
            "product": "",
            "version": "",
            "simulated": None,
            "problem": problem,
            "missing_privileges": {},
        }
    finally:
        driver.close()
    answer = {"product": found.product, "version": found.version, "simulated": found.simulated}
    return {"ok": True, **answer, "problem": None, "missing_privileges": missing}


class SitePartEndpoint(Endpoint):
    """What stands in a site, as it was last observed."""

    parent_model = Site
    verbs = {"list": "site.read"}
    filter_fields = ("name", "present")

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().filter(site_id=self.kwargs["parent_pk"], site__deleted_at=None)


class HostEndpoint(SitePartEndpoint):
    """A site's hosts."""

    queryset = Host.objects.filter(kind=HostKind.HOST).select_related("zone", "bin__zone")
    serializer_class = shapes.HostSerializer
    filter_fields = ("name", "state", "vsphere_cluster")

    @extend_schema(parameters=[OpenApiParameter("zone", str, description="of this zone alone: its name or id")])
    def list(self, request: Any, **kwargs: Any) -> Response:
        found = self.filter_queryset(self.get_queryset())
        zone = request.query_params.get("zone")
        if zone is not None:
            if "\x00" in zone:
                raise Invalid({"zone": "Not a value of this filter."})
            found = found.filter(pk__in=bins.hosts_of(services.zone_by_name(zone)))
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
