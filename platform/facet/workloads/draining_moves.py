"""What a pass of a drain does with VMs: claims their destinations, has them moved, and settles what came of it.

The order is the promise: a destination is claimed before the site is asked to move, and the source is freed by the
transaction that records where the VM was seen. A VM that was never sent to the site moves in the ledger alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from facet.operations import events, inflight
from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from infra.drivers import base
from infra.models import HostState, Zone, ZonePhase
from scheduler import ledger, moves, standing
from scheduler.models import Allocation, Move, MovePhase
from scheduler.moves import Going
from scheduler.standing import Holder
from tenants.models import Project

from . import draining_plan, folders, machines, sightings
from .draining_plan import Leaving
from .draining_scene import Scene
from .models import VM, VmPhase

SLICE = machines.SLICE
MOST_FAILURES = 3  # moves of one VM that ended in a fault before the drain is given up
STANDING = (VmPhase.BUILT, VmPhase.RUNNING)
Reason = Mapping[str, Any]


@dataclass(frozen=True)
class GivenUp:
    """A VM that cannot be moved, and the first cause."""

    name: str
    code: str
    sentence: str


# --- what is under way ---------------------------------------------------------------------------------------------


def settle(scene: Scene) -> None:
    """Ask after what was begun, and look where the VMs stand whose tasks have ended, or were never recorded."""
    scene.tasks = machines.settle_tasks(scene.turn, scene.driver, count_failures=False)
    sent = [one for one in scene.open_moves() if one.phase == MovePhase.MOVING]
    idle = [one for one in sent if one.holder not in scene.tasks.running]
    for start in range(0, len(idle), SLICE):
        part = idle[start : start + SLICE]
        scene.turn.renew()
        seen = scene.driver.find_vms([one.holder for one in part])
        arrived = [one for one in part if _stands_there(one, seen.get(one.holder))]
        failed = {
            one.id: _reason(error)
            for one in part
            if one not in arrived and (error := scene.tasks.failed.get(one.holder)) is not None
        }
        _arrive(scene, arrived, seen)
        _undo(scene, [one for one in part if one.id in failed], failed)


def _stands_there(move: Move, facts: base.VmFacts | None) -> bool:
    if facts is None or facts.host_ref != move.host.ref:
        return False
    return move.storage_gib == 0 or move.datastore.ref in facts.datastore_refs


def _reason(error: base.DriverError) -> dict[str, str]:
    return {"code": error.code, "sentence": error.reason}


def _by_project(rows: Iterable[Any]) -> dict[tuple[UUID, UUID], list[Any]]:
    """A transaction is about one project: its quota is locked before its tenant's."""
    found: dict[tuple[UUID, UUID], list[Any]] = defaultdict(list)
    for row in rows:
        found[row.tenant_id, row.project_id].append(row)
    return dict(sorted(found.items()))


def _locked_vms(keys: Iterable[UUID]) -> dict[UUID, VM]:
    rows = VM.objects.filter(pk__in=list(keys), deleted_at=None).order_by("id").select_for_update(no_key=True)
    return {vm.id: vm for vm in rows}


def _arrive(scene: Scene, arrived: Sequence[Move], seen: Mapping[UUID, base.VmFacts]) -> None:
    """The transaction that records where they stand frees where they stood."""
    for (tenant_id, project_id), some in _by_project(arrived).items():
        with scene.turn.transaction():
            vms = _locked_vms(one.holder for one in some)
            done = moves.seen(tenant_id=tenant_id, project_id=project_id, ids=[one.id for one in some])
            for one in some:
                vm = vms.get(one.holder)
                if vm is not None and one.id in done:
                    sightings.write(vm, seen[vm.id])
                    _tell_moved(vm, one)
            _rezone([(vms[one.holder], one) for one in some if one.id in done and one.holder in vms])


def _rezone(moved: Sequence[tuple[VM, Move]]) -> None:
    """Those that stand in another zone now, and the folders there that they may need one day."""
    crossed = [(vm, one) for vm, one in moved if vm.zone_id != one.zone_id]
    for vm, one in crossed:
        VM.objects.filter(pk=vm.pk).update(zone_id=one.zone_id)
    if crossed:
        zones = Zone.objects.filter(pk__in={one.zone_id for _, one in crossed})
        folders.claim(project=Project.objects.get(pk=crossed[0][0].project_id), zones=zones)


