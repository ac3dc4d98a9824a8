"""Copies of images in zones that do not reach their templates."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer

from .. import replicas, services
from .. import serializers as shapes
from ..models import Image, ImageReplica

ACCEPTED = accepted("replica", shapes.ImageReplicaSerializer)


def _rows() -> QuerySet[ImageReplica]:
    return ImageReplica.objects.select_related("image", "zone", "datastore")


class ImageReplicasEndpoint(Endpoint):
    """The copies of one image. Facet makes one by itself for every zone that lacks it."""

    parent_model = Image
    serializer_class = shapes.ImageReplicaSerializer
    verbs = {"list": "zone.inspect", "create": "catalogue.write"}
    requests = {"create": shapes.ImageReplicaRequest}
    answers = {"create": (202, ACCEPTED)}
    filter_fields = ("phase",)

    def get_queryset(self) -> QuerySet[ImageReplica]:
        return _rows().filter(image_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Copy it to a zone that lacks it; one that failed is tried again. Of one that is ready nothing is begun."""
        data = self.valid()

        def work() -> Answer:
            zone = services.zone_by_name(data["zone"])
            made, operation = replicas.replicate(image=self.parent, zone=zone, by=self.access.actor)
            receipt = {"operation": OperationSerializer(operation).data} if operation is not None else {}
            return 202 if receipt else 200, receipt | {"replica": _shown(made)}

        return self.once(work)


class ImageReplicaEndpoint(Endpoint):
    """One copy."""

    serializer_class = shapes.ImageReplicaSerializer
    verbs = {"retrieve": "zone.inspect", "destroy": "catalogue.write"}
    answers = {"destroy": (202, ACCEPTED)}

    def get_queryset(self) -> QuerySet[ImageReplica]:
        return _rows()

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Take it away. While its zone lacks the image, another one is made soon."""
        replica = self.get_object()
        operation = replicas.delete_replica(replica=replica, by=self.access.actor)
        return Response({"operation": OperationSerializer(operation).data, "replica": _shown(replica)}, status=202)


def _shown(replica: ImageReplica) -> dict[str, Any]:
    shown: dict[str, Any] = shapes.ImageReplicaSerializer(_rows().get(pk=replica.pk)).data
    return shown
