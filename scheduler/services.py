"""Resource pools: a tenant's or a project's part of a zone. One verb, one transaction, in the caller's context.

Making or changing a pool is three acts (Endpoint.placed_once): `wish` reads, `decide` finds the room of the guarantee,
the verb writes: holds moved first (hosts, holds), then pools, project before tenant, as in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q

from facet.operations import services as operations
from facet.operations.models import OPEN_PHASES, Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict, NotFound
from infra.models import Zone
from tenants.models import Project

from . import guarantees, use, zone_loss
from .core.fleet import Fleet
from .guarantees import NOTHING, Amounts, Guarantee, Moves
from .handing_down import hand_down
from .ledger import Stale
from .models import PoolPhase, ResourcePool
from .wishes import Limits as Limits
from .wishes import Wish as Wish
from .wishes import changed as changed
from .wishes import check_zone, pool_exists, reserved_of, shapes
from .wishes import wish as wish
from .zone_loss import Together

POOL_KIND = "pool"


def target(pool: ResourcePool) -> operations.Target:
    return operations.Target(
        kind=POOL_KIND, id=pool.id, name=pool.name, tenant_id=pool.tenant_id, project_id=pool.project_id
    )


def pools_for(project: Project, zones: Sequence[Zone]) -> dict[UUID, ResourcePool]:
    """For each zone the pool that this project's VMs spend from: its own there, else its tenant's.

    Raises Conflict `no_pool` naming the zones where there is neither.
    """
    rows = ResourcePool.objects.filter(
        tenant_id=project.tenant_id, zone_id__in=[zone.id for zone in zones], deleted_at=None
    ).exclude(phase=PoolPhase.DELETING)
    return chosen(rows, project, zones)


def chosen(pools: Iterable[ResourcePool], project: Project, zones: Sequence[Zone]) -> dict[UUID, ResourcePool]:
    """The same of pools that are at hand: those of the project's tenant that live. Raises as `pools_for` does."""
    found: dict[UUID, ResourcePool] = {}
    for pool in pools:
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
        amounts, spare = reserved_of(pool), Amounts(pool.vcpu_spare, pool.memory_spare_mib)
        if amounts != NOTHING:
            chunk = known.get(pool.largest_shape)
            found.append(Guarantee(pool.id, zone_id, pool.parent_id, amounts, amounts, chunk, flavors))
        if spare != NOTHING:
            chunk = zone_loss.largest_declared(pool.tenant_id, known)
            found.append(Guarantee(pool.spare_id, zone_id, None, spare, spare, chunk, flavors))
    return found


def wake_pools_of(zone_id: UUID) -> None:
    """A host of the zone has opened or closed: look at the pools that keep room there. Say it last in a transaction."""
    keeping = Q(vcpu_reserved__gt=0) | Q(memory_reserved_mib__gt=0) | Q(vcpu_spare__gt=0) | Q(memory_spare_mib__gt=0)
    rows = ResourcePool.objects.filter(keeping, zone_id=zone_id, deleted_at=None).select_related("zone")
    for pool in rows.order_by("id"):
        wake(POOL_KIND, pool.id, tenant_id=pool.tenant_id, site_id=pool.zone.site_id)


def decide(wanted: Wish) -> Moves:
    """Outside any transaction: where the guarantee lies, and the spare room of the tenant's pools, by zone.

    Raises Conflict `no_room` or `guarantee_in_use`.
    """
    seed = wanted.id.int & 0xFFFF_FFFF

    def attempt(fleet: Fleet) -> Moves:
        found = {wanted.zone.id: guarantees.moves_for(wanted.guarantee, fleet, seed)}
        return with_spare([wanted.together], found, fleet, seed)

    return guarantees.tried(attempt)


def with_spare(these: Sequence[Together | None], moves: Moves, fleet: Fleet, seed: int) -> Moves:
    """These moves and, on the fleet after them, those of the spare room that they make needful. Raises Conflict."""
    fleet = guarantees.moved(fleet, [one for of_zone in moves.values() for one in of_zone])
    for one in these:
        if one is None:
            continue
        more = zone_loss.moves_for(one, fleet, seed)
        for zone_id, of_zone in more.items():
            fleet = guarantees.moved(fleet, of_zone)
            moves = {**moves, zone_id: [*moves.get(zone_id, ()), *of_zone]}
    return moves


def decide_leaving(leaving: Together | None) -> Moves:
    """Outside any transaction: the spare room of the tenant's other pools when one goes. Raises Conflict."""
    return {} if leaving is None else guarantees.tried(lambda fleet: zone_loss.moves_for(leaving, fleet, 0))


def leaving(pool: ResourcePool) -> Together | None:
    """What a pool's going means for those that it protects. Reads. Raises Conflict `alone`."""
    if not pool.survives_zone_loss:
        return None
    return zone_loss.together(pool.tenant_id, left=[pool.id], flavors=shapes())


# --- writing -------------------------------------------------------------------------------------------------------