def _tell_moved(vm: VM, move: Move) -> None:
    events.record(
        "vm.moved", by=SYSTEM, kind="vm", id=vm.id, name=vm.name, tenant_id=vm.tenant_id, project_id=vm.project_id,
        message="Its host is being drained.", before={"host": move.source.host.name}, after={"host": move.host.name},
    )  # fmt: skip


def _undo(scene: Scene, undone: Sequence[Move], reasons: Mapping[UUID, Reason]) -> None:
    """They stand where they stood: what was claimed for them is given back. Without a reason it is nobody's fault."""
    for (tenant_id, project_id), some in _by_project(undone).items():
        with scene.turn.transaction():
            _locked_vms(one.holder for one in some)
            for one in some:
                moves.undo(tenant_id=tenant_id, project_id=project_id, ids=[one.id], reason=reasons.get(one.id))


# --- sending -------------------------------------------------------------------------------------------------------


def send(scene: Scene) -> None:
    """Have those moved that are claimed for and not on their way. What the site says at once is settled at once."""
    idle = [one for one in scene.open_moves() if one.holder not in scene.tasks.running]
    with scene.turn.reading():
        staying = set(_going_away([one.holder for one in idle]))
        closed = {
            zone.id
            for zone in Zone.objects.filter(pk__in={one.zone_id for one in idle}).exclude(phase=ZonePhase.ACTIVE)
        }
        room = inflight.room(scene.site.id)
    shut = [one for one in idle if one.host.state != HostState.UP or one.host.cordoned or one.zone_id in closed]
    _call_back(scene, [one for one in shut if one.holder not in staying])
    ready = [one for one in idle if one not in shut and one.holder not in staying]
    _wait_for_pools(scene, [one for one in ready if _pool_ref(one) is None])
    specs = [_spec(one) for one in ready if _pool_ref(one) is not None][: min(SLICE, room)]
    if not specs:
        return
    sent = {one.holder: one for one in ready if one.holder in {spec.key for spec in specs}}
    with scene.turn.transaction():  # from here on they may be on their way, whatever becomes of this worker
        still_open = moves.sent(one.id for one in sent.values())
    specs = [spec for spec in specs if sent[spec.key].id in still_open]
    _carry_out(scene, specs, sent)


def _carry_out(scene: Scene, specs: Sequence[base.MoveSpec], sent: Mapping[UUID, Move]) -> None:
    scene.turn.renew()
    outcomes = scene.driver.ensure_moved(specs)
    with scene.turn.transaction():
        machines.record(scene.turn, outcomes)
    seen = {key: facts for key, facts in outcomes.items() if isinstance(facts, base.VmFacts)}
    _arrive(scene, [sent[key] for key, facts in seen.items() if _stands_there(sent[key], facts)], seen)
    refused = {sent[key].id: _reason(one) for key, one in outcomes.items() if isinstance(one, base.Refused)}
    _undo(scene, [one for one in sent.values() if one.id in refused], refused)


def _going_away(keys: Sequence[UUID]) -> Iterable[UUID]:
    """Of these VMs those that are being deleted: they are left to whoever removes them."""
    return VM.objects.filter(pk__in=keys, phase=VmPhase.DELETING).values_list("id", flat=True)


def _pool_ref(move: Move) -> str | None:
    found: str | None = move.pool.refs.get(move.host.compute_ref)
    return found


def _spec(move: Move) -> base.MoveSpec:
    return base.MoveSpec(move.holder, move.host.ref, move.datastore.ref, _pool_ref(move) or "")


def _wait_for_pools(scene: Scene, waiting: Sequence[Move]) -> None:
    if waiting:
        pool = waiting[0].pool
        why = (pool.reason or {}).get("sentence", "It is being made.")
        scene.wait("pool_not_ready", f"Pool {pool.name} does not stand on host {waiting[0].host.name} yet. {why}")


# --- calling back --------------------------------------------------------------------------------------------------


def call_back(scene: Scene) -> None:
    """What is not on its way stays where it is, and what may be is asked for; in the end nothing is open."""
    idle = [one for one in scene.open_moves() if one.holder not in scene.tasks.running]
    with scene.turn.reading():
        staying = set(_going_away([one.holder for one in idle]))
    _call_back(scene, [one for one in idle if one.holder not in staying])


