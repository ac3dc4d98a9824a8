"""What seldom changes about a fleet: who stands where, who reaches what. Shared by every Fleet until it does change.

Hosts that reach the same datastores (or networks) share one row: a vSphere cluster of 32 hosts is one row, a host with
a local disk is a row of its own. So reachability costs what the site's wiring costs, not hosts times datastores.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MOST_HOSTS = 1 << 17  # a host's place in the seeded shuffle has 17 bits of a slot's key (scorers.py)
MOST_KEPT = 64  # masks of sets of zones
ANY = np.iinfo(np.int64).max  # no bound


class Zone(NamedTuple):
    """An availability zone. A zone that is not active takes nothing new."""

    id: UUID
    name: str = ""
    active: bool = True


class Bin(NamedTuple):
    """Several hosts that are claimed from as one, because DRS chooses among them. No VM is larger than the largest."""

    hosts: int  # so many members of a group can stay apart
    vcpu: int
    memory_mib: int


class Host(NamedTuple):
    """A hypervisor, or the one bin of a zone that DRS places in.

    `claimed` counts allocations, holds and what is unmanaged: free room is limit less claimed (below zero: overdrawn).
    `networks` are those of its zone that it reaches; `datastores` may name more than its zone has.
    """

    id: UUID
    zone_id: UUID | None
    vcpu_limit: int
    vcpu_claimed: int
    memory_limit_mib: int
    memory_claimed_mib: int
    open: bool = True  # up and not cordoned; the zone's part is Zone.active
    datastores: tuple[UUID, ...] = ()
    networks: tuple[UUID, ...] = ()
    labels: Mapping[str, str] = {}
    name: str = ""
    bin: Bin | None = None

    def stands_as(self, other: Host) -> bool:
        """Whether nothing but counters, name and openness differs."""
        return (
            self.zone_id == other.zone_id
            and self.datastores == other.datastores
            and self.networks == other.networks
            and self.labels == other.labels
            and self.bin == other.bin
        )


class Datastore(NamedTuple):
    """Where disks lie. `claimed_gib` counts what is unmanaged. It serves the hosts of its zones that reach it."""

    id: UUID
    zones: tuple[UUID, ...]
    limit_gib: int
    claimed_gib: int
    accessible: bool = True
    storage_classes: tuple[tuple[UUID, str], ...] = ()  # (zone, name): classes are a zone's own
    name: str = ""

    def stands_as(self, other: Datastore) -> bool:
        """Whether nothing but counters, name and accessibility differs."""
        return self.zones == other.zones and self.storage_classes == other.storage_classes


@dataclass(frozen=True)
class Reach:
    """The datastores that hosts reach, by index: one row for all hosts of a zone that reach the same ones."""

    rows: tuple[Ints, ...]

    @cached_property
    def ends(self) -> Ints:
        """Where each row ends in `members`."""
        return np.cumsum([len(row) for row in self.rows], dtype=np.int64)

    @cached_property
    def starts(self) -> Ints:
        """Where each row begins in `members`."""
        return self.ends - np.array([len(row) for row in self.rows], np.int64)

    @cached_property
    def members(self) -> Ints:
        """The datastores of all rows, end to end."""
        return np.concatenate([np.zeros(0, np.int64), *self.rows])

    def sums(self, of_each: Ints) -> Ints:
        """For each row the sum over its datastores of what `of_each` says (one entry a datastore)."""
        summed = np.concatenate((np.zeros(1, np.int64), np.cumsum(of_each[self.members])))
        found: Ints = summed[self.ends] - summed[self.starts]
        return found


@dataclass(frozen=True)
class Layout:
    """Indexes over the rows of one Fleet. Arrays have one entry a host."""

    hosts: Mapping[UUID, int]
    datastores: Mapping[UUID, int]
    zones: Mapping[UUID, int]
    host_zone: Ints  # index of the zone, -1 outside zones
    disk_row: Ints  # index into the rows of `reach`
    disks: Reach  # the datastores of the host's zone
    disks_of_class: Mapping[str, Reach]  # those of them that are of this storage class there; the same rows
    network_row: Ints
    network_rows: tuple[frozenset[UUID], ...]
    host_labels: tuple[Mapping[str, str], ...]
    apart: Ints  # how many members of a group can stay apart there: 1, but in a bin
    largest_vcpu: Ints  # of one VM, whatever room there is
    largest_memory_mib: Ints

    @cached_property
    def labelled(self) -> Mapping[tuple[str, str], Ints]:
        """Indexes of the hosts that carry each label."""
        found: dict[tuple[str, str], list[int]] = {}
        for index, labels in enumerate(self.host_labels):
            for label in labels.items():
                found.setdefault(label, []).append(index)
        return {label: np.array(members, np.int64) for label, members in found.items()}

    def reach(self, storage_class: str | None) -> Reach:
        """The datastores of each row that a disk of this storage class (None: any disk) may lie on."""
        if storage_class is None:
            return self.disks
        return self.disks_of_class.get(storage_class) or Reach(tuple(row[:0] for row in self.disks.rows))

    @cached_property
    def _zone_masks(self) -> dict[tuple[UUID, ...], Mask]:
        return {}

    def in_zones(self, zones: tuple[UUID, ...]) -> Mask:
        """The hosts of these zones. Most asks name one of a few sets of zones, so some answers are kept."""
        found = self._zone_masks.get(zones)
        if found is None:
            allowed = np.zeros(len(self.zones) + 1, np.bool_)  # the last stands for no zone, index -1
            allowed[[self.zones[zone] for zone in zones if zone in self.zones]] = True
            found = allowed[self.host_zone]
            found.flags.writeable = False
            if len(self._zone_masks) < MOST_KEPT:
                self._zone_masks[zones] = found
        return found

    def carries(self, label: tuple[str, str]) -> Mask:
        """The hosts that carry this label."""
        mask = np.zeros(len(self.host_labels), np.bool_)
        members = self.labelled.get(label)
        if members is not None:
            mask[members] = True
        return mask


def lay_out(hosts: Sequence[Host], datastores: Sequence[Datastore], zones: Sequence[Zone]) -> Layout:
    """Index the rows. Ids must be unique; datastores that are not listed are left out of reach."""
    if len(hosts) > MOST_HOSTS:
        raise ValueError(f"a fleet has at most {MOST_HOSTS} hosts")
    host_at = _index([host.id for host in hosts], "host")
    store_at = _index([store.id for store in datastores], "datastore")
    zone_at = _index([zone.id for zone in zones], "zone")
    serves = {zone.id: frozenset(store.id for store in datastores if zone.id in store.zones) for zone in zones}
    nothing: frozenset[UUID] = frozenset()

    def disks(key: tuple[UUID | None, tuple[UUID, ...]]) -> Ints:
        zone_id, reached = key
        usable = serves.get(zone_id, nothing) if zone_id else nothing
        return np.array(sorted(store_at[store] for store in usable.intersection(reached)), np.int64)

    disk_row, disk_keys = _rows([(host.zone_id, host.datastores) for host in hosts])
    rows = [(zone_id, disks((zone_id, reached))) for zone_id, reached in disk_keys]
    classes: dict[str, set[tuple[UUID | None, int]]] = {}
    for at, store in enumerate(datastores):
        for zone_id, name in store.storage_classes:
            classes.setdefault(name, set()).add((zone_id, at))
    network_row, network_keys = _rows([host.networks for host in hosts])
    return Layout(
        hosts=host_at,
        datastores=store_at,
        zones=zone_at,
        host_zone=np.array([zone_at.get(host.zone_id, -1) if host.zone_id else -1 for host in hosts], np.int64),
        disk_row=disk_row,
        disks=Reach(tuple(row for _, row in rows)),
        disks_of_class={
            name: Reach(tuple(row[[(zone, at) in members for at in row.tolist()]] for zone, row in rows))
            for name, members in classes.items()
        },
        network_row=network_row,
        network_rows=tuple(frozenset(key) for key in network_keys),
        host_labels=tuple(host.labels for host in hosts),
        apart=np.array([host.bin.hosts if host.bin else 1 for host in hosts], np.int64),
        largest_vcpu=np.array([host.bin.vcpu if host.bin else ANY for host in hosts], np.int64),
        largest_memory_mib=np.array([host.bin.memory_mib if host.bin else ANY for host in hosts], np.int64),
    )


def _index(ids: Sequence[UUID], what: str) -> dict[UUID, int]:
    found = {key: index for index, key in enumerate(ids)}
    if len(found) < len(ids):
        raise ValueError(f"a {what} is listed twice")
    return found


Key = TypeVar("Key", bound=Hashable)


def _rows(keys: Sequence[Key]) -> tuple[Ints, list[Key]]:
    """Number the distinct keys in order of appearance: (number for each entry, the keys)."""
    numbers: dict[Key, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64), list(numbers)
