"""Fleets that are not there: after a plan was carried out. (Hosts less or more: Fleet.without_hosts, with_hosts.)"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from .ask import Ask, Plan, Policy
from .fleet import Fleet, Hold
from .roles import Order, Role, fill, roles_of
from .room import Room


def after(fleet: Fleet, asks: Sequence[Ask], plan: Plan) -> Fleet:
    """The fleet when this plan of these asks was carried out: claims eat holds first, as in the ledger."""
    room = Room(fleet)
    disk = np.zeros_like(fleet.claimed_gib)
    before_vcpu, before_memory = room.vcpu.copy(), room.memory_mib.copy()
    for role in roles_of(asks):
        placed = [plan.placements[at] for at in role.at]
        hosts = np.array([fleet.layout.hosts[one.host_id] for one in placed], np.int64)
        room.take(role.ask, np.bincount(hosts, minlength=len(fleet.hosts)))
        for one in placed:
            if one.datastore_id is not None:
                disk[fleet.layout.datastores[one.datastore_id]] += role.ask.disk_gib or 0
    vcpu, memory = before_vcpu - room.vcpu, before_memory - room.memory_mib
    return fleet.with_changes(
        hosts=[
            host._replace(
                vcpu_claimed=host.vcpu_claimed + int(vcpu[at]),
                memory_claimed_mib=host.memory_claimed_mib + int(memory[at]),
            )
            for at, host in enumerate(fleet.hosts)
            if vcpu[at] or memory[at]
        ],
        datastores=[
            store._replace(claimed_gib=store.claimed_gib + int(disk[at]))
            for at, store in enumerate(fleet.datastores)
            if disk[at]
        ],
        holds={pool: _left(fleet, room, pool) for pool in {pool for ask in asks for pool in ask.pools}},
    )


def _left(fleet: Fleet, room: Room, pool: UUID) -> list[Hold]:
    """What the room keeps for a pool, as rows."""
    held = room.held(pool)
    if held is None:
        return []
    at = np.flatnonzero((held[0] > 0) | (held[1] > 0)).tolist()
    return [Hold(fleet.hosts[one].id, int(held[0][one]), int(held[1][one])) for one in at]


def how_many(ask: Ask, fleet: Fleet, *, most: int) -> int:
    """How many of this ask fit beside each other, counted up to `most`. Exact."""
    role = Role(ask, tuple(range(most)))
    return len(fill(role, Room(fleet), Order.of(fleet, 0), Policy.PACK).hosts)
