"""What a zone has, promises, and could still take."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from infra.models import Zone

from .. import capacity
from ..serializers import capacity as shapes


class CapacityEndpoint(Endpoint):
    """A zone's capacity."""

    parent_model = Zone
    pagination_class = None
    filter_fields = ()
    queryset = Zone.objects.none()
    serializer_class = shapes.CapacitySerializer
    verbs = {"retrieve": "zone.inspect"}

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """How much there is, promised, claimed and free; how many of each flavor fit; when it will be full."""
        return Response(shapes.CapacitySerializer(capacity.of_zone(self.parent)).data)
