"""Zone-loss guarantees: what a tenant is guaranteed in one zone is kept a second time as spare room in its others.

The tenant's pools that carry `survives_zone_loss` protect each other. Where n of them do, each keeps spare room for an
n-1st part of what any other guarantees, each resource by itself and in whole chunks of the other's largest shape: so
whichever zone is lost, the spare rooms of the others hold all that was guaranteed there. Spare room is Holds under the
pool's `spare_id`; nobody claims from it until IT makes it guarantee (`take_spare` in services.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import UUID

from django.db.models import F

from facet.rest.problems import Conflict, Problem
from tenants.models import Tenant

from . import guarantees
from .core.ask import Shape
from .core.fleet import Fleet
from .guarantees import NOTHING, Amounts, Guarantee, Move, Moves
from .ledger import Stale
from .models import PoolPhase, ResourcePool


@dataclass(frozen=True)
class Part:
    """One of the pools that protect each other."""

    pool_id: UUID
    spare_id: UUID
    zone_id: UUID
    zone: str
    reserved: Amounts
    largest_shape: str
    spare: Amounts = NOTHING

    @classmethod
    def of(cls, pool: ResourcePool) -> Part:
        return cls(
            pool.id,
            pool.spare_id,
            pool.zone_id,
            pool.zone.name,
            Amounts(pool.vcpu_reserved, pool.memory_reserved_mib),
            pool.largest_shape,
            Amounts(pool.vcpu_spare, pool.memory_spare_mib),
        )


@dataclass(frozen=True)
class Together:
    """The pools of a tenant that protect each other, as they are and as they shall be, each by id."""

    tenant_id: UUID
    before: tuple[Part, ...]
    after: tuple[Part, ...]
    flavors: Sequence[Shape]

    @property
    def pool_ids(self) -> frozenset[UUID]:
        return frozenset(part.pool_id for part in (*self.before, *self.after))


# --- reading -------------------------------------------------------------------------------------------------------


def parts(tenant_id: UUID) -> tuple[Part, ...]:
    """The tenant's pools that protect each other now. Reads."""
    rows = ResourcePool.objects.filter(tenant_id=tenant_id, survives_zone_loss=True, deleted_at=None)
    return tuple(map(Part.of, rows.exclude(phase=PoolPhase.DELETING).select_related("zone").order_by("id")))


def largest_declared(tenant_id: UUID, known: Mapping[str, Shape]) -> Shape | None:
    """The largest shape that pools of the tenant which protect each other declare. Reads."""
    declared = [known[part.largest_shape] for part in parts(tenant_id) if part.largest_shape in known]
    return max(declared, key=lambda shape: shape[1:3], default=None)


def together(
    tenant_id: UUID, *, joined: Iterable[Part] = (), left: Iterable[UUID] = (), flavors: Sequence[Shape]
) -> Together | None:
    """What a change means for those that protect each other: `joined` new or changed, `left` no more among them.

    None: nothing. Raises Conflict `alone` where one pool would be left to survive by itself.
    """
    before = parts(tenant_id)
    known = {part.pool_id: part for part in before}
    for part in joined:
        spare = known[part.pool_id].spare if part.pool_id in known else NOTHING
        known[part.pool_id] = replace(part, spare=spare)
    for pool_id in left:
        known.pop(pool_id, None)
    after = tuple(known[pool_id] for pool_id in sorted(known))
    if before == after:
        return None
    if len(after) == 1 and not (len(before) == 1 and after[0].reserved.minus(before[0].reserved) == NOTHING):
        raise Conflict(
            f"The guarantee in zone {after[0].zone} would have no other pool of the tenant to survive in: say "
            "survives_zone_loss of two pools or more at once, by with_zones.",
            code="alone",
        )
    return Together(tenant_id, before, after, flavors)


# --- deciding ------------------------------------------------------------------------------------------------------


class Need(NamedTuple):
    """Spare room of one pool: whole chunks, largest first, and the amounts altogether."""

    chunks: tuple[tuple[Shape, int], ...]
    amounts: Amounts


