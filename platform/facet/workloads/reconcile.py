"""One pass over a VM that a team asked for itself: what its phase asks for next, see models.VmPhase.

pending, cloning, built, running -> made, booted, its address seen; then at rest, and woken when the site shows a change
failed                           -> at rest until a person decides; its claims stay held
deleting                         -> seen gone, everything given back: deleted_at

A pass looks at what is, and never at what an earlier pass meant to do; so it may be killed anywhere, and be said twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone

from facet.operations import events
from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, SiteDown, Turn
from facet.rest.access import SYSTEM
from infra import outside
from infra.drivers import base

from . import acting, boot_data, folders, machines, removal, repairing, together
from .models import VM, VM_KIND, VmPhase
from .scene import LATER_S, Scene
from .snapshots import reconcile as snapshots

TASKS_S = 1.0
REFUSED_S = 15.0
ADDRESS_WITHIN = timedelta(minutes=5)  # a guest that has told no address by then runs without Facet's tools
HELD_BACK = "The site shows far fewer machines than before: nothing is rebuilt or removed until a person says so."
NO_IMAGE = {
    "code": "no_image",
    "sentence": "The image that it is made of has left the catalogue.",
    "action": "Delete the VM, and ask for one of an image that the site has.",
}
MISSING = {
    "code": "machine_missing",
    "sentence": "The site no longer shows it.",
    "action": "Look at the site, or delete the VM.",
}
OFF = {"code": "machine_off", "sentence": "It is powered off.", "action": "Start it."}
ON = {"code": "machine_on", "sentence": "It runs, and shall be off.", "action": "Stop it, or start it."}
NO_ADDRESS = {
    "code": "no_address",
    "sentence": "It runs, and its guest has told no address yet.",
    "action": "Look whether its image carries the guest tools of the site.",
}


def vm(turn: Turn) -> Outcome:
    """The engine's entry. Raises what sends the pass to sleep: see outside.asking."""
    scene = Scene.read(turn)
    if scene.vm.deleted_at is not None and not scene.open_operation:
        return Done()
    try:
        with outside.asking():
            return PASSES[scene.vm.phase](scene)
    except SiteDown:
        _site_is_away(scene, "site_unreachable", "The site of its zone does not answer. Facet tries again.")
        raise
    except base.Refused as refused:  # the whole site says no, to Facet's credentials say: IT mends that, not this team
        _site_is_away(scene, "site_refused", f"The site of its zone refuses Facet ({refused.code}): IT has to mend it.")
        return Again(REFUSED_S)


def _site_is_away(scene: Scene, code: str, sentence: str) -> None:
    """Say so where somebody waits; a failed VM keeps its first cause."""
    if scene.vm.phase != VmPhase.FAILED and scene.vm.deleted_at is None:
        scene.wait(code, sentence)
        scene.tell()


# --- coming --------------------------------------------------------------------------------------------------------


def come(scene: Scene) -> Outcome:
    """One act towards what was asked for. At a site that is held back nothing is made, until a person has looked."""
    scene.settle_tasks()
    if scene.vm.phase == VmPhase.FAILED:
        return fail(scene)
    if not scene.is_coming:
        return rest(scene)
    outcome = scene.wait("site_held_back", HELD_BACK) if scene.site.held_back else _stages(scene)
    if scene.vm.phase == VmPhase.FAILED:
        return fail(scene)
    scene.tell()
    return outcome


def _stages(scene: Scene) -> Outcome:
    for stage in STAGES:
        outcome = stage(scene)
        if outcome is not None:
            return outcome
    return _arrived(scene)


def lost(scene: Scene) -> Outcome | None:
    """What was deleted behind our back before it had ever arrived is made anew under its key, once the site was asked.

    What more was asked of since then may have held data: whoever asked is told.
    """
    if scene.vm.missing_at is None:
        return None
    if scene.was_made:
        return acting.give_up(scene, base.DriverError(MISSING["sentence"], code=MISSING["code"]))
    if machines.look(scene.turn, scene.driver, [scene.vm]):
        with scene.turn.transaction():
            machines.begin_again(scene.vm)
            _tell_lost(scene.vm)
    return Again(0.0)


