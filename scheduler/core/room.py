"""What is left while a batch is being decided: the one thing in the core that changes, in the hands of one decision."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import numpy as np

from .ask import Apart, Ask, Group, Level
from .fleet import Fleet, Held, Hold
from .layout import Ints


class Room:
    """Free room of each host and datastore, the pools' holds, and where the members of groups stand.

    A claim eats its pool's hold on the host first and free room for the rest, each resource by itself: the arithmetic
    of the ledger. Free room is never below zero here: what is overdrawn takes nothing from free room, holds still give.
    Arrays are replaced, never edited: those of the fleet serve as they are, and a copy costs next to nothing.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.vcpu: Ints = fleet.vcpu_free
        self.memory_mib: Ints = fleet.memory_free_mib
        self.disk_gib: Ints = fleet.free_gib
        self._eaten: dict[UUID, Held] = {}  # what is left of the holds that were eaten of
        self._guaranteed: dict[tuple[UUID, ...], tuple[Ints, Ints] | None] = {}  # by pools
        self._usable: dict[tuple[UUID, ...], tuple[Ints, Ints]] = {}  # by pools: free and guaranteed
        self._members: dict[str, Ints] = {}

    def copy(self) -> Room:
        """The same room, to be tried on."""
        other = object.__new__(Room)
        other.fleet = self.fleet
        other.vcpu, other.memory_mib, other.disk_gib = self.vcpu, self.memory_mib, self.disk_gib
        other._eaten, other._members = self._eaten.copy(), self._members.copy()
        other._guaranteed, other._usable = self._guaranteed.copy(), self._usable.copy()
        return other

    def guaranteed(self, pools: Iterable[UUID]) -> tuple[Ints, Ints] | None:
        """vCPU and MiB that these pools hold together, one entry a host; None when there is nothing."""
        key = tuple(pools)
        if key not in self._guaranteed:
            self._guaranteed[key] = self._summed([held for pool in key if (held := self._held(pool)) is not None])
        return self._guaranteed[key]

    def _held(self, pool: UUID) -> Held | None:
        return self._eaten.get(pool) or self.fleet.holds.get(pool)

    def _summed(self, holds: Iterable[Held]) -> tuple[Ints, Ints] | None:
        holds = [held for held in holds if len(held.at)]
        if not holds:
            return None
        vcpu, memory = np.zeros(len(self.vcpu), np.int64), np.zeros(len(self.vcpu), np.int64)
        for held in holds:
            vcpu[held.at] += held.vcpu
            memory[held.at] += held.memory_mib
        return vcpu, memory

    def holds(self) -> dict[UUID, list[Hold]]:
        """What is left of the holds that were eaten of, as rows, by pool."""
        found: dict[UUID, list[Hold]] = {}
        for pool, held in self._eaten.items():
            rows = zip(held.at.tolist(), held.vcpu.tolist(), held.memory_mib.tolist(), strict=True)
            found[pool] = [Hold(self.fleet.hosts[at].id, v, m) for at, v, m in rows if v or m]
        return found

    def usable(self, ask: Ask) -> tuple[Ints, Ints]:
        """vCPU and MiB that this ask may use, one entry a host."""
        if not ask.pools:
            return self.vcpu, self.memory_mib
        if ask.pools not in self._usable:
            held = self.guaranteed(ask.pools)
            sums = (self.vcpu, self.memory_mib) if held is None else (self.vcpu + held[0], self.memory_mib + held[1])
            self._usable[ask.pools] = sums
        return self._usable[ask.pools]

    def members(self, group: Group) -> Ints:
        """How many members of the group each host has."""
        if group.key not in self._members:
            index = self.fleet.layout.hosts
            known = [at for at in map(index.get, group.members) if at is not None]
            self._members[group.key] = np.bincount(known, minlength=len(self.fleet.hosts)).astype(np.int64)
        return self._members[group.key]

    def beside(self, group: Group) -> Ints:
        """How many members of the group each host would share a host, or a zone, with: what its `level` says."""
        count = self.members(group)
        if group.level is Level.HOST:
            return count
        zones = self.fleet.layout.host_zone
        in_zone = np.zeros(len(self.fleet.zones) + 1, np.int64)  # the last stands for no zone, index -1
        np.add.at(in_zone, zones, count)
        in_zone[-1] = 0
        found: Ints = in_zone[zones]
        return found

    def slots(self, ask: Ask, hosts: Ints, most: int) -> Ints:
        """How many of this ask each of these hosts can take one after another, at most `most`; datastores aside."""
        found = np.full(len(hosts), most, np.int64)
        for free, amount in zip(self.usable(ask), (ask.vcpu, ask.memory_mib), strict=True):
            if amount:
                np.minimum(found, free[hosts] // amount, out=found)
        if ask.group and ask.group.apart is Apart.REQUIRED:
            left = self.fleet.layout.apart[hosts] - self.members(ask.group)[hosts]
            np.minimum(found, np.maximum(left, 0), out=found)
        return found

    def take(self, ask: Ask, hosts: Ints) -> None:
        """Claim vCPU and memory for one such ask on each of these hosts, a host once for each. There must be room."""
        at, count = (hosts, np.ones(1, np.int64)) if len(hosts) == 1 else np.unique(hosts, return_counts=True)
        vcpu, memory = count * ask.vcpu, count * ask.memory_mib
        for pool in ask.pools:
            held = self._held(pool)
            if held is not None and len(held.at):
                self._eat(pool, held, at, vcpu, memory)
        self.vcpu, self.memory_mib = _less(self.vcpu, at, vcpu), _less(self.memory_mib, at, memory)
        self._usable = {}
        if ask.group:
            self._members[ask.group.key] = _less(self.members(ask.group), at, -count)

    def _eat(self, pool: UUID, held: Held, at: Ints, vcpu: Ints, memory: Ints) -> None:
        """Take what the pool holds on these hosts off what is wanted there."""
        place = np.minimum(np.searchsorted(held.at, at), len(held.at) - 1)
        there = np.flatnonzero(held.at[place] == at)
        if not len(there):
            return
        place = place[there]
        eaten, eaten_mib = np.minimum(held.vcpu[place], vcpu[there]), np.minimum(held.memory_mib[place], memory[there])
        vcpu[there] -= eaten
        memory[there] -= eaten_mib
        self._eaten[pool] = Held(held.at, _less(held.vcpu, place, eaten), _less(held.memory_mib, place, eaten_mib))
        self._guaranteed = {pools: found for pools, found in self._guaranteed.items() if pool not in pools}


def _less(column: Ints, at: Ints, amounts: Ints) -> Ints:
    found = column.copy()
    found[at] -= amounts
    return found


def settled(room: Room) -> Fleet:
    """The fleet when all that was taken of its room is claimed: claims eat holds first, as in the ledger."""
    fleet = room.fleet
    vcpu, memory = fleet.vcpu_free - room.vcpu, fleet.memory_free_mib - room.memory_mib
    disk = fleet.free_gib - room.disk_gib
    hosts = [(fleet.hosts[at], int(vcpu[at]), int(memory[at])) for at in np.flatnonzero(vcpu | memory).tolist()]
    stores = [(fleet.datastores[at], int(disk[at])) for at in np.flatnonzero(disk).tolist()]
    return fleet.with_changes(
        hosts=[
            row._replace(vcpu_claimed=row.vcpu_claimed + more, memory_claimed_mib=row.memory_claimed_mib + more_mib)
            for row, more, more_mib in hosts
        ],
        datastores=[row._replace(claimed_gib=row.claimed_gib + more) for row, more in stores],
        holds=room.holds(),
    )
