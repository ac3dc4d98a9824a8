"""Which hosts a zone has; and limits: capacity x overcommit, less the zone's headroom; zero of what no zone has.

N+k: each of a zone's N hosts keeps k/N of itself free, so whoever changes N (a host joins, leaves, goes, comes back)
sets the limits of all. N stands in the zone's row, which is locked before its hosts; `host_limit` is the one formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from facet.rest.dbtypes import CurrentXid
from facet.rest.problems import Conflict

from . import bins
from .models import Datastore, Host, HostKind, HostState, Zone

# The room that grants may use; what the outside took meanwhile stays written down as overdrawn.
_LIMITS = """
update infra_host h set
    vcpu_limit = l.vcpu, memory_limit_mib = l.memory,
    vcpu_overdrawn = greatest(0, h.vcpu_claimed + h.vcpu_unmanaged - l.vcpu),
    memory_overdrawn_mib = greatest(0, h.memory_claimed_mib + h.memory_unmanaged_mib - l.memory),
    changed = pg_current_xact_id()
from (select s.id, host_limit(s.cpu_cores, z.cpu_overcommit, z.failover_hosts, z.hosts_counted) as vcpu,
             host_limit(s.memory_mib, z.memory_overcommit, z.failover_hosts, z.hosts_counted) as memory
      from infra_host s join infra_zone z on z.id = s.zone_id where s.id = any(%s)) l
where h.id = l.id and (h.vcpu_limit, h.memory_limit_mib) is distinct from (l.vcpu, l.memory)
"""


def matching(site_id: UUID, selector: dict[str, Any]) -> QuerySet[Host]:
    """The hosts at a site that a selector of a known form names; those that are gone are not among them."""
    hosts = Host.objects.filter(site_id=site_id, kind=HostKind.HOST).exclude(state=HostState.GONE)
    match selector:
        case {"vsphere_cluster": name}:
            return hosts.filter(vsphere_cluster=name)
        case {"hosts": names}:
            return hosts.filter(name__in=names)
        case {"label": label}:
            key, _, value = label.partition("=")
            return hosts.filter(labels__contains={key: value})
    raise ValueError(f"not a selector: {selector!r}")


def lock_hosts(site_id: UUID) -> None:
    """All hosts of a site, in the order in which everyone locks them, for what then takes several sets of them."""
    locked(Host.objects.filter(site_id=site_id))


def locked(hosts: QuerySet[Host]) -> list[Host]:
    """These hosts, in the order in which everyone locks them."""
    return list(hosts.order_by("id").select_for_update(no_key=True, of=("self",)))


def give_hosts(zone: Zone, hosts: QuerySet[Host]) -> None:
    """These hosts are the zone's, whose row is locked. Raises Conflict for those that another zone has."""
    given = locked(hosts)
    where = dict(
        hosts.filter(Q(zone__isnull=False) | Q(bin__isnull=False)).values_list("id", Coalesce("zone", "bin__zone"))
    )
    taken = sorted((host for host in given if where.get(host.id, zone.id) != zone.id), key=lambda host: host.name)
    if taken:
        names = dict(Zone.objects.filter(id__in=[where[host.id] for host in taken]).values_list("id", "name"))
        holders = [{"kind": "host", "name": host.name, "zone": names[where[host.id]]} for host in taken]
        raise Conflict(f"{len(taken)} of these hosts belong to another zone.", code="zone_overlaps", holders=holders)
    if bins.is_drs(zone) and not Host.objects.filter(zone=zone).exists():
        bins.open_for(zone, given)
    elif bins.is_drs(zone):
        bins.check([*bins.hosts_of(zone), *given])
        bins.join(bins.of(zone), [host.id for host in given])
    else:
        _give(zone, [host.id for host in given])


def refresh_hosts(zone: Zone) -> int:
    """Set the limits of the hosts of a (locked) zone anew, by how many they are now; answers how many."""
    ids = [host.id for host in locked(Host.objects.filter(zone=zone))]
    counted = count_hosts(zone)
    if bins.is_drs(zone):
        bins.refresh(bins.of(zone).id)
    else:
        limit_hosts(ids)
    return counted


