"""What teams do with snapshots of their VMs. One verb, one transaction; the VM's own pass does it.

A snapshot is a VM as it was at a moment. Nothing else happens to a VM while one is taken, gone back to or removed: its
own pass does all of that, one act at a time.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict, NameTaken, NotFound

from .. import standing
from ..models import VM, VM_KIND, ObjectPhase, Snapshot
from .marks import SNAPSHOT_KIND

MOST = 32  # of one VM: vSphere keeps no longer chain
CREATE, DELETE, REVERT = "snapshot.create", "snapshot.delete", "vm.revert"


def create_snapshot(*, vm: VM, name: str, with_memory: bool, by: Actor) -> tuple[Snapshot, Operation]:
    """Raises what `standing` does, NameTaken, Conflict (too_many)."""
    vm = standing.locked(vm)
    standing.ready(vm)
    if Snapshot.objects.filter(vm=vm, deleted_at=None).count() >= MOST:
        raise Conflict(f"{vm.name} has {MOST} snapshots: delete one first.", code="too_many")
    try:
        with transaction.atomic():
            snapshot = Snapshot.objects.create(
                tenant_id=vm.tenant_id, project_id=vm.project_id, vm=vm, name=name, with_memory=with_memory
            )
    except IntegrityError:
        raise NameTaken(f"{vm.name} has a snapshot named {name}.") from None
    operation = operations.start(CREATE, target=target(snapshot), by=by, first=True)
    _wake(vm)
    return snapshot, operation


def delete_snapshot(*, snapshot: Snapshot, by: Actor) -> Operation:
    """Its children stay. Said twice, it is the same delete. Raises what `standing` does, Conflict (reverting)."""
    vm, snapshot = _locked(snapshot)
    if snapshot.revert_asked_at is not None:
        raise Conflict(f"{vm.name} is on its way back to this snapshot.", code="reverting")
    same = operations.open_ones(SNAPSHOT_KIND, snapshot.id).filter(verb=DELETE).first()
    if snapshot.phase == ObjectPhase.DELETING and same is not None:
        return same
    Snapshot.objects.filter(pk=snapshot.pk).update(
        phase=ObjectPhase.DELETING, delete_asked_at=timezone.now(), reason=None, failures=0
    )
    operation = operations.start(DELETE, target=target(snapshot), by=by)
    _wake(vm)
    return operation


def revert_vm(*, snapshot: Snapshot, by: Actor) -> Operation:
    """Its VM goes back to it, once for this request, and is then on or off as it was asked to be before.

    Said twice while it is under way, it is the same revert. Raises what `standing` does, Conflict.
    """
    vm, snapshot = _locked(snapshot)
    same = standing.under_way(vm, REVERT)
    if same is not None and snapshot.revert_asked_at is not None:
        return same
    standing.ready(vm)
    if snapshot.phase != ObjectPhase.READY:
        raise Conflict(f"The snapshot {snapshot.name} is {snapshot.phase}.", code="not_ready")
    Snapshot.objects.filter(pk=snapshot.pk).update(revert_asked_at=timezone.now(), failures=0)
    return standing.begin(vm, REVERT, by=by)


def target(snapshot: Snapshot) -> operations.Target:
    return operations.Target(
        kind=SNAPSHOT_KIND, id=snapshot.id, name=snapshot.name, tenant_id=snapshot.tenant_id,
        project_id=snapshot.project_id,
    )  # fmt: skip


def _locked(snapshot: Snapshot) -> tuple[VM, Snapshot]:
    """The VM and the snapshot as they are now, locked in that order."""
    vm = standing.locked(VM.objects.get(pk=snapshot.vm_id))
    found = Snapshot.objects.select_for_update(no_key=True).get(pk=snapshot.pk)
    if found.deleted_at is not None:
        raise NotFound("The snapshot has just been deleted.")
    return vm, found


def _wake(vm: VM) -> None:
    wake(VM_KIND, vm.id, tenant_id=vm.tenant_id, site_id=vm.zone.site_id)
