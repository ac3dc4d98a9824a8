"""Room that a site has, as it is observed: hosts and datastores, and what others than Facet take of them.

Observation never fails on a limit: where the outside took room away, the same statement raises `overdrawn`, which
blocks new grants until it is right again. Rows are locked in the order of the ledger, at most 100 in a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model, Q
from psycopg2.extras import Json

from facet.operations import engine, events
from facet.operations.models import Inflight
from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid

from . import bins
from .apart import Apart, Unmanaged
from .drivers.base import DatastoreFacts, HostFacts, Inventory
from .models import Datastore, Host, HostKind, HostState, Site

SLICE = 100
Transaction = Callable[[], AbstractContextManager[None]]
T = TypeVar("T")


def slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), SLICE):
        yield items[start : start + SLICE]


def write_missing(site: Site, found: Inventory, transaction: Transaction, looked_at: datetime) -> None:
    """Mark the hosts and datastores that a complete look no longer shows."""
    _hosts_gone(site, {fact.ref for fact in found.hosts}, transaction, looked_at)
    _datastores_gone(site, {fact.ref for fact in found.datastores}, transaction)


# --- hosts ---------------------------------------------------------------------------------------------------------

_HOST = """
update infra_host h set
    name = %(name)s, compute_ref = %(compute_ref)s, vsphere_cluster = %(vsphere_cluster)s, state = %(state)s,
    labels = %(labels)s, cpu_cores = %(cores)s, core_mhz = %(mhz)s, memory_mib = %(memory)s,
    datastore_refs = %(datastores)s, network_refs = %(networks)s,
    vcpu_limit = l.vcpu, memory_limit_mib = l.memory, vcpu_unmanaged = %(vcpu_unmanaged)s,
    memory_unmanaged_mib = %(memory_unmanaged)s,
    vcpu_overdrawn = greatest(0, h.vcpu_claimed + %(vcpu_unmanaged)s - l.vcpu),
    memory_overdrawn_mib = greatest(0, h.memory_claimed_mib + %(memory_unmanaged)s - l.memory),
    changed = pg_current_xact_id(), seen_at = %(looked_at)s
from (select coalesce(host_limit(%(cores)s, z.cpu_overcommit, z.failover_hosts, z.hosts_counted), 0) as vcpu,
             coalesce(host_limit(%(memory)s, z.memory_overcommit, z.failover_hosts, z.hosts_counted), 0) as memory
      from (select 1) one left join infra_zone z
           on z.id = (select zone_id from infra_host where id = %(id)s)) l
where h.id = %(id)s and (h.seen_at is null or h.seen_at <= %(looked_at)s)
  and (h.name, h.compute_ref, h.vsphere_cluster, h.state, h.labels, h.cpu_cores, h.core_mhz, h.memory_mib,
    h.datastore_refs, h.network_refs, h.vcpu_limit, h.memory_limit_mib, h.vcpu_unmanaged,
    h.memory_unmanaged_mib) is distinct from (%(name)s, %(compute_ref)s, %(vsphere_cluster)s, %(state)s,
    %(labels)s::jsonb, %(cores)s, %(mhz)s, %(memory)s, %(datastores)s::jsonb, %(networks)s::jsonb, l.vcpu, l.memory,
    %(vcpu_unmanaged)s, %(memory_unmanaged)s)
returning h.name, h.vcpu_claimed, h.memory_claimed_mib, h.vcpu_overdrawn, h.memory_overdrawn_mib,
    old.vcpu_overdrawn, old.memory_overdrawn_mib
"""


def write_hosts(
    site: Site, facts: Sequence[HostFacts], standing: Apart, transaction: Transaction, looked_at: datetime
) -> None:
    """Write down these hosts. A row that a later look has changed already stays as that one left it."""
    ids = _ids(Host, site, transaction)
    if any(fact.ref not in ids for fact in facts):
        with transaction():
            new = [Host(site=site, **_host_columns(fact)) for fact in facts if fact.ref not in ids]
            Host.objects.bulk_create(new, ignore_conflicts=True)
        ids = _ids(Host, site, transaction)
    rows = sorted(((ids[fact.ref], fact) for fact in facts), key=lambda row: row[0])
    for part in slices(rows):
        with transaction():
            _lock(Host, [id for id, _ in part])
            unmanaged = standing.apart()
            for id, fact in part:
                _observe_host(id, fact, unmanaged, looked_at)


_UNMANAGED = """
update infra_host h set vcpu_unmanaged = %(vcpu)s, memory_unmanaged_mib = %(memory)s,
    vcpu_overdrawn = greatest(0, h.vcpu_claimed + %(vcpu)s - h.vcpu_limit),
    memory_overdrawn_mib = greatest(0, h.memory_claimed_mib + %(memory)s - h.memory_limit_mib),
    changed = pg_current_xact_id(), seen_at = greatest(h.seen_at, now())