def count_hosts(zone: Zone) -> int:
    """Keep in the zone's row how many hosts it has."""
    counted = bins.hosts_of(zone).exclude(state=HostState.GONE).count()
    Zone.objects.filter(pk=zone.pk).exclude(hosts_counted=counted).update(hosts_counted=counted)
    return counted


def limit_hosts(ids: Sequence[UUID]) -> None:
    """Set the limits of these (locked) hosts; those that are right already are not written."""
    with connection.cursor() as cursor:
        cursor.execute(_LIMITS, [list(ids)])


def free_hosts(zone: Zone) -> None:
    """The zone's hosts belong to no zone any more; they hold nothing. Its bin stays as a row, which stands for none."""
    bins.leave([host.id for host in locked(Host.objects.filter(bin__zone=zone))])
    Host.objects.filter(zone=zone, kind=HostKind.BIN).update(state=HostState.GONE, stands_for=0)
    _free([host.id for host in locked(Host.objects.filter(zone=zone))])


def look_again(zone: Zone) -> tuple[list[str], list[str]]:
    """Let the selector be true again: the names of hosts that joined and that left.

    A host of another zone is not taken; one that holds claims never leaves.
    """
    wanted = set(matching(zone.site_id, zone.selector).values_list("id", flat=True))
    had = set(bins.hosts_of(zone).values_list("id", flat=True))
    if wanted == had:
        return [], []
    list(Zone.objects.filter(pk=zone.pk).select_for_update(no_key=True).values_list("id"))
    hosts = locked(Host.objects.filter(id__in=wanted | had))
    joined = [host for host in hosts if host.id in wanted and host.zone_id is None and host.bin_id is None]
    if bins.is_drs(zone):
        bin_ = bins.of(zone)
        joined = [host for host in joined if host.compute_ref == bin_.compute_ref]
        left = [host for host in hosts if host.id in had - wanted and host.bin_id == bin_.id]
        bins.join(bin_, [host.id for host in joined])
        bins.leave([host.id for host in left])
    else:
        left = [host for host in hosts if host.id in had - wanted and host.zone_id == zone.id and not _held(host)]
        _give(zone, [host.id for host in joined])
        _free([host.id for host in left])
    if joined or left:
        refresh_hosts(zone)
    return [host.name for host in joined], [host.name for host in left]


def _held(host: Host) -> bool:
    return bool(host.vcpu_claimed or host.memory_claimed_mib)


def _give(zone: Zone, ids: list[UUID]) -> None:
    Host.objects.filter(pk__in=ids).exclude(zone=zone).update(zone=zone, changed=CurrentXid())


def _free(ids: list[UUID]) -> None:
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            """update infra_host set zone_id = null, vcpu_limit = 0, memory_limit_mib = 0, cordoned = false,
                   vcpu_overdrawn = vcpu_claimed + vcpu_unmanaged,
                   memory_overdrawn_mib = memory_claimed_mib + memory_unmanaged_mib, changed = pg_current_xact_id()
               where id = any(%s)""",
            [ids],
        )


def refresh_datastores(stores: Sequence[Datastore]) -> None:
    """Limits of these datastores: their capacity while a zone uses them."""
    ids = [store.id for store in stores]
    list(Datastore.objects.filter(id__in=ids).order_by("id").select_for_update(no_key=True).values_list("id"))
    with connection.cursor() as cursor:
        cursor.execute(
            """update infra_datastore d set limit_gib = l.gib,
                   overdrawn_gib = greatest(0, d.claimed_gib + d.unmanaged_gib - l.gib), changed = pg_current_xact_id()
               from (select s.id, case when exists (select 1 from infra_datastore_zones z where z.datastore_id = s.id)
                                  then s.capacity_gib else 0 end as gib
                     from infra_datastore s where s.id = any(%s)) l
               where d.id = l.id""",
            [ids],
        )
