"""What there is: hosts and datastores as columns. A Fleet is replaced whole, never edited: readers need no lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt

from .layout import Datastore, Host, Ints, Layout, Mask, Zone, lay_out

Floats = npt.NDArray[np.float64]
Row = TypeVar("Row", Host, Datastore)


class Hold(NamedTuple):
    """Room on a host that is kept for a pool; counted in the host's claims already."""

    host_id: UUID
    vcpu: int
    memory_mib: int


def one_a_host(holds: Iterable[Hold]) -> list[Hold]:
    """The same room with one hold a host."""
    found: dict[UUID, Hold] = {}
    for hold in holds:
        there = found.get(hold.host_id, Hold(hold.host_id, 0, 0))
        found[hold.host_id] = Hold(hold.host_id, there.vcpu + hold.vcpu, there.memory_mib + hold.memory_mib)
    return list(found.values())


class Held(NamedTuple):
    """A pool's holds as columns: one entry a host that has any, in the order of the fleet's hosts."""

    at: Ints
    vcpu: Ints
    memory_mib: Ints


@dataclass(frozen=True)
class Fleet:
    """Made by `Fleet.of`. Columns have one entry a host (or datastore), in the order of `hosts` and `datastores`.

    Free room is limit less claimed, and nothing where more is claimed.
    """

    hosts: tuple[Host, ...]
    datastores: tuple[Datastore, ...]
    zones: tuple[Zone, ...]
    holds: Mapping[UUID, Held]
    layout: Layout
    open: Mask
    vcpu_limit: Ints
    vcpu_claimed: Ints
    memory_limit_mib: Ints
    memory_claimed_mib: Ints
    vcpu_free: Ints
    memory_free_mib: Ints
    vcpu_part: Floats  # what part of the host one vCPU is
    memory_part: Floats  # and one MiB
    accessible: Mask
    limit_gib: Ints
    claimed_gib: Ints
    free_gib: Ints

    @classmethod
    def of(
        cls,
        hosts: Iterable[Host],
        datastores: Iterable[Datastore],
        zones: Iterable[Zone],
        holds: Mapping[UUID, Iterable[Hold]] | None = None,
    ) -> Fleet:
        """A fleet of these rows; `holds` by pool. Raises ValueError for ids listed twice and for too many hosts."""
        rows, stores, areas = tuple(hosts), tuple(datastores), tuple(zones)
        layout = lay_out(rows, stores, areas)
        limits = _column(rows, "vcpu_limit"), _column(rows, "memory_limit_mib"), _column(stores, "limit_gib")
        claims = _column(rows, "vcpu_claimed"), _column(rows, "memory_claimed_mib"), _column(stores, "claimed_gib")
        return cls(
            hosts=rows,
            datastores=stores,
            zones=areas,
            holds={pool: _held(layout, found) for pool, found in (holds or {}).items()},
            layout=layout,
            open=_open(_column(rows, "open", np.bool_), areas, layout),
            vcpu_limit=limits[0],
            vcpu_claimed=claims[0],
            memory_limit_mib=limits[1],
            memory_claimed_mib=claims[1],
            vcpu_free=_free(limits[0], claims[0]),
            memory_free_mib=_free(limits[1], claims[1]),
            vcpu_part=_part(limits[0]),
            memory_part=_part(limits[1]),
            accessible=_column(stores, "accessible", np.bool_),
            limit_gib=limits[2],
            claimed_gib=claims[2],
            free_gib=_free(limits[2], claims[2]),
        )

    def with_changes(
        self,
        *,
        hosts: Iterable[Host] = (),
        datastores: Iterable[Datastore] = (),
        zones: Sequence[Zone] | None = None,
        holds: Mapping[UUID, Iterable[Hold]] | None = None,
        gone: Iterable[UUID] = (),
    ) -> Fleet:
        """The fleet after a look: these rows new or changed, `gone` hosts and datastores left out.

        `zones` replaces all zones; `holds` replaces those of the pools that it names. Cheap when only counters moved.
        """
        rows = _merged(self.hosts, self.layout.hosts, hosts)
        stores = _merged(self.datastores, self.layout.datastores, datastores)
        areas = self.zones if zones is None else tuple(zones)
        left_out = frozenset(gone)
        same_zones = [zone.id for zone in areas] == [zone.id for zone in self.zones]
        if rows.moved or stores.moved or not same_zones or left_out:
            return Fleet.of(
                (host for host in rows.all if host.id not in left_out),
                (store for store in stores.all if store.id not in left_out),
                areas,
                {**self.listed_holds(), **(holds or {})},
            )
        vcpu_limit, memory_limit = (_patched(self, rows, name) for name in ("vcpu_limit", "memory_limit_mib"))
        vcpu, memory = (_patched(self, rows, name) for name in ("vcpu_claimed", "memory_claimed_mib"))
        limit_gib, claimed_gib = (_patched(self, stores, name) for name in ("limit_gib", "claimed_gib"))
        return replace(
            self,
            hosts=rows.all,
            datastores=stores.all,
            zones=areas,
            holds={**self.holds, **{pool: _held(self.layout, found) for pool, found in (holds or {}).items()}},
            open=self._reopened(rows, areas),
            vcpu_limit=vcpu_limit,
            vcpu_claimed=vcpu,
            memory_limit_mib=memory_limit,
            memory_claimed_mib=memory,
            vcpu_free=_free(vcpu_limit, vcpu, self.vcpu_free, rows.at),
            memory_free_mib=_free(memory_limit, memory, self.memory_free_mib, rows.at),
            vcpu_part=self.vcpu_part if vcpu_limit is self.vcpu_limit else _part(vcpu_limit),
            memory_part=self.memory_part if memory_limit is self.memory_limit_mib else _part(memory_limit),
            accessible=_patched(self, stores, "accessible"),
            limit_gib=limit_gib,
            claimed_gib=claimed_gib,
            free_gib=_free(limit_gib, claimed_gib, self.free_gib, stores.at),
        )

    def without_hosts(self, ids: Iterable[UUID]) -> Fleet:
        """What if these hosts took nothing more, their holds included? Unknown ids are left aside."""
        known = [self.layout.hosts[host_id] for host_id in ids if host_id in self.layout.hosts]
        return self.with_changes(hosts=[self.hosts[at]._replace(open=False) for at in known])

    def with_hosts(self, hosts: Iterable[Host]) -> Fleet:
        """What if these hosts were there too?"""
        return self.with_changes(hosts=hosts)

    def listed_holds(self) -> dict[UUID, list[Hold]]:
        """Each pool's holds as rows."""
        return {
            pool: [
                Hold(self.hosts[at].id, vcpu, memory)
                for at, vcpu, memory in zip(held.at.tolist(), held.vcpu.tolist(), held.memory_mib.tolist(), strict=True)
            ]
            for pool, held in self.holds.items()
        }

    def _reopened(self, rows: Merged[Host], zones: tuple[Zone, ...]) -> Mask:
        if zones != self.zones:
            return _open(_column(rows.all, "open", np.bool_), zones, self.layout)
        active: dict[UUID | None, bool] = {zone.id: zone.active for zone in zones}
        return _changed(self.open, rows.at, [row.open and active.get(row.zone_id, False) for row in rows.changed])