def create_pool(*, wanted: Wish, moves: Moves, by: Actor) -> tuple[ResourcePool, Operation]:
    """Write the pool with its guarantee; a worker mirrors it at the site. Raises Conflict, Stale."""
    zone_loss.lock([wanted.together])
    _keep("tenants_tenant", wanted.tenant.id)
    if wanted.project is not None:
        _keep("tenants_project", wanted.project.id)
    _keep("infra_zone", wanted.zone.id)
    check_zone(Zone.objects.get(pk=wanted.zone.id))
    pool = ResourcePool(
        id=wanted.id,
        spare_id=wanted.spare_id,
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
        raise pool_exists(wanted.zone) from None
    operation = operations.start("pool.create", target=target(pool), by=by)
    wake(POOL_KIND, pool.id, tenant_id=pool.tenant_id, site_id=wanted.zone.site_id)
    guarantees.move_in(moves)
    if wanted.parent is not None:
        hand_down(locked(wanted.parent.id)[0], Amounts(), wanted.reserved, Limits(0, 0), wanted.limit)
    if wanted.together is not None:
        locked(*wanted.together.pool_ids)
        _tell(zone_loss.write(wanted.together, moves, but=pool.id), by)
    return pool, operation


def update_pool(*, wanted: Wish, moves: Moves, by: Actor) -> tuple[ResourcePool, Operation]:
    """Write the pool as it shall be. Raises Conflict `below_use` naming who holds it, Stale when it has changed."""
    if wanted.pool is None:
        raise ValueError("a pool that is changed is there")
    was = wanted.pool
    zone_loss.lock([wanted.together])
    guarantees.move_in(moves)
    above_id = [wanted.parent.id] if wanted.parent else []
    others = wanted.together.pool_ids if wanted.together else ()
    rows = {row.id: row for row in locked(was.id, *above_id, *others)}
    pool, above = rows[was.id], rows[wanted.parent.id] if wanted.parent else None
    if pool.generation != was.generation or pool.deleted_at is not None or pool.phase == PoolPhase.DELETING:
        raise Stale(f"pool {pool.id} changed meanwhile")
    use.check_floor(pool, reserved=wanted.reserved, limit=(wanted.limit.vcpu, wanted.limit.memory_mib))
    if above is not None:
        before = Limits(pool.vcpu_limit, pool.memory_limit_mib)
        hand_down(above, reserved_of(pool), wanted.reserved, before, wanted.limit)
    mates = [] if wanted.together is None else zone_loss.write(wanted.together, moves, but=pool.id)
    ResourcePool.objects.filter(pk=pool.pk).update(**_columns(wanted), generation=pool.generation + 1)
    pool.refresh_from_db()
    operation = operations.start("pool.update", target=target(pool), by=by, generation=pool.generation)
    _tell(mates, by, beside=pool)
    return pool, operation


def delete_pool(
    *, pool: ResourcePool, by: Actor, left: Together | None = None, moves: Moves | None = None
) -> tuple[ResourcePool, Operation]:
    """Give a pool's room back and let a worker remove its mirror. Raises InUse naming who is in it. Twice is once; of
    one that was seen gone meanwhile it raises NotFound.

    `left` and `moves`: what `leaving` and `decide_leaving` said of it.
    """
    zone = Zone.objects.get(pk=pool.zone_id)
    zone_loss.lock([left])
    held = use.all_holds(pool)
    moves = moves or {}
    guarantees.move_in({**moves, zone.id: [*held, *moves.get(zone.id, ())]})
    others = left.pool_ids if left else [pool.parent_id] if pool.parent_id else []
    rows = {row.id: row for row in locked(pool.id, *others)}
    mine = rows[pool.id]
    if mine.deleted_at is not None:
        raise NotFound("It has just been deleted.")
    if mine.phase != PoolPhase.DELETING:
        use.check_empty(mine)
        if Amounts(sum(m.vcpu for m in held), sum(m.memory_mib for m in held)) != reserved_of(mine):
            raise Stale(f"the holds of pool {pool.id} changed meanwhile")
        if mine.survives_zone_loss != (left is not None):
            raise Stale(f"pool {pool.id} changed meanwhile")
        if mine.parent_id is not None:
            limit = Limits(mine.vcpu_limit, mine.memory_limit_mib)
            hand_down(rows[mine.parent_id], reserved_of(mine), Amounts(), limit, Limits(0, 0))
        if left is not None:
            zone_loss.write(left, moves, but=pool.id)
        ResourcePool.objects.filter(pk=mine.pk).update(
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
            return mine, under_way
    mine.refresh_from_db()
    operation = operations.start("pool.delete", target=target(mine), by=by, generation=mine.generation)
    wake(POOL_KIND, mine.id, tenant_id=mine.tenant_id, site_id=zone.site_id)
    return mine, operation


def _tell(mates: Sequence[UUID], by: Actor, *, beside: ResourcePool | None = None) -> None:
    """Say of each of these pools that it was changed, and wake them, and `beside`, by id."""
    ids = [*mates, beside.id] if beside else list(mates)
    rows = list(ResourcePool.objects.filter(pk__in=ids).select_related("zone").order_by("id"))
    for row in rows:
        if beside is None or row.id != beside.id:
            operations.start("pool.update", target=target(row), by=by, generation=row.generation)
    for row in rows:
        wake(POOL_KIND, row.id, tenant_id=row.tenant_id, site_id=row.zone.site_id)


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


def locked(*pool_ids: UUID) -> list[ResourcePool]:
    """These pools, locked in the ledger's order: projects' before tenants', by id. Say it after hosts and Holds."""
    rows = ResourcePool.objects.filter(pk__in=pool_ids).order_by(F("project_id").asc(nulls_last=True), "id")
    return list(rows.select_for_update(no_key=True))
