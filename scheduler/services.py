"""Resource pools: a tenant's or a project's part of a zone."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from facet.rest.problems import Conflict
from infra.models import Zone
from tenants.models import Project

from .models import PoolPhase, ResourcePool


def pools_for(project: Project, zones: Sequence[Zone]) -> dict[UUID, ResourcePool]:
    """For each zone the pool that this project's VMs spend from: its own there, else its tenant's.

    Raises Conflict `no_pool` naming the zones where there is neither.
    """
    found: dict[UUID, ResourcePool] = {}
    rows = ResourcePool.objects.filter(
        tenant_id=project.tenant_id, zone_id__in=[zone.id for zone in zones], deleted_at=None
    ).exclude(phase=PoolPhase.DELETING)
    for pool in rows:
        if pool.project_id == project.id or (pool.project_id is None and pool.zone_id not in found):
            found[pool.zone_id] = pool
    missing = [zone.name for zone in zones if zone.id not in found]
    if missing:
        raise Conflict(
            f"Neither project {project.name} nor its tenant has a pool in zone {', '.join(missing)}.", code="no_pool"
        )
    return found
