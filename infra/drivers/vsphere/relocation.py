"""A VM to another host, and its own disks to another datastore: live where it runs, one task of vCenter's for each VM.

Disks that are not in the VM's own folder (volumes) stay where they are, so the target must reach them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import HostFacts, HostState, InFlight, MoveSpec, NotReady, Refused, VmOutcome
from . import inventory, properties
from .finding import Finder
from .machine import Machine
from .rounds import Decision, Settled, Started, carry, look, missing
from .session import Session, ref_of

RELOCATE = "relocate"
# A person's move, a client's, and one of DRS or of a host that enters maintenance.
MOVES = ("VirtualMachine.relocate", "VirtualMachine.migrate", "Drm.ExecuteVMotionLRO")
AT_WORK = ("queued", "running")


def ensure_moved(finder: Finder, moves: Sequence[MoveSpec]) -> dict[UUID, VmOutcome]:
    by_key = {move.key: move for move in moves}
    if not by_key:
        return {}
    session = finder.session
    under_way = _under_way(session, look(finder, by_key))
    targets = _Targets.of(session, by_key.values())

    def decide(key: UUID, machine: Machine | None) -> Decision:
        move = by_key[key]
        if machine is None:
            raise missing(key)
        if key in under_way:
            return Settled(InFlight(under_way[key], RELOCATE))
        if machine.template:
            raise Refused(f"{machine.name} is a template.", code="invalid")
        if _stands(machine, move):
            return Settled(machine.facts())
        targets.admit(machine, move)
        return _relocate(session, machine, move)

    return carry(finder, by_key, decide)


def _under_way(session: Session, machines: Mapping[UUID, Machine | NotReady]) -> dict[UUID, str]:
    """The move that is at work on each VM, if any; in two reads."""
    there = {key: machine for key, machine in machines.items() if isinstance(machine, Machine)}
    recent = properties.read(session, [machine.obj for machine in there.values()], ("recentTask",))
    tasks_of = {key: recent[one.id].get("recentTask", ()) for key, one in there.items() if one.id in recent}
    moving = _moving(session, [task for tasks in tasks_of.values() for task in tasks])
    found = {key: next((task._moId for task in tasks if task._moId in moving), None) for key, tasks in tasks_of.items()}
    return {key: str(ref) for key, ref in found.items() if ref is not None}


def _moving(session: Session, tasks: Iterable[Any]) -> set[str]:
    found = properties.read(session, tasks, ("info.state", "info.descriptionId"))
    return {
        ref
        for ref, task in found.items()
        if str(task.get("info.state")) in AT_WORK and task.get("info.descriptionId") in MOVES
    }


def _stands(machine: Machine, move: MoveSpec) -> bool:
    pool = ref_of(machine.pool, vim.ResourcePool) if machine.pool is not None else None
    return (machine.host, pool) == (move.host_ref, move.pool_ref) and not _disks_move(machine, move)


def _disks_move(machine: Machine, move: MoveSpec) -> bool:
    """Also where only one of its own disks is elsewhere."""
    own = _stores(machine.own_disks)
    return own != {move.datastore_ref} if own else move.datastore_ref not in machine.datastores


def _stores(disks: Iterable[Any]) -> set[str]:
    backings = (getattr(disk.backing, "datastore", None) for disk in disks)
    return {str(store._moId) for store in backings if store is not None}


def _relocate(session: Session, machine: Machine, move: MoveSpec) -> Decision:
    spec = vim.vm.RelocateSpec(
        host=session.object(vim.HostSystem, move.host_ref), pool=session.object(vim.ResourcePool, move.pool_ref)
    )
    if _disks_move(machine, move):
        spec.datastore = session.object(vim.Datastore, move.datastore_ref)
        spec.disk = [
            vim.vm.RelocateSpec.DiskLocator(diskId=disk.key, datastore=disk.backing.datastore)
            for disk in machine.foreign_disks
            if _stores([disk])
        ]
    try:
        return Started(session.call(machine.obj.RelocateVM_Task, spec=spec), RELOCATE)
    except NotReady as busy:
        other = getattr(busy.__cause__, "task", None)  # of TaskInProgress: somebody was faster
        if other is None or not _moving(session, [other]):
            raise
        return Settled(InFlight(str(other._moId), RELOCATE))


@dataclass(frozen=True)
class _Targets:
    """What the moves lead to, read once for all. vCenter checks the same at the end; a simulated one checks nothing."""

    hosts: Mapping[str, HostFacts]
    datastores: frozenset[str]
    computes: Mapping[str, str]  # pool -> the compute resource that it is of

    @classmethod
    def of(cls, session: Session, moves: Iterable[MoveSpec]) -> _Targets:
        wanted = list(moves)
        hosts = inventory.some_hosts(session, {move.host_ref for move in wanted})
        stores = inventory.some_datastores(session, {move.datastore_ref for move in wanted})
        pools = [session.object(vim.ResourcePool, ref) for ref in {move.pool_ref for move in wanted}]
        owners = properties.read(session, pools, ("owner",))
        return cls(
            hosts={host.ref: host for host in hosts},
            datastores=frozenset(store.ref for store in stores),
            computes={
                ref_of(pool.obj, vim.ResourcePool): ref_of(pool.get("owner"), vim.ClusterComputeResource)
                for pool in owners.values()
            },
        )

    def admit(self, machine: Machine, move: MoveSpec) -> None:
        """Raises what the target says no with, before anything is begun."""
        host = self.hosts.get(move.host_ref)
        if host is None:
            raise Refused(f"The vCenter does not know the host {move.host_ref}.", code="not_found")
        if move.datastore_ref not in self.datastores:
            raise Refused(f"The vCenter does not know the datastore {move.datastore_ref}.", code="not_found")
        if move.pool_ref not in self.computes:
            raise Refused(f"The vCenter does not know the resource pool {move.pool_ref}.", code="not_found")
        if host.state is HostState.MAINTENANCE:
            raise Refused(f"The host {host.name} is in maintenance.", code="no_resources")
        if host.state is not HostState.UP:
            raise NotReady(f"The host {host.name} does not answer.")
        if self.computes[move.pool_ref] != host.compute_ref:
            raise Refused(
                f"The resource pool {move.pool_ref} is not of {host.name}'s compute resource.", code="invalid"
            )
        away = {move.datastore_ref} | _stores(machine.foreign_disks)
        if missed := sorted(away - set(host.datastore_refs)):
            raise Refused(f"The host {host.name} does not reach {', '.join(missed)}.", code="invalid")
