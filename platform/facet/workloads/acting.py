"""The stages of a pass that change a VM which stands: off, another size, on.

Each asks the site by a verb that can be said twice, and believes what the verb shows. A refusal ends the operation with
its reason and takes the wish back, so that the VM is at rest as it stands; its room and its disk stay its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from facet.operations import services as operations
from facet.operations.engine import Again, Outcome
from facet.rest.problems import Conflict
from infra.drivers import base
from scheduler import ledger
from scheduler.ledger import Size

from . import boot_data, machines, resizing, sightings
from .models import VM_KIND, VmPhase
from .resizing import DIMENSIONS
from .scene import LATER_S, Scene


def look(scene: Scene) -> Outcome | None:
    """Power is observed, not assumed: who acts on what stands asks the site first how it is."""
    if not scene.was_made:
        return None
    if machines.look(scene.turn, scene.driver, [scene.vm]):
        machines.look_for(scene.turn, lost=1)
    scene.reread()
    return None


def settle_failures(scene: Scene) -> Outcome | None:
    """A task about it that failed is tried again a few times; one that hangs is not. Others' tasks are theirs."""
    error = scene.tasks.failed.get(scene.vm.id)
    acts = scene.is_changing or scene.shall_run != (scene.vm.phase == VmPhase.RUNNING)
    if error is None or not scene.was_made or not acts:
        return None
    return _refused(scene, error, final=error.code == "task_hangs")


# --- off -----------------------------------------------------------------------------------------------------------


def off(scene: Scene) -> Outcome | None:
    """Its guest is asked; after the deadline, or where it cannot be asked, it is powered off."""
    if not scene.shall_go_off:
        return None
    if scene.busy:
        return Again(scene.pace_s)
    if scene.is_off:
        if scene.vm.phase != VmPhase.BUILT or scene.vm.restart_wanted or scene.vm.stop_asked_at is not None:
            scene.changed(phase=VmPhase.BUILT, restart_wanted=False, stop_asked_at=None, failures=0)
        return None
    left_s = _left_s(scene)
    if left_s > 0:
        outcome = scene.driver.shut_down([scene.vm.id])[scene.vm.id]
        if not (isinstance(outcome, base.Refused) and outcome.code == "no_guest_tools"):
            return _followed(scene, outcome, pace_s=min(LATER_S, left_s))
    return _followed(scene, scene.driver.ensure_power({scene.vm.id: base.Power.OFF})[scene.vm.id])


def _left_s(scene: Scene) -> float:
    """How long its guest may still take. The clock begins with the first asking, which is about to be done."""
    scene.turn.renew()
    if scene.vm.stop_within_s <= 0:
        return 0.0
    if scene.vm.stop_asked_at is None and not scene.changed(stop_asked_at=timezone.now()):
        return float(scene.vm.stop_within_s)
    asked_at = scene.vm.stop_asked_at or timezone.now()
    return (asked_at + timedelta(seconds=scene.vm.stop_within_s) - timezone.now()).total_seconds()


# --- size ----------------------------------------------------------------------------------------------------------


def size(scene: Scene) -> Outcome | None:
    """Hot where its layer allows it; off first where it does not, and that was allowed."""
    if scene.vm.resizing is None:
        return None
    if scene.busy:
        return Again(scene.pace_s)
    if not scene.vm.resizing["begun"] and not scene.changed(resizing=scene.vm.resizing | {"begun": True}):
        return Again(0.0)
    scene.turn.renew()
    size_ = base.SizeSpec(**resizing.size_of(scene.vm))
    outcome = scene.driver.ensure_size({scene.vm.id: size_})[scene.vm.id]
    if isinstance(outcome, base.VmFacts):
        return _settle_size(scene, resizing.size_of(scene.vm))
    wish = scene.vm.resizing or {}
    if isinstance(outcome, base.Refused) and outcome.code == "needs_power_off" and wish["may_stop"] and not wish["off"]:
        scene.changed(resizing=wish | {"off": True})
        return Again(0.0)
    return _followed(scene, outcome)


def _settle_size(
    scene: Scene, seen: Mapping[str, int], error: base.DriverError | None = None, **changes: Any
) -> Outcome | None:
    """It has this size: hold that and no more. A drain that moves it meanwhile is waited for. `error`: it failed."""
    vm = scene.vm
    held = Size(*(seen[name] for name in DIMENSIONS))
    try:
        with scene.turn.transaction():
            if scene.same().update(resizing=None, failures=0, **seen, **changes):
                ledger.resize(tenant_id=vm.tenant_id, project_id=vm.project_id, sizes={vm.id: held})
                _fail(scene, error)
    except ledger.Stale:
        return Again(0.0)
    except Conflict as refused:
        return scene.wait(refused.code, f"Its new size is seen, and not settled yet. {refused.detail}")
    scene.reread()
    return None


