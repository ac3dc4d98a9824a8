"""A stage of the VM's own pass: one act of what was asked of its snapshots. So nothing else is at work on the VM then.

A snapshot is found by its key before one is taken, and one that is gone is gone: both may be said twice. A revert is
not such: it may be said again only until the VM's pass has seen it done, because until then nobody was told that the VM
has gone back, and Facet has not powered it on. Whoever is killed between the call and its record says it again, and the
VM stands where it stood. What its end is, is written down with the end of its task; and from then on it is never said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Q

from facet.operations import inflight
from facet.operations import services as operations
from facet.operations.engine import Again, Outcome
from infra.drivers import base

from .. import machines, sightings
from ..models import VM_KIND, ObjectPhase, Snapshot
from ..scene import LATER_S, STANDING, Scene
from .marks import SNAPSHOT_KIND, close
from .services import REVERT

GONE = {"code": "machine_missing", "sentence": "The site no longer shows its VM.", "action": "Look at the site."}
FINAL = machines.FINAL | {"snapshot_not_found", "not_supported"}


def keep(scene: Scene) -> Outcome | None:
    """The next act for its snapshots; None where there is nothing to do, or where it has to wait for others."""
    asked = _asked(scene)
    if not asked:
        return None
    if scene.busy:
        return Again(scene.pace_s)
    if scene.site.held_back:
        return Again(LATER_S)
    for snapshot in asked:
        outcome = _act(scene, snapshot)
        if outcome is not None:
            return outcome
    return None


def _asked(scene: Scene) -> list[Snapshot]:
    """A revert first: it was asked for last, and what is taken then is what is there afterwards."""
    if scene.vm.phase not in STANDING:
        return []
    rows = Snapshot.objects.filter(vm_id=scene.vm.id, deleted_at=None)
    with scene.turn.reading():
        waiting = Q(phase__in=[ObjectPhase.PENDING, ObjectPhase.DELETING]) | Q(revert_asked_at__isnull=False)
        found = list(rows.filter(waiting).order_by("id"))
    return sorted(found, key=lambda one: one.revert_asked_at is None)


def _act(scene: Scene, snapshot: Snapshot) -> Outcome | None:
    error = scene.tasks.failed.get(snapshot.id)
    if error is not None:
        scene.tasks = machines.Tasks(scene.tasks.running, {})  # told once
        return _failed(scene, snapshot, error)
    if snapshot.revert_asked_at is not None:
        return _revert(scene, snapshot)
    if snapshot.phase == ObjectPhase.DELETING:
        return _remove(scene, snapshot)
    if scene.vm.missing_at is not None:
        return _failed(scene, snapshot, base.Refused(GONE["sentence"], code=GONE["code"]), final=True)
    if scene.vm.user_data_sealed is not None and scene.vm.booted_at is not None:
        return None  # its guest has not read it yet: no snapshot keeps a secret
    return _take(scene, snapshot)


def _take(scene: Scene, snapshot: Snapshot) -> Outcome:
    if not machines.room(scene.turn, scene.site, 1):
        return Again(scene.pace_s)
    scene.turn.renew()
    spec = base.SnapshotSpec(snapshot.id, scene.vm.id, snapshot.name, snapshot.with_memory)
    outcome = scene.driver.ensure_snapshots([spec])[snapshot.id]
    if isinstance(outcome, base.SnapshotFacts):
        with scene.turn.transaction():
            same = Snapshot.objects.filter(pk=snapshot.pk, phase=ObjectPhase.PENDING, deleted_at=None)
            if same.update(phase=ObjectPhase.READY, reason=None, failures=0, with_memory=outcome.with_memory):
                operations.succeed(SNAPSHOT_KIND, snapshot.id, generation=1)
        return Again(0.0)
    return _followed(scene, snapshot, outcome)


def _remove(scene: Scene, snapshot: Snapshot) -> Outcome:
    if not machines.room(scene.turn, scene.site, 1):
        return Again(scene.pace_s)
    scene.turn.renew()
    outcome = scene.driver.ensure_no_snapshots({snapshot.id: scene.vm.id})[snapshot.id]
    if outcome is None:
        with scene.turn.transaction():
            close(snapshot)
        return Again(0.0)
    return _followed(scene, snapshot, outcome)


def _revert(scene: Scene, snapshot: Snapshot) -> Outcome:
    if scene.operation is None or scene.operation.verb != REVERT:  # it was given up with its operation
        with scene.turn.transaction():
            Snapshot.objects.filter(pk=snapshot.pk).update(revert_asked_at=None)
        return Again(0.0)
    if not machines.room(scene.turn, scene.site, 1):
        return Again(scene.pace_s)
    scene.turn.renew()
    outcome = scene.driver.revert(scene.vm.id, snapshot.id)
    if isinstance(outcome, base.VmFacts):
        with scene.turn.transaction():
            Snapshot.objects.filter(pk=snapshot.pk).update(revert_asked_at=None, failures=0)
            sightings.write(scene.vm, outcome)
        scene.reread()
        return Again(0.0)
    return _followed(scene, snapshot, outcome)


# --- what a verb answered ------------------------------------------------------------------------------------------


def _followed(scene: Scene, snapshot: Snapshot, outcome: object) -> Outcome:
    if isinstance(outcome, base.InFlight):
        with scene.turn.transaction():
            inflight.record(scene.turn.lease, [inflight.Started(outcome.ref, snapshot.id, outcome.doing)])
        return Again(scene.pace_s)
    if isinstance(outcome, base.NotReady):
        return Again(scene.pace_s)
    if not isinstance(outcome, base.Refused):
        raise outcome if isinstance(outcome, base.DriverError) else TypeError(outcome)
    return _failed(scene, snapshot, outcome)


def _failed(scene: Scene, snapshot: Snapshot, error: base.DriverError, *, final: bool = False) -> Outcome:
    """Tried again a few times; then what was asked for has failed. A delete goes on: what it waits for is said."""
    final = final or error.code in FINAL or snapshot.failures + 1 >= machines.MOST_FAILURES
    changes: dict[str, Any] = {"failures": snapshot.failures + 1, "reason": _reason(error)}
    reverts = snapshot.revert_asked_at is not None
    if reverts and final:
        changes |= {"revert_asked_at": None, "failures": 0}
    elif final and snapshot.phase == ObjectPhase.PENDING:
        changes |= {"phase": ObjectPhase.FAILED}
    with scene.turn.transaction():
        same = Snapshot.objects.filter(pk=snapshot.pk, phase=snapshot.phase, deleted_at=None)
        if same.update(**changes) and final:
            if reverts:
                operations.fail(VM_KIND, scene.vm.id, code=error.code, detail=error.reason)
            elif snapshot.phase == ObjectPhase.PENDING:
                operations.fail(SNAPSHOT_KIND, snapshot.id, code=error.code, detail=error.reason)
    scene.reread()
    return Again(0.0 if final and snapshot.phase != ObjectPhase.DELETING else LATER_S)


def _reason(error: base.DriverError) -> Mapping[str, str]:
    action = machines.ACTIONS.get(error.code, "Look at the site, then ask again.")
    return {"code": error.code, "sentence": error.reason, "action": action}
