"""How much of a zone's free room is of use: how many of each shape fit, and what the largest of them cannot reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import numpy as np

from .ask import Shape
from .fleet import Fleet
from .layout import Ints
from .room import Room


def counts_of(shapes: Sequence[Shape], fleet: Fleet, zone_id: UUID) -> Mapping[str, int]:
    """For each shape how many would fit if all were of that one, in free room alone: what is held stays held.

    Hosts are counted exactly. Disks by the sum over the datastores that the zone's open hosts reach: hosts that reach
    only some of them may take fewer.
    """
    vcpu, memory, disk = _free(fleet, zone_id)
    return {
        shape.name: min(
            int(np.minimum(_slots(vcpu, shape.vcpu), _slots(memory, shape.memory_mib)).sum()),
            int(_slots(disk, shape.disk_gib).sum()),
        )
        for shape in shapes
    }


def fragmentation(shapes: Sequence[Shape], fleet: Fleet, zone_id: UUID) -> dict[str, float]:
    """For each resource the part of the free room, 0 to 1, that is left when as many of the largest shape that fits
    somewhere have taken their place: 1 - n x amount / free. 0 where nothing is free; 1 where no shape fits."""
    vcpu, memory, _ = _free(fleet, zone_id)
    counts = counts_of(shapes, fleet, zone_id)
    fitting = [shape for shape in shapes if counts[shape.name]]
    largest = max(fitting, key=lambda shape: (shape.memory_mib, shape.vcpu, shape.name), default=Shape("", 0, 0, 0))
    many = counts.get(largest.name, 0)
    return {
        "vcpu": _unused(many * largest.vcpu, int(vcpu.sum())),
        "memory_mib": _unused(many * largest.memory_mib, int(memory.sum())),
    }


def _unused(used: int, free: int) -> float:
    return round(1 - used / free, 4) if free else 0.0


def _free(fleet: Fleet, zone_id: UUID) -> tuple[Ints, Ints, Ints]:
    """vCPU and MiB of each open host of the zone, and GiB of each datastore that one of them reaches."""
    room, layout = Room(fleet), fleet.layout
    at = layout.zones.get(zone_id, -2)
    hosts = np.flatnonzero((layout.host_zone == at) & fleet.open)
    rows = [layout.disk_rows[row] for row in np.unique(layout.disk_row[hosts]).tolist()]
    stores = np.unique(np.concatenate([np.zeros(0, np.int64), *rows]))
    usable = stores[fleet.accessible[stores]]
    return room.vcpu[hosts], room.memory_mib[hosts], room.disk_gib[usable]


def _slots(free: Ints, amount: int) -> Ints:
    """How often the amount fits into each; without an amount, more often than anything else could."""
    return free // amount if amount else np.full(len(free), 1 << 40, np.int64)
