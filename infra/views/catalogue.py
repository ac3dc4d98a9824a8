"""Flavors, images, add-ons and versions."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import Invalid

from .. import catalogue, figures, services
from .. import serializers as shapes
from ..models import Addon, Flavor, Image
from .receipts import Inspected


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
