"""Destinations for those who still stand on the hosts: planned as the what-if did, claimed a slice at a time.

The plan is made for all that are left, so that whoever goes first leaves room for the others. A VM that was never sent
to the site moves in the ledger alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from facet.rest.problems import Conflict
from scheduler import ledger, moves, standing
from scheduler.models import Allocation, Move, MovePhase
from scheduler.moves import Going
from scheduler.standing import Holder

from .. import machines
from ..models import VM, VmPhase
from . import plan
from .moves import locked_vms, rezone
from .plan import Leaving
from .scene import Scene

MOST_FAILURES = 3  # moves of one VM that ended in a fault before the drain is given up
STANDING = (VmPhase.BUILT, VmPhase.RUNNING)
Planned = tuple[Holder, Going]


@dataclass(frozen=True)
class GivenUp:
    """A VM that cannot be moved, and the first cause."""

    name: str
    code: str
    sentence: str


@dataclass(frozen=True)
class _Who:
    """Those who still stand there and are not under way. `waiting`: VMs that may not be moved yet, or never."""

    holders: Sequence[Holder]
    live: frozenset[UUID]
    unsent: frozenset[UUID]
    waiting: Sequence[VM]
    avoid: Mapping[UUID, frozenset[UUID]]  # by holder: hosts that refused it


def claim(scene: Scene) -> None:
    """Plan for all that are left, as the what-if did, and claim for as many as the site may be given now."""
    who = _read(scene)
    if who.waiting:
        first = who.waiting[0]
        doing = "removed" if first.phase == VmPhase.DELETING else "made"
        scene.wait("busy", f"{len(who.waiting)} VMs are waited for; {first.name} is being {doing}.")
    who = _unseen(scene, who)
    found, left = _plan(scene, who)
    scene.nowhere = frozenset(left) & who.avoid.keys()
    if left:
        name = next(one.core.ask.name for one in who.holders if one.key == left[0])
        scene.wait("no_room", f"{len(left)} VMs find no other room at the moment, {name} among them.")
    with scene.turn.reading():
        idle = [one for one in _open(scene) if one not in scene.tasks.running]
        most = max(0, scene.turn.room(machines.SLICE + len(idle), budget=scene.site.budget) - len(idle))
    now = [pair for pair in found if pair[0].key in who.unsent]
    now += [pair for pair in found if pair[0].key in who.live][: min(machines.SLICE, most)]
    if not now and not left and not who.waiting and who.holders:
        scene.wait("site_busy", "The site has as much to do as it may be given.")
    by_project: dict[tuple[UUID, UUID], list[Planned]] = defaultdict(list)
    for holder, going in now:
        by_project[holder.tenant_id, holder.project_id].append((holder, going))
    for _, some in sorted(by_project.items()):
        _claim(scene, some, who)


def _open(scene: Scene) -> list[UUID]:
    return list(Move.objects.filter(drain_id=scene.drain.id, ended_at=None).values_list("holder", flat=True))


def _read(scene: Scene) -> _Who:
    with scene.turn.reading():
        here = Move.objects.filter(ended_at=None, source__host_id__in=scene.host_ids)
        moving = set(here.values_list("holder", flat=True))
        found = [one for one in standing.standing_on(scene.host_ids) if one.key not in moving]
        vms = {vm.id: vm for vm in VM.objects.filter(pk__in=[one.key for one in found], deleted_at=None)}
        holders = plan.on_their_networks(found)
        undone = Move.objects.filter(drain_id=scene.drain.id, phase=MovePhase.UNDONE).exclude(reason=None)
        avoid: dict[UUID, frozenset[UUID]] = {}
        for holder, host_id in undone.values_list("holder", "host_id"):
            avoid[holder] = avoid.get(holder, frozenset()) | {host_id}
    waiting = [vm for vm in vms.values() if vm.phase in (VmPhase.CLONING, VmPhase.DELETING)]
    return _Who(
        holders=[one for one in holders if one.key not in vms or vms[one.key].phase != VmPhase.DELETING],
        live=frozenset(vm.id for vm in vms.values() if vm.phase in (*STANDING, VmPhase.FAILED)),
        unsent=frozenset(one.key for one in found if one.key not in vms or vms[one.key].phase == VmPhase.PENDING),
        waiting=waiting,
        avoid=avoid,
    )


def _unseen(scene: Scene, who: _Who) -> _Who:
    """A VM that failed and that the site does not show has nothing there to be moved."""
    with scene.turn.reading():
        failed = list(VM.objects.filter(pk__in=who.live, phase=VmPhase.FAILED).values_list("id", flat=True))
    if not failed:
        return who
    scene.turn.renew()
    absent = frozenset(failed) - scene.driver.find_vms(failed).keys()
    return replace(who, live=who.live - absent, unsent=who.unsent | absent)


def _plan(scene: Scene, who: _Who) -> tuple[list[Planned], list[UUID]]:
    """Where each goes, and who finds no room. Those that were refused somewhere are planned for by themselves."""
    if not who.holders:
        return [], []
    found, left = _planned(scene, who, full=False)
    return _planned(scene, who, full=True) if left else (found, left)


def _planned(scene: Scene, who: _Who, *, full: bool) -> tuple[list[Planned], list[UUID]]:
    fleet = ledger.look(full=full)
    found: list[Planned] = []
    left: list[UUID] = []
    parts: dict[frozenset[UUID], list[Holder]] = defaultdict(list)
    for one in who.holders:
        parts[who.avoid.get(one.key, frozenset())].append(one)
    for avoid, holders in parts.items():
        leaving = _leaving(scene, holders)
        answer = plan.relocate(leaving, fleet, avoid=avoid)
        found += plan.going(leaving, answer.moved)
        left += [one.key for one in answer.left]
    return found, left


def _leaving(scene: Scene, holders: Sequence[Holder]) -> Leaving:
    with scene.turn.reading():
        beside = standing.beside(holders)
    return Leaving(zone=scene.zone, host=scene.drain.host, host_ids=scene.host_ids, holders=holders, beside=beside)


def _claim(scene: Scene, some: Sequence[Planned], who: _Who) -> None:
    """In one transaction about one project. Who was never sent to the site is moved by it at once."""
    holder = some[0][0]
    owner = {"tenant_id": holder.tenant_id, "project_id": holder.project_id}
    try:
        with scene.turn.transaction():
            vms = locked_vms(one.key for one, _ in some)
            able = [(one, going) for one, going in some if _is_still(vms.get(one.key), one.key in who.unsent)]
            moves.begin(**owner, drain_id=scene.drain.id, going=[going for _, going in able])
            unsent = {one.key: going for one, going in able if one.key in who.unsent}
            moves.seen(**owner, ids=[going.id for going in unsent.values()])
            rows = Move.objects.filter(pk__in=[going.id for going in unsent.values()])
            rezone([(vms[row.holder], row) for row in rows if row.holder in vms])
        scene.claimed += len(able)
    except ledger.Stale:
        scene.claimed += 1  # others were faster: at once again
    except Conflict as refused:  # another zone's quota or pool
        scene.wait(refused.code, refused.detail)


def _is_still(vm: VM | None, unsent: bool) -> bool:
    """Whether it is still what it was planned for."""
    if vm is None or vm.phase == VmPhase.FAILED:
        return True
    return vm.phase == VmPhase.PENDING if unsent else vm.phase in STANDING


# --- giving up -----------------------------------------------------------------------------------------------------


def given_up(scene: Scene) -> GivenUp | None:
    """A VM that was refused too often, or everywhere."""
    with scene.turn.reading():
        undone = Move.objects.filter(drain_id=scene.drain.id, phase=MovePhase.UNDONE).exclude(reason=None)
        causes: dict[UUID, list[Mapping[str, Any]]] = defaultdict(list)
        for one in undone.order_by("created_at", "id"):
            causes[one.holder].append(one.reason or {})
        there = set(
            Allocation.objects.filter(host_id__in=scene.host_ids, released=None, holder__in=list(causes)).values_list(
                "holder", flat=True
            )
        )
        names = dict(VM.objects.filter(pk__in=there).values_list("id", "name"))
    for holder in sorted(there):
        first = causes[holder][0]
        if len(causes[holder]) >= MOST_FAILURES or holder in scene.nowhere:
            return GivenUp(names.get(holder, str(holder)), first["code"], first["sentence"])
    return None
