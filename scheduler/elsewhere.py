"""What was asked, as it would be in other zones: for a refusal that names one where all of it fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from infra.models import PhysicalNetwork, Zone, ZonePhase
from tenants import isolation
from tenants.models import Project, Quota

from .core.ask import Ask
from .models import PoolPhase, ResourcePool

RESOURCES = ("vcpu", "memory_mib", "storage_gib", "vms")


def asks_elsewhere(asks: Sequence[Ask], *, project: Project, site_id: UUID) -> dict[UUID, list[Ask]]:
    """The same asks for each other open zone of the site, in order of name, where the project's pool and quota would
    bear them. Whether there is room is for the core to say. Opens a context of its own: call it in none."""
    asked = {zone for ask in asks for zone in ask.zones}
    with isolation.context(isolation.of([project.tenant_id])):
        zones = Zone.objects.filter(site_id=site_id, phase=ZonePhase.ACTIVE, deleted_at=None).exclude(pk__in=asked)
        pools = _pools(project)
        narrow = _narrowed(project)
        lent: dict[UUID, list[UUID]] = {}
        for network, zone in PhysicalNetwork.objects.filter(present=True).values_list("id", "zones"):
            lent.setdefault(zone, []).append(network)
        found = {}
        for zone in zones.order_by("name").values_list("id", flat=True):
            if zone in pools and _bears(pools[zone], narrow.get(zone, {}), asks):
                there = pools[zone][0].id
                nets = tuple(lent.get(zone, ()))
                found[zone] = [
                    replace(ask, zones=(zone,), pools=(there,), networks=nets if ask.networks else ()) for ask in asks
                ]
        return found


def _pools(project: Project) -> dict[UUID, list[ResourcePool]]:
    """By zone the pool that the project spends from, and the tenant's above it."""
    rows = ResourcePool.objects.filter(tenant_id=project.tenant_id, deleted_at=None).exclude(phase=PoolPhase.DELETING)
    found: dict[UUID, list[ResourcePool]] = {}
    for pool in rows:
        if pool.project_id in (None, project.id):
            found.setdefault(pool.zone_id, []).append(pool)
    return {zone: sorted(mine, key=lambda pool: pool.project_id is None) for zone, mine in found.items()}


def _narrowed(project: Project) -> dict[UUID, dict[str, int]]:
    """By zone what its quotas leave of each resource, where they narrow it."""
    found: dict[UUID, dict[str, int]] = {}
    rows = Quota.objects.filter(tenant_id=project.tenant_id, limit__isnull=False, zone_id__isnull=False)
    for row in rows:
        if row.project_id in (None, project.id) and row.limit is not None and row.zone_id is not None:
            left = found.setdefault(row.zone_id, {})
            left[row.resource] = min(left.get(row.resource, row.limit), row.limit - row.used)
    return found


def _bears(pools: Sequence[ResourcePool], narrow: Mapping[str, int], asks: Sequence[Ask]) -> bool:
    wanted = {
        "vcpu": sum(ask.vcpu for ask in asks),
        "memory_mib": sum(ask.memory_mib for ask in asks),
        "storage_gib": sum(ask.disk_gib or 0 for ask in asks),
        "vms": len(asks),
    }
    within = all(
        (pool.vcpu_limit is None or pool.vcpu_used + wanted["vcpu"] <= pool.vcpu_limit)
        and (pool.memory_limit_mib is None or pool.memory_used_mib + wanted["memory_mib"] <= pool.memory_limit_mib)
        for pool in pools
    )
    return within and all(wanted[name] <= narrow.get(name, wanted[name]) for name in RESOURCES)
