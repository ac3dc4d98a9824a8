"""This process's one Fleet: read whole once, then only what changed. Platform tables alone, so no context is needed.

A row's `changed` is the id of the transaction that wrote it. A look reads the rows with `changed` at or above the
oldest transaction that was still running at the look before, so that a change which commits late is seen all the same.
Holds have no such column: whoever writes one writes its host in the same transaction; and so is a datastore written by
whoever changes which zones it serves, or which storage class it is of.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from .core.fleet import Fleet, Hold
from .core.layout import Bin, Datastore, Host, Zone

_SINCE = "select watermark, dirty, zones, networks, datastores, hosts, holds from fleet_since(%s::xid8)"
_ZONES = "select id, name, phase = 'active' from infra_zone where deleted_at is null order by id"
_HOSTS = """
select id, site_id, zone_id, vcpu_limit, vcpu_claimed + vcpu_unmanaged, memory_limit_mib,
    memory_claimed_mib + memory_unmanaged_mib, state = 'up' and not cordoned, datastore_refs, network_refs, labels,
    name, case when kind = 'bin' then array[stands_for, largest_vcpu, largest_memory_mib] end
from infra_host order by id
"""
_DATASTORES = """
select d.id, d.site_id, d.ref, coalesce(z.ids, '{}'), d.limit_gib, d.claimed_gib + d.unmanaged_gib,
    d.accessible and d.present, d.name, coalesce(c.classes, '{}')
from infra_datastore d
left join (select datastore_id, array_agg(zone_id order by zone_id) as ids from infra_datastore_zones
           group by datastore_id) z on z.datastore_id = d.id
left join (select m.datastore_id, array_agg(array[k.zone_id::text, k.name] order by k.zone_id, k.name) as classes
           from infra_storageclass k join infra_storageclass_datastores m on m.storageclass_id = k.id
           group by m.datastore_id) c on c.datastore_id = d.id
order by d.id
"""
_NETWORKS = """
select z.zone_id, n.ref, n.id from infra_physicalnetwork n
join (select physicalnetwork_id, zone_id from infra_physicalnetwork_zones
      union all select id, of_zone_id from infra_physicalnetwork where of_zone_id is not null) z
on z.physicalnetwork_id = n.id where n.present order by z.zone_id, n.id
"""
_HOLDS = "select pool_id, host_id, vcpu, memory_mib from scheduler_hold where vcpu > 0 or memory_mib > 0"
_MOMENT = "select pg_snapshot_xmin(pg_current_snapshot())::text, pg_current_xact_id_if_assigned() is not null"


@dataclass(frozen=True)
class Sight:
    """What one look found, with what the next one needs to go on from it."""

    number: int  # looks are counted as they begin
    fleet: Fleet
    watermark: str
    store_ids: Mapping[tuple[UUID, str], UUID]
    network_ids: Mapping[tuple[UUID, str], UUID]
    holds: Mapping[UUID, Mapping[UUID, Hold]]  # pool -> host -> hold


@dataclass
class Looker:
    """Keeps the newest Sight. Threads take turns to look; what they get is never edited."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _begun: int = 0
    _sight: Sight | None = None

    def look(self, *, full: bool = False) -> Fleet:
        """The fleet as it is now, or (inside a transaction) as that transaction sees it.

        A thread that waited for its turn takes what another found meanwhile, if that look began after it had asked.
        """
        before = self._begun
        with self._lock:
            old = self._sight
            if old is not None and old.number > before and not full and not connection.in_atomic_block:
                return old.fleet
            self._begun += 1
            if full or old is None:
                watermark, dirty = _rows(_MOMENT)[0]
                found = _whole(self._begun, watermark)
            else:
                found, dirty = _newer(self._begun, old)
            if not dirty:  # else our own transaction has written what may yet be taken back: keep nothing
                self._sight = found
            return found.fleet


def _whole(number: int, watermark: str) -> Sight:
    """Everything, read anew."""
    zones = [Zone(*row) for row in _rows(_ZONES)]
    networks = {(zone, ref): network for zone, ref, network in _rows(_NETWORKS)}
    stores = _rows(_DATASTORES)
    store_ids = {(row[1], row[2]): row[0] for row in stores}
    holds: dict[UUID, dict[UUID, Hold]] = defaultdict(dict)
    for pool, host, vcpu, memory in _rows(_HOLDS):
        holds[pool][host] = Hold(host, vcpu, memory)
    fleet = Fleet.of(
        [_host(row, store_ids, networks) for row in _rows(_HOSTS)],
        map(_store, stores),
        zones,
        {pool: kept.values() for pool, kept in holds.items()},
    )
    return Sight(number, fleet, watermark, store_ids, networks, dict(holds))