def need(mine: Part, all_parts: Sequence[Part], flavors: Sequence[Shape], fleet: Fleet) -> Need:
    """What this pool keeps for the loss of any of the others' zones."""
    others = [part for part in all_parts if part.pool_id != mine.pool_id]
    wanted, most = [], NOTHING
    for part in others:
        chunk = guarantees.chunk_of(_guarantee(part, flavors), fleet) or Shape("", 1, 1, 0)
        whole = min(part.reserved.vcpu // chunk.vcpu, part.reserved.memory_mib // chunk.memory_mib)
        wanted.append((chunk, -(-whole // len(others))))
        share = Amounts(*(-(-amount // len(others)) for amount in part.reserved))
        most = Amounts(max(most.vcpu, share.vcpu), max(most.memory_mib, share.memory_mib))
    laid: list[tuple[Shape, int]] = []
    for chunk, count in sorted(wanted, key=lambda one: (*one[0][1:3], one[1]), reverse=True):
        fitting = sum(n * min(big.vcpu // chunk.vcpu, big.memory_mib // chunk.memory_mib) for big, n in laid)
        if fitting < count:
            laid.append((chunk, count - fitting))
    vcpu = max(most.vcpu, sum(chunk.vcpu * count for chunk, count in laid))
    memory_mib = max(most.memory_mib, sum(chunk.memory_mib * count for chunk, count in laid))
    return Need(tuple(laid), Amounts(vcpu, memory_mib))


def _guarantee(part: Part, flavors: Sequence[Shape]) -> Guarantee:
    declared = next((shape for shape in flavors if shape.name == part.largest_shape), None)
    return Guarantee(part.pool_id, part.zone_id, None, part.reserved, part.reserved, declared, flavors)


def moves_for(these: Together, fleet: Fleet, seed: int) -> Moves:
    """Spare room as it shall be. Raises Conflict `no_room` naming the zone that is short."""
    found: dict[UUID, list[Move]] = {}
    staying = {part.pool_id for part in these.after}
    for part in these.before:
        if part.pool_id not in staying:
            found.setdefault(part.zone_id, []).extend(_freed(part, fleet))
    for part in these.after:
        try:
            found.setdefault(part.zone_id, []).extend(_changed(part, these, fleet, seed))
        except Problem as refusal:
            raise Conflict(
                f"Zone {part.zone} cannot keep what the loss of another would need there. {refusal.detail}",
                **{**refusal.more, "code": refusal.code, "zone": part.zone},
            ) from None
    return {zone: moves for zone, moves in found.items() if moves}


def _changed(part: Part, these: Together, fleet: Fleet, seed: int) -> list[Move]:
    """From the spare room that a pool has to what it shall have: let be, given up in part, or laid anew."""
    wanted = need(part, these.after, these.flavors, fleet)
    was = need(part, these.before, these.flavors, fleet)
    if part.spare == wanted.amounts and (was == wanted or wanted.amounts == NOTHING):
        return []
    counts = dict(was.chunks)
    fewer = all(counts.get(chunk, 0) >= count for chunk, count in wanted.chunks)
    if part.spare == was.amounts and fewer and wanted.amounts.minus(was.amounts) == NOTHING:
        chunk = wanted.chunks[0][0] if wanted.chunks else Shape("", 1, 1, 0)
        spare = Guarantee(part.spare_id, part.zone_id, None, part.spare, wanted.amounts, chunk)
        return guarantees.moves_for(spare, fleet, seed)
    freed = _freed(part, fleet)
    return _net(part.spare_id, freed + _laid(part, wanted, guarantees.moved(fleet, freed), seed))


def _freed(part: Part, fleet: Fleet) -> list[Move]:
    held = guarantees.held_by(part.spare_id, fleet)
    return [Move(hold.host_id, part.spare_id, None, hold.vcpu, hold.memory_mib) for hold in held]


def _laid(part: Part, wanted: Need, fleet: Fleet, seed: int) -> list[Move]:
    found: list[Move] = []
    rest = wanted.amounts
    parts_of_it = [(chunk, Amounts(chunk.vcpu * n, chunk.memory_mib * n)) for chunk, n in wanted.chunks if n]
    for _, amounts in parts_of_it:
        rest = rest.minus(amounts)
    last = wanted.chunks[0][0] if wanted.chunks else Shape("", 1, 1, 0)
    for chunk, amounts in [*parts_of_it, (last, rest)]:
        if amounts == NOTHING:
            continue
        spare = Guarantee(part.spare_id, part.zone_id, None, NOTHING, amounts, chunk)
        moves = guarantees.from_hosts(spare, amounts, fleet, seed)
        fleet = guarantees.moved(fleet, moves)
        found += moves
    return found


def _net(spare_id: UUID, moves: Sequence[Move]) -> list[Move]:
    """The same with what is given up and taken again on one host left out."""
    by_host: dict[UUID, Amounts] = {}
    back: dict[UUID, Amounts] = {}
    for one in moves:
        side = by_host if one.target == spare_id else back
        side[one.host_id] = side.get(one.host_id, NOTHING).plus(Amounts(one.vcpu, one.memory_mib))
    found = []
    for host in sorted(by_host.keys() | back.keys()):
        more, less = by_host.get(host, NOTHING), back.get(host, NOTHING)
        for amounts, source, target in ((less.minus(more), spare_id, None), (more.minus(less), None, spare_id)):
            if amounts != NOTHING:
                found.append(Move(host, source, target, *amounts))
    return found


# --- writing -------------------------------------------------------------------------------------------------------


def lock(these: Sequence[Together | None]) -> None:
    """One change at a time of what protects a tenant. Say it first, before hosts are locked."""
    ids = [one.tenant_id for one in these if one is not None]
    list(Tenant.objects.filter(id__in=ids).order_by("id").select_for_update(no_key=True).values_list("id"))


def write(these: Together, moves: Moves, *, but: UUID | None = None) -> list[UUID]:
    """Write flags and amounts of spare room; the pools are locked. Answers the pools that were flagged, or no more, and
    so have another generation: not `but`, whose own change raises it. Raises Stale where they are not what was read.
    """
    after = {part.pool_id for part in these.after}
    before = {part.pool_id for part in these.before}
    joined = [part for part in these.after if part.pool_id not in before and part.pool_id != but]
    rows = ResourcePool.objects.filter(pk__in=[part.pool_id for part in joined]).select_related("zone").order_by("id")
    if parts(these.tenant_id) != these.before or [Part.of(row) for row in rows] != joined:
        raise Stale(f"the pools of tenant {these.tenant_id} changed meanwhile")
    wished: list[UUID] = []
    for part in {part.pool_id: part for part in (*these.before, *these.after)}.values():
        delta = _amounts_of(part.spare_id, moves.get(part.zone_id, ()))
        flags = (part.pool_id in before) != (part.pool_id in after) and part.pool_id != but
        changed = ResourcePool.objects.filter(pk=part.pool_id, deleted_at=None).exclude(phase=PoolPhase.DELETING)
        if not changed.update(
            survives_zone_loss=part.pool_id in after,
            vcpu_spare=F("vcpu_spare") + delta[0],
            memory_spare_mib=F("memory_spare_mib") + delta[1],
            generation=F("generation") + (1 if flags else 0),
        ):
            raise Stale(f"pool {part.pool_id} is going")
        wished += [part.pool_id] if flags else []
    return wished


def _amounts_of(spare_id: UUID, moves: Iterable[Move]) -> tuple[int, int]:
    """What these moves add to the spare room, or take from it."""
    vcpu = memory = 0
    for one in moves:
        sign = (one.target == spare_id) - (one.source == spare_id)
        vcpu, memory = vcpu + sign * one.vcpu, memory + sign * one.memory_mib
    return vcpu, memory
