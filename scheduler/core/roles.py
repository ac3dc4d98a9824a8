"""One role at a time: asks that differ in nothing but key and name, placed together.

For one role the answer is exact: it fills as many of its asks as any plan could, each on the best host that the ones
before left (test_place_oracle.py compares it with all plans).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .ask import Apart, Ask, Policy
from .disks import Disks
from .filters import Sifted, sift
from .fleet import Fleet
from .layout import Ints
from .room import Room
from .scorers import Look, key
from .slots import Slots


@dataclass(frozen=True)
class Role:
    """Interchangeable asks: one of them, and where all stand in the batch."""

    ask: Ask
    at: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """They must stay apart, and may have to from others."""
        return self.ask.group is not None and self.ask.group.apart is Apart.REQUIRED

    @property
    def single(self) -> bool:
        """No host gets two of them."""
        return len(self.at) == 1 or self.apart


@dataclass(frozen=True)
class Order:
    """The order among equals that the request's seed gives: numbers for hosts, datastores and zones."""

    hosts: Ints
    datastores: Ints
    zones: Ints

    @classmethod
    def of(cls, fleet: Fleet, seed: int) -> Order:
        """`seed` is any whole number from 0."""
        chance = np.random.default_rng(seed)
        return cls(*(chance.permutation(len(rows)) for rows in (fleet.hosts, fleet.datastores, fleet.zones)))


@dataclass(frozen=True)
class Choice:
    """What one role got: hosts and datastores (-1: none needed) by index, best first, with what `why` tells."""

    hosts: Sequence[int]
    datastores: Sequence[int]
    keys: Sequence[int]
    by_zone: bool  # evened out over zones: hosts of one zone compete with each other alone
    runners_up: Mapping[int, tuple[int, int]]  # by zone or -1: host and key of what comes instead of the last one
    sifted: Sifted


def roles_of(asks: Sequence[Ask]) -> list[Role]:
    """Group the asks; the hardest first: those that must stay apart, then large before small."""
    found: dict[tuple[object, ...], list[int]] = {}
    for at, ask in enumerate(asks):
        found.setdefault(ask.kind, []).append(at)
    roles = [Role(asks[members[0]], tuple(members)) for members in found.values()]
    vcpu = max([1, *(role.ask.vcpu for role in roles)])
    memory = max([1, *(role.ask.memory_mib for role in roles)])
    return sorted(
        roles, key=lambda role: (not role.apart, -max(role.ask.vcpu / vcpu, role.ask.memory_mib / memory), role.at[0])
    )


def fill(role: Role, room: Room, order: Order, policy: Policy, loss: Ints | None = None) -> Choice:
    """Choose for as many of the role's asks as there is room for, and take it. `loss` (a number a host) weighs most."""
    fleet, ask = room.fleet, role.ask
    sifted = sift(fleet, ask, room)
    hosts = np.flatnonzero(sifted.mask)
    look = Look(fleet, ask, room, policy, hosts, order.hosts[hosts], None if loss is None else loss[hosts])
    slots = Slots(lambda entries, depth: key(look, entries, depth), room.slots(ask, hosts, len(role.at)))
    zones = order.zones if loss is None and ask.group and ask.group.over_zones else None
    disks = None if ask.disk_gib is None else Disks(room, ask, order.datastores)
    entries, keys = _pick(look, slots, len(role.at), zones, disks)
    chosen = hosts[entries]
    choice = Choice(
        hosts=chosen.tolist(),
        datastores=_stores(fleet, chosen, disks),
        keys=keys.tolist(),
        by_zone=zones is not None,
        runners_up=_runners_up(look, slots, entries, by_zone=zones is not None),
        sifted=sifted,
    )
    room.take(ask, np.bincount(chosen, minlength=len(fleet.hosts)))
    if disks is not None:
        room.disk_gib = room.disk_gib - disks.used_gib()
    return choice


def _pick(look: Look, slots: Slots, wanted: int, zones: Ints | None, disks: Disks | None) -> tuple[Ints, Ints]:
    """Entries and keys of the best slots that can have a datastore, best first."""
    rows = look.fleet.layout.disk_row[look.hosts]
    picked, keys = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    while wanted and len(best := _best(look, slots, wanted, zones)):
        if disks is not None:
            best = best[[disks.push(row) for row in rows[best].tolist()]]
        picked.append(best)
        keys.append(slots.take(best))
        wanted -= len(best)
        if disks is not None and disks.full:  # every slot that was refused is closed, so this ends
            slots.close(np.isin(rows, list(disks.full)))
    return np.concatenate(picked), np.concatenate(keys)


def _best(look: Look, slots: Slots, wanted: int, zones: Ints | None) -> Ints:
    """The best slots; with `zones` (their order among equals) the zone with the fewest members always comes next."""
    if zones is None or look.ask.group is None:
        return slots.best(wanted)
    of_host = look.fleet.layout.host_zone
    standing = np.bincount(of_host + 1, weights=look.room.members(look.ask.group), minlength=len(zones) + 1)[1:]
    entries, levels = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for zone in np.unique(of_host[look.hosts]).tolist():
        mine = np.flatnonzero(of_host[look.hosts] == zone)
        best = slots.best(wanted, mine)
        level = int(standing[zone]) + int(slots.taken[mine].sum()) + np.arange(len(best))
        entries.append(best)
        levels.append(level * len(zones) + zones[zone])
    found: Ints = np.concatenate(entries)[np.argsort(np.concatenate(levels), kind="stable")][:wanted]
    return found


def _runners_up(look: Look, slots: Slots, entries: Ints, by_zone: bool) -> dict[int, tuple[int, int]]:
    """The best slot left on another host than the last one chosen."""
    zone = look.fleet.layout.host_zone[look.hosts] if by_zone else np.full(len(look.hosts), -1, np.int64)
    last = {int(zone[entry]): entry for entry in entries.tolist()}
    found = {one: slots.next_but(entry, zone == one) for one, entry in last.items()}
    return {one: (int(look.hosts[next_[0]]), next_[1]) for one, next_ in found.items() if next_ is not None}


def _stores(fleet: Fleet, hosts: Ints, disks: Disks | None) -> list[int]:
    """A datastore for each host chosen: hosts of one row share what that row got."""
    if disks is None:
        return [-1] * len(hosts)
    got = disks.of_rows()
    return [got[row].pop() for row in fleet.layout.disk_row[hosts].tolist()]
