"""The one bin of a zone that DRS places in: a row that stands for all its hosts, and is what the ledger claims from.

DRS moves VMs from host to host as it likes, so no single host can be the limit: what is claimed in the zone must fit
into its hosts together. The zone's hosts are members of the bin and have no zone of their own; the scheduler sees the
bin alone. A VM stands on any of them, so the bin reaches what they all reach, and carries the labels that all carry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet

from facet.operations import events
from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid
from facet.rest.problems import Invalid

from .models import Host, HostKind, HostState, Placement, Site, Zone

# Headroom: the room of k of the n hosts is kept free, and is what is used up first when hosts fail.
_REFRESH = """
with m as (select * from infra_host where bin_id = %(bin)s and state <> 'gone'),
up as (select * from m where state = 'up'),
z as (select z.* from infra_zone z join infra_host b on b.zone_id = z.id where b.id = %(bin)s),
l as (select
    (select coalesce(sum(cpu_cores), 0) from m)::int as cores, (select coalesce(min(core_mhz), 0) from m) as mhz,
    (select coalesce(sum(memory_mib), 0) from m)::bigint as memory, (select count(*) from up)::int as hosts,
    least((select coalesce(sum(host_limit(m.cpu_cores, z.cpu_overcommit, z.failover_hosts, z.hosts_counted)), 0)
           from m, z),
          (select coalesce(sum(host_limit(up.cpu_cores, z.cpu_overcommit, 0, z.hosts_counted)), 0) from up, z)
    )::bigint as vcpu_limit,
    least((select coalesce(sum(host_limit(m.memory_mib, z.memory_overcommit, z.failover_hosts, z.hosts_counted)), 0)
           from m, z),
          (select coalesce(sum(host_limit(up.memory_mib, z.memory_overcommit, 0, z.hosts_counted)), 0) from up, z)
    )::bigint as memory_limit,
    (select max(host_limit(up.cpu_cores, z.cpu_overcommit, 0, z.hosts_counted)) from up, z)::bigint as most_vcpu,
    (select max(host_limit(up.memory_mib, z.memory_overcommit, 0, z.hosts_counted)) from up, z)::bigint as most_memory,
    (select coalesce(sum(vcpu_unmanaged), 0) from m)::bigint as vcpu_unmanaged,
    (select coalesce(sum(memory_unmanaged_mib), 0) from m)::bigint as memory_unmanaged,
    (select coalesce(jsonb_agg(one order by one), '[]') from (select e.one from up,
        jsonb_array_elements_text(up.datastore_refs) e(one)
        group by e.one having count(*) = (select count(*) from up)) d) as datastores,
    (select coalesce(jsonb_agg(one order by one), '[]') from (select e.one from up,
        jsonb_array_elements_text(up.network_refs) e(one)
        group by e.one having count(*) = (select count(*) from up)) n) as networks,
    (select coalesce(jsonb_object_agg(key, value), '{}') from (select e.key, e.value from up,
        jsonb_each_text(up.labels) e
        group by e.key, e.value having count(*) = (select count(*) from up)) k) as labels)
update infra_host b set cpu_cores = l.cores, core_mhz = l.mhz, memory_mib = l.memory, stands_for = l.hosts,
    state = case when l.hosts > 0 then 'up' else 'down' end, largest_vcpu = coalesce(l.most_vcpu, 0),
    largest_memory_mib = coalesce(l.most_memory, 0), vcpu_limit = l.vcpu_limit, memory_limit_mib = l.memory_limit,
    vcpu_unmanaged = l.vcpu_unmanaged, memory_unmanaged_mib = l.memory_unmanaged, datastore_refs = l.datastores,
    network_refs = l.networks, labels = l.labels,
    vcpu_overdrawn = greatest(0, b.vcpu_claimed + l.vcpu_unmanaged - l.vcpu_limit),
    memory_overdrawn_mib = greatest(0, b.memory_claimed_mib + l.memory_unmanaged - l.memory_limit),
    changed = pg_current_xact_id()
