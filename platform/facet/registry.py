"""What reconciles what, and in which database context: the engine's table. Imports everyone, imported by no one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import facet.clusters.reconcile
import facet.clusters.scaling
import facet.clusters.services
import facet.clusters.use
import facet.clusters.witness
import facet.workloads.maintenance.reconcile
import facet.workloads.maintenance.services
import facet.workloads.networks.firewall
import facet.workloads.networks.reconcile
import facet.workloads.networks.services
import facet.workloads.networks.use
import facet.workloads.power
import facet.workloads.reconcile
import facet.workloads.resizing
import facet.workloads.services
import facet.workloads.volumes.lying
import facet.workloads.volumes.reconcile
import facet.workloads.volumes.services
import facet.workloads.watching
import infra.reconcile
import infra.replicas
import infra.services
import scheduler.reconcile
import scheduler.use
from facet.operations.engine import Outcome, SiteObserver, Turn
from facet.operations.models import Operation
from facet.rest.access import Actor
from infra.models import Zone
from tenants import isolation

RECONCILERS: Mapping[str, Callable[[Turn], Outcome]] = {
    "site": infra.reconcile.site,
    "zone": infra.reconcile.zone,
    "image-replica": infra.replicas.replica,
    "pool": scheduler.reconcile.pool,
    "reap": facet.workloads.watching.reap,
    "cluster": facet.clusters.reconcile.cluster,
    "vm": facet.workloads.reconcile.vm,
    "drain": facet.workloads.maintenance.reconcile.drain,
    "volume": facet.workloads.volumes.reconcile.volume,
    "network": facet.workloads.networks.reconcile.network,
    "firewall": facet.workloads.networks.firewall.firewall,
}
CANCELLERS: Mapping[str, Callable[[Operation, Actor], None]] = {
    "cluster.create": facet.clusters.services.cancel_create,
    "cluster.scale": facet.clusters.scaling.cancel_scale,
    "network.create": facet.workloads.networks.services.cancel_create,
    "vm.create": facet.workloads.services.cancel_create,
    "volume.create": facet.workloads.volumes.services.cancel_create,
    "vm.start": facet.workloads.power.cancel,
    "vm.stop": facet.workloads.power.cancel,
    "vm.restart": facet.workloads.power.cancel_restart,
    "vm.resize": facet.workloads.resizing.cancel,
    "host.drain": facet.workloads.maintenance.services.cancel,
    "zone.drain": facet.workloads.maintenance.services.cancel,
}
SITE_OBSERVERS: Sequence[SiteObserver] = (
    facet.workloads.watching.observe,
    scheduler.reconcile.observe,
    facet.clusters.witness.observe,  # after the allocations have followed
)
EXPECTED_VMS: Sequence[Callable[[UUID], set[UUID]]] = (facet.workloads.watching.expected,)
VOLUMES: Sequence[Callable[[UUID], Mapping[str, tuple[int, bool]]]] = (facet.workloads.volumes.lying.at,)
ADOPTED_VMS: Sequence[Callable[[UUID], set[UUID]]] = (facet.workloads.watching.adopted,)
HOLDERS: Mapping[str, Sequence[Callable[..., list[dict[str, Any]]]]] = {
    "vm": (facet.clusters.use.of_vm,),
    "image": (facet.workloads.watching.being_made_of,),
    "zone": (scheduler.use.of_zone, facet.workloads.networks.use.of_zone),
    "storage-class": (scheduler.use.of_storage_class,),
    "tenant": (scheduler.use.of_tenant,),
    "project": (scheduler.use.of_project, facet.workloads.networks.use.of_project),
    "quota": (scheduler.use.of_quota,),
}


def context(tenant_id: UUID | None) -> AbstractContextManager[None]:
    """A pass over a tenant's object sees that tenant; a pass over the platform's sees all."""
    return isolation.context(isolation.of([tenant_id]) if tenant_id else isolation.SYSTEM)


def zone_id(name_or_id: str) -> UUID:
    """For rooms that may not import infra: a living zone's id. Raises Invalid."""
    return infra.services.zone_by_name(name_or_id).id


def zone_names() -> Mapping[UUID, str]:
    return dict(Zone.objects.values_list("id", "name"))