class Merged(NamedTuple, Generic[Row]):
    """Rows after a look: all of them, those that changed and where they stand; `moved`: the layout is another."""

    all: tuple[Row, ...]
    changed: Sequence[Row]
    at: Sequence[int]
    moved: bool


def _merged(old: tuple[Row, ...], index: Mapping[UUID, int], new: Iterable[Row]) -> Merged[Row]:
    changed = list({row.id: row for row in new}.values())
    if not changed:
        return Merged(old, [], [], False)
    if any(row.id not in index for row in changed):
        known = {row.id: row for row in old} | {row.id: row for row in changed}
        return Merged(tuple(known.values()), changed, [], True)
    rows = list(old)
    at = [index[row.id] for row in changed]
    moved = any(not row.stands_as(old[place]) for row, place in zip(changed, at, strict=True))
    for row, place in zip(changed, at, strict=True):
        rows[place] = row
    return Merged(tuple(rows), changed, at, moved)


def _patched(fleet: Fleet, rows: Merged[Host] | Merged[Datastore], field: str) -> npt.NDArray[Any]:
    return _changed(getattr(fleet, field), rows.at, [getattr(row, field) for row in rows.changed])


def _changed(column: npt.NDArray[Any], at: Sequence[int], values: Sequence[Any]) -> npt.NDArray[Any]:
    """The column with these values; itself where it has them."""
    if column[at].tolist() == values:
        return column
    changed = column.copy()
    changed[at] = values
    return _fixed(changed)


def _free(limit: Ints, claimed: Ints, before: Ints | None = None, at: Sequence[int] = ()) -> Ints:
    """Free room; where it is known from before, only what has changed is looked at."""
    if before is None:
        return _fixed(np.maximum(limit - claimed, 0))
    return _changed(before, at, np.maximum(limit[at] - claimed[at], 0).tolist())


def _part(limit: Ints) -> Floats:
    return _fixed(1.0 / np.maximum(limit, 1))


def _column(rows: Sequence[Any], field: str, kind: type[np.generic] = np.int64) -> npt.NDArray[Any]:
    return _fixed(np.array(list(map(attrgetter(field), rows)), kind))


def _open(hosts: Mask, zones: Sequence[Zone], layout: Layout) -> Mask:
    active = np.array([zone.active for zone in zones] + [False], np.bool_)  # the last stands for no zone, index -1
    return _fixed(hosts & active[layout.host_zone])


def _held(layout: Layout, holds: Iterable[Hold]) -> Held:
    """Holds on hosts that the fleet does not know are left out: they can serve nobody."""
    known = [hold for hold in holds if hold.host_id in layout.hosts]
    if len({hold.host_id for hold in known}) < len(known):
        raise ValueError("a pool has one hold on a host")
    known.sort(key=lambda hold: layout.hosts[hold.host_id])
    at = np.array([layout.hosts[hold.host_id] for hold in known], np.int64)
    return Held(_fixed(at), _column(known, "vcpu"), _column(known, "memory_mib"))


def _fixed(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The column, closed to edits."""
    column.flags.writeable = False
    return column
