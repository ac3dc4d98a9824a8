"""All ways to place a small batch of several roles on a small fleet, within a number of steps.

Depth first, ask by ask. Asks of one role go in the order of (host, datastore), hosts that stand equal are tried once,
and a branch ends where a role that is still to come finds too few slots. What it answers is proven, unless it gave up.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

import numpy as np

from .ask import Apart, Ask
from .filters import Sifted, sift, usable_datastores
from .fleet import Fleet
from .roles import Choice, Role
from .room import Room

EFFORT = 50_000  # steps of about a microsecond
MOST_ASKS = 64
MOST_HOSTS = 64

Pair = tuple[int, int]  # host and datastore (-1: none needed), by index


class Outcome(Enum):
    NONE = auto()  # there is no plan
    GAVE_UP = auto()  # out of steps, or too large to begin


def search(roles: Sequence[Role], fleet: Fleet, effort: int) -> list[Choice] | Outcome:
    """Some plan for these roles, by no policy, or why there is no such answer."""
    room = Room(fleet)
    sifted = [sift(fleet, role.ask, room) for role in roles]
    hosts = np.flatnonzero(np.any([one.mask for one in sifted], axis=0))
    if sum(len(role.at) for role in roles) > MOST_ASKS or len(hosts) > MOST_HOSTS:
        return Outcome.GAVE_UP
    board = _Board(roles, room, sifted, effort)
    try:
        if not board.place_from(0, 0, 0):
            return Outcome.NONE
    except OutOfSteps:
        return Outcome.GAVE_UP
    return [
        Choice([host for host, _ in pairs], [store for _, store in pairs], [], False, {}, one)
        for pairs, one in zip(board.placed, sifted, strict=True)
    ]


class OutOfSteps(Exception):
    """The search has used up its effort."""


class _Board:
    """Room in plain numbers, which are quicker than arrays one at a time."""

    def __init__(self, roles: Sequence[Role], room: Room, sifted: Sequence[Sifted], effort: int) -> None:
        self.roles = roles
        self.steps = effort
        self.placed: list[list[Pair]] = [[] for _ in roles]
        self.eligible = [np.flatnonzero(one.mask).tolist() for one in sifted]
        self.pairs = [_pairs(room, role.ask, hosts) for role, hosts in zip(roles, self.eligible, strict=True)]
        self.vcpu: list[int] = room.vcpu.tolist()
        self.memory: list[int] = room.memory_mib.tolist()
        self.disk: list[int] = room.disk_gib.tolist()
        pools = {pool for role in roles for pool in role.ask.pools}
        found = {pool: room.held(pool) for pool in pools}
        self.held = {pool: (held[0].tolist(), held[1].tolist()) for pool, held in found.items() if held is not None}
        groups = {role.ask.group for role in roles if role.ask.group and role.ask.group.apart is Apart.REQUIRED}
        self.members = {group.key: room.members(group).tolist() for group in groups}
        stand = [tuple(mask) for mask in zip(*(one.mask.tolist() for one in sifted), strict=True)]
        self.stand = list(zip(stand, room.fleet.layout.disk_row.tolist(), strict=True))

    def place_from(self, at: int, done: int, start: int) -> bool:
        """Place what is left: `done` of role `at`, whose next may use its pairs from `start` on."""
        if at == len(self.roles):
            return True
        if done == len(self.roles[at].at):
            return self.place_from(at + 1, 0, 0)
        if not self._can_still(at, done):
            return False
        tried = set()
        for number in range(start, len(self.pairs[at])):
            pair = self.pairs[at][number]
            stands = self._stands(pair)
            if stands in tried or not self._fits(self.roles[at].ask, pair):
                continue
            tried.add(stands)
            before = self._take(self.roles[at].ask, pair)
            self.placed[at].append(pair)
            if self.place_from(at, done + 1, number):
                return True
            self.placed[at].pop()
            _put_back(before)
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

    def _meets(self, ask: Ask, host: int) -> bool:
        return ask.group is None or ask.group.apart is not Apart.REQUIRED or not self.members[ask.group.key][host]

    def _fits(self, ask: Ask, pair: Pair) -> bool:
        self._step(1)
        host, store = pair
        vcpu, memory = self._free(ask, host)
        if vcpu < ask.vcpu or memory < ask.memory_mib or not self._meets(ask, host):
            return False
        return store < 0 or self.disk[store] >= (ask.disk_gib or 0)

    def _can_still(self, at: int, done: int) -> bool:
        """Whether each role finds enough slots by itself."""
        for number in range(at, len(self.roles)):
            role = self.roles[number]
            lacking = len(role.at) - (done if number == at else 0)
            self._step(len(self.eligible[number]))
            for host in self.eligible[number]:
                if lacking <= 0:
                    break
                if self._meets(role.ask, host):
                    vcpu, memory = self._free(role.ask, host)
                    slots = min(
                        vcpu // role.ask.vcpu if role.ask.vcpu else lacking,
                        memory // role.ask.memory_mib if role.ask.memory_mib else lacking,
                    )
                    lacking -= min(slots, 1) if role.single else slots
            if lacking > 0:
                return False
        return True

    def _stands(self, pair: Pair) -> tuple[object, ...]:
        """Equal for pairs that are interchangeable from here on."""
        host, store = pair
        held = tuple((vcpu[host], memory[host]) for vcpu, memory in self.held.values())
        members = tuple(count[host] for count in self.members.values())
        return self.stand[host], self.vcpu[host], self.memory[host], held, members, store

    def _take(self, ask: Ask, pair: Pair) -> list[tuple[list[int], int, int]]:
        """Claim; answers what was there before, to be put back."""
        host, store = pair
        before = []
        for at, (free, wanted) in enumerate(((self.vcpu, ask.vcpu), (self.memory, ask.memory_mib))):
            for pool in ask.pools:
                if pool in self.held:
                    kept = self.held[pool][at]
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


def _put_back(before: list[tuple[list[int], int, int]]) -> None:
    for column, at, amount in reversed(before):
        column[at] = amount


def _pairs(room: Room, ask: Ask, hosts: Sequence[int]) -> list[Pair]:
    if ask.disk_gib is None:
        return [(host, -1) for host in hosts]
    layout, usable = room.fleet.layout, usable_datastores(room.fleet, ask, room)
    return [(host, int(store)) for host in hosts for store in layout.disk_rows[layout.disk_row[host]] if usable[store]]
