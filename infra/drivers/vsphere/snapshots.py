"""Snapshots of VMs. Our key stands in a snapshot's description, from the call that takes it.

vCenter works on one snapshot of a VM at a time: of several that are asked for, the others are not ready yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import DriverError, GoneOutcome, InFlight, NotReady, Refused, SnapshotFacts, SnapshotSpec, VmOutcome
from ..descriptions import described, key_in
from . import properties
from .machine import Machine
from .parts import Parts
from .rounds import Decision, Settled, Started, carry, missing
from .session import Session

WITH_MEMORY = "poweredOn"  # the power of a snapshot is that of the VM when it goes back there


class Snapshots(Parts):
    """See infra.drivers.base."""

    def ensure_snapshots(self, specs: Sequence[SnapshotSpec]) -> Mapping[UUID, SnapshotFacts | InFlight | DriverError]:
        asked: dict[UUID, list[SnapshotSpec]] = defaultdict(list)
        for spec in specs:
            asked[spec.vm_key].append(spec)
        acts: dict[UUID, UUID] = {}  # VM -> the snapshot that is at work on it

        def decide(vm_key: UUID, machine: Machine | None) -> Decision:
            if machine is None:
                raise missing(vm_key)
            there = {one.key: one for one in reversed(_of(self._session, machine))}
            for spec in asked[vm_key]:
                if spec.key not in there:
                    acts[vm_key] = spec.key
                    return Started(_take(self._session, machine, spec), "snapshot")
            return Settled(there)

        outcomes = carry(self._finder, asked, decide)
        return {spec.key: _part(outcomes[spec.vm_key], spec.key, acts.get(spec.vm_key)) for spec in specs}

    def ensure_no_snapshots(self, keys: Mapping[UUID, UUID]) -> Mapping[UUID, GoneOutcome]:
        acts: dict[UUID, UUID] = {}

        def decide(vm_key: UUID, machine: Machine | None) -> Decision:
            there = {} if machine is None else {one.key: one for one in _of(self._session, machine)}
            for key, holder in keys.items():
                if holder == vm_key and key in there:
                    acts[vm_key] = key
                    return Started(_remove(self._session, there[key].ref), "remove snapshot")
            return Settled(None)

        outcomes = carry(self._finder, list(keys.values()), decide)
        return {key: _part(outcomes[vm_key], key, acts.get(vm_key)) for key, vm_key in keys.items()}

    def snapshots(self, keys: Iterable[UUID]) -> Mapping[UUID, tuple[SnapshotFacts, ...]]:
        machines = self._finder.find(keys)
        found = properties.read(self._session, [one.obj for one in machines.values()], ("snapshot",))
        trees = {key: found[one.id].get("snapshot") if one.id in found else None for key, one in machines.items()}
        return {key: _listed(tree) for key, tree in trees.items()}

    def revert(self, vm_key: UUID, snapshot_key: UUID) -> VmOutcome:
        """The tasks of carry end in a look: the one act is the first one, and what comes after it is what is seen."""
        session = self._session
        begun: list[str] = []

        def decide(_: UUID, machine: Machine | None) -> Decision:
            if machine is None:
                raise missing(vm_key)
            if begun:
                return Settled(machine.facts())
            snapshot = snapshot_of(session, machine, snapshot_key)
            begun.append(str(snapshot._moId))
            return Started(session.call(snapshot.RevertToSnapshot_Task), "revert")

        outcome: VmOutcome = carry(self._finder, [vm_key], decide)[vm_key]
        return outcome


def _take(session: Session, machine: Machine, spec: SnapshotSpec) -> Any:
    return session.call(
        machine.obj.CreateSnapshot_Task,
        name=spec.name,
        description=described(spec.key),
        memory=spec.with_memory and machine.power != "off",
        quiesce=False,
    )


def _remove(session: Session, ref: str) -> Any:
    snapshot: Any = session.object(vim.vm.Snapshot, ref)
    return session.call(snapshot.RemoveSnapshot_Task, removeChildren=False, consolidate=True)


def _part(outcome: Any, key: UUID, at_work: UUID | None) -> Any:
    """What the outcome for a VM says of one of its snapshots."""
    if isinstance(outcome, dict):
        return outcome[key]
    if outcome is None or at_work in (None, key):
        return outcome
    return NotReady("The vCenter is at work on another snapshot of this VM.")


def _of(session: Session, machine: Machine) -> tuple[SnapshotFacts, ...]:
    found = properties.read(session, [machine.obj], ("snapshot",)).get(machine.id)
    return _listed(found.get("snapshot") if found is not None else None)


def _listed(info: Any) -> tuple[SnapshotFacts, ...]:
    """The oldest first. Of two that bear one key the older is ours."""
    return tuple(sorted(_walked(info.rootSnapshotList if info is not None else ()), key=lambda one: one.created_at))


def _walked(trees: Iterable[Any]) -> Iterator[SnapshotFacts]:
    for tree in trees or ():
        yield SnapshotFacts(
            ref=str(tree.snapshot._moId),
            key=key_in(tree.description or ""),
            name=str(tree.name),
            created_at=tree.createTime,
            with_memory=str(tree.state) == WITH_MEMORY,
        )
        yield from _walked(tree.childSnapshotList)


def snapshot_of(session: Session, machine: Machine, key: UUID) -> Any:
    """The snapshot of this key. Raises Refused(snapshot_not_found)."""
    there = next((one for one in _of(session, machine) if one.key == key), None)
    if there is None:
        raise Refused(f"{machine.name} has no such snapshot.", code="snapshot_not_found")
    return session.object(vim.vm.Snapshot, there.ref)
