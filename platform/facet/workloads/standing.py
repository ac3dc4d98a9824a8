"""What every act on a VM that stands begins with: the row as it is now, locked, and whether it can be acted on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from facet.operations import engine
from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict, InUse, NotFound

from .models import VM, VM_KIND, Snapshot, VmPhase

Check = Callable[[VM], None]


def target(vm: VM) -> operations.Target:
    return operations.Target(kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id, project_id=vm.project_id)


def locked(vm: VM, check: Check | None = None) -> VM:
    """As it is now, locked. `check` judges the locked row.

    Raises NotFound, and InUse for a VM that something else looks after.
    """
    vm = VM.objects.select_related("zone").select_for_update(of=("self",), no_key=True).get(pk=vm.pk)
    if vm.deleted_at is not None:
        raise NotFound("The VM has just been deleted.")
    if vm.owner_kind != VM_KIND:
        holders = engine.holders(VM_KIND, vm.id)
        names = ", ".join(f"{held['kind']} {held['name']}" for held in holders) or f"a {vm.owner_kind}"
        raise InUse(f"{vm.name} is a machine of {names}, which alone may change or remove it.", holders=holders)
    if check is not None:
        check(vm)
    return vm


def ready(vm: VM) -> None:
    """Raises Conflict for a VM of which nothing can be asked now."""
    if vm.phase in (VmPhase.PENDING, VmPhase.CLONING):
        raise Conflict(f"{vm.name} is still being made.", code="not_ready")
    if vm.phase == VmPhase.DELETING:
        raise Conflict(f"{vm.name} is being deleted.", code="not_ready")
    if vm.phase == VmPhase.FAILED:
        raise Conflict(f"{vm.name} has failed. Delete it, and ask again.", code="not_ready")
    if vm.missing_at is not None:
        raise Conflict(f"The site no longer shows {vm.name}.", code="machine_missing")
    if vm.resizing is not None:
        raise Conflict(f"{vm.name} is on its way to another size. Wait for its end.", code="resizing")
    if Snapshot.objects.filter(vm_id=vm.id, revert_asked_at__isnull=False, deleted_at=None).exists():
        raise Conflict(f"{vm.name} is on its way back to a snapshot. Wait for its end.", code="reverting")


def under_way(vm: VM, verb: str) -> Operation | None:
    """The open operation of this verb: whoever says it again is given that one."""
    found = operations.open_ones(VM_KIND, vm.id).filter(verb=verb).order_by("-created_at").first()
    return cast("Operation | None", found)


def begin(
    vm: VM,
    verb: str,
    *,
    by: Actor,
    undo: dict[str, Any] | None = None,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    **changes: Any,
) -> Operation:
    """Write what a locked VM shall be from now on, and let the engine see to it. In a transaction."""
    generation = vm.generation + 1
    VM.objects.filter(pk=vm.pk).update(generation=generation, failures=0, reason=None, **changes)
    operation = operations.start(
        verb, target=target(vm), by=by, generation=generation, undo=undo, before=before, after=after
    )
    wake(VM_KIND, vm.id, tenant_id=vm.tenant_id, site_id=vm.zone.site_id)
    return operation


def take_back(operation: Operation, judge: Callable[[VM], dict[str, Any]]) -> None:
    """For a cancel: write what `judge` says of the VM as it is now. It may raise Conflict."""
    vm = locked(VM.objects.get(pk=operation.target_id))
    VM.objects.filter(pk=vm.pk).update(generation=vm.generation + 1, **judge(vm))
    Operation.objects.select_for_update(no_key=True).filter(pk=operation.pk).first()  # before the wakeup is
    wake(VM_KIND, vm.id, tenant_id=vm.tenant_id, site_id=vm.zone.site_id)
