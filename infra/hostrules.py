"""A zone that has only some hosts of a vSphere cluster: there DRS and HA keep its VMs on those by a must rule.

One rule for a zone. VMs join it before they are powered on and leave it before they are moved to another zone; vCenter
forgets those that are deleted.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import Q

from . import bins
from .drivers.base import HostRule
from .models import Host, HostState, Zone


def name_of(zone_id: UUID) -> str:
    return f"facet-{zone_id}-zone"


def of(zone: Zone, *, joining: Collection[UUID] = (), leaving: Collection[UUID] = ()) -> HostRule | None:
    """The zone's rule, with these VMs beside those in it; None where no host of another stands in its vSphere clusters.

    In a context.
    """
    mine = bins.hosts_of(zone).exclude(state=HostState.GONE).exclude(vsphere_cluster="")
    hosts = list(mine.order_by("ref").values_list("ref", "compute_ref"))
    refs, computes = [ref for ref, _ in hosts], {compute for _, compute in hosts}
    others = Host.objects.filter(~Q(ref__in=refs), site_id=zone.site_id, kind="host", compute_ref__in=computes)
    if not others.exclude(state=HostState.GONE).exists():
        return None
    return HostRule(name_of(zone.id), tuple(sorted(joining)), tuple(refs), beside=True, leaving=tuple(sorted(leaving)))
