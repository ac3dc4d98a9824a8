"""Views of what people do about drift."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.operations.serializers import OperationSerializer
from facet.rest.endpoint import Endpoint
from facet.rest.fields import StrictSerializer
from facet.rest.idempotency import Answer

from . import repairing
from .models import VM
from .serializers import VmSerializer
from .views import ACCEPTED, VmEndpoint, vms


class NothingRequest(StrictSerializer):
    """Nothing needs to be said."""


class VmDriftEndpoint(Endpoint):
    """A VM that is other at its site than it was asked for: put back, or taken over as it stands."""

    serializer_class = VmSerializer
    verbs = {"repair": "vm.write", "accept": "vm.write"}
    requests = {"repair": NothingRequest, "accept": NothingRequest}
    answers = {"repair": (202, ACCEPTED), "accept": (200, VmSerializer)}
    conditional = frozenset(verbs)

    def get_queryset(self) -> QuerySet[VM]:
        return vms()

    def repair(self, request: Any, **kwargs: Any) -> Response:
        """Bring its power, its size and its name back to what was asked for."""
        self.valid()
        vm = self.get_object()

        def work() -> Answer:
            operation = repairing.repair_vm(vm=vm, by=self.access.actor, check=self._check)
            return 202, {"operation": OperationSerializer(operation).data, "vm": VmEndpoint.document(vm)}

        return self.once(work)

    def accept(self, request: Any, **kwargs: Any) -> Response:
        """What is seen is what was asked for from now on. Its size takes room, quota and pool, or is refused."""
        self.valid()
        vm = self.get_object()

        def work() -> Answer:
            repairing.accept_drift(vm=vm, by=self.access.actor, check=self._check)
            return 200, VmEndpoint.document(vm)

        return self.once(work)

    def _check(self, locked: VM) -> None:
        self.check_if_match(locked, VmEndpoint.document)
