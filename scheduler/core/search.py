"""All ways to place a small batch of several roles on a small fleet, within a number of steps.

Depth first, ask by ask. Asks of one role go in the order of (host, datastore); hosts and datastores that stand equal
are tried once, a position met before is not tried again, and a branch ends where a role that is still to come finds too
few slots or all together too little. What it answers is proven, unless it gave up.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

import numpy as np

from .ask import Apart, Ask, Level, Together
from .filters import sift, usable_datastores
from .fleet import Fleet
from .roles import Choice, Role
from .room import Room

EFFORT = 50_000  # steps of about a microsecond
MOST_ASKS = 64
MOST_HOSTS = 64

Pair = tuple[int, int]  # host and datastore (-1: none needed), by index on the board
Undo = list[tuple[list[int], int, int]]  # column, place, what stood there


class Outcome(Enum):
    NONE = auto()  # there is no plan
    GAVE_UP = auto()  # out of steps, or too large to begin


class OutOfSteps(Exception):
    """The search has used up its effort."""


def search(roles: Sequence[Role], fleet: Fleet, effort: int) -> list[Choice] | Outcome:
    """Some plan for these roles, by no policy, or why there is no such answer."""
    room = Room(fleet)
    sifted = [sift(fleet, role.ask, room) for role in roles]
    masks = np.array([one.mask for one in sifted])
    hosts = np.flatnonzero(masks.any(axis=0))
    if sum(len(role.at) for role in roles) > MOST_ASKS or len(hosts) > MOST_HOSTS:
        return Outcome.GAVE_UP
    board = _Board(roles, room, hosts.tolist(), masks[:, hosts].tolist(), effort)
    try:
        if not board.place_from(0, 0, 0):
            return Outcome.NONE
    except OutOfSteps:
        return Outcome.GAVE_UP
    return [
        Choice([int(hosts[host]) for host, _ in pairs], [store for _, store in pairs], (), False, {}, one)
        for pairs, one in zip(board.placed, sifted, strict=True)
    ]


class _Board:
    """Room on the eligible hosts in plain numbers, which are quicker than arrays one at a time."""

    def __init__(
        self, roles: Sequence[Role], room: Room, hosts: list[int], eligible: list[list[bool]], effort: int
    ) -> None:
        layout = room.fleet.layout
        self.roles = roles
        self.steps = effort
        self.placed: list[list[Pair]] = [[] for _ in roles]
        self.eligible = [[at for at, fits in enumerate(row) if fits] for row in eligible]
        self.vcpu: list[int] = room.vcpu[hosts].tolist()
        self.memory: list[int] = room.memory_mib[hosts].tolist()
        self.disk: list[int] = room.disk_gib.tolist()
        found = {pool: room.guaranteed([pool]) for pool in sorted({pool for role in roles for pool in role.ask.pools})}
        self.held = {pool: (h[0][hosts].tolist(), h[1][hosts].tolist()) for pool, h in found.items() if h is not None}
        groups = {role.ask.group for role in roles if role.ask.group and (role.apart or role.together)}
        self.members: dict[str, list[int]] = {group.key: room.members(group)[hosts].tolist() for group in groups}
        self.zones: list[int] = layout.host_zone[hosts].tolist()
        self.apart: list[int] = layout.apart[hosts].tolist()
        self.free_to_choose = {
            group.key for group in groups if group.together is Together.REQUIRED and not room.beside(group).any()
        }
        self.on_host = [self.vcpu, self.memory, *(c for held in self.held.values() for c in held)]
        self.on_host += self.members.values()
        self.failed: set[tuple[object, ...]] = set()
        disk_rows = layout.disk_row[hosts].tolist()
        zones = self.zones if any(role.together for role in roles) else [0] * len(hosts)
        self.host_kinds = list(zip(zones, self.apart, disk_rows, *eligible, strict=True))
        usable = [usable_datastores(room.fleet, role.ask, room).tolist() for role in roles]
        rows_of = [layout.reach(role.ask.storage_class).rows for role in roles]
        reach = [{row: frozenset(rows[row].tolist()) for row in set(disk_rows)} for rows in rows_of]
        self.store_kinds = [
            tuple(
                (fits[store], *(row for row, stores in sorted(of_role.items()) if store in stores))
                for fits, of_role in zip(usable, reach, strict=True)
            )
            for store in range(len(self.disk))
        ]
        self.pairs: list[list[Pair]] = [
            [(at, -1) for at in mine]
            if role.ask.disk_gib is None
            else [(at, store) for at in mine for store in sorted(of_role[disk_rows[at]]) if fits[store]]
            for role, mine, fits, of_role in zip(roles, self.eligible, usable, reach, strict=True)
        ]

    def place_from(self, at: int, done: int, start: int) -> bool:
        """Place what is left: `done` of role `at` stand, whose next may use its pairs from `start` on."""
        if at == len(self.roles):
            return True
        if done == len(self.roles[at].at):
            return self.place_from(at + 1, 0, 0)
        self._step(len(self.vcpu))
        position = (at, done, start, *map(tuple, self.on_host), tuple(self.disk))
        if position in self.failed:
            return False
        if self._can_still(at, done) and self._try_pairs(at, done, start):
            return True
        self.failed.add(position)
        return False

    def _try_pairs(self, at: int, done: int, start: int) -> bool:
        ask, tried = self.roles[at].ask, set()
        for number in range(start, len(self.pairs[at])):
            pair = self.pairs[at][number]
            stands = self._stands(pair)
            if stands in tried or not self._fits(ask, pair):
                continue
            tried.add(stands)
            before = self._take(ask, pair)
            self.placed[at].append(pair)
            if self.place_from(at, done + 1, number):
                return True
            self.placed[at].pop()
            for column, place, amount in reversed(before):
                column[place] = amount
        return False

    def _step(self, count: int) -> None:
        self.steps -= count
        if self.steps < 0:
            raise OutOfSteps

    def _free(self, ask: Ask, host: int) -> tuple[int, int]:
        vcpu, memory = self.vcpu[host], self.memory[host]
        for pool in ask.pools:
            if pool in self.held:
                vcpu += self.held[pool][0][host]
                memory += self.held[pool][1][host]
        return vcpu, memory

    def _barred(self, ask: Ask, host: int) -> bool:
        """Whether the host has a member that this ask must stay apart from, or another the ones to be joined."""
        group = ask.group
        if group is None or group.key not in self.members:
            return False
        count = self.members[group.key]
        if group.apart is Apart.REQUIRED and count[host] >= self.apart[host]:
            return True
        if group.key not in self.free_to_choose or not any(count):
            return False  # where members stood before, the filter has left no other hosts (zones)
        if group.level is Level.HOST:
            return count[host] == 0
        return all(zone != self.zones[host] for zone, here in zip(self.zones, count, strict=True) if here)

    def _fits(self, ask: Ask, pair: Pair) -> bool:
        self._step(1)
        host, store = pair
        vcpu, memory = self._free(ask, host)
        if vcpu < ask.vcpu or memory < ask.memory_mib or self._barred(ask, host):
            return False
        return store < 0 or self.disk[store] >= (ask.disk_gib or 0)

    def _can_still(self, at: int, done: int) -> bool:
        """Whether each role to come finds slots by itself, and all together room by the sum."""
        vcpu, memory = (sum(map(sum, columns)) for columns in self._all_room())
        for number in range(at, len(self.roles)):
            role = self.roles[number]
            lacking = len(role.at) - (done if number == at else 0)
            vcpu -= lacking * role.ask.vcpu
            memory -= lacking * role.ask.memory_mib
            if vcpu < 0 or memory < 0 or self._slots(role, number, lacking) < lacking:
                return False
        return True

    def _all_room(self) -> tuple[list[list[int]], list[list[int]]]:
        held = self.held.values()
        return [self.vcpu, *(vcpu for vcpu, _ in held)], [self.memory, *(memory for _, memory in held)]

    def _slots(self, role: Role, number: int, enough: int) -> int:
        """How many of the role the hosts can take, datastores aside; counted until there are enough."""
        found = 0
        self._step(len(self.eligible[number]))
        for host in self.eligible[number]:
            if found >= enough:
                break
            if not self._barred(role.ask, host):
                vcpu, memory = self._free(role.ask, host)
                slots = min(
                    vcpu // role.ask.vcpu if role.ask.vcpu else enough,
                    memory // role.ask.memory_mib if role.ask.memory_mib else enough,
                )
                slots = min(slots, self._most(role, host))
                found = max(found, slots) if self._one_host(role.ask) else found + slots
        return found

    def _most(self, role: Role, host: int) -> int:
        """How many of the role may share this host, whatever room it has."""
        if not role.apart or role.ask.group is None:
            return len(role.at)
        return self.apart[host] - self.members[role.ask.group.key][host]

    def _one_host(self, ask: Ask) -> bool:
        """Whether one host must take all of this ask's group."""
        return ask.group is not None and ask.group.key in self.free_to_choose and ask.group.level is Level.HOST

    def _stands(self, pair: Pair) -> tuple[object, ...]:
        """Equal for pairs that are interchangeable from here on."""
        host, store = pair
        space = (self.store_kinds[store], self.disk[store]) if store >= 0 else None
        return self.host_kinds[host], tuple(column[host] for column in self.on_host), space

    def _take(self, ask: Ask, pair: Pair) -> Undo:
        """Claim; answers what was there before, to be put back."""
        host, store = pair
        before: Undo = []
        for kind, free, amount in ((0, self.vcpu, ask.vcpu), (1, self.memory, ask.memory_mib)):
            wanted = amount
            for pool in ask.pools:
                if pool in self.held:
                    kept = self.held[pool][kind]
                    before.append((kept, host, kept[host]))
                    eaten = min(kept[host], wanted)
                    kept[host] -= eaten
                    wanted -= eaten
            before.append((free, host, free[host]))
            free[host] -= wanted
        if store >= 0:
            before.append((self.disk, store, self.disk[store]))
            self.disk[store] -= ask.disk_gib or 0
        if ask.group and ask.group.key in self.members:
            count = self.members[ask.group.key]
            before.append((count, host, count[host]))
            count[host] += 1
        return before
