"""Guaranteed room from one pool to another of the same zone, in one transaction: Holds, amounts, and what follows.

Between tenants it goes from tenant's pool to tenant's pool, within a tenant from project's pool to project's pool. Only
what is not in use moves. A reserved pool's limit follows its guarantee; a flex pool that gives all of it is on-demand
from then on; an on-demand pool takes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict, Invalid

from . import guarantees, services, use, zone_loss
from .core.fleet import Fleet
from .guarantees import NOTHING, Amounts, Guarantee, Moves
from .handing_down import hand_down
from .ledger import Stale
from .models import PoolModel, PoolPhase, ResourcePool
from .services import POOL_KIND
from .wishes import Limits, handed_down_of, reserved_of, shapes
from .zone_loss import Part, Together

SOURCE_FIRST_S = 2.0  # at the site, what one pool reserved must be free before another reserves it


@dataclass(frozen=True)
class Side:
    """One of the two pools, and what it shall be."""

    pool: ResourcePool
    model: str
    reserved: Amounts
    limit: Limits
    together: Together | None = None


@dataclass(frozen=True)
class Transfer:
    source: Side
    target: Side
    wanted: Guarantee  # the target's

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.source, self.target


def read(*, source: ResourcePool, target: ResourcePool, amounts: Amounts) -> Transfer:
    """What shall be. Raises Invalid for pools between which nothing moves, Conflict where a model forbids it."""
    if target.pk == source.pk:
        raise Invalid({"to": "It is the same pool."})
    if target.zone_id != source.zone_id:
        raise Invalid({"to": f"It is in zone {target.zone.name}; room of zone {source.zone.name} stays there."})
    if (source.project_id is None) != (target.project_id is None) or source.parent_id != target.parent_id:
        raise Invalid({"to": "Room goes from tenant's pool to tenant's pool, or between project pools of one tenant."})
    for pool in (source, target):
        if pool.phase == PoolPhase.DELETING:
            raise Conflict(f"Pool {pool.name} is being deleted.", code="deleting")
    flavors = shapes()
    giving = _side(source, _less(source, amounts))
    taking = _side(target, reserved_of(target).plus(amounts))
    chunk = next((shape for shape in flavors if shape.name == target.largest_shape), None)
    wanted = Guarantee(
        pool_id=target.id,
        zone_id=target.zone_id,
        above=source.id,
        before=reserved_of(target),
        after=taking.reserved,
        chunk=chunk,
        flavors=flavors,
        holders=use.users(source),
        eaten=use.eaten(target),
        handed_down=handed_down_of(target),
    )
    return Transfer(giving, taking, wanted)


def _less(source: ResourcePool, amounts: Amounts) -> Amounts:
    has = reserved_of(source)
    if amounts.minus(has) != NOTHING:
        raise Conflict(
            f"Pool {source.name} guarantees {has.vcpu} vCPUs and {has.memory_mib} MiB; {amounts.vcpu} and "
            f"{amounts.memory_mib} were asked.",
            code="guarantee_in_use",
            limits=[
                {"scope": "pool", "resource": name, "limit": limit, "used": 0, "asked": asked}
                for name, limit, asked in zip(Amounts._fields, has, amounts, strict=True)
                if asked > limit
            ],
            holders=use.users(source),
        )
    return has.minus(amounts)


def _side(pool: ResourcePool, reserved: Amounts) -> Side:
    """The pool with this guarantee, as its model has it. Raises Conflict."""
    model, limit = pool.model, Limits(pool.vcpu_limit, pool.memory_limit_mib)
    if model == PoolModel.ON_DEMAND:
        raise Conflict(
            f"Pool {pool.name} is on-demand and guarantees nothing: make it flex or reserved first.", code="on_demand"
        )
    if model == PoolModel.RESERVED:
        if not all(reserved):
            raise Conflict(
                f"Pool {pool.name} is reserved, and a reserved pool guarantees vcpu and memory_mib: leave it some of "
                "each, or make it flex first.",
                code="reserved",
            )
        limit = Limits(*reserved)
    elif reserved == NOTHING:
        model = PoolModel.ON_DEMAND
    beyond = [
        {"scope": "pool", "resource": name, "limit": most, "used": getattr(reserved_of(pool), name), "asked": amount}
        for name, amount in zip(Amounts._fields, reserved, strict=True)
        if (most := getattr(limit, name)) is not None and amount > most
    ]
    if beyond:
        raise Conflict(
            f"More would be guaranteed than the limit of pool {pool.name}.", code="pool_exceeded", limits=beyond
        )
    return Side(pool, model, reserved, limit, _together(pool, reserved, model))


def _together(pool: ResourcePool, reserved: Amounts, model: str) -> Together | None:
    if not pool.survives_zone_loss:
        return None
    if model == PoolModel.ON_DEMAND:
        return zone_loss.together(pool.tenant_id, left=[pool.id], flavors=shapes())
    part = Part(pool.id, pool.spare_id, pool.zone_id, pool.zone.name, reserved, pool.largest_shape)
    return zone_loss.together(pool.tenant_id, joined=[part], flavors=shapes())


def decide(asked: Transfer) -> Moves:
    """Outside any transaction. Raises Conflict `guarantee_in_use` naming who uses it, or `no_room`."""
    wanted = asked.wanted
    seed = wanted.pool_id.int & 0xFFFF_FFFF

    def attempt(fleet: Fleet) -> Moves:
        moves = {wanted.zone_id: guarantees.moves_for(wanted, fleet, seed)}
        return services.with_spare([side.together for side in asked.sides], moves, fleet, seed)

    return guarantees.tried(attempt)


def write(asked: Transfer, moves: Moves, *, by: Actor) -> tuple[ResourcePool, Operation]:
    """Move it, all or nothing. Raises Conflict `below_use`, Stale where a pool or its Holds have changed."""
    together = [side.together for side in asked.sides]
    zone_loss.lock(together)
    guarantees.move_in(moves)
    source, target = asked.source.pool, asked.target.pool
    parents = [source.parent_id] if source.parent_id else []
    rows = {row.id: row for row in services.locked(source.id, target.id, *parents, *_ids(together))}
    for side in asked.sides:
        row = rows[side.pool.id]
        if row.generation != side.pool.generation or row.deleted_at is not None or row.phase == PoolPhase.DELETING:
            raise Stale(f"pool {row.id} changed meanwhile")
        use.check_floor(row, reserved=side.reserved, limit=(side.limit.vcpu, side.limit.memory_mib))
    for side in asked.sides:
        if side.together is not None:
            zone_loss.write(side.together, moves)
    started = [_write(side, rows, by) for side in asked.sides]
    for id in sorted(side.pool.id for side in asked.sides):
        pool = rows[id]
        after_s = SOURCE_FIRST_S if id == target.id else 0.0
        wake(POOL_KIND, id, tenant_id=pool.tenant_id, site_id=source.zone.site_id, after_s=after_s)
    rows[source.id].refresh_from_db()
    return rows[source.id], started[0]


def _ids(together: list[Together | None]) -> set[UUID]:
    return {id for one in together if one is not None for id in one.pool_ids}


def _write(side: Side, rows: dict[UUID, ResourcePool], by: Actor) -> Operation:
    pool = rows[side.pool.id]
    if pool.parent_id is not None:
        limit = Limits(pool.vcpu_limit, pool.memory_limit_mib)
        hand_down(rows[pool.parent_id], reserved_of(pool), side.reserved, limit, side.limit)
        rows[pool.parent_id].refresh_from_db()
    before: dict[str, Any] = {"reserved": reserved_of(pool)._asdict(), "model": pool.model}
    ResourcePool.objects.filter(pk=pool.pk).update(
        model=side.model,
        vcpu_reserved=side.reserved.vcpu,
        memory_reserved_mib=side.reserved.memory_mib,
        vcpu_limit=side.limit.vcpu,
        memory_limit_mib=side.limit.memory_mib,
        generation=pool.generation + 1,
    )
    return operations.start(
        "pool.transfer",
        target=services.target(pool),
        by=by,
        generation=pool.generation + 1,
        before=before,
        after={"reserved": side.reserved._asdict(), "model": side.model},
    )