def _as_it_stands(scene: Scene) -> dict[str, int]:
    """The size that the site shows of a VM whose resize was given up; what is neither the old nor the new is drift."""
    was, now = (scene.vm.resizing or {})["was"], resizing.size_of(scene.vm)
    seen = scene.driver.find_vms([scene.vm.id]).get(scene.vm.id)
    return {name: getattr(seen, name) if getattr(seen, name, None) == now[name] else was[name] for name in DIMENSIONS}


# --- on ------------------------------------------------------------------------------------------------------------


def on(scene: Scene) -> Outcome | None:
    """Powered on again; with its boot data where it has never been on."""
    if not scene.shall_run:
        return None
    if scene.busy:
        return Again(scene.pace_s)
    if scene.runs:
        return None
    if not machines.room(scene.turn, scene.site, 1):
        return Again(scene.pace_s)
    scene.turn.renew()
    if scene.vm.booted_at is None:
        error = scene.driver.ensure_boot_data({scene.vm.id: boot_data.of(scene.vm)})[scene.vm.id]
        if error is not None and error.code != "already_booted":
            return _followed(scene, error)
    outcome = scene.driver.ensure_power({scene.vm.id: base.Power.ON})[scene.vm.id]
    if isinstance(outcome, base.VmFacts):
        with scene.turn.transaction():
            sightings.write(scene.vm, outcome)
        won = scene.changed(phase=VmPhase.RUNNING, booted_at=timezone.now(), failures=0)
        return None if won else Again(0.0)
    return _followed(scene, outcome)


# --- what a verb answered ------------------------------------------------------------------------------------------


def _followed(scene: Scene, outcome: base.VmOutcome, *, pace_s: float | None = None) -> Outcome:
    """Come again, sooner where something has moved; a refusal counts. Raises what concerns the whole site."""
    if isinstance(outcome, base.Refused):
        if outcome.code == "not_found":
            machines.look_for(scene.turn, lost=1)
        return _refused(scene, outcome, final=outcome.code in machines.FINAL | {"needs_power_off", "disk_shrinks"})
    if isinstance(outcome, base.NotReady):
        return Again(scene.pace_s if pace_s is None else pace_s)
    if isinstance(outcome, base.DriverError):
        raise outcome
    with scene.turn.transaction():
        machines.record(scene.turn, {scene.vm.id: outcome})
        if isinstance(outcome, base.VmFacts):
            sightings.write(scene.vm, outcome)
    scene.reread()
    return Again(0.0 if isinstance(outcome, base.VmFacts) else scene.pace_s)


def _refused(scene: Scene, error: base.DriverError, *, final: bool) -> Outcome:
    if not final and scene.vm.failures + 1 < machines.MOST_FAILURES:
        scene.changed(failures=scene.vm.failures + 1, reason=_reason(error))
        return Again(LATER_S)
    return give_up(scene, error)


def give_up(scene: Scene, error: base.DriverError) -> Outcome:
    """The operation ends with this reason; the VM rests as it stands, and gives back what only its wish held."""
    if scene.vm.resizing is not None:
        seen = _as_it_stands(scene)
        was = scene.vm.resizing["was"]
        flavor = {"flavor": was["flavor"]} if seen == {name: was[name] for name in DIMENSIONS} else {}
        waits = _settle_size(scene, seen, error, **flavor)
        return Again(0.0) if waits is None else waits
    power = base.Power.ON if scene.vm.phase == VmPhase.RUNNING else base.Power.OFF
    with scene.turn.transaction():
        if scene.same().update(power_wanted=power.value, restart_wanted=False, stop_asked_at=None, failures=0):
            _fail(scene, error)
    scene.reread()
    return Again(0.0)


def _fail(scene: Scene, error: base.DriverError | None) -> None:
    if error is not None:
        operations.fail(VM_KIND, scene.vm.id, code=error.code, detail=error.reason)


def _reason(error: base.DriverError) -> dict[str, str]:
    action = machines.ACTIONS.get(error.code, "Look at the site.")
    return {"code": error.code, "sentence": error.reason, "action": action}
