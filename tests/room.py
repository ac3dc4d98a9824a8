"""Room for tests of the ledger: a zone, its hosts and datastores, and pools, as passes would leave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from facet.rest.access import SYSTEM
from facet.rest.ids import uuid7
from infra.models import Datastore, Host, Site, SitePhase, Zone, ZonePhase
from scheduler import ledger, services
from scheduler.core.ask import Ask, Plan, Policy
from scheduler.guarantees import NOTHING, Amounts
from scheduler.models import Allocation, Hold, Move, ResourcePool, VolumeClaim
from scheduler.services import Limits
from tenants import isolation
from tenants.models import Project, Quota, Tenant
from tests.factories import as_system

GIB = 1024
UNLIMITED = Limits()


@dataclass(frozen=True)
class Land:
    """A zone with its hosts, which all reach one datastore."""

    zone: Zone
    hosts: Sequence[Host]
    datastore: Datastore


def land(
    hosts: int = 1,
    vcpu: int = 50,
    memory_mib: int = 1000 * GIB,
    storage_gib: int = 100_000,
    name: str = "az1",
    **zone: Any,
) -> Land:
    with as_system():
        site = Site.objects.create(
            name=f"dc-{name}", driver="simulator", endpoint="http://127.0.0.1:1", username="u", password_sealed=b"",
            phase=SitePhase.ACTIVE,
        )  # fmt: skip
        made = Zone.objects.create(
            **{"site": site, "name": name, "selector": {"label": "a=b"}, "phase": ZonePhase.ACTIVE} | zone
        )
        store = Datastore.objects.create(
            site=site, ref="ds-1", name="ds-1", capacity_gib=storage_gib, free_gib=storage_gib, limit_gib=storage_gib
        )
        store.zones.add(made)
        rows = [
            Host.objects.create(
                site=site, zone=made, ref=f"host-{n}", name=f"host-{n}", compute_ref=f"c-{n % 2}", cpu_cores=vcpu,
                core_mhz=2000, memory_mib=memory_mib, vcpu_limit=vcpu, memory_limit_mib=memory_mib,
                datastore_refs=["ds-1"],
            )
            for n in range(1, hosts + 1)
        ]  # fmt: skip
    return Land(made, rows, store)


def pool(
    place: Land,
    tenant: Tenant,
    project: Project | None = None,
    *,
    model: str = "on-demand",
    reserved: Amounts = NOTHING,
    limit: Limits = UNLIMITED,
    largest_shape: str = "",
) -> ResourcePool:
    """A pool, with the room of its guarantee, through the service."""
    with as_system():
        wanted = services.wish(
            tenant=tenant, project=project, zone=Zone.objects.get(pk=place.zone.pk), name="", model=model,
            reserved=reserved, limit=limit, largest_shape=largest_shape,
        )  # fmt: skip
    moves = services.decide(wanted)
    with as_system():
        return services.create_pool(wanted=wanted, moves=moves, by=SYSTEM)[0]


def ask(place: Land, pool: ResourcePool, vcpu: int = 1, memory_mib: int = GIB, disk_gib: int = 10, **more: Any) -> Ask:
    return Ask(
        **{"key": uuid7(), "vcpu": vcpu, "memory_mib": memory_mib, "disk_gib": disk_gib, "zones": (place.zone.id,),
           "pools": (pool.id,), "role": "worker"} | more
    )  # fmt: skip


def claim(project: Project, pool: ResourcePool, asks: Sequence[Ask], plan: Plan | None = None, **more: Any) -> Plan:
    """Decide and commit as the project's own people do: in the context of its tenant."""
    decided = plan or ledger.decide(asks, policy=Policy.SPREAD, seed=asks[0].key.int & 0xFFFF_FFFF)
    with isolation.context(isolation.of([project.tenant_id])):
        ledger.commit(
            tenant_id=project.tenant_id, project_id=project.id, asks=asks, plan=decided,
            pools={pool.zone_id: pool.id}, **more,
        )  # fmt: skip
    return decided


def resize(project: Project, sizes: Mapping[UUID, ledger.Size]) -> None:
    with isolation.context(isolation.of([project.tenant_id])):
        ledger.resize(tenant_id=project.tenant_id, project_id=project.id, sizes=sizes)


