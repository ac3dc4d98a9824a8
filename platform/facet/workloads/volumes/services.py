"""What teams do with volumes: ask, grow, attach, detach, delete, and take snapshots. One verb, one transaction.

Rows are locked in one order: VM, volume, then what the ledger locks. Who shall have a volume is one column of its row,
written under that lock: so one VM has it at most, whoever asks and however often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.db import IntegrityError, transaction
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken, NotFound
from infra import privileges
from infra import services as infra
from infra.models import Datastore, StorageClass, Zone, ZonePhase
from scheduler import ledger
from scheduler import volumes as room
from tenants.models import Project

from .. import standing
from ..models import VM, ObjectPhase, Snapshot, Volume

KIND, SNAPSHOT_KIND = "volume", "volume-snapshot"
CREATE, GROW, ATTACH, DETACH, DELETE = (f"volume.{verb}" for verb in ("create", "grow", "attach", "detach", "delete"))
TAKE, FORGET = "volume-snapshot.create", "volume-snapshot.delete"
MOST_SNAPSHOTS = 32
Check = Callable[[Volume], None]


def target(volume: Volume) -> operations.Target:
    return operations.Target(KIND, volume.id, volume.name, volume.tenant_id, volume.project_id, volume.zone.site_id)


def wake_volume(volume: Volume) -> None:
    wake(KIND, volume.id, tenant_id=volume.tenant_id, site_id=volume.zone.site_id)


def locked(volume: Volume, check: Check | None = None) -> Volume:
    """The row as it is now, held. `check` judges it. Raises NotFound for one that has just gone."""
    rows = Volume.objects.select_for_update(no_key=True, of=("self",)).select_related("zone__site")
    found = rows.get(pk=volume.pk)
    if found.deleted_at is not None:
        raise NotFound("The volume has just been deleted.")
    if check is not None:
        check(found)
    return found


def _ready(volume: Volume) -> None:
    if volume.phase != ObjectPhase.READY:
        raise Conflict(f"The volume {volume.name} is {volume.phase}.", code="not_ready")


# --- asking --------------------------------------------------------------------------------------------------------


def open_zone(name: str, storage_class: str) -> Zone:
    """A zone that takes something new, and has the class. Raises Invalid, Conflict."""
    zone = infra.zone_by_name(name)
    if zone.phase != ZonePhase.ACTIVE:
        raise Conflict(f"Zone {zone.name} takes nothing new: it is {zone.phase}.", code="zone_not_active")
    if storage_class and not StorageClass.objects.filter(zone=zone, name=storage_class).exists():
        raise Invalid({"storage_class": f"Zone {zone.name} has no storage class {storage_class}."})
    privileges.require(zone.site, "storage")
    return zone


def create_volume(
    *, project: Project, zone: Zone, store: Datastore, name: str, size_gib: int, storage_class: str, by: Actor
) -> tuple[Volume, Operation]:
    """Room on this datastore, and a row that a worker makes real. Raises NameTaken, Conflict, room.Stale."""
    volume = Volume(
        id=uuid7(), tenant_id=project.tenant_id, project=project, zone=zone, name=name, size_gib=size_gib,
        storage_class=storage_class,
    )  # fmt: skip
    try:
        with transaction.atomic():
            volume.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"{project.name} has a volume named {name}.") from None
    operation = operations.start(CREATE, target=target(volume), by=by, first=True)
    wake_volume(volume)
    ask = room.Ask(volume.id, zone.id, store.id, size_gib, storage_class)
    room.claim(tenant_id=project.tenant_id, project_id=project.id, asks=[ask])
    return volume, operation


def grow_volume(*, volume: Volume, size_gib: int, by: Actor, check: Check | None = None) -> Operation:
    """Its room is held first; what has that size already is left. Raises Invalid for a smaller one, Conflict."""
    volume = locked(volume, check)
    _ready(volume)
    if size_gib < volume.size_gib:
        raise Invalid({"size_gib": f"It has {volume.size_gib} GiB, and cannot shrink."})
    operation = _begin(volume, GROW, by, size_gib=size_gib)
    room.grow(tenant_id=volume.tenant_id, project_id=volume.project_id, holder=volume.id, size_gib=size_gib)
    wake_volume(volume)
    return operation


def delete_volume(*, volume: Volume, by: Actor, check: Check | None = None) -> Operation:
    """With its snapshots. Said twice, it is one delete. Raises InUse while a VM has it, or shall have it."""
    volume = locked(volume, check)
    same = _under_way(volume, DELETE) if volume.phase == ObjectPhase.DELETING else None
    if same is not None:
        return same
    _free(volume)
    operation = _begin(volume, DELETE, by, phase=ObjectPhase.DELETING, delete_asked_at=timezone.now())
    wake_volume(volume)
    return operation


def _free(volume: Volume) -> None:
    holder = VM.objects.filter(pk=volume.wanted_by_id or volume.attached_to).first()
    if holder is not None:
        holders = [{"kind": "vm", "id": str(holder.id), "name": holder.name}]
        raise InUse(f"VM {holder.name} has the volume {volume.name}: detach it first.", holders=holders)


# --- who has it ----------------------------------------------------------------------------------------------------


def attach_volume(*, volume: Volume, vm: VM, by: Actor, check: Check | None = None) -> Operation:
    """Said twice, it is the same attach. Raises Conflict: attached, not_ready, elsewhere, not_reached; InUse."""
    vm = standing.locked(vm)
    volume = locked(volume, check)
    if volume.wanted_by_id == vm.id:
        same = _under_way(volume, ATTACH)
        if same is not None:
            return same
    _ready(volume)
    standing.ready(vm)
    if volume.wanted_by_id not in (None, vm.id) or volume.attached_to not in (None, vm.id):
        holder = VM.objects.filter(pk=volume.wanted_by_id or volume.attached_to).first()
        raise Conflict(f"VM {holder.name if holder else 'another'} has the volume {volume.name}.", code="attached")
    _reaches(volume, vm)
    operation = _begin(volume, ATTACH, by, wanted_by=vm)
    wake_volume(volume)
    return operation


def _reaches(volume: Volume, vm: VM) -> None:
    """The VM is of its project and zone, and stands where the volume's datastore is mounted."""
    if (vm.project_id, vm.zone_id) != (volume.project_id, volume.zone_id):
        raise Conflict(f"VM {vm.name} is not in the project and zone of the volume {volume.name}.", code="elsewhere")
    held, claim = ledger.allocations([vm.id]).get(vm.id), room.claims([volume.id])[volume.id]
    if held is not None and claim.datastore.ref not in held.host.datastore_refs:
        raise Conflict(
            f"Host {held.host.name}, where {vm.name} stands, does not reach datastore {claim.datastore.name}.",
            code="not_reached",
        )


