"""How much of a zone's free room is of use: how many of each shape fit, and what the largest of them cannot reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from .ask import Shape
from .disks import most_disks
from .fleet import Fleet
from .layout import Ints
from .room import Room


def counts_of(shapes: Sequence[Shape], fleet: Fleet, zone_id: UUID) -> dict[str, int]:
    """For each shape how many would fit if all were of that one, in free room alone: what is held stays held. Exact."""
    free = _Free.of(fleet, zone_id)
    return {shape.name: free.fits(shape) for shape in shapes}


def fragmentation(shapes: Sequence[Shape], fleet: Fleet, zone_id: UUID) -> dict[str, float]:
    """For each resource the share of the zone's free room, 0 to 1, that the largest shape cannot use: 1 - n * s / f.

    s: what of the resource the largest shape has that fits anywhere (by memory, then vCPU); n: how many of it fit
    beside each other; f: what is free on its open hosts, Holds left aside. 0 where f is 0, 1 where no shape fits.
    """
    free = _Free.of(fleet, zone_id)
    largest, many = Shape("", 0, 0, 0), 0
    for shape in sorted(shapes, key=lambda one: (one.memory_mib, one.vcpu, one.name), reverse=True):
        many = free.fits(shape)
        if many:
            largest = shape
            break
    return {
        "vcpu": _unused(many * largest.vcpu, int(free.vcpu.sum())),
        "memory_mib": _unused(many * largest.memory_mib, int(free.memory_mib.sum())),
    }


def _unused(used: int, free: int) -> float:
    return round(1 - used / free, 4) if free else 0.0


@dataclass(frozen=True)
class _Free:
    """Free room of one zone's open hosts, one entry a host, and of the datastores that they reach."""

    vcpu: Ints
    memory_mib: Ints
    row: Ints  # of each host, index into `reach`
    reach: Sequence[Sequence[int]]  # the accessible datastores of hosts that reach the same
    space: Mapping[int, int]  # datastore -> GiB

    @classmethod
    def of(cls, fleet: Fleet, zone_id: UUID) -> _Free:
        room, layout = Room(fleet), fleet.layout
        hosts = np.flatnonzero((layout.host_zone == layout.zones.get(zone_id, -2)) & fleet.open)
        rows, row = np.unique(layout.disk_row[hosts], return_inverse=True)
        stores = [layout.disks.rows[one] for one in rows.tolist()]
        reach = [row[fleet.accessible[row]].tolist() for row in stores]
        space = {store: int(room.disk_gib[store]) for some in reach for store in some}
        return cls(room.vcpu[hosts], room.memory_mib[hosts], row, reach, space)

    def fits(self, shape: Shape) -> int:
        """How many of this shape: on each row of hosts so many as the hosts take, as far as its datastores go round."""
        slots = np.minimum(_slots(self.vcpu, shape.vcpu), _slots(self.memory_mib, shape.memory_mib))
        wanted = np.zeros(len(self.reach), np.int64)
        np.add.at(wanted, self.row, slots)
        places = {store: gib // shape.disk_gib if shape.disk_gib else MOST_PLACES for store, gib in self.space.items()}
        return most_disks(wanted.tolist(), self.reach, places)


MOST_PLACES = 1 << 40  # on a datastore, of disks without a size


def _slots(free: Ints, amount: int) -> Ints:
    """How often the amount fits into each; without an amount, more often than anything else could."""
    return free // amount if amount else np.full(len(free), MOST_PLACES, np.int64)