def release(project: Project, holders: Sequence[UUID], **more: Any) -> int:
    with isolation.context(isolation.of([project.tenant_id])):
        return ledger.release(tenant_id=project.tenant_id, project_id=project.id, holders=holders, **more)


def _gib(rows: Sequence[Any], zone_id: UUID | None) -> int:
    """A move to another zone is charged there by its source's size, and over all zones not again."""
    moving = [row for row in rows if isinstance(row, Move)]
    others = sum(row.storage_gib for row in rows if not isinstance(row, Move))
    return others + (0 if zone_id is None else sum(row.source.storage_gib for row in moving))


def check_books() -> None:
    """Every counter is the sum of what lives, and none passes its limit.

    An open move is a claim at its destination: of the pool and the zone's quota there only where they are others.
    """
    with as_system():
        live = list(Allocation.objects.filter(released=None).select_related("pool"))
        moves = list(Move.objects.filter(ended_at=None).select_related("pool", "source"))
        crossing = [move for move in moves if move.zone_id != move.source.zone_id]
        holds = list(Hold.objects.all())
        volumes = list(VolumeClaim.objects.filter(released=None))
        for host in Host.objects.all():
            here = [one for one in [*live, *moves] if one.host_id == host.id]
            kept = [one for one in holds if one.host_id == host.id]
            assert host.vcpu_claimed == sum(a.vcpu for a in here) + sum(h.vcpu for h in kept), host.name
            memory = sum(a.memory_mib for a in here) + sum(h.memory_mib for h in kept)
            assert host.memory_claimed_mib == memory, host.name
            assert host.vcpu_claimed + host.vcpu_unmanaged <= host.vcpu_limit + host.vcpu_overdrawn
        for store in Datastore.objects.all():
            here = [one for one in [*live, *moves, *volumes] if one.datastore_id == store.id]
            assert store.claimed_gib == sum(one.storage_gib for one in here), store.name
            assert store.claimed_gib + store.unmanaged_gib <= store.limit_gib + store.overdrawn_gib
        for one in ResourcePool.objects.filter(deleted_at=None):
            within = [a for a in [*live, *crossing] if one.id in (a.pool_id, a.pool.parent_id)]
            assert one.vcpu_used == sum(a.vcpu for a in within), one.name
            assert one.memory_used_mib == sum(a.memory_mib for a in within)
            eaten = sum(a.vcpu_from_hold for a in [*live, *moves] if a.pool_id == one.id)
            kept_here = sum(h.vcpu for h in holds if h.pool_id == one.id)
            assert one.vcpu_reserved == kept_here + eaten + one.vcpu_reserved_handed_down, one.name
            spare = [h for h in holds if h.pool_id == one.spare_id]
            assert one.vcpu_spare == sum(h.vcpu for h in spare), one.name
            assert one.memory_spare_mib == sum(h.memory_mib for h in spare), one.name
            children = ResourcePool.objects.filter(parent=one, deleted_at=None)
            assert one.vcpu_handed_down == sum(c.vcpu_limit or 0 for c in children)
            assert one.vcpu_reserved_handed_down == sum(c.vcpu_reserved for c in children)
        for row in Quota.objects.filter(resource__in=["vcpu", "vms"]):
            counted = live if row.zone_id is None else [a for a in [*live, *crossing] if a.zone_id == row.zone_id]
            owned = [a for a in counted if a.tenant_id == row.tenant_id and row.project_id in (None, a.project_id)]
            assert row.used == (len(owned) if row.resource == "vms" else sum(a.vcpu for a in owned)), row.resource
        for row in Quota.objects.filter(resource__in=["storage_gib", "volumes"]):
            counted = [*volumes, *live, *crossing] if row.resource == "storage_gib" else volumes
            owned = [a for a in counted if a.tenant_id == row.tenant_id and row.project_id in (None, a.project_id)]
            within = [a for a in owned if row.zone_id in (None, a.zone_id)]
            assert row.used == (len(within) if row.resource == "volumes" else _gib(within, row.zone_id)), row.resource
