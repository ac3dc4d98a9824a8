"""Resource pools: a tenant's or a project's part of a zone. One verb, one transaction, in the caller's context.

Making or changing a pool is three acts (Endpoint.placed_once): `wish` reads, `decide` finds the room of the guarantee,
the verb writes: holds moved first (hosts, holds), then pools, project before tenant, as in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q

from facet.operations import services as operations
from facet.operations.models import OPEN_PHASES, Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, Invalid, NotFound
from infra.models import Flavor, Zone, ZonePhase
from tenants.models import Project, Tenant

from . import guarantees, use, zone_loss
from .core.ask import Shape
from .guarantees import Amounts, Guarantee, Move
from .ledger import Stale
from .models import PoolModel, PoolPhase, ResourcePool

POOL_KIND = "pool"
OPEN_ZONES = (ZonePhase.ACTIVE, ZonePhase.DRAINING)


@dataclass(frozen=True)
class Limits:
    """Never more than this; None is no limit."""

    vcpu: int | None = None
    memory_mib: int | None = None


@dataclass(frozen=True)
class Wish:
    """A pool as it shall be. `pool`: the row as it is, None for a new one; `parent`: the tenant's pool above it."""

    tenant: Tenant
    project: Project | None
    zone: Zone
    name: str
    model: str
    reserved: Amounts
    limit: Limits
    largest_shape: str
    parent: ResourcePool | None
    pool: ResourcePool | None = None
    flavors: Sequence[Shape] = ()
    id: UUID = field(default_factory=uuid7)

    @property
    def guarantee(self) -> Guarantee:
        before = _reserved(self.pool) if self.pool else guarantees.NOTHING
        chunk = next((shape for shape in self.flavors if shape.name == self.largest_shape), None)
        return Guarantee(
            pool_id=self.id,
            zone_id=self.zone.id,
            above=self.parent.id if self.parent else None,
            before=before,
            after=self.reserved,
            chunk=chunk,
            flavors=self.flavors,
        )


def _reserved(pool: ResourcePool) -> Amounts:
    return Amounts(pool.vcpu_reserved, pool.memory_reserved_mib)


def target(pool: ResourcePool) -> operations.Target:
    return operations.Target(
        kind=POOL_KIND, id=pool.id, name=pool.name, tenant_id=pool.tenant_id, project_id=pool.project_id
    )


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


def kept_in(zone_id: UUID, *, pool_id: UUID | None = None) -> list[Guarantee]:
    """What this zone's pools keep there (or one of them): guarantees and spare room, for `rehousing.rehouse`.

    Reads, in the caller's context; decide outside of it.
    """
    flavors = shapes()
    known = {shape.name: shape for shape in flavors}
    rows = ResourcePool.objects.filter(zone_id=zone_id, deleted_at=None).order_by("id")
    found = []
    for pool in rows if pool_id is None else rows.filter(pk=pool_id):
        amounts, spare = _reserved(pool), Amounts(pool.vcpu_spare, pool.memory_spare_mib)
        if amounts != guarantees.NOTHING:
            chunk = known.get(pool.largest_shape)
            found.append(Guarantee(pool.id, zone_id, pool.parent_id, amounts, amounts, chunk, flavors))
        if spare != guarantees.NOTHING:
            chunk = zone_loss.largest_declared(pool.tenant_id, known)
            found.append(Guarantee(pool.spare_id, zone_id, None, spare, spare, chunk, flavors))
    return found


def wake_pools_of(zone_id: UUID) -> None:
    """A host of the zone has opened or closed: look at the pools that keep room there. Say it last in a transaction."""
    keeping = Q(vcpu_reserved__gt=0) | Q(memory_reserved_mib__gt=0) | Q(vcpu_spare__gt=0) | Q(memory_spare_mib__gt=0)
    rows = ResourcePool.objects.filter(keeping, zone_id=zone_id, deleted_at=None).select_related("zone")
    for pool in rows.order_by("id"):
        wake(POOL_KIND, pool.id, tenant_id=pool.tenant_id, site_id=pool.zone.site_id)