def _newer(number: int, old: Sight) -> tuple[Sight, bool]:
    """What changed since the look before, laid over it; and whether our own transaction has written.

    A zone that went, or other wiring, is a reason to read all.
    """
    watermark, dirty, *texts = _rows(_SINCE, old.watermark)[0]
    if dirty:
        return _whole(number, watermark), True
    said = Said(*(json.loads(text) if text else () for text in texts))
    zones = [Zone(UUID(id), name, active) for id, name, active in said.zones]
    networks = {(UUID(zone), ref): UUID(network) for zone, ref, network in said.networks}
    stores = [(*map(UUID, row[:2]), row[2], list(map(UUID, row[3])), *row[4:]) for row in said.datastores]
    new_stores = any((row[1], row[2]) not in old.store_ids for row in stores)
    if new_stores or networks != old.network_ids or not {zone.id for zone in old.fleet.zones} <= {z.id for z in zones}:
        return _whole(number, watermark), False
    changed = [(UUID(row[0]), UUID(row[1]), row[2] and UUID(row[2]), *row[3:]) for row in said.hosts]
    holds = _holds_after(old.holds, {row[0] for row in changed}, said.holds)
    fleet = old.fleet.with_changes(
        hosts=[_host(row, old.store_ids, networks) for row in changed],
        datastores=map(_store, stores),
        zones=zones,
        holds={pool: kept.values() for pool, kept in holds.items()},
    )
    return Sight(number, fleet, watermark, old.store_ids, networks, {**old.holds, **holds}), False


class Said(NamedTuple):
    """The rows that fleet_since answers with, as JSON has them."""

    zones: Sequence[Any]
    networks: Sequence[Any]
    datastores: Sequence[Any]
    hosts: Sequence[Any]
    holds: Sequence[Any]


def _holds_after(
    old: Mapping[UUID, Mapping[UUID, Hold]], moved: Set[UUID], said: Sequence[Any]
) -> dict[UUID, dict[UUID, Hold]]:
    """The holds, host by host, of those pools that have or had any on the hosts that moved."""
    if not moved:
        return {}
    found: dict[UUID, dict[UUID, Hold]] = {
        pool: {host: hold for host, hold in kept.items() if host not in moved}
        for pool, kept in old.items()
        if not moved.isdisjoint(kept)
    }
    for pool_id, host_id, vcpu, memory in said:
        pool, host = UUID(pool_id), UUID(host_id)
        found.setdefault(pool, dict(old.get(pool, {})))[host] = Hold(host, vcpu, memory)
    return found


def _host(
    row: tuple[Any, ...], stores: Mapping[tuple[UUID, str], UUID], networks: Mapping[tuple[UUID, str], UUID]
) -> Host:
    id, site, zone, vcpu, vcpu_claimed, memory, memory_claimed, is_open, store_refs, network_refs, labels = row[:11]
    name, of_bin = row[11:]
    return Host(
        id,
        zone,
        vcpu,
        vcpu_claimed,
        memory,
        memory_claimed,
        is_open,
        _known(stores, site, store_refs),
        _known(networks, zone, network_refs),
        _read(labels),
        name,
        Bin(*of_bin) if of_bin else None,
    )


def _known(ids: Mapping[tuple[UUID, str], UUID], place: UUID, refs: str) -> tuple[UUID, ...]:
    return tuple(ids[place, ref] for ref in _read(refs) if (place, ref) in ids)


@lru_cache(maxsize=1 << 14)
def _read(text: str) -> Any:
    """JSON as the database keeps it; hosts of one cluster mostly say the same. Never edit what it answers."""
    return json.loads(text)


def _store(row: tuple[Any, ...]) -> Datastore:
    id, _, _, zones, limit, claimed, accessible, name, classes = row
    of_zones = tuple((UUID(zone), kind) for zone, kind in classes)
    return Datastore(id, tuple(zones), limit, claimed, accessible, of_zones, name)


def _rows(sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()