from l
where b.id = %(bin)s and (b.cpu_cores, b.core_mhz, b.memory_mib, b.stands_for, b.state, b.largest_vcpu,
        b.largest_memory_mib, b.vcpu_limit, b.memory_limit_mib, b.vcpu_unmanaged, b.memory_unmanaged_mib,
        b.datastore_refs, b.network_refs, b.labels)
    is distinct from (l.cores, l.mhz, l.memory, l.hosts, case when l.hosts > 0 then 'up' else 'down' end,
        coalesce(l.most_vcpu, 0), coalesce(l.most_memory, 0), l.vcpu_limit, l.memory_limit, l.vcpu_unmanaged,
        l.memory_unmanaged, l.datastores, l.networks, l.labels)
returning b.name, b.vcpu_claimed, b.memory_claimed_mib, b.vcpu_overdrawn, b.memory_overdrawn_mib, old.vcpu_overdrawn,
    old.memory_overdrawn_mib
"""


def hosts_of(zone: Zone) -> QuerySet[Host]:
    """The hypervisors of a zone, whichever way their room is counted."""
    return Host.objects.filter(Q(zone=zone) | Q(bin__zone=zone), kind=HostKind.HOST)


def is_drs(zone: Zone) -> bool:
    return zone.placement == Placement.DRS


def of(zone: Zone) -> Host:
    """The zone's bin."""
    return Host.objects.get(zone=zone, kind=HostKind.BIN)


def check(hosts: Iterable[Host]) -> None:
    """Raises Invalid unless these are hosts of one vSphere cluster: DRS places within one."""
    clusters = {(host.compute_ref, host.vsphere_cluster) for host in hosts}
    if len(clusters) > 1 or any(not name for _, name in clusters):
        raise Invalid({"selector": "A zone that DRS places in has hosts of one vSphere cluster, and no others."})


def open_for(zone: Zone, hosts: Sequence[Host]) -> None:
    """Make the bin of a new (locked) zone; these (locked) hosts are its members. Its limits are set by `refresh`."""
    check(hosts)
    first = hosts[0]
    bin_ = Host.objects.create(
        site_id=zone.site_id, zone=zone, kind=HostKind.BIN, ref=f"bin {zone.id}", name=first.vsphere_cluster,
        compute_ref=first.compute_ref, vsphere_cluster=first.vsphere_cluster, cpu_cores=0, core_mhz=0, memory_mib=0,
        state=HostState.DOWN, stands_for=0,
    )  # fmt: skip
    join(bin_, [host.id for host in hosts])


def join(bin_: Host, ids: Sequence[UUID]) -> None:
    """These (locked) hosts of no zone are members from now on."""
    Host.objects.filter(pk__in=ids).exclude(bin=bin_).update(bin=bin_, changed=CurrentXid())


def leave(ids: Sequence[UUID]) -> None:
    """These (locked) hosts are members no more."""
    Host.objects.filter(pk__in=ids).update(bin=None, changed=CurrentXid())


def refresh(bin_id: UUID) -> None:
    """Let a bin say what its members are now; one that says it already is not written.

    Members are read after the bin is locked, so that of two who refresh it the later one has seen all.
    """
    list(Host.objects.filter(pk=bin_id).select_for_update(no_key=True).values_list("id"))
    with connection.cursor() as cursor:
        cursor.execute(_REFRESH, {"bin": bin_id})
        row = cursor.fetchone()
    if row is None:
        return
    name, vcpu_claimed, memory_claimed, vcpu, memory, vcpu_before, memory_before = row
    if (vcpu_claimed and vcpu > vcpu_before) or (memory_claimed and memory > memory_before):
        events.record(
            "host.overdrawn", by=SYSTEM, kind="host", id=bin_id, name=name, after={"vcpu": vcpu, "memory_mib": memory},
            message="The outside took room that is claimed. Nothing new is placed here until it is right again.",
        )  # fmt: skip


def refresh_all(site: Site, transaction: Callable[[], AbstractContextManager[None]]) -> None:
    """The bins of a site's living zones, each in a transaction of its own. Call it after their members were written."""
    with transaction():
        found = Host.objects.filter(site=site, kind=HostKind.BIN).exclude(state=HostState.GONE)
        ids = list(found.order_by("id").values_list("id", flat=True))
    for id in ids:
        with transaction():
            refresh(id)
