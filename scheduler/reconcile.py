"""Passes over pools: stand at the site as they are asked for, or be gone there.

pending -> active, once the pool stands in every compute resource of its zone; failed while the site refuses it. A pool
waits for its zone, and a project's for its tenant's. deleting -> deleted_at, in the transaction that saw it gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.wakeups import wake
from infra import outside
from infra.drivers import base
from infra.models import Flavor, Host, HostState, ZonePhase

from . import mirror
from .models import Hold, PoolPhase, ResourcePool
from .services import POOL_KIND

RETRY_S = 30.0
SOON_S = 2.0  # whoever we wait for is being worked on


@dataclass(frozen=True)
class Scene:
    """A pool and what its mirror depends on, as they were read."""

    pool: ResourcePool
    hosts: Sequence[Host]
    smallest_vm_mib: int

    @property
    def ready(self) -> bool:
        """Whether what the pool hangs from stands at the site, in the shape that was asked for last."""
        above = self.pool.parent
        if above is not None:
            return above.phase == PoolPhase.ACTIVE and above.observed_generation == above.generation
        return self.pool.zone.phase in (ZonePhase.ACTIVE, ZonePhase.DRAINING, ZonePhase.DISABLED)

    @property
    def spec(self) -> base.PoolSpec | None:
        parents = self.pool.zone.pool_refs if self.pool.parent is None else self.pool.parent.refs
        return mirror.spec(self.pool, self.hosts, parents, smallest_vm_mib=self.smallest_vm_mib)


def pool(turn: Turn) -> Outcome:
    """A pool stands in every compute resource of its zone; or is gone there."""
    with turn.reading():
        found = ResourcePool.objects.select_related("zone__site", "parent").filter(pk=turn.key).first()
        if found is None or found.deleted_at is not None:
            return Done()
        hosts = list(Host.objects.filter(zone=found.zone).exclude(state=HostState.GONE))
        smallest = Flavor.objects.order_by("memory_mib").values_list("memory_mib", flat=True).first() or 1024
    scene = Scene(found, hosts, smallest)
    try:
        with outside.asking():
            if found.phase == PoolPhase.DELETING:
                return _remove(turn, scene)
            return _ensure(turn, scene)
    except base.Refused as error:
        return _refused(turn, found, error)


def _ensure(turn: Turn, scene: Scene) -> Outcome:
    wanted = scene.spec if scene.ready else None
    if wanted is None:
        return Again(SOON_S)
    turn.renew()
    refs = outside.driver_of(scene.pool.zone.site).ensure_pool(wanted)
    with turn.transaction():
        ResourcePool.objects.filter(pk=scene.pool.pk).update(
            refs={**scene.pool.refs, **refs}, observed_generation=scene.pool.generation
        )
        ResourcePool.objects.filter(pk=scene.pool.pk).exclude(phase=PoolPhase.DELETING).update(
            phase=PoolPhase.ACTIVE, reason=None
        )
        operations.succeed(POOL_KIND, scene.pool.id, generation=scene.pool.generation)
    return Done()


def _remove(turn: Turn, scene: Scene) -> Outcome:
    found = scene.pool
    turn.renew()
    driver = outside.driver_of(found.zone.site)
    wanted = scene.spec
    refs = dict(found.refs)
    if wanted is not None and any(part.compute_ref not in refs for part in wanted.parts):
        refs |= driver.ensure_pool(wanted)  # a pass that was killed may have made it: by its name it is found again
        turn.renew()
    driver.ensure_no_pool(refs.values())
    with turn.transaction():
        gone = ResourcePool.objects.filter(pk=found.pk, deleted_at=None).update(
            deleted_at=timezone.now(), refs={}, reason=None, observed_generation=found.generation
        )
        if gone:
            Hold.objects.filter(pool_id=found.pk, vcpu=0, memory_mib=0).delete()
            operations.succeed(POOL_KIND, found.id, generation=found.generation)
    return Done()


def _refused(turn: Turn, found: ResourcePool, error: base.Refused) -> Outcome:
    """The site said no: the pool says why, and it is tried again. A pool that goes stays going."""
    reason = outside.reason(error, "Mend it at the site; Facet tries again.")
    with turn.transaction():
        ResourcePool.objects.filter(pk=found.pk).update(reason=reason)
        ResourcePool.objects.filter(pk=found.pk).exclude(phase=PoolPhase.DELETING).update(phase=PoolPhase.FAILED)
        operations.fail(POOL_KIND, found.id, code=error.code, detail=error.reason)
    return Again(RETRY_S)


def observe(
    transaction: Callable[[], AbstractContextManager[None]],
    site_id: UUID,
    vms: Sequence[Any],
    *,
    gone_refs: Sequence[str] = (),
    complete: bool,
    began: datetime | None = None,
) -> None:
    """A site was looked at: wake the pools that do not stand yet where their zone's hosts do."""
    if not complete:
        return
    with transaction():
        pools = ResourcePool.objects.filter(zone__site_id=site_id, deleted_at=None).exclude(phase=PoolPhase.DELETING)
        computes: dict[UUID, set[str]] = {}
        for zone_id, ref in (
            Host.objects.filter(site_id=site_id)
            .exclude(zone=None)
            .exclude(state=HostState.GONE)
            .values_list("zone_id", "compute_ref")
        ):
            computes.setdefault(zone_id, set()).add(ref)
        behind = [one for one in pools.order_by("id") if not computes.get(one.zone_id, set()) <= set(one.refs)]
        for one in behind:
            wake(POOL_KIND, one.id, tenant_id=one.tenant_id, site_id=site_id)