# --- wishing -------------------------------------------------------------------------------------------------------


def wish(
    *,
    tenant: Tenant,
    project: Project | None,
    zone: Zone,
    name: str,
    model: str,
    reserved: Amounts,
    limit: Limits,
    largest_shape: str,
) -> Wish:
    """A new pool. Raises Invalid for amounts that do not fit its model, Conflict where the zone takes none."""
    _check_zone(zone)
    mine = ResourcePool.objects.filter(tenant=tenant, zone=zone, deleted_at=None)
    if mine.filter(project=project).exists():
        raise _exists(zone)
    parent = None
    if project is not None:
        parent = mine.filter(project=None).exclude(phase=PoolPhase.DELETING).first()
        if parent is None:
            raise Conflict(f"Tenant {tenant.name} has no pool in zone {zone.name} to cut this from.", code="no_pool")
    wanted = Wish(
        tenant=tenant,
        project=project,
        zone=zone,
        name=name or zone.name,
        model=model,
        reserved=reserved,
        limit=limit,
        largest_shape=largest_shape,
        parent=parent,
        flavors=shapes(),
    )
    return _checked(wanted)


def changed(pool: ResourcePool, changes: dict[str, Any]) -> Wish:
    """The pool as it shall be after these changes of model, reserved, limit or largest_shape."""
    pool = ResourcePool.objects.select_related("tenant", "project", "zone", "parent").get(pk=pool.pk)
    if pool.phase == PoolPhase.DELETING:
        raise Conflict(f"Pool {pool.name} is being deleted.", code="deleting")
    now = Wish(
        id=pool.id,
        tenant=pool.tenant,
        project=pool.project,
        zone=pool.zone,
        name=pool.name,
        model=pool.model,
        reserved=_reserved(pool),
        limit=Limits(pool.vcpu_limit, pool.memory_limit_mib),
        largest_shape=pool.largest_shape,
        parent=pool.parent,
        pool=pool,
        flavors=shapes(),
    )
    if changes.get("model") == PoolModel.ON_DEMAND:
        changes = {"reserved": guarantees.NOTHING, **changes}
    elif changes.get("model", pool.model) == PoolModel.RESERVED and "reserved" in changes and "limit" not in changes:
        changes = {**changes, "limit": Limits()}
    return _checked(replace(now, **changes))


def shapes() -> list[Shape]:
    return [Shape(f.name, f.vcpu, f.memory_mib, f.disk_gib) for f in Flavor.objects.order_by("name")]


def _check_zone(zone: Zone) -> None:
    if zone.phase not in OPEN_ZONES:
        raise Conflict(f"Zone {zone.name} is {zone.phase}; it takes no new pools.", code="zone_not_active")


def _exists(zone: Zone) -> Conflict:
    return Conflict(f"There is a pool in zone {zone.name} already.", code="pool_exists")


def _checked(wanted: Wish) -> Wish:
    """The wish with what its model implies. Raises Invalid naming the field."""
    reserved, limit = wanted.reserved, wanted.limit
    if wanted.largest_shape and wanted.largest_shape not in {shape.name for shape in wanted.flavors}:
        raise Invalid({"largest_shape": f"There is no flavor {wanted.largest_shape}."})
    if wanted.model == PoolModel.ON_DEMAND and reserved != guarantees.NOTHING:
        raise Invalid({"reserved": "An on-demand pool guarantees nothing; flex and reserved do."})
    if wanted.model == PoolModel.FLEX and reserved == guarantees.NOTHING:
        raise Invalid({"reserved": "Say what a flex pool guarantees; one without a guarantee is on-demand."})
    if wanted.model == PoolModel.RESERVED:
        if not all(reserved):
            raise Invalid({"reserved": "A reserved pool guarantees all that it has: say vcpu and memory_mib."})
        if limit not in (Limits(), Limits(*reserved)):
            raise Invalid({"limit": "The limit of a reserved pool is what it guarantees; leave it out."})
        limit = Limits(*reserved)
    for name in Amounts._fields:
        most = getattr(limit, name)
        if most is not None and getattr(reserved, name) > most:
            raise Invalid({f"reserved.{name}": f"More is guaranteed than the limit of {most} allows."})
        if wanted.parent is not None and most is None and _limit_of(wanted.parent, name) is not None:
            raise Invalid({f"limit.{name}": "Say a limit: the tenant's pool has one, and this is cut from it."})
    return replace(wanted, limit=limit)


