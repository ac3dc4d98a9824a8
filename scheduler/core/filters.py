"""The rules that a host must meet, each by itself: one function, one name, one sentence, no I/O.

A mask has one entry a host; None: the ask does not care, all hosts do. To add a rule, add a function and its row to
FILTERS; counts, reasons and why follow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .ask import Apart, Ask, Together
from .fleet import Fleet
from .layout import Mask
from .room import Room


def in_zone(fleet: Fleet, ask: Ask, room: Room) -> Mask:
    return fleet.layout.in_zones(ask.zones)


def is_open(fleet: Fleet, ask: Ask, room: Room) -> Mask:
    return fleet.open


def enough_cpu(fleet: Fleet, ask: Ask, room: Room) -> Mask:
    return (room.usable(ask)[0] >= ask.vcpu) & (fleet.layout.largest_vcpu >= ask.vcpu)


def enough_memory(fleet: Fleet, ask: Ask, room: Room) -> Mask:
    return (room.usable(ask)[1] >= ask.memory_mib) & (fleet.layout.largest_memory_mib >= ask.memory_mib)


def usable_datastores(fleet: Fleet, ask: Ask, room: Room) -> Mask:
    """The datastores (one entry each) that have the space for this ask's disk; of which class, the reach says."""
    found: Mask = fleet.accessible & (room.disk_gib >= (ask.disk_gib or 0))
    return found


def reaches_a_datastore(fleet: Fleet, ask: Ask, room: Room) -> Mask | None:
    if ask.disk_gib is None:
        return None
    layout = fleet.layout
    reached = layout.reach(ask.storage_class).sums(usable_datastores(fleet, ask, room).astype(np.int64)) > 0
    found: Mask = reached[layout.disk_row]
    return found


def reaches_its_volumes(fleet: Fleet, ask: Ask, room: Room) -> Mask | None:
    if not ask.every_datastore:
        return None
    all_ = frozenset(ask.every_datastore)
    found: Mask = np.array([all_.issubset(host.datastores) for host in fleet.hosts], np.bool_)
    return found


def reaches_a_network(fleet: Fleet, ask: Ask, room: Room) -> Mask | None:
    if not ask.networks and not ask.every_network:
        return None
    one, all_ = ask.networks, frozenset(ask.every_network)
    rows = fleet.layout.network_rows
    reached = np.array([all_ <= row and not (one and row.isdisjoint(one)) for row in rows], np.bool_)
    found: Mask = reached[fleet.layout.network_row]
    return found


def carries_labels(fleet: Fleet, ask: Ask, room: Room) -> Mask | None:
    if not ask.require:
        return None
    found: Mask = np.all([fleet.layout.carries(label) for label in ask.require], axis=0)
    return found


def keeps_apart(fleet: Fleet, ask: Ask, room: Room) -> Mask | None:
    if ask.group is None or ask.group.apart is not Apart.REQUIRED:
        return None
    found: Mask = room.members(ask.group) < fleet.layout.apart
    return found


def keeps_together(fleet: Fleet, ask: Ask, room: Room) -> Mask | None:
    if ask.group is None or ask.group.together is not Together.REQUIRED:
        return None
    beside = room.beside(ask.group) > 0
    return beside if beside.any() else None  # the first ones are free to choose


class Filter(NamedTuple):
    name: str
    sentence: str  # what it says of the hosts that it removed
    mask: Callable[[Fleet, Ask, Room], Mask | None]


FILTERS: Sequence[Filter] = (
    Filter("zone", "not in an allowed zone", in_zone),
    Filter("open", "in maintenance, down, cordoned, or in a zone that takes nothing new", is_open),
    Filter("cpu", "too few vCPUs free", enough_cpu),
    Filter("memory", "too little memory free", enough_memory),
    Filter("datastore", "no reachable datastore of this storage class has the space", reaches_a_datastore),
    Filter("volumes", "cannot reach the datastores of its volumes", reaches_its_volumes),
    Filter("network", "cannot reach the network", reaches_a_network),
    Filter("labels", "lacks a required label", carries_labels),
    Filter("anti_affinity", "already has a member of the group that must stay apart", keeps_apart),
    Filter("affinity", "not on the host, or in the zone, of the group that must stay together", keeps_together),
)


class Sifted(NamedTuple):
    """The hosts that every filter left, and how many each left in turn."""

    mask: Mask
    left: tuple[int, ...]  # one entry a filter


def sift(fleet: Fleet, ask: Ask, room: Room) -> Sifted:
    """Pass all hosts through the filters in order."""
    mask = np.ones(len(fleet.hosts), np.bool_)
    left: list[int] = []
    for rule in FILTERS:
        one = rule.mask(fleet, ask, room)
        if one is not None:
            mask = mask & one
        left.append(left[-1] if one is None and left else int(np.count_nonzero(mask)))
    return Sifted(mask, tuple(left))
