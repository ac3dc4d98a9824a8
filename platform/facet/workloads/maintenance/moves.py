"""What a pass of a drain does with VMs that are claimed for: has them moved, and settles what came of it.

A destination is claimed before the site is asked to move (claims.py), and the source is freed by the
transaction that records where the VM was seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from facet.operations import events
from facet.rest.access import SYSTEM
from infra.drivers import base
from infra.models import Host, HostKind, HostState, Zone, ZonePhase
from scheduler import moves
from scheduler.models import Move, MovePhase
from tenants.models import Project

from .. import folders, hostrules, machines, sightings
from ..models import VM, VmPhase
from .scene import Scene

SLICE = machines.SLICE
Reason = Mapping[str, Any]


# --- what is under way ---------------------------------------------------------------------------------------------


def settle(scene: Scene) -> None:
    """Ask after what was begun, and look where the VMs stand whose tasks have ended, or were never recorded."""
    scene.tasks = machines.settle_tasks(scene.turn, scene.driver, count_failures=False, patient=True)
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
        hostrules.keep(scene.turn, scene.driver, [one.holder for one in part if _crosses(one)])


def _crosses(move: Move) -> bool:
    return bool(move.zone_id != move.source.zone_id)


def _stands_there(move: Move, facts: base.VmFacts | None) -> bool:
    if facts is None or facts.host_ref not in _refs(move.host):
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


def locked_vms(keys: Iterable[UUID]) -> dict[UUID, VM]:
    rows = VM.objects.filter(pk__in=list(keys), deleted_at=None).order_by("id").select_for_update(no_key=True)
    return {vm.id: vm for vm in rows}


def _arrive(scene: Scene, arrived: Sequence[Move], seen: Mapping[UUID, base.VmFacts]) -> None:
    """The transaction that records where they stand frees where they stood."""
    for (tenant_id, project_id), some in _by_project(arrived).items():
        with scene.turn.transaction():
            vms = locked_vms(one.holder for one in some)
            done = moves.seen(tenant_id=tenant_id, project_id=project_id, ids=[one.id for one in some])
            for one in some:
                vm = vms.get(one.holder)
                if vm is not None and one.id in done:
                    sightings.write(vm, seen[vm.id])
                    _tell_moved(vm, one)
            rezone([(vms[one.holder], one) for one in some if one.id in done and one.holder in vms])


def rezone(moved: Sequence[tuple[VM, Move]]) -> None:
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
            locked_vms(one.holder for one in some)
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
    shut = [one for one in idle if one.host.state != HostState.UP or one.host.cordoned or one.zone_id in closed]
    _call_back(scene, [one for one in shut if one.holder not in staying])
    ready = [one for one in idle if one not in shut and one.holder not in staying]
    _wait_for_pools(scene, [one for one in ready if _pool_ref(one) is None])
    able = [one for one in ready if _pool_ref(one) is not None]
    specs = [_spec(one) for one in able[: machines.room(scene.turn, scene.site, len(able))]]
    if not specs:
        return
    sent = {one.holder: one for one in ready if one.holder in {spec.key for spec in specs}}
    with scene.turn.transaction():  # from here on they may be on their way, whatever becomes of this worker
        still_open = moves.sent(one.id for one in sent.values())
    specs = [spec for spec in specs if sent[spec.key].id in still_open]
    _carry_out(scene, specs, sent)


def _carry_out(scene: Scene, specs: Sequence[base.MoveSpec], sent: Mapping[UUID, Move]) -> None:
    crossing = {spec.key: sent[spec.key].source.zone_id for spec in specs if _crosses(sent[spec.key])}
    hostrules.let_go(scene.turn, scene.driver, crossing)
    scene.turn.renew()
    outcomes = scene.driver.ensure_moved(specs)
    with scene.turn.transaction():
        machines.record(scene.turn, outcomes)
    seen = {key: facts for key, facts in outcomes.items() if isinstance(facts, base.VmFacts)}
    _arrive(scene, [sent[key] for key, facts in seen.items() if _stands_there(sent[key], facts)], seen)
    busy = [(sent[key], one.reason) for key, one in outcomes.items() if isinstance(one, base.NotReady)]
    if busy:
        name = busy[0][0].source.ask.get("name", busy[0][0].holder)
        scene.wait("not_ready", f"{len(busy)} VMs cannot be moved yet. VM {name}: {busy[0][1]}")
    refused = {sent[key].id: _reason(one) for key, one in outcomes.items() if isinstance(one, base.Refused)}
    _undo(scene, [one for one in sent.values() if one.id in refused], refused)


def _going_away(keys: Sequence[UUID]) -> Iterable[UUID]:
    """Of these VMs those that are being deleted: they are left to whoever removes them."""
    return VM.objects.filter(pk__in=keys, phase=VmPhase.DELETING).values_list("id", flat=True)


def _pool_ref(move: Move) -> str | None:
    found: str | None = move.pool.refs.get(move.host.compute_ref)
    return found


def _refs(host: Host) -> list[str]:
    """The hosts at the site that a move to this one may end on: of a bin any that is up, for DRS to choose from."""
    if host.kind == HostKind.HOST:
        return [host.ref]
    return list(host.members.filter(state=HostState.UP).order_by("id").values_list("ref", flat=True))


def _spec(move: Move) -> base.MoveSpec:
    refs = _refs(move.host)
    host_ref = refs[move.holder.int % len(refs)] if refs else move.host.ref  # all over the bin: DRS evens out the rest
    return base.MoveSpec(move.holder, host_ref, move.datastore.ref, _pool_ref(move) or "")


def _wait_for_pools(scene: Scene, waiting: Sequence[Move]) -> None:
    if waiting:
        pool = waiting[0].pool
        why = (pool.reason or {}).get("sentence", "It is being made.")
        scene.wait("pool_not_ready", f"Pool {pool.name} does not stand on host {waiting[0].host.name} yet. {why}")


# --- calling back --------------------------------------------------------------------------------------------------


def call_back(scene: Scene) -> None:
    """What is not on its way stays where it is, and what may be is asked for; in the end nothing is open."""
    _call_back(scene, [one for one in scene.open_moves() if one.holder not in scene.tasks.running])


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
    return base.MoveSpec(move.holder, (source.seen_on or source.host).ref, source.datastore.ref, pool_ref)