where h.id = %(id)s
returning h.name, h.vcpu_claimed, h.memory_claimed_mib, h.vcpu_overdrawn, h.memory_overdrawn_mib,
    old.vcpu_overdrawn, old.memory_overdrawn_mib
"""


def write_unmanaged(site: Site, standing: Apart, transaction: Transaction) -> None:
    """Write down what others' VMs take of hosts, where it is something else than was known."""
    with transaction():
        unmanaged = standing.apart()
        rows = Host.objects.filter(site=site, kind=HostKind.HOST).order_by("id")
        known = list(rows.values_list("id", "ref", "vcpu_unmanaged", "memory_unmanaged_mib"))
    moved = []
    for id, ref, *before in known:
        if before != _taken(unmanaged, ref):
            moved.append((id, ref))
    for part in slices(moved):
        with transaction():
            _lock(Host, [id for id, _ in part])
            unmanaged = standing.apart()
            for id, ref in part:
                vcpu, memory_mib = _taken(unmanaged, ref)
                _execute_host(_UNMANAGED, {"id": id, "vcpu": vcpu, "memory": memory_mib})
    if moved:
        bins.refresh_all(site, transaction)


def _taken(unmanaged: Unmanaged, host_ref: str) -> list[int]:
    return [unmanaged.vcpu.get(host_ref, 0), unmanaged.memory_mib.get(host_ref, 0)]


def _hosts_gone(site: Site, seen: set[str], transaction: Transaction, looked_at: datetime) -> None:
    """Hosts that a complete look no longer shows. What they hold they keep."""
    for refs in slices(sorted(set(_ids(Host, site, transaction)) - seen)):
        with transaction():
            late = Q(seen_at__gt=looked_at)
            rows = (
                Host.objects.filter(site=site, ref__in=refs, kind=HostKind.HOST)
                .exclude(state=HostState.GONE)
                .exclude(late)
            )
            gone = list(rows.order_by("id").select_for_update(no_key=True))
            Host.objects.filter(id__in=[host.id for host in gone]).update(
                state=HostState.GONE, changed=CurrentXid(), seen_at=looked_at
            )
            for host in gone:
                _tell(host, "host.gone", "The site no longer shows this host.")


def _host_columns(fact: HostFacts) -> dict[str, Any]:
    return {
        "ref": fact.ref,
        "name": fact.name,
        "compute_ref": fact.compute_ref,
        "vsphere_cluster": fact.vsphere_cluster,
        "state": fact.state.value,
        "cpu_cores": fact.cpu_cores,
        "core_mhz": fact.core_mhz,
        "memory_mib": fact.memory_mib,
    }


def _observe_host(id: Any, fact: HostFacts, unmanaged: Unmanaged, looked_at: datetime) -> None:
    _execute_host(
        _HOST,
        {
            "id": id,
            "name": fact.name,
            "compute_ref": fact.compute_ref,
            "vsphere_cluster": fact.vsphere_cluster,
            "state": fact.state.value,
            "labels": Json(dict(fact.labels)),
            "cores": fact.cpu_cores,
            "mhz": fact.core_mhz,
            "memory": fact.memory_mib,
            "datastores": Json(sorted(fact.datastore_refs)),
            "networks": Json(sorted(fact.network_refs)),
            "vcpu_unmanaged": unmanaged.vcpu.get(fact.ref, 0),
            "memory_unmanaged": unmanaged.memory_mib.get(fact.ref, 0),
            "looked_at": looked_at,
        },
    )


def _execute_host(sql: str, values: dict[str, Any]) -> None:
    """Observe one host; tell it where what is claimed has come to lack room."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    if row is None:
        return
    name, vcpu_claimed, memory_claimed, vcpu, memory, vcpu_before, memory_before = row
    if (vcpu_claimed and vcpu > vcpu_before) or (memory_claimed and memory > memory_before):
        _tell_overdrawn("host", values["id"], name, {"vcpu": vcpu, "memory_mib": memory})


# --- datastores ----------------------------------------------------------------------------------------------------

# What others use is what is used less what is ours. While something is in flight, ours is known between bounds only: at
# least what is listed, at most what is claimed (a clone grows, and is not listed yet); the former figure stands within
# them. Where less is used than our disks declare, they are thin, and no more is known than that.
_DATASTORE = """
update infra_datastore d set
    name = %(name)s, kind = %(kind)s, accessible = %(accessible)s, present = true, capacity_gib = %(capacity)s,
    free_gib = %(free)s, limit_gib = l.gib, unmanaged_gib = l.unmanaged,
    overdrawn_gib = greatest(0, d.claimed_gib + l.unmanaged - l.gib), changed = pg_current_xact_id()
