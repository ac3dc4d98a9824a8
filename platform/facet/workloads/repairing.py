"""What people do about drift: have a VM put back as it was asked for, or take over how it stands.

A repair is an operation of the VM's own pass: its stages bring back power and size as for any act, and `name` here its
name. What a person has to settle (a VM that is gone, one that left its zone, a disk that grew) is no repair.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import structlog
from django.utils import timezone

from facet.operations import events
from facet.operations.engine import Again, Outcome
from facet.operations.models import Operation
from facet.rest.access import SYSTEM, Actor
from facet.rest.problems import Conflict, Problem
from infra.drivers import base
from scheduler import ledger
from scheduler.ledger import Size

from . import acting, drift, machines, standing
from .models import VM, VM_KIND, VmPhase
from .power import OFF, ON, WITHIN_S
from .resizing import DIMENSIONS, size_of
from .scene import Scene
from .standing import Check

log = structlog.get_logger(__name__)

REPAIR = "vm.repair"
MENDABLE = frozenset({"power", "name", *DIMENSIONS})
Lines = Mapping[str, Mapping[str, Any]]  # by field


def lines_of(vm: VM) -> Lines:
    return {line["field"]: line for line in vm.drift or ()}


# --- back as it was asked for --------------------------------------------------------------------------------------


def repair_vm(*, vm: VM, by: Actor, check: Check | None = None) -> Operation:
    """Bring its power, name and size back. Said twice, it is the same repair. Raises what `standing` does, Conflict."""
    vm = standing.locked(vm, check)
    same = standing.under_way(vm, REPAIR)
    if same is not None:
        return same
    standing.ready(vm)
    return _begin(vm, by)


def by_policy(key: UUID) -> None:
    """As its zone says, once for what has come to differ. What cannot be put back stays said. In a transaction."""
    vm = VM.objects.filter(pk=key, owner_kind=VM_KIND, deleted_at=None).first()
    if vm is None:
        return
    try:
        vm = standing.locked(vm)
        standing.ready(vm)
        if standing.under_way(vm, REPAIR) is None:
            _begin(vm, SYSTEM)
    except Problem as refused:
        log.info("drift is left", vm=str(key), why=refused.detail)


def _begin(vm: VM, by: Actor) -> Operation:
    lines = lines_of(vm)
    fields = lines.keys() & MENDABLE
    if not fields:
        raise Conflict(f"Nothing about {vm.name} differs that could be put back.", code="no_drift")
    disk = lines.get("disk_gib")
    if disk is not None and disk["seen"] > disk["wanted"]:
        sentence = f"The disk of {vm.name} has grown, and disks never shrink. Accept it as it is."
        raise Conflict(sentence, code="disk_shrinks")
    changes: dict[str, Any] = {}
    if fields & set(DIMENSIONS):
        was = size_of(vm) | {"flavor": vm.flavor}
        changes["resizing"] = {"was": was, "may_stop": False, "begun": False, "off": False}
    if lines.get("power", {}).get("wanted") == OFF:
        changes["stop_within_s"] = WITHIN_S
    return standing.begin(vm, REPAIR, by=by, **changes)


def name(scene: Scene) -> Outcome | None:
    """The stage of a pass that gives a VM its name back."""
    if scene.operation is None or scene.operation.verb != REPAIR or "name" not in lines_of(scene.vm):
        return None
    if scene.busy:
        return Again(scene.pace_s)
    wanted = scene.vm.site_name or scene.vm.name
    scene.turn.renew()
    outcome = scene.driver.ensure_names({scene.vm.id: wanted})[scene.vm.id]
    if isinstance(outcome, base.Refused):
        return acting.give_up(scene, outcome)
    if isinstance(outcome, base.DriverError) and not isinstance(outcome, base.NotReady):
        raise outcome
    with scene.turn.transaction():
        machines.record(scene.turn, {scene.vm.id: outcome})
    return None if isinstance(outcome, base.VmFacts) else Again(scene.pace_s)


def mended(scene: Scene) -> Outcome | None:
    """The last stage: what is still other than asked for stays said, and no more than that."""
    if scene.operation is None or scene.operation.verb != REPAIR:
        return None
    scene.turn.renew()
    seen = scene.driver.find_vms([scene.vm.id]).get(scene.vm.id)
    if seen is not None:
        with scene.turn.transaction():
            drift.judge({scene.vm.id: scene.vm}, [seen], None)
        scene.reread()
    return None


# --- as it stands --------------------------------------------------------------------------------------------------


def accept_drift(*, vm: VM, by: Actor, check: Check | None = None) -> VM:
    """What was asked for is from now on what is seen: its power, name and size; the ledger gives it that size.

    Raises what `standing` does; Conflict for want of room, quota or pool, with nothing changed, and `no_drift` where
    nothing can be taken over.
    """
    vm = standing.locked(vm, check)
    standing.ready(vm)
    lines = lines_of(vm)
    changes = _power(lines) | _name(vm, lines)
    size = {field: lines[field]["seen"] for field in DIMENSIONS if field in lines}
    taken = [field for field in lines if field in MENDABLE and (field != "power" or "power_wanted" in changes)]
    if not taken:
        raise Conflict(f"Nothing about {vm.name} differs that could be taken over.", code="no_drift")
    if size:
        changes |= size | {"flavor": ""}
    left = [line for line in vm.drift or () if line["field"] not in taken]
    VM.objects.filter(pk=vm.pk).update(drift=left or None, reason=None, generation=vm.generation + 1, **changes)
    if size:
        _hold(vm, size_of(vm) | size)
    events.record(
        "vm.drift_accepted", by=by, kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id,
        project_id=vm.project_id, message=f"Taken over as it stands: {', '.join(taken)}.",
        before={field: lines[field]["wanted"] for field in taken},
        after={field: lines[field]["seen"] for field in taken},
    )  # fmt: skip
    return vm


def _power(lines: Lines) -> dict[str, Any]:
    seen = lines.get("power", {}).get("seen")
    if seen == ON:
        return {"power_wanted": ON, "phase": VmPhase.RUNNING, "booted_at": timezone.now()}
    return {"power_wanted": OFF, "phase": VmPhase.BUILT} if seen == OFF else {}  # nobody asks for one that is suspended


def _name(vm: VM, lines: Lines) -> dict[str, Any]:
    if "name" not in lines:
        return {}
    seen = lines["name"]["seen"]
    return {"site_name": "" if seen == vm.name else seen}


def _hold(vm: VM, size: Mapping[str, int]) -> None:
    try:
        held = Size(*_in_order(size))
        ledger.resize(tenant_id=vm.tenant_id, project_id=vm.project_id, sizes={vm.id: held})
    except ledger.Stale:
        raise Conflict(f"{vm.name} has just arrived elsewhere. Try again.", code="busy", status=503) from None


def _in_order(size: Mapping[str, int]) -> Iterable[int]:
    return (size[field] for field in DIMENSIONS)