def _limit_of(pool: ResourcePool, resource: str) -> int | None:
    found: int | None = pool.vcpu_limit if resource == "vcpu" else pool.memory_limit_mib
    return found


def decide(wanted: Wish) -> list[Move]:
    """Outside any transaction: where the guarantee lies. Raises Conflict `no_room` or `guarantee_in_use`."""
    return guarantees.decide(wanted.guarantee, seed=wanted.id.int & 0xFFFF_FFFF)


# --- writing -------------------------------------------------------------------------------------------------------


def create_pool(*, wanted: Wish, moves: Sequence[Move], by: Actor) -> tuple[ResourcePool, Operation]:
    """Write the pool with its guarantee; a worker mirrors it at the site. Raises Conflict, Stale."""
    _keep("tenants_tenant", wanted.tenant.id)
    if wanted.project is not None:
        _keep("tenants_project", wanted.project.id)
    _keep("infra_zone", wanted.zone.id)
    _check_zone(Zone.objects.get(pk=wanted.zone.id))
    pool = ResourcePool(
        id=wanted.id,
        tenant=wanted.tenant,
        project=wanted.project,
        zone=wanted.zone,
        parent=wanted.parent,
        name=wanted.name,
        **_columns(wanted),
    )
    try:
        with transaction.atomic():
            pool.save(force_insert=True)
    except IntegrityError:
        raise _exists(wanted.zone) from None
    operation = operations.start("pool.create", target=target(pool), by=by)
    wake(POOL_KIND, pool.id, tenant_id=pool.tenant_id, site_id=wanted.zone.site_id)
    guarantees.move(wanted.zone.id, moves)
    if wanted.parent is not None:
        _hand_down(_locked(wanted.parent.id), Amounts(), wanted.reserved, Limits(0, 0), wanted.limit)
    return pool, operation


def update_pool(*, wanted: Wish, moves: Sequence[Move], by: Actor) -> tuple[ResourcePool, Operation]:
    """Write the pool as it shall be. Raises Conflict `below_use` naming who holds it, Stale when it has changed."""
    if wanted.pool is None:
        raise ValueError("a pool that is changed is there")
    was = wanted.pool
    guarantees.move(wanted.zone.id, moves)
    pool = _locked(was.id)
    above = _locked(wanted.parent.id) if wanted.parent else None
    if pool.generation != was.generation or pool.deleted_at is not None or pool.phase == PoolPhase.DELETING:
        raise Stale(f"pool {pool.id} changed meanwhile")
    use.check_floor(pool, reserved=wanted.reserved, limit=(wanted.limit.vcpu, wanted.limit.memory_mib))
    if above is not None:
        before = Limits(pool.vcpu_limit, pool.memory_limit_mib)
        _hand_down(above, _reserved(pool), wanted.reserved, before, wanted.limit)
    ResourcePool.objects.filter(pk=pool.pk).update(**_columns(wanted), generation=pool.generation + 1)
    pool.refresh_from_db()
    operation = operations.start("pool.update", target=target(pool), by=by, generation=pool.generation)
    wake(POOL_KIND, pool.id, tenant_id=pool.tenant_id, site_id=wanted.zone.site_id)
    return pool, operation


