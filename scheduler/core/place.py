"""The decision: a batch of asks goes onto the fleet as one, or not at all.

Three tries, each only when the one before found no plan:
1. role after role, the hardest first, each by the policy; roles that must stay together go where all of them fit;
2. the same, but each role avoids the hosts where it would cost the later roles most slots;
3. all ways, bounded by `effort` (search.py), for small batches on small fleets.

A plan is found if and only if there is one, when the batch has one role; or two of which one puts at most one VM on a
host, neither must stay together and datastores have space to spare (control planes and workers); or when the third try
runs to its end. Otherwise NoRoom says `proven=False`. Whatever is found oversells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .ask import Ask, NoRoom, Placement, Plan, Policy
from .filters import reaches_a_datastore, sift
from .fleet import Fleet
from .layout import Ints, Mask
from .roles import Choice, Order, Role, choose, fill, places_for, roles_of, take
from .room import Room
from .scorers import MOST_LOSS
from .search import EFFORT, Outcome, search
from .why import refusal, why_these


@dataclass(frozen=True)
class Try:
    """How far one try came: a choice for each role in turn, the last one short when the try is stuck."""

    roles: Sequence[Role]
    choices: Sequence[Choice]
    room: Room

    @property
    def stuck(self) -> Role | None:
        """The role that found too little room."""
        at = len(self.choices) - 1
        return self.roles[at] if len(self.choices[at].hosts) < len(self.roles[at].at) else None

    @property
    def placed(self) -> int:
        return sum(len(choice.hosts) for choice in self.choices)


def place(asks: Sequence[Ask], fleet: Fleet, *, policy: Policy, seed: int, effort: int = EFFORT) -> Plan | NoRoom:
    """Room for all of these asks, or why there is none. The same arguments give the same answer.

    `policy` is for asks that have none of their own. `seed` (from 0) orders what is equal; `effort` bounds the third
    try, 0 leaves it out. Raises ValueError for keys asked twice and for groups of one key that differ.
    """
    if len({ask.key for ask in asks}) < len(asks):
        raise ValueError("a key is asked twice")
    if not asks:
        return Plan(())
    roles, order = roles_of(asks), Order.of(fleet, seed)
    groups = {role.ask.group for role in roles if role.ask.group}
    if len({group.key for group in groups}) < len(groups):
        raise ValueError("groups of one key differ")
    first = _try(roles, fleet, order, policy)
    if first.stuck is None:
        return _plan(asks, fleet, first, policy)
    proven = _hopeless(roles, fleet, order, policy)
    if not proven:
        second = _try(sorted(roles, key=lambda role: not role.single), fleet, order, policy, weigh_loss=True)
        if second.stuck is None:
            return _plan(asks, fleet, second, policy)
        proven = _exact(second)
    if not proven and effort:
        found = search(roles, fleet, effort)
        if not isinstance(found, Outcome):
            return _plan(asks, fleet, Try(roles, found, first.room), policy)
        proven = found is Outcome.NONE
    return refusal(fleet, first.stuck.ask, first.room, asked=len(asks), placed=first.placed, proven=proven)


def _try(roles: Sequence[Role], fleet: Fleet, order: Order, policy: Policy, weigh_loss: bool = False) -> Try:
    room = Room(fleet)
    choices: list[Choice] = []
    for at, role in enumerate(roles):
        loss = _loss(role, roles[at + 1 :], room) if weigh_loss else None
        sharing = [other for other in roles[at:] if role.ask.group == other.ask.group] if role.together else []
        among = _place_for(sharing, room, order, policy) if len(sharing) > 1 else None
        choices.append(choose(role, room, order, role.ask.policy or policy, loss, among))
        full = len(choices[at].hosts) == len(role.at)
        if not full or at + 1 < len(roles):  # nobody looks at what the last one leaves
            take(role, choices[at], room)
        if not full:
            break
    return Try(roles, choices, room)


def _place_for(roles: Sequence[Role], room: Room, order: Order, policy: Policy) -> Mask | None:
    """The host or zone where all of these roles of one group fit, else most of them; None when it is settled."""
    group = roles[0].ask.group
    if group is None or room.beside(group).any():
        return None
    best, most = None, 0
    for among in places_for(roles, group, room, order, roles[0].ask.policy or policy):
        tried = room.copy()
        placed = sum(len(fill(role, tried, order, role.ask.policy or policy, among=among).hosts) for role in roles)
        if placed > most:
            best, most = among, placed
        if placed == sum(len(role.at) for role in roles):
            break
    return best


def _loss(role: Role, later: Sequence[Role], room: Room) -> Ints:
    """On each host, the slots of later roles that one of this role would cost; a host counts by itself."""
    everywhere = np.flatnonzero(sift(room.fleet, role.ask, room).mask)
    tried = room.copy()
    tried.take(role.ask, everywhere)
    lost = np.zeros_like(room.vcpu)
    for other in later:
        fits = np.flatnonzero(sift(room.fleet, other.ask, room).mask)
        most = len(other.at)
        lost[fits] += room.slots(other.ask, fits, most) - tried.slots(other.ask, fits, most)
    return lost


def _hopeless(roles: Sequence[Role], fleet: Fleet, order: Order, policy: Policy) -> bool:
    """Whether one role finds no room even on the empty board, or all together ask more than there is."""
    for role in roles:
        if len(choose(role, Room(fleet), order, policy).hosts) < len(role.at):
            return True
    room = Room(fleet)
    anyone = np.any([sift(fleet, role.ask, room).mask for role in roles], axis=0)
    held = room.guaranteed(dict.fromkeys(pool for role in roles for pool in role.ask.pools))
    vcpu, memory = (room.vcpu, room.memory_mib) if held is None else (room.vcpu + held[0], room.memory_mib + held[1])
    asked_vcpu = sum(len(role.at) * role.ask.vcpu for role in roles)
    asked_memory = sum(len(role.at) * role.ask.memory_mib for role in roles)
    return asked_vcpu > int(vcpu[anyone].sum()) or asked_memory > int(memory[anyone].sum())


def _exact(second: Try) -> bool:
    """Whether the second try is exact for this batch, see the top. It is stuck, and no role is by itself."""
    if len(second.roles) != 2 or not second.roles[0].single or len(second.roles[1].at) > MOST_LOSS:
        return False
    role, fleet = second.roles[1], second.room.fleet
    if any(role.together for role in second.roles) or np.any(fleet.layout.apart > 1):
        return False
    left = sift(fleet, replace(role.ask, disk_gib=None), second.room).mask
    reached = reaches_a_datastore(fleet, role.ask, Room(fleet))  # what had none to begin with is no loss
    return not np.any(left if reached is None else left & reached)


def _plan(asks: Sequence[Ask], fleet: Fleet, done: Try, policy: Policy) -> Plan:
    placed: list[Placement | None] = [None] * len(asks)
    for role, choice in zip(done.roles, done.choices, strict=True):
        told = why_these(fleet, choice, role.ask.policy or policy)
        for at, host, store, why in zip(role.at, choice.hosts, choice.datastores, told, strict=True):
            row = fleet.hosts[host]
            assert row.zone_id is not None  # the zone filter left no other
            datastore_id = None if store < 0 else fleet.datastores[store].id
            placed[at] = Placement(asks[at].key, row.zone_id, row.id, datastore_id, why)
    return Plan(tuple(one for one in placed if one is not None))
