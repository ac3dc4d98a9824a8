"""One pass over a drain: who stands on the hosts is moved elsewhere, live, a slice at a time, until nobody is left.

running   -> what is under way is looked at and settled; more destinations are claimed, and the VMs sent there
cancelled, failed -> no further move begins; once nothing is under way the drain ends, see wind_down
drained   -> nobody and nothing is left on the hosts

A pass looks at what is: open Move rows, the site's own answer where each VM stands, and who still has room there. So it
may be killed anywhere, and be said twice.
"""

from __future__ import annotations

from django.db.models import Q
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, SiteDown
from facet.operations.engine import Turn as EngineTurn
from facet.operations.models import Operation
from facet.operations.services import Step
from facet.operations.wakeups import wake
from facet.rest.access import SYSTEM
from infra import maintenance as hosts
from infra import outside
from infra.drivers import base
from infra.models import Zone, ZonePhase
from scheduler.models import Allocation, Hold, Move, PoolPhase, ResourcePool
from scheduler.services import POOL_KIND, wake_pools_of

from ..models import Drain, DrainPhase
from . import claims
from . import moves as moving
from .claims import GivenUp
from .scene import Scene
from .services import DRAIN_KIND

TASKS_S = 1.0
ROOM_S = 10.0
STUCK = ("no_room", "site_held_back", "quota_exceeded", "pool_exceeded")  # nobody is at work to change it
REFUSED_S = 30.0


def drain(turn: EngineTurn) -> Outcome:
    """The engine's entry. Raises what sends the pass to sleep: see outside.asking."""
    scene = Scene.read(turn)
    if scene.drain.ended_at is not None:
        return Done()
    try:
        with outside.asking():
            return _pass(scene)
    except SiteDown:
        scene.wait("site_unreachable", "The site does not answer. Facet tries again.")
        tell(scene)
        raise
    except base.Refused as refused:  # the whole site says no
        scene.wait("site_refused", f"The site refuses Facet: {refused.reason}")
        tell(scene)
        return Again(REFUSED_S)


def _pass(scene: Scene) -> Outcome:
    moving.settle(scene)
    if scene.drain.phase != DrainPhase.RUNNING:
        return wind_down(scene)
    if scene.site.held_back:
        scene.wait(
            "site_held_back", "The site shows far fewer machines than before: nothing is moved until a person says so."
        )
        tell(scene)
        return Again(ROOM_S)
    claims.claim(scene)
    moving.send(scene)
    failed = claims.given_up(scene)
    if failed is not None:
        _fail(scene, failed)
        return Again(0.0)
    if _drained(scene):
        return Done()
    tell(scene)
    if scene.open_moves():
        return Again(TASKS_S)
    if scene.claimed or scene.reason is None:
        return Again(0.0)
    return Again(ROOM_S if scene.reason["code"] in STUCK else TASKS_S)


# --- ending --------------------------------------------------------------------------------------------------------


def _drained(scene: Scene) -> bool:
    """Whether nobody and nothing is left; then it is written down. What pools keep on a host is placed anew first."""
    with scene.turn.reading():
        left = Allocation.objects.filter(host_id__in=scene.host_ids, released=None).exists()
        under_way = Move.objects.filter(drain_id=scene.drain.id, ended_at=None).exists()
        kept = _kept(scene)
    if left or under_way:
        return False
    if kept:
        _wake_pools(scene, kept)
        return False
    with scene.turn.transaction():
        won = Drain.objects.filter(pk=scene.drain.pk, phase=DrainPhase.RUNNING, ended_at=None).update(
            phase=DrainPhase.DRAINED, reason=None, ended_at=timezone.now()
        )
        if won:
            operations.report(DRAIN_KIND, scene.drain.id, _steps(scene))
            operations.succeed(DRAIN_KIND, scene.drain.id, generation=scene.drain.generation)
    return bool(won)


def _kept(scene: Scene) -> list[Hold]:
    """What pools keep on the host. A zone's guarantees are of that zone: they stay."""
    if scene.drain.host_id is None:
        return []
    return list(Hold.objects.filter(Q(vcpu__gt=0) | Q(memory_mib__gt=0), host_id__in=scene.host_ids))