def detach_volume(*, volume: Volume, by: Actor, check: Check | None = None) -> Operation:
    """From whatever VM has it. Said twice, it is the same detach."""
    volume = locked(volume, check)
    if volume.phase == ObjectPhase.DELETING:
        raise Conflict(f"The volume {volume.name} is being deleted.", code="not_ready")
    same = _under_way(volume, DETACH)
    if same is not None:
        return same
    operation = _begin(volume, DETACH, by, wanted_by=None)
    wake_volume(volume)
    return operation


# --- snapshots -----------------------------------------------------------------------------------------------------


def take_snapshot(*, volume: Volume, name: str, by: Actor, check: Check | None = None) -> tuple[Snapshot, Operation]:
    """Raises NameTaken, Conflict (not_ready, too_many)."""
    volume = locked(volume, check)
    _ready(volume)
    if Snapshot.objects.filter(volume=volume, deleted_at=None).count() >= MOST_SNAPSHOTS:
        raise Conflict(f"{volume.name} has {MOST_SNAPSHOTS} snapshots: delete one first.", code="too_many")
    owner = {"tenant_id": volume.tenant_id, "project_id": volume.project_id}
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(**owner, volume=volume, name=name)
    except IntegrityError:
        raise NameTaken(f"{volume.name} has a snapshot named {name}.") from None
    operation = operations.start(TAKE, target=snapshot_target(snapshot), by=by, first=True)
    wake_volume(volume)
    return snapshot, operation


def forget_snapshot(*, snapshot: Snapshot, by: Actor) -> Operation:
    """Said twice, it is the same delete."""
    volume = locked(cast(Volume, snapshot.volume))
    snapshot.refresh_from_db()
    if snapshot.deleted_at is not None:
        raise NotFound("The snapshot has just been deleted.")
    same = operations.open_ones(SNAPSHOT_KIND, snapshot.id).filter(verb=FORGET).first()
    if same is None:
        wish = {"phase": ObjectPhase.DELETING, "delete_asked_at": timezone.now(), "reason": None, "failures": 0}
        Snapshot.objects.filter(pk=snapshot.pk).update(**wish)
        same = operations.start(FORGET, target=snapshot_target(snapshot), by=by)
    wake_volume(volume)
    return cast(Operation, same)


def snapshot_target(snapshot: Snapshot) -> operations.Target:
    return operations.Target(
        SNAPSHOT_KIND, snapshot.id, snapshot.name, tenant_id=snapshot.tenant_id, project_id=snapshot.project_id
    )


# --- small parts ---------------------------------------------------------------------------------------------------


def _under_way(volume: Volume, verb: str) -> Operation | None:
    found = operations.open_ones(KIND, volume.id).filter(verb=verb).order_by("-created_at").first()
    return cast("Operation | None", found)


def _begin(volume: Volume, verb: str, by: Actor, **changes: Any) -> Operation:
    """Write what a locked volume shall be from now on."""
    generation = volume.generation + 1
    Volume.objects.filter(pk=volume.pk).update(generation=generation, failures=0, reason=None, **changes)
    return operations.start(verb, target=target(volume), by=by, generation=generation)


def cancel_create(operation: Operation, by: Actor) -> None:
    """Taking back a create is a delete."""
    delete_volume(volume=Volume.objects.get(pk=operation.target_id), by=by)