def delete_pool(*, pool: ResourcePool, by: Actor) -> tuple[ResourcePool, Operation]:
    """Give a pool's room back and let a worker remove its mirror. Raises InUse naming who is in it. Twice is once."""
    zone = Zone.objects.get(pk=pool.zone_id)
    moves = use.all_holds(pool)
    guarantees.move(zone.id, moves)
    locked = _locked(pool.id)
    above = _locked(pool.parent_id) if pool.parent_id else None
    if locked.phase != PoolPhase.DELETING:
        use.check_empty(locked)
        if Amounts(sum(m.vcpu for m in moves), sum(m.memory_mib for m in moves)) != _reserved(locked):
            raise Stale(f"the holds of pool {pool.id} changed meanwhile")
        if above is not None:
            limit = Limits(locked.vcpu_limit, locked.memory_limit_mib)
            _hand_down(above, _reserved(locked), Amounts(), limit, Limits(0, 0))
        ResourcePool.objects.filter(pk=locked.pk).update(
            phase=PoolPhase.DELETING,
            reason=None,
            vcpu_reserved=0,
            memory_reserved_mib=0,
            generation=F("generation") + 1,
        )
    else:
        under_way = Operation.objects.filter(
            target_kind=POOL_KIND, target_id=pool.id, verb="pool.delete", phase__in=OPEN_PHASES
        ).first()
        if under_way is not None:
            return locked, under_way
    locked.refresh_from_db()
    operation = operations.start("pool.delete", target=target(locked), by=by, generation=locked.generation)
    wake(POOL_KIND, locked.id, tenant_id=locked.tenant_id, site_id=zone.site_id)
    return locked, operation


def _columns(wanted: Wish) -> dict[str, Any]:
    return {
        "model": wanted.model,
        "largest_shape": wanted.largest_shape,
        "vcpu_reserved": wanted.reserved.vcpu,
        "memory_reserved_mib": wanted.reserved.memory_mib,
        "vcpu_limit": wanted.limit.vcpu,
        "memory_limit_mib": wanted.limit.memory_mib,
    }


def _keep(table: str, id: UUID) -> None:
    """The row must stay until we have committed. Raises NotFound when it is going."""
    with connection.cursor() as cursor:
        cursor.execute(f"select 1 from {table} where id = %s and deleted_at is null for share", [id])  # noqa: S608
        if cursor.fetchone() is None:
            raise NotFound("It has just been deleted.")


def _locked(pool_id: UUID) -> ResourcePool:
    return ResourcePool.objects.select_for_update(no_key=True).get(pk=pool_id)


def _hand_down(above: ResourcePool, reserved: Amounts, to_reserved: Amounts, limit: Limits, to_limit: Limits) -> None:
    """Cut from the (locked) tenant's pool what a project's gets more, or give back what it gets less."""
    if above.phase == PoolPhase.DELETING or above.deleted_at is not None:
        raise Stale(f"pool {above.id} is going")
    short, changes = [], {}
    for resource, limit_column, given_column, kept_column in (
        ("vcpu", "vcpu_limit", "vcpu_handed_down", "vcpu_reserved_handed_down"),
        ("memory_mib", "memory_limit_mib", "memory_handed_down_mib", "memory_reserved_handed_down_mib"),
    ):
        more = (getattr(to_limit, resource) or 0) - (getattr(limit, resource) or 0)
        most, given = getattr(above, limit_column), getattr(above, given_column)
        if more > 0 and most is not None and given + more > most:
            short.append({"scope": "tenant pool", "resource": resource, "limit": most, "used": given, "asked": more})
        if most is not None and getattr(to_limit, resource) is None:
            raise Invalid({f"limit.{resource}": "Say a limit: the tenant's pool has one, and this is cut from it."})
        changes[given_column] = given + more
        changes[kept_column] = (
            getattr(above, kept_column) + getattr(to_reserved, resource) - getattr(reserved, resource)
        )
    if short:
        first = short[0]
        raise Conflict(
            f"The tenant's pool has {first['limit']} {first['resource']}, {first['used']} of it handed down; "
            f"{first['asked']} more were asked.",
            code="pool_exceeded",
            limits=short,
        )
    ResourcePool.objects.filter(pk=above.pk).update(**changes)
