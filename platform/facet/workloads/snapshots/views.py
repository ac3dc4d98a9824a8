"""Views of snapshots of VMs: shape in, one call, receipt out."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer

from ..models import VM, Snapshot
from ..serializers import VmSerializer
from ..views import VmEndpoint, vms
from . import serializers as shapes
from . import services

ACCEPTED = accepted("snapshot", shapes.SnapshotSerializer)


def snapshots() -> QuerySet[Snapshot]:
    """Living snapshots of VMs."""
    return Snapshot.objects.filter(deleted_at=None, vm__isnull=False).select_related("vm", "project")


class VmSnapshotEndpoint(Endpoint):
    """The snapshots of one VM, the oldest first. Those that somebody took at the site are not among them."""

    parent_model = VM
    serializer_class = shapes.SnapshotSerializer
    verbs = {"list": "vm.read", "create": "vm.write"}
    requests = {"create": shapes.SnapshotRequest}
    answers = {"create": (202, ACCEPTED)}
    filter_fields = ("name", "phase")

    def get_queryset(self) -> QuerySet[Snapshot]:
        return snapshots().filter(vm_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Take a snapshot. A cluster's machine has none: 409 names its cluster."""
        data = self.valid()

        def work() -> Answer:
            snapshot, operation = services.create_snapshot(vm=self.parent, **data, by=self.access.actor)
            return 202, _receipt(operation, snapshot)

        return self.once(work)


class SnapshotEndpoint(Endpoint):
    """One snapshot."""

    serializer_class = shapes.SnapshotSerializer
    verbs = {"retrieve": "vm.read", "destroy": "vm.write"}
    answers = {"destroy": (202, ACCEPTED)}

    def get_queryset(self) -> QuerySet[Snapshot]:
        return snapshots()

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Delete it; those that were taken after it stay. Said twice, it is the same delete."""
        operation = services.delete_snapshot(snapshot=self.get_object(), by=self.access.actor)
        return Response(_receipt(operation, self.get_object()), status=202)


class RevertEndpoint(Endpoint):
    """Back to one snapshot."""

    serializer_class = VmSerializer
    verbs = {"revert": "vm.write"}
    requests = {"revert": shapes.RevertRequest}
    answers = {"revert": (202, accepted("vm", VmSerializer))}

    def get_queryset(self) -> QuerySet[Snapshot]:
        return snapshots()

    def revert(self, request: Any, **kwargs: Any) -> Response:
        """Its VM goes back to how it was then; what was written since is lost. It is then on or off as before."""
        self.valid()

        def work() -> Answer:
            operation = services.revert_vm(snapshot=self.get_object(), by=self.access.actor)
            shown = VmEndpoint.document(vms().get(pk=self.get_object().vm_id))
            return 202, {"operation": OperationSerializer(operation).data, "vm": shown}

        return self.once(work)


def _receipt(operation: Any, snapshot: Snapshot) -> dict[str, Any]:
    shown = shapes.SnapshotSerializer(snapshots().get(pk=snapshot.pk)).data
    return {"operation": OperationSerializer(operation).data, "snapshot": shown}
