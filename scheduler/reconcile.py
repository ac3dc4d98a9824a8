"""Passes over pools: stand at the site as they are asked for, or be gone there.

pending -> active, once the pool stands in every compute resource of its zone; failed while the site refuses it. A pool
waits for its zone, and a project's for its tenant's. deleting -> deleted_at, in the transaction that saw it gone.

Before that, what a pool keeps on hosts that are closed is placed anew on open ones. What finds no room stays where it
is: the pool says so (`guarantee_short`), stays active, and is looked at again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.wakeups import wake
from infra import outside
from infra.drivers import base
from infra.models import Flavor, Host, HostState, ZonePhase

from . import guarantees, mirror, rehousing, services
from .guarantees import Amounts
from .ledger import Stale
from .models import Hold, PoolPhase, ResourcePool
from .services import POOL_KIND

RETRY_S = 30.0
SHORT = "guarantee_short"
CLOSED = ~Q(host__state=HostState.UP) | Q(host__cordoned=True)
SOON_S = 2.0  # whoever we wait for is being worked on


@dataclass(frozen=True)
class Scene:
    """A pool and what its mirror depends on, as they were read."""

    pool: ResourcePool
    hosts: Sequence[Host]
    smallest_vm_mib: int
    short: dict[str, Any] | None = None  # why its guarantee is not all on open hosts

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
    try:
        short = None if found.phase == PoolPhase.DELETING else _off_closed_hosts(turn, found)
    except Stale:
        return Again(0.0)
    scene = Scene(found, hosts, smallest, short)
    try:
        with outside.asking():
            if found.phase == PoolPhase.DELETING:
                return _remove(turn, scene)
            return _ensure(turn, scene)
    except base.Refused as error:
        return _refused(turn, found, error)


def _off_closed_hosts(turn: Turn, found: ResourcePool) -> dict[str, Any] | None:
    """Place anew what this pool keeps on closed hosts; the reason where not all of it finds room. Raises Stale."""
    with turn.reading():
        whose = Hold.objects.filter(Q(vcpu__gt=0) | Q(memory_mib__gt=0), pool_id__in=(found.id, found.spare_id))
        away = CLOSED | ~Q(host__zone_id=found.zone_id)
        closed = set(whose.filter(away).values_list("host_id", flat=True))
        kept = services.kept_in(found.zone_id, pool_id=found.id) if closed else []
    done = rehousing.rehouse(kept, closed, seed=found.id.int & 0xFFFF_FFFF) if closed else rehousing.Rehoused()
    short = _told(done.short.get(found.id), done.short.get(found.spare_id))
    was_short = (found.reason or {}).get("code") == SHORT
    if done.moves or short or was_short:
        with turn.transaction():
            guarantees.move(found.zone_id, done.moves)
            if short or was_short:
                ResourcePool.objects.filter(pk=found.pk).update(reason=short)
    return short


def _told(kept: Amounts | None, spare: Amounts | None) -> dict[str, Any] | None:
    """The reason of a pool whose guarantee, or spare room, lies on closed hosts and finds no room elsewhere."""
    if kept is None and spare is None:
        return None
    parts = [("guarantee", kept), ("spare room", spare)]
    what = " and ".join(f"{a.vcpu} vCPUs and {a.memory_mib} MiB of its {name}" for name, a in parts if a is not None)
    return {
        "code": SHORT,
        "sentence": f"{what} lie on closed hosts and find no room on open ones.",
        "action": "Open the hosts or make room in the zone; Facet tries again.",
        "guarantee": None if kept is None else kept._asdict(),
        "spare": None if spare is None else spare._asdict(),
    }


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
            phase=PoolPhase.ACTIVE, reason=scene.short
        )
        operations.succeed(POOL_KIND, scene.pool.id, generation=scene.pool.generation)
    return Done() if scene.short is None else Again(RETRY_S)


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
            Hold.objects.filter(pool_id__in=(found.pk, found.spare_id), vcpu=0, memory_mib=0).delete()
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
    """A site was looked at: wake the pools that keep room on its closed hosts, and (`complete`) those that do not stand
    yet where their zone's hosts do."""
    with transaction():
        pools = ResourcePool.objects.filter(zone__site_id=site_id, deleted_at=None).exclude(phase=PoolPhase.DELETING)
        on_closed = _keeping_on_closed(site_id)
        due = {one.id: one for one in pools.filter(Q(id__in=on_closed) | Q(spare_id__in=on_closed)) if not _short(one)}
        if complete:
            due |= {one.id: one for one in (*_behind(site_id, pools), *_elsewhere(site_id, pools))}
        for id in sorted(due):
            wake(POOL_KIND, id, tenant_id=due[id].tenant_id, site_id=site_id)


def _short(pool: ResourcePool) -> bool:
    """It knows already, and comes again by itself."""
    return (pool.reason or {}).get("code") == SHORT


def _keeping_on_closed(site_id: UUID) -> set[UUID]:
    """The pool_ids of Holds on the site's closed hosts."""
    rows = Hold.objects.filter(CLOSED, Q(vcpu__gt=0) | Q(memory_mib__gt=0), host__site_id=site_id)
    return set(rows.values_list("pool_id", flat=True))


def _elsewhere(site_id: UUID, pools: QuerySet[ResourcePool]) -> list[ResourcePool]:
    """The pools that keep room on a host which has left their zone."""
    rows = Hold.objects.filter(Q(vcpu__gt=0) | Q(memory_mib__gt=0), host__site_id=site_id)
    kept = defaultdict(set)
    for pool_id, zone_id in rows.values_list("pool_id", "host__zone_id").distinct():
        kept[pool_id].add(zone_id)
    return [one for one in pools if (kept[one.id] | kept[one.spare_id]) - {one.zone_id}]


def _behind(site_id: UUID, pools: QuerySet[ResourcePool]) -> list[ResourcePool]:
    """The pools that do not stand yet in every compute resource of their zone."""
    computes: dict[UUID, set[str]] = {}
    for zone_id, ref in (
        Host.objects.filter(site_id=site_id)
        .exclude(zone=None)
        .exclude(state=HostState.GONE)
        .values_list("zone_id", "compute_ref")
    ):
        computes.setdefault(zone_id, set()).add(ref)
    return [one for one in pools if not computes.get(one.zone_id, set()) <= set(one.refs)]
