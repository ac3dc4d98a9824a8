"""Views of volumes: shape in, one call, receipt out. Creating places, and so runs outside a transaction."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from rest_framework.response import Response

from facet.operations.models import Operation
from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import Invalid
from infra.models import Datastore, Zone
from scheduler import volumes as room
from scheduler.models import VolumeClaim
from tenants.models import Project

from ..models import VM, Snapshot, Volume
from . import serializers as shapes
from . import services

ACCEPTED = accepted("volume", shapes.VolumeSerializer)
SNAPSHOT_ACCEPTED = accepted("volume_snapshot", shapes.VolumeSnapshotSerializer)


def volumes() -> QuerySet[Volume]:
    """Living volumes with what their answers need."""
    held = VolumeClaim.objects.filter(holder=OuterRef("pk"), released=None)
    return (
        Volume.objects.filter(deleted_at=None)
        .select_related("project__tenant", "zone__site", "wanted_by")
        .defer("zone__site__password_sealed", "zone__site__ca_pem")
        .annotate(datastore_name=Subquery(held.values("datastore__name")[:1]))
    )


def document(volume: Volume) -> dict[str, Any]:
    """A volume as its own GET shows it."""
    shown: dict[str, Any] = shapes.VolumeSerializer(volumes().get(pk=volume.pk)).data
    return shown


def _receipt(operation: Operation, volume: Volume) -> Answer:
    return 202, {"operation": OperationSerializer(operation).data, "volume": document(volume)}


def _snapshot_receipt(operation: Operation, snapshot: Snapshot) -> Answer:
    shown = shapes.VolumeSnapshotSerializer(Snapshot.objects.select_related("volume").get(pk=snapshot.pk)).data
    return 202, {"operation": OperationSerializer(operation).data, "volume_snapshot": shown}


class ProjectVolumeEndpoint(Endpoint):
    """A project's volumes."""

    parent_model = Project
    placing = True
    serializer_class = shapes.VolumeSerializer
    verbs = {"list": "volume.read", "create": "volume.write"}
    requests = {"create": shapes.VolumeRequest}
    answers = {"create": (202, ACCEPTED)}
    filter_fields = ("name", "phase")

    def get_queryset(self) -> QuerySet[Volume]:
        return volumes().filter(project_id=self.kwargs["parent_pk"])

    def list(self, request: Any, **kwargs: Any) -> Response:
        with self.access.context():
            return super().list(request, **kwargs)

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Ask for a volume: on the datastore of its class with the most room. What does not fit is refused at once."""
        data = self.valid()
        wish = {"size_gib": data["size_gib"], "storage_class": data["storage_class"]}

        def write(zone: Zone, store: Datastore) -> Answer:
            volume, operation = services.create_volume(
                project=self.parent, zone=zone, store=store, name=data["name"], by=self.access.actor, **wish
            )
            return _receipt(operation, volume)

        return self.placed_once(
            read=lambda: services.open_zone(data["zone"], data["storage_class"]),
            decide=lambda zone: room.where(zone=zone, **wish),
            write=write,
        )


class VolumeEndpoint(Endpoint):
    """One volume."""

    serializer_class = shapes.VolumeSerializer
    verbs = {"retrieve": "volume.read", "update": "volume.write", "destroy": "volume.write"}
    requests = {"update": shapes.VolumeChange}
    answers = {"update": (202, ACCEPTED), "destroy": (202, ACCEPTED)}

    def get_queryset(self) -> QuerySet[Volume]:
        return volumes()

    def _check(self, locked: Volume) -> None:
        self.check_if_match(locked, document)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Grow it, attached or not. What does not fit is refused at once."""
        volume, size_gib = self.get_object(), self.valid()["size_gib"]
        operation = services.grow_volume(volume=volume, size_gib=size_gib, by=self.access.actor, check=self._check)
        status, body = _receipt(operation, volume)
        return Response(body, status=status)

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Delete a volume and its snapshots. Said twice, it is the same delete. Refused while a VM has it."""
        volume = self.get_object()
        operation = services.delete_volume(volume=volume, by=self.access.actor, check=self._check)
        status, body = _receipt(operation, volume)
        return Response(body, status=status)


class VolumeActEndpoint(Endpoint):
    """Who has one volume. Said twice, it is done once."""

    serializer_class = shapes.VolumeSerializer
    verbs = {"attach": "volume.write", "detach": "volume.write"}
    requests = {"attach": shapes.AttachRequest, "detach": shapes.DetachRequest}
    answers = dict.fromkeys(verbs, (202, ACCEPTED))
    conditional = frozenset(verbs)

    def get_queryset(self) -> QuerySet[Volume]:
        return volumes()

    def _check(self, locked: Volume) -> None:
        self.check_if_match(locked, document)

    def attach(self, request: Any, **kwargs: Any) -> Response:
        """Give it to a VM of its project and zone, running or not. Refused while another has it."""
        volume, named = self.get_object(), self.valid()["vm"]

        def work() -> Answer:
            vm = _vm(volume.project_id, named)
            operation = services.attach_volume(volume=volume, vm=vm, by=self.access.actor, check=self._check)
            return _receipt(operation, volume)

        return self.once(work)

    def detach(self, request: Any, **kwargs: Any) -> Response:
        """Take it from the VM that has it. Its guest should have let go of it first."""
        volume = self.get_object()
        self.valid()

        def work() -> Answer:
            operation = services.detach_volume(volume=volume, by=self.access.actor, check=self._check)
            return _receipt(operation, volume)

        return self.once(work)


def _vm(project_id: UUID, named: str) -> VM:
    """A living VM of the project, by name or id. Raises Invalid."""
    which = Q(name=named)
    with suppress(ValueError):
        which |= Q(pk=UUID(named))
    found = VM.objects.filter(which, project_id=project_id, deleted_at=None).first()
    if found is None:
        raise Invalid({"vm": f"The project has no VM {named}."})
    return found


class VolumeSnapshotsEndpoint(Endpoint):
    """A volume's snapshots."""

    parent_model = Volume
    serializer_class = shapes.VolumeSnapshotSerializer
    verbs = {"list": "volume.read", "create": "volume.write"}
    requests = {"create": shapes.VolumeSnapshotRequest}
    answers = {"create": (202, SNAPSHOT_ACCEPTED)}

    def get_queryset(self) -> QuerySet[Snapshot]:
        return Snapshot.objects.filter(volume_id=self.kwargs["parent_pk"], deleted_at=None).select_related("volume")

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Take a snapshot. A layer that takes none of volumes says so in the operation: `not_supported`."""
        name = self.valid()["name"]

        def work() -> Answer:
            snapshot, operation = services.take_snapshot(volume=self.parent, name=name, by=self.access.actor)
            return _snapshot_receipt(operation, snapshot)

        return self.once(work)


class VolumeSnapshotEndpoint(Endpoint):
    """One snapshot of a volume."""

    serializer_class = shapes.VolumeSnapshotSerializer
    verbs = {"retrieve": "volume.read", "destroy": "volume.write"}
    answers = {"destroy": (202, SNAPSHOT_ACCEPTED)}

    def get_queryset(self) -> QuerySet[Snapshot]:
        rows = Snapshot.objects.filter(volume__isnull=False, deleted_at=None)
        return rows.select_related("volume__zone__site")

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Delete a snapshot; the volume stays as it is. Said twice, it is the same delete."""
        snapshot = self.get_object()
        operation = services.forget_snapshot(snapshot=snapshot, by=self.access.actor)
        status, body = _snapshot_receipt(operation, snapshot)
        return Response(body, status=status)