def _wake_pools(scene: Scene, kept: list[Hold]) -> None:
    """Their own passes place it anew. In transactions of their own: no pass locks another's wakeup beside its own."""
    ids = {hold.pool_id for hold in kept}
    with scene.turn.context(None):
        rows = ResourcePool.objects.filter(Q(pk__in=ids) | Q(spare_id__in=ids), deleted_at=None)
        for pool in rows.exclude(phase=PoolPhase.DELETING).order_by("id"):
            wake(POOL_KIND, pool.id, tenant_id=pool.tenant_id, site_id=scene.site.id)
            why = (pool.reason or {}).get("sentence", "It is placed anew.")
            scene.wait("guarantees", f"Pool {pool.name} keeps room here. {why}")


def _fail(scene: Scene, failed: GivenUp) -> None:
    """With the first cause. What is under way ends first: see wind_down."""
    reason = {
        "code": failed.code,
        "sentence": f"VM {failed.name} could not be moved: {failed.sentence}",
        "action": "Mend the cause, then drain again. The host takes nothing new meanwhile.",
        "vm": failed.name,
    }
    with scene.turn.transaction():
        Drain.objects.filter(pk=scene.drain.pk, phase=DrainPhase.RUNNING).update(phase=DrainPhase.FAILED, reason=reason)


def wind_down(scene: Scene) -> Outcome:
    """Nothing more begins. When nothing is under way any more, it ends: cancelled opens again what it has closed."""
    moving.call_back(scene)
    with scene.turn.reading():
        under_way = Move.objects.filter(drain_id=scene.drain.id, ended_at=None).exists()
    if under_way:
        tell(scene)
        return Again(TASKS_S)
    with scene.turn.transaction():
        ended = Drain.objects.filter(pk=scene.drain.pk, ended_at=None).update(ended_at=timezone.now())
        if ended and scene.drain.phase == DrainPhase.CANCELLED:
            _open_again(scene)
        elif ended:
            reason = scene.drain.reason or {}
            operations.report(DRAIN_KIND, scene.drain.id, _steps(scene))
            operations.fail(DRAIN_KIND, scene.drain.id, code=reason["code"], detail=reason["sentence"], vm=reason["vm"])
    with scene.turn.context(None):
        wake_pools_of(scene.drain.zone_id)
    return Done()


def _open_again(scene: Scene) -> None:
    asked = Operation.objects.filter(target_kind=DRAIN_KIND, target_id=scene.drain.id).order_by("created_at").first()
    before = (asked.undo if asked is not None else None) or {}
    if scene.drain.host_id is None:
        if before.get("phase") == ZonePhase.ACTIVE:
            Zone.objects.filter(pk=scene.drain.zone_id, phase=ZonePhase.DRAINING).update(phase=ZonePhase.ACTIVE)
    elif before.get("cordoned") is False:
        hosts.uncordon(scene.drain.host_id, by=SYSTEM)


# --- telling -------------------------------------------------------------------------------------------------------


def tell(scene: Scene) -> None:
    """How far it is, and what it waits for."""
    with scene.turn.transaction():
        if scene.drain.phase == DrainPhase.RUNNING and scene.drain.reason != scene.reason:
            Drain.objects.filter(pk=scene.drain.pk, phase=DrainPhase.RUNNING).update(reason=scene.reason)
        operations.report(DRAIN_KIND, scene.drain.id, _steps(scene))


def _steps(scene: Scene) -> list[Step]:
    left = Allocation.objects.filter(host_id__in=scene.host_ids, released=None).count()
    total = max(scene.drain.total, left)
    steps = [_step("move", "VMs are moved", total - left, total)]
    if scene.drain.host_id is not None:
        kept = len(_kept(scene))
        told = "waiting" if kept and left else "running" if kept else "done"
        steps.append(Step("guarantees", "What pools keep there is placed anew", told, 0 if kept else 1, 1))
    return steps


def _step(name: str, title: str, done: int, total: int) -> Step:
    return Step(name, title, "done" if done >= total else "running", done, total)
