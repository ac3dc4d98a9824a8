"""One pass over a volume: made at its size, with the VM that shall have it, its snapshots taken; or gone.

It looks at what is, takes one act that may be said twice, and comes again. It may be killed anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from facet.operations import inflight
from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.services import Step
from infra import outside
from infra.drivers import base
from infra.models import Site
from scheduler import volumes as room
from scheduler.models import VolumeClaim

from .. import machines
from ..models import VM, ObjectPhase, Snapshot, Volume
from . import services

TASKS_S, RETRY_S = 1.0, 15.0
FINAL = machines.FINAL | {"shrinks", "attached", "not_supported", "no_room"}
MEND = "Mend it at the site, then ask again."
LOST = base.Refused("The site no longer shows it. An empty one is not made in its place.", code="volume_missing")
STEPS = {
    services.CREATE: "The volume is made",
    services.GROW: "It grows",
    services.ATTACH: "Its VM is given it",
    services.DETACH: "It is taken from its VM",
    services.DELETE: "The volume is removed",
}


@dataclass
class Scene:
    """A row is a look, not the truth: every write about it says under which condition it holds."""

    turn: Turn
    volume: Volume
    claim: VolumeClaim | None

    @classmethod
    def read(cls, turn: Turn) -> Scene:
        with turn.reading():
            volume = Volume.objects.select_related("zone__site", "wanted_by").get(pk=turn.key)
            return cls(turn, volume, room.claims([volume.id]).get(volume.id))

    @property
    def site(self) -> Site:
        return self.volume.zone.site

    @cached_property
    def driver(self) -> base.Driver:
        return outside.driver_of(self.site)

    @property
    def place(self) -> dict[UUID, str]:
        return {self.volume.id: self.claim.datastore.ref} if self.claim is not None else {}

    def same(self) -> QuerySet[Volume]:
        """The volume, if nothing more was asked of it since it was read."""
        return Volume.objects.filter(pk=self.volume.pk, generation=self.volume.generation, deleted_at=None)


def volume(turn: Turn) -> Outcome:
    """The engine's entry."""
    scene = Scene.read(turn)
    if scene.volume.deleted_at is not None:
        return Done()
    if scene.site.held_back:
        return Again(RETRY_S)
    with outside.asking():
        tasks = machines.settle_tasks(turn, scene.driver, count_failures=False)
        if tasks.running:
            return Again(TASKS_S)
        failed = next(iter(tasks.failed.values()), None)
        if failed is not None:
            return _refused(scene, failed)
        _report(scene)
        return _go(scene) if scene.volume.phase == ObjectPhase.DELETING else _come(scene)


def _report(scene: Scene) -> None:
    with scene.turn.transaction():
        open_one = operations.open_ones(services.KIND, scene.volume.id).order_by("-created_at").first()
        if open_one is not None:
            title = STEPS.get(open_one.verb, "It is made right")
            operations.report(services.KIND, scene.volume.id, [Step("volume", title, "running")])


# --- coming --------------------------------------------------------------------------------------------------------


def _come(scene: Scene) -> Outcome:
    was = scene.volume
    if was.phase == ObjectPhase.FAILED and not was.ref:
        return Done()
    scene.turn.renew()
    if was.ref and was.id not in scene.driver.find_volumes(scene.place):
        return _refused(scene, LOST)
    spec = base.VolumeSpec(
        key=was.id, name=was.name, size_gib=was.size_gib, datastore_ref=scene.place[was.id], policy_ref=_policy(scene)
    )
    made = scene.driver.ensure_volumes([spec])[was.id]
    if not isinstance(made, base.VolumeFacts):
        return _followed(scene, made)
    if not _seen(scene, made):
        return Again(0.0)
    if made.attached_to != was.wanted_by_id:
        return _hand_over(scene, made)
    return _snapshots(scene, made)


def _policy(scene: Scene) -> str:
    """Of its storage class, where that is bound to one."""
    classes = scene.volume.zone.storage_classes.select_related("policy")
    with scene.turn.reading():
        found = classes.filter(name=scene.volume.storage_class).first() if scene.volume.storage_class else None
        return found.policy.ref if found is not None and found.policy is not None else ""


def _seen(scene: Scene, facts: base.VolumeFacts) -> bool:
    """Write down what the site shows; False where more was asked of it meanwhile."""
    with scene.turn.transaction():
        return bool(
            scene.same().update(
                phase=ObjectPhase.READY, ref=facts.ref, observed_gib=facts.size_gib, attached_to=facts.attached_to
            )
        )


def _hand_over(scene: Scene, seen: base.VolumeFacts) -> Outcome:
    """To the VM that shall have it; taken from the one that has it first, where it shall be free."""
    was = scene.volume
    scene.turn.renew()
    if was.wanted_by_id is None:
        outcome = scene.driver.detach(scene.place)[was.id]
    else:
        spec = base.AttachSpec(was.id, scene.place[was.id], was.wanted_by_id)
        outcome = scene.driver.attach([spec])[was.id]
    if not isinstance(outcome, base.VolumeFacts):
        return _followed(scene, outcome)
    _seen(scene, outcome)
    return Again(0.0)


