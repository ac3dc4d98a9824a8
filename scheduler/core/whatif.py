"""Fleets that are not there: after a plan, with more hosts.

Drains and lost zones: drain.py. Requests that come again: replay.py. What still fits, and how well: counting.py. Hosts
less: Fleet.without_hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid5

import numpy as np

from .ask import Ask, Plan, Policy
from .fleet import Fleet
from .layout import Host
from .roles import Order, Role, choose, roles_of
from .room import Room, settled


def after(fleet: Fleet, asks: Sequence[Ask], plan: Plan) -> Fleet:
    """The fleet when this plan of these asks was carried out: claims eat holds first, as in the ledger."""
    room = Room(fleet)
    for role in roles_of(asks):
        placed = [plan.placements[at] for at in role.at]
        hosts = np.array([fleet.layout.hosts[one.host_id] for one in placed], np.int64)
        room.take(role.ask, hosts)
        stores = [fleet.layout.datastores[one.datastore_id] for one in placed if one.datastore_id is not None]
        room.disk_gib = room.disk_gib - np.bincount(stores, minlength=len(room.disk_gib)) * (role.ask.disk_gib or 0)
    return settled(room)


def how_many(ask: Ask, fleet: Fleet, *, most: int) -> int:
    """How many of this ask fit beside each other, counted up to `most`. Exact."""
    role = Role(ask, tuple(range(most)))
    return len(choose(role, Room(fleet), Order.of(fleet, 0), Policy.PACK).hosts)


def add_hosts(fleet: Fleet, like: Host, k: int, zone: UUID) -> Fleet:
    """The fleet with `k` more hosts of this shape in this zone: empty, open, with the wiring and labels of `like`."""
    return fleet.with_hosts(
        like._replace(
            id=uuid5(like.id, f"{zone} {number}"),
            zone_id=zone,
            vcpu_claimed=0,
            memory_claimed_mib=0,
            open=True,
            name=f"new-{number}",
        )
        for number in range(1, k + 1)
    )
