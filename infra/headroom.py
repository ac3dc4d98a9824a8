"""N+k while hosts go and come back: the limits of a zone follow the number of its hosts, as it is observed."""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from facet.operations import events
from facet.rest.access import SYSTEM

from . import bins, capacity
from .models import Host, HostKind, Site, Zone
from .room import Transaction, slices

_MISCOUNTED = """
select z.id from infra_zone z where z.site_id = %s and z.deleted_at is null and z.hosts_counted is distinct from
    (select count(*) from infra_host h left join infra_host b on b.id = h.bin_id
     where z.id in (h.zone_id, b.zone_id) and h.kind = 'host' and h.state <> 'gone')
order by z.id
"""


def follow(site: Site, transaction: Transaction) -> None:
    """Count the hosts of the site's zones anew; where that changes limits, set them. Bins say what their members are.

    Call it after hosts were written.

    A process that is killed between leaves some limits as they were: the next complete look sets every host's anew.
    """
    with transaction(), connection.cursor() as cursor:
        cursor.execute(_MISCOUNTED, [site.id])
        miscounted = [id for (id,) in cursor.fetchall()]
    for zone_id in miscounted:
        with transaction():
            hosts = _recounted(zone_id)
        for part in slices(hosts):
            with transaction():
                capacity.locked(Host.objects.filter(id__in=part))
                capacity.limit_hosts(part)
    bins.refresh_all(site, transaction)


def _recounted(zone_id: UUID) -> list[UUID]:
    """Keep the number in the zone's row; the hosts whose limits it touches."""
    zone = Zone.objects.select_for_update(no_key=True).get(pk=zone_id)
    counted = capacity.count_hosts(zone)
    if not zone.failover_hosts or counted == zone.hosts_counted:
        return []
    events.record(
        "zone.headroom_changed",
        by=SYSTEM,
        kind="zone",
        id=zone.id,
        name=zone.name,
        message=f"It has {counted} hosts now and keeps the room of {zone.failover_hosts} free: all limits follow.",
        before={"hosts": zone.hosts_counted},
        after={"hosts": counted, "failover_hosts": zone.failover_hosts},
    )
    return list(Host.objects.filter(zone=zone, kind=HostKind.HOST).order_by("id").values_list("id", flat=True))