def _call_back(scene: Scene, back: Sequence[Move]) -> None:
    """One that was never sent is given back. One that may have been is asked to stay where it stands: the answer is
    that it does, or the task that is at work on it all the same, which a killed pass could not write down.
    """
    _undo(scene, [one for one in back if one.phase == MovePhase.CLAIMED], {})
    doubtful = {one.holder: one for one in back if one.phase == MovePhase.MOVING}
    if not doubtful:
        return
    scene.turn.renew()
    outcomes = scene.driver.ensure_moved([_stay(one) for one in doubtful.values()])
    with scene.turn.transaction():
        machines.record(scene.turn, outcomes)
    settled = [key for key, one in outcomes.items() if isinstance(one, base.VmFacts | base.Refused)]
    _undo(scene, [doubtful[key] for key in settled], {})


def _stay(move: Move) -> base.MoveSpec:
    source = move.source
    pool_ref = source.pool.refs.get(source.host.compute_ref) or ""
    return base.MoveSpec(move.holder, source.host.ref, source.datastore.ref, pool_ref)


# --- claiming ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Who:
    """Those who still stand there and are not under way. `now`: what may be moved; the others are waited for."""

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
        most = max(
            0, inflight.room(scene.site.id) - len([one for one in _open(scene) if one not in scene.tasks.running])
        )
    now = [pair for pair in found if pair[0].key in who.unsent]
    now += [pair for pair in found if pair[0].key in who.live][: min(SLICE, most)]
    by_project: dict[tuple[UUID, UUID], list[tuple[Holder, Going]]] = defaultdict(list)
    for holder, going in now:
        by_project[holder.tenant_id, holder.project_id].append((holder, going))
    for some in by_project.values():
        _claim(scene, some, who)


def _open(scene: Scene) -> list[UUID]:
    return list(Move.objects.filter(drain_id=scene.drain.id, ended_at=None).values_list("holder", flat=True))


def _read(scene: Scene) -> _Who:
    with scene.turn.reading():
        moving = set(Move.objects.filter(ended_at=None).values_list("holder", flat=True))
        found = [one for one in standing.standing_on(scene.host_ids) if one.key not in moving]
        vms = {vm.id: vm for vm in VM.objects.filter(pk__in=[one.key for one in found], deleted_at=None)}
        holders = draining_plan.on_their_networks(found)
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


def _plan(scene: Scene, who: _Who) -> tuple[list[tuple[Holder, Going]], list[UUID]]:
    """Where each goes, and who finds no room. Those that were refused somewhere are planned for by themselves."""
    if not who.holders:
        return [], []
    found, left = _planned(scene, who, full=False)
    return _planned(scene, who, full=True) if left else (found, left)


def _planned(scene: Scene, who: _Who, *, full: bool) -> tuple[list[tuple[Holder, Going]], list[UUID]]:
    fleet = ledger.look(full=full)
    found: list[tuple[Holder, Going]] = []
    left: list[UUID] = []
    parts: dict[frozenset[UUID], list[Holder]] = defaultdict(list)
    for one in who.holders:
        parts[who.avoid.get(one.key, frozenset())].append(one)
    for avoid, holders in parts.items():
        leaving = _leaving(scene, holders)
        answer = draining_plan.relocate(leaving, fleet, avoid=avoid)
        found += draining_plan.going(leaving, answer.moved)
        left += [one.key for one in answer.left]
    return found, left


def _leaving(scene: Scene, holders: Sequence[Holder]) -> Leaving:
    with scene.turn.reading():
        beside = standing.beside(holders)
    return Leaving(zone=scene.zone, host=scene.drain.host, host_ids=scene.host_ids, holders=holders, beside=beside)


def _claim(scene: Scene, some: Sequence[tuple[Holder, Going]], who: _Who) -> None:
    """In one transaction about one project. Who was never sent to the site is moved by it at once."""
    holder = some[0][0]
    owner = {"tenant_id": holder.tenant_id, "project_id": holder.project_id}
    try:
        with scene.turn.transaction():
            vms = _locked_vms(one.key for one, _ in some)
            able = [(one, going) for one, going in some if _is_still(vms.get(one.key), one.key in who.unsent)]
            moves.begin(**owner, drain_id=scene.drain.id, going=[going for _, going in able])
            unsent = {one.key: going for one, going in able if one.key in who.unsent}
            moves.seen(**owner, ids=[going.id for going in unsent.values()])
            rows = Move.objects.filter(pk__in=[going.id for going in unsent.values()])
            _rezone([(vms[row.holder], row) for row in rows if row.holder in vms])
    except ledger.Stale:
        scene.under_way = True  # others were faster: at once again
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
        causes: dict[UUID, list[Reason]] = defaultdict(list)
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