def _tell_lost(vm: VM) -> None:
    events.record(
        "vm.rebuilt", by=SYSTEM, kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id,
        project_id=vm.project_id, message="It was gone from the site; it is made anew.",
    )  # fmt: skip


def make(scene: Scene) -> Outcome | None:
    """Cloned and reconfigured to its size. What has failed for good ends the pass: see come."""
    if scene.vm.phase not in (VmPhase.PENDING, VmPhase.CLONING):
        return None
    if scene.vm.image is None and not scene.vm.needs_no_image:
        return _give_up(scene, NO_IMAGE)
    if scene.busy:
        return Again(scene.pace_s)
    if together.gathering(scene):
        return Again(together.GATHERS_S)
    vms = [scene.vm, *together.fellows(scene)]
    zones = {vm.zone_id: vm.zone for vm in vms}.values()
    refs = folders.ensure(scene.turn, scene.driver, project=scene.vm.project, zones=zones)
    metadata = {vm.id: _metadata(vm) for vm in vms}
    pools = machines.build(scene.turn, scene.site, scene.driver, vms, metadata, refs, scene.running)
    scene.reread()
    if pools and scene.vm.phase == VmPhase.PENDING:
        why = (pools[0].reason or {}).get("sentence", "It is being made.")
        return scene.wait("pool_not_ready", f"Pool {pools[0].name} does not stand at the site yet. {why}")
    image = machines.awaited(scene.turn, [scene.vm])
    if image is not None:
        return scene.wait("image_not_ready", image)
    return None if scene.vm.phase == VmPhase.BUILT else Again(scene.pace_s)


def _metadata(vm: VM) -> str:
    return json.dumps({"instance-id": str(vm.id), "local-hostname": vm.name})  # JSON is YAML too


def _give_up(scene: Scene, reason: Mapping[str, Any]) -> Outcome:
    with scene.turn.transaction():
        same = VM.objects.filter(pk=scene.vm.pk, generation=scene.vm.generation).exclude(phase=VmPhase.DELETING)
        same.update(phase=VmPhase.FAILED, reason=dict(reason))
    scene.reread()
    return Again(0.0)


def boot(scene: Scene) -> Outcome | None:
    """Powered on, with its boot data; one that has run and is found off is powered on again."""
    if scene.was_made:
        return acting.on(scene)
    if not scene.shall_run:
        return None
    if scene.busy:
        return Again(scene.pace_s)
    vms = [scene.vm, *together.fellows(scene)] if scene.vm.phase == VmPhase.BUILT else [scene.vm]
    most = 0 if scene.runs else machines.room(scene.turn, scene.site, len(vms))
    if not scene.runs and not most:
        return Again(scene.pace_s)
    if scene.vm.phase == VmPhase.BUILT:
        machines.boot(scene.turn, scene.driver, {vm.id: boot_data.of(vm) for vm in vms[:most]})
    elif scene.vm.power == base.Power.OFF:
        machines.power_on(scene.turn, scene.driver, [scene.vm.id])
    else:
        return None
    scene.reread()
    return None if scene.runs else Again(scene.pace_s)


def address(scene: Scene) -> Outcome | None:
    """A VM on a network is there when its guest has told its address, or has had time enough to."""
    if not scene.shall_run or scene.has_address:
        return None
    machines.look(scene.turn, scene.driver, [scene.vm, *together.fellows(scene)])
    scene.turn.let_go(scene.pace_s)
    scene.reread()
    if scene.has_address or scene.vm.booted_at is None or timezone.now() - scene.vm.booted_at > ADDRESS_WITHIN:
        return None
    return Again(scene.pace_s)


def forget_read(scene: Scene) -> Outcome | None:
    """Whoever waits for the VM waits for this too; without an address it is done later, at rest."""
    return forget(scene) if scene.vm.address else None