from (select s.id, case when exists (select 1 from infra_datastore_zones where datastore_id = s.id)
                   then %(capacity)s else 0 end::bigint as gib,
             least(greatest(s.unmanaged_gib, %(used)s - %(ours)s - case when %(in_flight)s
                                then greatest(0, s.claimed_gib - %(ours)s) else 0 end, 0),
                   case when %(used)s >= %(ours)s then %(used)s - %(ours)s else %(used)s end)::bigint as unmanaged
      from infra_datastore s where s.id = %(id)s) l
where d.id = l.id and ((d.name, d.kind, d.accessible, d.present, d.capacity_gib, d.limit_gib)
          is distinct from (%(name)s, %(kind)s, %(accessible)s, true, %(capacity)s, l.gib)
    or abs(d.free_gib - %(free)s) * 100 >= greatest(d.capacity_gib, 1)
    or abs(d.unmanaged_gib - l.unmanaged) * 100 >= greatest(d.capacity_gib, 1))
returning d.name, d.claimed_gib, d.overdrawn_gib, old.overdrawn_gib
"""


def write_datastores(site: Site, facts: Sequence[DatastoreFacts], standing: Apart, transaction: Transaction) -> None:
    """Write down these datastores. Use that moves by less than a hundredth of the capacity is let be."""
    ids = _ids(Datastore, site, transaction)
    new = [fact for fact in facts if fact.ref not in ids]
    if new:
        with transaction():
            rows = [
                Datastore(
                    site=site, ref=f.ref, name=f.name, kind=f.kind, capacity_gib=f.capacity_gib, free_gib=f.free_gib
                )
                for f in new
            ]
            Datastore.objects.bulk_create(rows, ignore_conflicts=True)
        ids = _ids(Datastore, site, transaction)
    for part in slices(sorted(((ids[fact.ref], fact) for fact in facts), key=lambda row: row[0])):
        with transaction():
            in_flight = Inflight.objects.filter(site_id=site.id).exists()
            _lock(Datastore, [id for id, _ in part])
            unmanaged, volumes = standing.apart(), engine.volumes_at(site.id)
            for id, fact in part:
                gib, moving = volumes.get(fact.ref, (0, False))
                ours_gib = unmanaged.ours_gib.get(fact.ref, 0) + gib
                _observe_datastore(id, fact, ours_gib, in_flight or moving)


def _datastores_gone(site: Site, seen: set[str], transaction: Transaction) -> None:
    for refs in slices(sorted(set(_ids(Datastore, site, transaction)) - seen)):
        with transaction():
            rows = Datastore.objects.filter(site=site, ref__in=refs, present=True)
            away = list(rows.order_by("id").select_for_update(no_key=True))
            Datastore.objects.filter(id__in=[store.id for store in away]).update(present=False, changed=CurrentXid())
            for store in away:
                _tell(store, "datastore.gone", "The site no longer shows this datastore.")


def _observe_datastore(id: Any, fact: DatastoreFacts, ours_gib: int, in_flight: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _DATASTORE,
            {
                "id": id,
                "name": fact.name,
                "kind": fact.kind,
                "accessible": fact.accessible,
                "capacity": fact.capacity_gib,
                "free": fact.free_gib,
                "used": max(0, fact.capacity_gib - fact.free_gib),
                "ours": ours_gib,
                "in_flight": in_flight,
            },
        )
        row = cursor.fetchone()
    if row is not None and row[1] and row[2] > row[3]:
        _tell_overdrawn("datastore", id, row[0], {"gib": row[2]})


# --- small parts ---------------------------------------------------------------------------------------------------


def _ids(model: type[Any], site: Site, transaction: Transaction) -> dict[str, Any]:
    with transaction():
        return dict(model.objects.filter(site=site).values_list("ref", "id"))


def _lock(model: type[Model], ids: Sequence[Any]) -> None:
    list(model._default_manager.filter(id__in=ids).order_by("id").select_for_update(no_key=True).values_list("id"))


def _tell(row: Host | Datastore, verb: str, message: str) -> None:
    events.record(verb, by=SYSTEM, kind=verb.partition(".")[0], id=row.id, name=row.name, message=message)


def _tell_overdrawn(kind: str, id: Any, name: str, short: dict[str, int]) -> None:
    events.record(
        f"{kind}.overdrawn",
        by=SYSTEM,
        kind=kind,
        id=id,
        name=name,
        message="The outside took room that is claimed. Nothing new is placed here until it is right again.",
        after=short,
    )
