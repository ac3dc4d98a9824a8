"""Affinity: which host, or zone, the members of a group come to share.

No key of a slot can say it, for the more members a host has, the better it is, and keys must not fall with depth
(slots.py). So a role is put, as a whole, where it fits as a whole: where most members stand already, else where all
that are left find room, else where most of them do; among equals where the last of them has the better key. What then
is left goes the same way. Members that only prefer to stay together so still find as many places as there are.
"""

from __future__ import annotations

import numpy as np

from .ask import Group, Level
from .filters import usable_datastores
from .layout import Ints
from .scorers import Look
from .slots import Slots


def most_with_disks(look: Look, most: Ints) -> Ints:
    """Of so many slots a candidate, those for which the datastores that it reaches have space."""
    ask, layout = look.ask, look.fleet.layout
    if not ask.disk_gib:
        return most
    disks = np.where(usable_datastores(look.fleet, ask, look.room), look.room.disk_gib // ask.disk_gib, 0)
    found: Ints = np.minimum(most, layout.reach(ask.storage_class).sums(disks)[_rows(look)])
    return found


def _rows(look: Look) -> Ints:
    return look.fleet.layout.disk_row[look.hosts]


def parts(look: Look, group: Group, slots: Slots) -> list[Ints]:
    """What a group that must stay together may choose from: for each choice the slots of each candidate.

    A host is chosen here, since one look says how many each can take. Zones are for the caller to try.
    """
    if group.level is Level.HOST:
        best = _on_hosts(look, group, slots, int(slots.most.max(initial=0)))[:1]
        return [np.where(np.arange(len(slots.most)) == one, slots.most, 0) for one in best.tolist()]
    zones = look.fleet.layout.host_zone[look.hosts]
    return [np.where(zones == zone, slots.most, 0) for zone in np.unique(zones).tolist()]


def best_together(look: Look, group: Group, slots: Slots, wanted: int) -> tuple[Ints, Ints]:
    """The entries of the next slots for a group that prefers to stay together, best first, and their keys."""
    entries = (_on_hosts if group.level is Level.HOST else _in_zones)(look, group, slots, wanted)
    return entries, slots.keys_of(entries)


def _on_hosts(look: Look, group: Group, slots: Slots, wanted: int) -> Ints:
    left = slots.most - slots.taken
    beside = look.room.members(group)[look.hosts] + slots.taken
    able = np.flatnonzero(left)
    takes = np.minimum(left, wanted)[able]
    order = able[np.lexsort((slots.keys_after(able, takes), -takes, -beside[able]))]
    together = np.cumsum(left[order])
    last = int(np.searchsorted(together, wanted))
    if last == len(order):
        return np.repeat(order, left[order])
    rest = wanted - int(together[last - 1]) if last else wanted
    equal = order[last:]
    equal = equal[(left[equal] >= rest) & (beside[equal] == beside[equal[0]])]
    ends = equal[np.argmin(slots.keys_after(equal, np.full(len(equal), rest)))]
    return np.concatenate((np.repeat(order[:last], left[order[:last]]), np.repeat(ends, rest)))


def _in_zones(look: Look, group: Group, slots: Slots, wanted: int) -> Ints:
    zones = look.fleet.layout.host_zone[look.hosts]
    beside = look.room.beside(group)[look.hosts]
    best = {zone: slots.best(wanted, np.flatnonzero(zones == zone))[0] for zone in np.unique(zones).tolist()}
    members = {zone: int(beside[zones == zone][0]) + int(slots.taken[zones == zone].sum()) for zone in best}
    found = [np.zeros(0, np.int64)]
    while wanted and best:

        def rank(zone: int, most: int = wanted) -> tuple[int, int, int]:
            first = best[zone][:most]
            return -members[zone], -len(first), int(slots.keys_of(first).max(initial=0))

        zone = min(best, key=rank)
        found.append(best.pop(zone)[:wanted])
        wanted -= len(found[-1])
    return np.concatenate(found)


def elsewhere(look: Look, group: Group, entries: Ints) -> Ints:
    """For each slot in turn the members that then stood on other hosts (in other zones): the score of affinity."""
    zones = look.fleet.layout.host_zone[look.hosts]
    place = entries if group.level is Level.HOST else zones[entries]
    order = np.argsort(place, kind="stable")
    ranked = place[order]
    before = np.empty_like(entries)  # of this role, in the same place
    before[order] = np.arange(len(entries)) - np.searchsorted(ranked, ranked)
    standing = int(look.room.members(group).sum())
    here = look.room.beside(group)[look.hosts[entries]]
    found: Ints = standing + np.arange(len(entries)) - here - before
    return found
