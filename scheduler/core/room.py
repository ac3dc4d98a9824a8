"""What is left while a batch is being decided: the one thing in the core that is written to, by one decision alone."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import numpy as np

from .ask import Apart, Ask, Group, Level
from .fleet import Fleet, Hold
from .layout import Ints


class Room:
    """Free room of each host and datastore, the pools' holds, and where the members of groups stand.

    A claim eats its pool's hold on the host first and free room for the rest, each resource by itself: the arithmetic
    of the ledger. Free room is never below zero here: what is overdrawn takes nothing from free room, holds still give.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.vcpu: Ints = np.maximum(fleet.vcpu_limit - fleet.vcpu_claimed, 0)
        self.memory_mib: Ints = np.maximum(fleet.memory_limit_mib - fleet.memory_claimed_mib, 0)
        self.disk_gib: Ints = np.maximum(fleet.limit_gib - fleet.claimed_gib, 0)
        self._held: dict[UUID, tuple[Ints, Ints]] = {}
        self._members: dict[str, Ints] = {}

    def copy(self) -> Room:
        """The same room, to be tried on."""
        other = object.__new__(Room)
        other.fleet = self.fleet
        other.vcpu, other.memory_mib, other.disk_gib = self.vcpu.copy(), self.memory_mib.copy(), self.disk_gib.copy()
        other._held = {pool: (vcpu.copy(), memory.copy()) for pool, (vcpu, memory) in self._held.items()}
        other._members = {key: count.copy() for key, count in self._members.items()}
        return other

    def held(self, pool: UUID) -> tuple[Ints, Ints] | None:
        """vCPU and MiB kept for this pool, one entry a host; None when it has no holds."""
        if pool not in self._held:
            found = self.fleet.holds.get(pool)
            if found is None or not len(found.at):
                return None
            vcpu, memory = np.zeros_like(self.vcpu), np.zeros_like(self.memory_mib)
            vcpu[found.at], memory[found.at] = found.vcpu, found.memory_mib
            self._held[pool] = (vcpu, memory)
        return self._held[pool]

    def holds(self) -> dict[UUID, list[Hold]]:
        """What is left of the holds that were looked at, as rows, by pool."""
        found = {}
        for pool, (vcpu, memory) in self._held.items():
            at = np.flatnonzero(vcpu | memory).tolist()
            found[pool] = [Hold(self.fleet.hosts[one].id, int(vcpu[one]), int(memory[one])) for one in at]
        return found

    def guaranteed(self, pools: Iterable[UUID]) -> tuple[Ints, Ints] | None:
        """What these pools hold together, one entry a host; None when there is nothing."""
        held = [found for found in map(self.held, pools) if found is not None]
        if not held:
            return None
        if len(held) == 1:
            return held[0]
        return np.sum([vcpu for vcpu, _ in held], axis=0), np.sum([memory for _, memory in held], axis=0)

    def vcpu_for(self, ask: Ask) -> Ints:
        """vCPU that this ask may use, one entry a host."""
        held = self.guaranteed(ask.pools)
        return self.vcpu if held is None else self.vcpu + held[0]

    def memory_for(self, ask: Ask) -> Ints:
        """MiB that this ask may use, one entry a host."""
        held = self.guaranteed(ask.pools)
        return self.memory_mib if held is None else self.memory_mib + held[1]

    def members(self, group: Group) -> Ints:
        """How many members of the group each host has."""
        if group.key not in self._members:
            count = np.zeros(len(self.fleet.hosts), np.int64)
            for host in group.members:
                at = self.fleet.layout.hosts.get(host)
                if at is not None:
                    count[at] += 1
            self._members[group.key] = count
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
        if ask.vcpu:
            np.minimum(found, self.vcpu_for(ask)[hosts] // ask.vcpu, out=found)
        if ask.memory_mib:
            np.minimum(found, self.memory_for(ask)[hosts] // ask.memory_mib, out=found)
        if ask.group and ask.group.apart is Apart.REQUIRED:
            np.minimum(found, np.maximum(1 - self.members(ask.group)[hosts], 0), out=found)
        return found

    def take(self, ask: Ask, count: Ints) -> None:
        """Claim vCPU and memory for `count` of this ask (one entry a host). There must be room."""
        vcpu, memory = count * ask.vcpu, count * ask.memory_mib
        for pool in ask.pools:
            held = self.held(pool)
            if held is not None:
                for kept, wanted in zip(held, (vcpu, memory), strict=True):
                    eaten = np.minimum(kept, wanted)
                    kept -= eaten
                    wanted -= eaten
        self.vcpu -= vcpu
        self.memory_mib -= memory
        if ask.group:
            self.members(ask.group)
            self._members[ask.group.key] = self._members[ask.group.key] + count


def settled(room: Room) -> Fleet:
    """The fleet when all that was taken of its room is claimed: claims eat holds first, as in the ledger."""
    fleet, before = room.fleet, Room(room.fleet)
    vcpu, memory = before.vcpu - room.vcpu, before.memory_mib - room.memory_mib
    disk = before.disk_gib - room.disk_gib
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