def forget(scene: Scene) -> Outcome | None:
    """A guest that has told its address has read its boot data; one that tells none has had time enough to.

    It is wiped at the site first, and only then forgotten here: who is killed in between wipes it again.
    """
    booted_at = scene.vm.booted_at
    if scene.vm.user_data_sealed is None or not scene.runs or booted_at is None:
        return None
    left_s = 0.0 if scene.vm.address else (booted_at + ADDRESS_WITHIN - timezone.now()).total_seconds()
    if left_s > 0:
        return Again(left_s)
    refusal = machines.wipe(scene.turn, scene.driver, [scene.vm])
    scene.reread()
    if scene.vm.wiped_at is None:
        why = refusal.reason if refusal is not None else "The site is busy with it."
        return scene.wait("boot_data_not_wiped", f"Its boot data cannot be wiped at the site yet. {why}")
    scene.changed(user_data_sealed=None)
    return None


def _arrived(scene: Scene) -> Outcome:
    """What was asked for is real, unless more was asked for meanwhile."""
    with scene.turn.transaction():
        same = VM.objects.filter(pk=scene.vm.pk, phase=scene.vm.phase, generation=scene.vm.generation)
        if not same.update(reason=_found_amiss(scene)):
            return Again(0.0)
        scene.report()
        operations.succeed(VM_KIND, scene.vm.id, generation=scene.vm.generation)
    return Done() if scene.vm.user_data_sealed is None else Again(0.0)


STAGES: Sequence[Callable[[Scene], Outcome | None]] = (
    lost, make, acting.look, acting.settle_failures, snapshots.keep, acting.off, acting.size, repairing.name, boot,
    address, forget_read, repairing.mended,
)  # fmt: skip


# --- at rest -------------------------------------------------------------------------------------------------------


def rest(scene: Scene) -> Outcome:
    """Nothing is begun but what its snapshots ask for, and that boot data is wiped late where no address told of it.

    What the site shows otherwise is said, and not repaired.
    """
    later = forget(scene)
    later = snapshots.keep(scene) or later
    scene.reason = scene.reason or _found_amiss(scene)
    scene.tell()
    if later is not None:
        return later
    return Again(LATER_S) if scene.running else Done()


def _found_amiss(scene: Scene) -> dict[str, str] | None:
    if scene.vm.missing_at is not None:
        return MISSING
    if scene.shall_run and scene.vm.power == base.Power.OFF:
        return OFF
    if not scene.shall_run and scene.vm.power == base.Power.ON:
        return ON
    return NO_ADDRESS if scene.shall_run and not scene.has_address else None


def fail(scene: Scene) -> Outcome:
    """At rest with the first cause. What it holds stays held."""
    scene.settle_tasks()
    reason = scene.vm.reason or {"code": "fault", "sentence": "It failed.", "action": "Look at the site."}
    with scene.turn.transaction():
        if VM.objects.filter(pk=scene.vm.pk, phase=VmPhase.FAILED).exists():
            scene.report()
            operations.fail(VM_KIND, scene.vm.id, code=reason["code"], detail=reason["sentence"])
    return Again(LATER_S) if scene.running else Done()


# --- going ---------------------------------------------------------------------------------------------------------


def go(scene: Scene) -> Outcome:
    """Deleting always ends: whatever is already gone is gone."""
    if scene.vm.deleted_at is None:
        scene.settle_tasks()
        removed = removal.remove(scene.turn, scene.site, scene.driver, [scene.vm], scene.running)
        if removed.refusal is not None:
            scene.wait(removed.refusal.code, f"It may not go yet. {removed.refusal.reason}")
        if removed.left:
            scene.tell()
            return Again(REFUSED_S if removed.refusal else TASKS_S)
    folders.tidy(scene.turn, scene.driver, project_id=scene.vm.project_id, zone_ids=[scene.vm.zone_id])
    with scene.turn.transaction():
        VM.objects.filter(pk=scene.vm.pk).update(reason=None)
        scene.report()
        operations.succeed(VM_KIND, scene.vm.id, generation=scene.vm.generation)
    return Done()


PASSES: Mapping[str, Callable[[Scene], Outcome]] = {
    VmPhase.PENDING: come,
    VmPhase.CLONING: come,
    VmPhase.BUILT: come,
    VmPhase.RUNNING: come,
    VmPhase.FAILED: fail,
    VmPhase.DELETING: go,
}
