"""What several endpoints answer alike."""

from __future__ import annotations

from typing import Any

from facet.operations.models import Operation
from facet.operations.serializers import OperationSerializer
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer


def receipt(operation: Operation, **more: Any) -> Answer:
    return 202, {"operation": OperationSerializer(operation).data} | more


class Inspected(Endpoint):
    """An endpoint whose answers show the inside of sites to those who may inspect zones, and to no one else."""

    def get_serializer_context(self) -> dict[str, Any]:
        return super().get_serializer_context() | {"inspects": self._inspects()}

    def _inspects(self) -> bool:
        return bool(self.request) and self.access.may("zone.inspect")
