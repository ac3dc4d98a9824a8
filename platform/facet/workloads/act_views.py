"""Views of what is asked of a VM that stands: its power, its size, its console."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.operations.models import Operation
from facet.operations.serializers import OperationSerializer
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer

from . import act_shapes as shapes
from . import console, power, resizing
from .models import VM
from .serializers import VmSerializer
from .views import ACCEPTED, VmEndpoint, vms


class VmActEndpoint(Endpoint):
    """Another power or another size of one VM. Said twice, it is done once; a cluster's machine refuses."""

    serializer_class = VmSerializer
    verbs = {"start": "vm.write", "stop": "vm.write", "restart": "vm.write", "resize": "vm.write"}
    requests = {
        "start": shapes.StartRequest,
        "stop": shapes.StopRequest,
        "restart": shapes.StopRequest,
        "resize": shapes.ResizeRequest,
    }
    answers = dict.fromkeys(verbs, (202, ACCEPTED))
    conditional = frozenset(verbs)

    def get_queryset(self) -> QuerySet[VM]:
        return vms()

    def start(self, request: Any, **kwargs: Any) -> Response:
        """Power it on. One whose guest is on its way down goes off first."""
        self.valid()
        return self._accepted(power.start_vm)

    def stop(self, request: Any, **kwargs: Any) -> Response:
        """Ask its guest to shut down, and power it off where that has not come to an end in time."""
        return self._accepted(power.stop_vm, within_s=self.valid()["within_s"])

    def restart(self, request: Any, **kwargs: Any) -> Response:
        """Off as by a stop, and on again."""
        return self._accepted(power.restart_vm, within_s=self.valid()["within_s"])

    def resize(self, request: Any, **kwargs: Any) -> Response:
        """Another size where it stands: what grows is claimed at once, or refused with what is in the way."""
        return self._accepted(resizing.resize_vm, data=self.valid())

    def _accepted(self, act: Any, **said: Any) -> Response:
        vm = self.get_object()

        def work() -> Answer:
            operation: Operation = act(vm=vm, by=self.access.actor, check=self._check, **said)
            return 202, {"operation": OperationSerializer(operation).data, "vm": VmEndpoint.document(vm)}

        return self.once(work)

    def _check(self, locked: VM) -> None:
        self.check_if_match(locked, VmEndpoint.document)


class VmConsoleEndpoint(Endpoint):
    """The console log of one VM. Its site is asked while nothing is held."""

    placing = True
    serializer_class = shapes.ConsoleSerializer
    verbs = {"retrieve": "vm.write"}  # what a guest says at its first boot may be a password

    def get_queryset(self) -> QuerySet[VM]:
        return VM.objects.filter(deleted_at=None).select_related("zone__site")

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """What its guest has written, where its layer keeps that: 409 `no_console` says why there is none."""
        with self.access.context():
            driver = console.driver_for(self.get_object())
        return Response({"text": console.read(self.found, driver)})
