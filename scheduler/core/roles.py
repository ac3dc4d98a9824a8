"""One role at a time: asks that differ in nothing but key and name, placed together.

For one role the answer is exact: it fills as many of its asks as any plan could, each on the best host that the ones
before left (test_place_oracle.py compares it with all plans).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .ask import Apart, Ask, Group, Level, Policy, Together
from .disks import Disks
from .filters import Sifted, sift
from .fleet import Fleet
from .layout import MOST_HOSTS, Ints, Mask
from .room import Room
from .scorers import Look, key
from .slots import Slots
from .together import best_together, elsewhere, most_with_disks, parts


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
    def together(self) -> bool:
        """They must stay together, and may have to with others."""
        return self.ask.group is not None and self.ask.group.together is Together.REQUIRED

    @property
    def single(self) -> bool:
        """No host gets two of them; a bin may get one for each host that it stands for."""
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
        hosts, datastores, zones = (
            _shuffled(len(rows), 3 * seed + at) for at, rows in enumerate((fleet.hosts, fleet.datastores, fleet.zones))
        )
        return cls(hosts, datastores, np.argsort(zones))


_MIXED = np.random.default_rng(0).permutation(MOST_HOSTS)


def _shuffled(count: int, seed: int) -> Ints:
    """A number below MOST_HOSTS of its own for each of so many: one shuffle for all, stretched and turned by the seed.

    A stretch by an odd number is one to one on a power of two, and costs a tenth of another shuffle.
    """
    mixed = seed * 0x9E3779B97F4A7C15 % (1 << 64)  # Steele and others, Fast splittable pseudorandom number generators
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % (1 << 64)
    stretch, turn = mixed >> 46 | 1, mixed % MOST_HOSTS
    places: Ints = _MIXED[np.arange(count) % MOST_HOSTS] if count > MOST_HOSTS else _MIXED[:count]
    return (places * stretch + turn) & (MOST_HOSTS - 1)


class Scored(NamedTuple):
    """A slot with its scores. `elsewhere`: members that then stood elsewhere, where the group would be together."""

    host: int
    key: int
    elsewhere: int | None = None


@dataclass(frozen=True)
class Choice:
    """What one role got: hosts and datastores (-1: none needed) by index, best first, with what `why` tells."""

    hosts: Sequence[int]
    datastores: Sequence[int]
    slots: Sequence[Scored]  # empty: found by trying all ways
    by_zone: bool  # evened out over zones: hosts of one zone compete with each other alone
    runners_up: Mapping[int, Scored]  # by zone or -1: what comes instead of the last one
    sifted: Sifted


def roles_of(asks: Sequence[Ask]) -> list[Role]:
    """Group the asks; the hardest first: those that must stay together, or apart, then large before small."""
    roles = [Role(asks[members[0]], tuple(members)) for members in alike(asks)]
    return [roles[at] for at in hardest_first([role.ask for role in roles])]


def alike(asks: Sequence[Ask], also: Sequence[Hashable] | None = None) -> list[list[int]]:
    """Which asks are interchangeable, by index: equal in kind, and in what `also` says of each.

    Kinds are compared, not hashed: ids and groups that they share are one object, and told equal at a glance.
    """
    sorts: dict[Hashable, list[tuple[object, list[int]]]] = {}
    for at, ask in enumerate(asks):
        group = None if ask.group is None else ask.group.key
        sort = (ask.role, ask.vcpu, ask.memory_mib, ask.disk_gib, group, None if also is None else also[at])
        same, kind = sorts.setdefault(sort, []), ask.kind
        for other, members in same:
            if other == kind:
                members.append(at)
                break
        else:
            same.append((kind, [at]))
    return [members for same in sorts.values() for _, members in same]


def hardest_first(asks: Sequence[Ask]) -> list[int]:
    """The order in which to place asks of different kinds, by index."""
    vcpu = max([1, *(ask.vcpu for ask in asks)])
    memory = max([1, *(ask.memory_mib for ask in asks)])

    def ease(at: int) -> tuple[object, ...]:
        ask, role = asks[at], Role(asks[at], (at,))
        group = ask.group.key if role.together and ask.group else ""
        return not role.together, group, not role.apart, -max(ask.vcpu / vcpu, ask.memory_mib / memory), at

    return sorted(range(len(asks)), key=ease)


def fill(role: Role, room: Room, order: Order, policy: Policy, among: Mask | None = None) -> Choice:
    """Choose, and take it."""
    choice = choose(role, room, order, policy, among=among)
    take(role, choice, room)
    return choice


def take(role: Role, choice: Choice, room: Room) -> None:
    """Take out of the room what was chosen."""
    if not choice.hosts:
        return
    room.take(role.ask, np.array(choice.hosts, np.int64))
    if role.ask.disk_gib:
        disks = np.bincount(choice.datastores, minlength=len(room.disk_gib))
        room.disk_gib = room.disk_gib - disks * role.ask.disk_gib


def choose(
    role: Role, room: Room, order: Order, policy: Policy, loss: Ints | None = None, among: Mask | None = None
) -> Choice:
    """Room for as many of the role's asks as there is.

    `loss` (a number a host) weighs most; `among`: the hosts that may be chosen.
    """
    fleet, ask, group = room.fleet, role.ask, role.ask.group
    sifted = sift(fleet, ask, room)
    hosts = np.flatnonzero(sifted.mask if among is None else sifted.mask & among)
    look = Look(fleet, ask, room, policy, hosts, order.hosts[hosts], None if loss is None else loss[hosts])
    zones = order.zones if loss is None and group and group.even else None
    picked = _together(look, order, len(role.at)) if group and group.together else None
    if picked is None:
        most = room.slots(ask, hosts, len(role.at)) if len(role.at) > 1 else np.ones(len(hosts), np.int64)
        picked = _picked(look, order, most, len(role.at), zones)
    chosen = hosts[picked.entries]
    return Choice(
        hosts=chosen.tolist(),
        datastores=_stores(fleet, chosen, picked.disks),
        slots=_scored(look, picked),
        by_zone=zones is not None,
        runners_up=_runners_up(look, picked, by_zone=zones is not None),
        sifted=sifted,
    )


@dataclass(frozen=True)
class Picked:
    """Slots chosen of some, with what is left of those and of the datastores."""

    slots: Slots
    entries: Ints  # best first
    keys: Ints
    disks: Disks | None


def _picked(look: Look, order: Order, most: Ints, wanted: int, zones: Ints | None = None) -> Picked:
    slots = Slots(lambda entries, depth: key(look, entries, depth), most)
    disks = None if look.ask.disk_gib is None else Disks(look.room, look.ask, order.datastores)
    entries, keys = _pick(look, slots, wanted, zones, disks)
    return Picked(slots, entries, keys, disks)


def _together(look: Look, order: Order, wanted: int) -> Picked | None:
    """What a group gets that stays together; None where its members already say all, by the filter."""
    group = look.ask.group
    assert group is not None
    most = most_with_disks(look, look.room.slots(look.ask, look.hosts, wanted))
    if group.together is Together.PREFERRED:
        return _picked(look, order, most, wanted)
    if look.room.beside(group).any():
        return None
    slots = Slots(lambda entries, depth: key(look, entries, depth), most)
    tried = [_picked(look, order, part, wanted) for part in parts(look, group, slots)]
    return min(tried, key=lambda one: (-len(one.entries), int(one.keys.max(initial=0))), default=None)


MOST_PLACES = 16


def places_for(roles: Sequence[Role], group: Group, room: Room, order: Order, policy: Policy) -> list[Mask]:
    """Where all of these roles could be together: zones, or the best of the hosts that have room for the sum."""
    fleet = room.fleet
    able = np.all([sift(fleet, role.ask, room).mask for role in roles], axis=0)
    if group.level is Level.ZONE:
        zones = fleet.layout.host_zone
        return [zones == zone for zone in np.unique(zones[able]).tolist()]
    held = room.guaranteed(dict.fromkeys(pool for role in roles for pool in role.ask.pools))
    vcpu, memory = (room.vcpu, room.memory_mib) if held is None else (room.vcpu + held[0], room.memory_mib + held[1])
    able &= vcpu >= sum(len(role.at) * role.ask.vcpu for role in roles)
    able &= memory >= sum(len(role.at) * role.ask.memory_mib for role in roles)
    hosts = np.flatnonzero(able)
    for role in roles:
        hosts = hosts[room.slots(role.ask, hosts, len(role.at)) == len(role.at)]
    look = Look(fleet, roles[0].ask, room, policy, hosts, order.hosts[hosts])
    keys = key(look, np.arange(len(hosts)), np.full(len(hosts), len(roles[0].at) - 1))
    found = []
    for host in hosts[np.argsort(keys)][:MOST_PLACES].tolist():
        found.append(np.zeros(len(fleet.hosts), np.bool_))
        found[-1][host] = True
    return found


def _pick(look: Look, slots: Slots, wanted: int, zones: Ints | None, disks: Disks | None) -> tuple[Ints, Ints]:
    """Entries and keys of the best slots that can have a datastore, best first."""
    rows = look.fleet.layout.disk_row[look.hosts]
    picked: list[tuple[Ints, Ints]] = []
    while wanted:
        best, keys = _best(look, slots, wanted, zones)
        if not len(best):
            break
        if disks is not None:  # a row that is refused once is refused for good: what is left of an entry comes first
            pushed = [disks.push(row) for row in rows[best].tolist()]
            best, keys = best[pushed], keys[pushed]
        picked.append((best, keys))
        slots.take(best)
        wanted -= len(best)
        if disks is not None and disks.full:  # every slot that was refused is closed, so this ends
            slots.close(np.isin(rows, list(disks.full)))
    if len(picked) == 1:
        return picked[0]
    none = np.zeros(0, np.int64)
    return np.concatenate([none, *(best for best, _ in picked)]), np.concatenate([none, *(keys for _, keys in picked)])


def _best(look: Look, slots: Slots, wanted: int, zones: Ints | None) -> tuple[Ints, Ints]:
    """The entries and keys of the best slots, one after another."""
    group = look.ask.group
    if group is not None and group.together is Together.PREFERRED:
        return best_together(look, group, slots, wanted)
    if group is not None and zones is not None:
        return _evened_out(look, group, slots, wanted, zones)
    return slots.best(wanted)


def _evened_out(look: Look, group: Group, slots: Slots, wanted: int, zones: Ints) -> tuple[Ints, Ints]:
    """The zone with the fewest members always comes next; `zones` is their order among equals."""
    of_host = look.fleet.layout.host_zone
    standing = np.bincount(of_host + 1, weights=look.room.members(group), minlength=len(zones) + 1)[1:]
    none = np.zeros(0, np.int64)
    entries, keys, levels = [none], [none], [none]
    mine = of_host[look.hosts]
    for zone in np.flatnonzero(np.bincount(mine)).tolist():
        here = np.flatnonzero(mine == zone)
        best, best_keys = slots.best(wanted, here)
        level = int(standing[zone]) + int(slots.taken[here].sum()) + np.arange(len(best))
        entries.append(best)
        keys.append(best_keys)
        levels.append(level * len(zones) + zones[zone])
    order = np.argsort(np.concatenate(levels), kind="stable")[:wanted]
    return np.concatenate(entries)[order], np.concatenate(keys)[order]


def _scored(look: Look, picked: Picked) -> list[Scored]:
    hosts, keys = look.hosts[picked.entries].tolist(), picked.keys.tolist()
    group = look.ask.group
    if group is None or group.together is not Together.PREFERRED:
        return list(map(Scored, hosts, keys))
    return list(map(Scored, hosts, keys, elsewhere(look, group, picked.entries).tolist()))


def _runners_up(look: Look, picked: Picked, by_zone: bool) -> dict[int, Scored]:
    """The best slot left on another host than the last one chosen."""
    if not len(picked.entries):
        return {}
    if not by_zone:
        found = {-1: picked.slots.next_but(int(picked.entries[-1]))}
    else:
        zone = look.fleet.layout.host_zone[look.hosts]
        last = dict(zip(zone[picked.entries].tolist(), picked.entries.tolist(), strict=True))
        found = {one: picked.slots.next_but(entry, zone == one) for one, entry in last.items()}
    return {one: Scored(int(look.hosts[next_[0]]), next_[1]) for one, next_ in found.items() if next_ is not None}


def _stores(fleet: Fleet, hosts: Ints, disks: Disks | None) -> list[int]:
    """A datastore for each host chosen: hosts of one row share what that row got."""
    if disks is None:
        return [-1] * len(hosts)
    got = disks.of_rows()
    return [got[row].pop() for row in fleet.layout.disk_row[hosts].tolist()]