def _snapshots(scene: Scene, seen: base.VolumeFacts) -> Outcome:
    """The next one that is to be taken or removed; at rest where there is none."""
    with scene.turn.reading():
        rows = Snapshot.objects.filter(volume_id=scene.volume.id, deleted_at=None)
        waiting = rows.filter(phase__in=[ObjectPhase.PENDING, ObjectPhase.DELETING]).order_by("id").first()
    if waiting is None:
        return _rest(scene)
    scene.turn.renew()
    spec = base.VolumeSnapshotSpec(waiting.id, scene.volume.id, scene.place[scene.volume.id])
    outcome: object
    if waiting.phase == ObjectPhase.DELETING:
        outcome = scene.driver.ensure_no_volume_snapshots([spec])[waiting.id]
    else:
        outcome = scene.driver.ensure_volume_snapshots([spec])[waiting.id]
    if isinstance(outcome, base.InFlight | base.NotReady) or (
        isinstance(outcome, base.DriverError) and not isinstance(outcome, base.Refused)
    ):
        return _followed(scene, outcome)
    with scene.turn.transaction():
        _settle(waiting, outcome if isinstance(outcome, base.Refused) else None)
    return Again(0.0 if not isinstance(outcome, base.Refused) else TASKS_S)


def _settle(snapshot: Snapshot, refused: base.Refused | None) -> None:
    """It is as asked, or was refused; a delete that is refused goes on."""
    same = Snapshot.objects.filter(pk=snapshot.pk, phase=snapshot.phase, deleted_at=None)
    reason = outside.reason(refused, MEND) if refused is not None else None
    if snapshot.phase == ObjectPhase.DELETING:
        changes: dict[str, Any] = {"deleted_at": timezone.now()} if refused is None else {}
    else:
        changes = {"phase": ObjectPhase.READY if refused is None else ObjectPhase.FAILED}
    if not same.update(reason=reason, **changes):
        return
    if refused is None:
        operations.succeed(services.SNAPSHOT_KIND, snapshot.id, generation=1)
    elif snapshot.phase == ObjectPhase.PENDING:
        operations.fail(services.SNAPSHOT_KIND, snapshot.id, code=refused.code, detail=refused.reason)


def _rest(scene: Scene) -> Outcome:
    """What was asked for is real, unless more was asked for meanwhile. A VM that went took back what was asked."""
    with scene.turn.transaction():
        if not scene.same().update(reason=None, failures=0):
            return Again(0.0)
        wanted = operations.open_ones(services.KIND, scene.volume.id).filter(verb=services.ATTACH).exists()
        if wanted and scene.volume.wanted_by_id is None:
            operations.fail(services.KIND, scene.volume.id, code="vm_deleted", detail="Its VM is gone.")
        operations.succeed(services.KIND, scene.volume.id, generation=scene.volume.generation)
    return Done()


# --- what a verb answered ------------------------------------------------------------------------------------------


def _followed(scene: Scene, outcome: object) -> Outcome:
    """Come again; a refusal is the end of what was asked for. Raises what concerns the whole site."""
    if isinstance(outcome, base.Refused):
        return _refused(scene, outcome)
    if isinstance(outcome, base.NotReady):
        return Again(TASKS_S)
    if not isinstance(outcome, base.InFlight):
        raise outcome if isinstance(outcome, base.DriverError) else TypeError(outcome)
    with scene.turn.transaction():
        inflight.record(scene.turn.lease, [inflight.Started(outcome.ref, scene.volume.id, outcome.doing)])
    return Again(TASKS_S)


def _refused(scene: Scene, error: base.DriverError) -> Outcome:
    """Tried again a few times; then the wish is taken back, and the volume rests as it stands."""
    was = scene.volume
    final = error.code in FINAL or was.failures + 1 >= machines.MOST_FAILURES
    reason = outside.reason(error, machines.ACTIONS.get(error.code, MEND))
    if not final or was.phase == ObjectPhase.DELETING:
        with scene.turn.transaction():
            scene.same().update(failures=was.failures + 1, reason=reason)
        return Again(RETRY_S if final else TASKS_S)
    with scene.turn.transaction():
        changes = _as_it_stands(was)
        if scene.same().update(**changes, failures=0, reason=reason):
            if "size_gib" in changes:
                owner = {"tenant_id": was.tenant_id, "project_id": was.project_id}
                room.grow(**owner, holder=was.id, size_gib=changes["size_gib"])
            operations.fail(services.KIND, was.id, code=error.code, detail=error.reason)
    return Done()


def _as_it_stands(was: Volume) -> Mapping[str, Any]:
    """What it is asked to be once its wish was given up: one that was never made has failed, and keeps its room."""
    if not was.ref:
        return {"phase": ObjectPhase.FAILED}
    if was.size_gib > was.observed_gib:
        return {"size_gib": was.observed_gib}
    holder = was.attached_to if VM.objects.filter(pk=was.attached_to, deleted_at=None).exists() else None
    return {"wanted_by_id": holder}


# --- going ---------------------------------------------------------------------------------------------------------


def _go(scene: Scene) -> Outcome:
    """Deleting always ends: once the site was seen without it, its room is given back in that transaction."""
    was = scene.volume
    if scene.place:
        scene.turn.renew()
        outcome = scene.driver.ensure_no_volumes(scene.place)[was.id]
        if outcome is not None:
            return _followed(scene, outcome)
    with scene.turn.transaction():
        gone = scene.same().filter(phase=ObjectPhase.DELETING)
        if not gone.update(deleted_at=timezone.now(), attached_to=None, reason=None):
            return Again(0.0)
        for snapshot in Snapshot.objects.filter(volume_id=was.id, deleted_at=None).order_by("id"):
            Snapshot.objects.filter(pk=snapshot.pk).update(deleted_at=timezone.now())
            if snapshot.phase == ObjectPhase.DELETING:
                operations.succeed(services.SNAPSHOT_KIND, snapshot.id, generation=1)
            else:
                operations.fail(
                    services.SNAPSHOT_KIND, snapshot.id, code="volume_deleted", detail="Its volume is gone."
                )
        room.release(tenant_id=was.tenant_id, project_id=was.project_id, holders=[was.id])
        operations.succeed(services.KIND, was.id, generation=was.generation)
    return Done()
