"""Guarantees as room: deciding which Holds a pool gets or gives up, and moving them.

Room of a tenant's pool comes from the hosts' free room; a project's pool takes over Holds of its tenant's, by host.
Deciding runs on this process's Fleet, outside the transaction; `move` writes, and raises Stale when the room has moved.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.problems import Conflict, Invalid, Problem
from infra.models import Host

from . import ledger, refusals
from .core.ask import NoRoom, Policy, Shape
from .core.fleet import Fleet, Hold
from .core.holds import largest_shape, place_holds, take_from

T = TypeVar("T")
MOST_PIECES = 100_000  # laid at once: about 15 microseconds and 1 KiB each


class Amounts(NamedTuple):
    vcpu: int = 0
    memory_mib: int = 0

    def plus(self, other: Amounts) -> Amounts:
        return Amounts(self.vcpu + other.vcpu, self.memory_mib + other.memory_mib)

    def minus(self, other: Amounts) -> Amounts:
        """What is left, never below zero."""
        return Amounts(max(0, self.vcpu - other.vcpu), max(0, self.memory_mib - other.memory_mib))


NOTHING = Amounts()


@dataclass(frozen=True)
class Move:
    """Guaranteed room on one host, from one pool to another. None is the host's free room."""

    host_id: UUID
    source: UUID | None
    target: UUID | None
    vcpu: int
    memory_mib: int


Moves = Mapping[UUID, Sequence[Move]]  # by zone


@dataclass(frozen=True)
class Guarantee:
    """What a pool shall keep, and what it keeps now. `above`: the pool that its room comes from, None: the hosts."""

    pool_id: UUID
    zone_id: UUID
    above: UUID | None
    before: Amounts
    after: Amounts
    chunk: Shape | None  # declared; None: chosen by the rule
    flavors: Sequence[Shape] = ()
    holders: Sequence[Mapping[str, Any]] = ()  # who has what is to be given up: for a refusal to name
    eaten: Mapping[UUID, Amounts] = field(default_factory=dict)  # by host: what VMs use of it
    handed_down: Amounts = NOTHING  # what projects' pools keep of it
    reshaped: bool = False  # the declared chunk is another one than it was laid in


# --- deciding ------------------------------------------------------------------------------------------------------


def decide(wanted: Guarantee, *, seed: int) -> list[Move]:
    """The moves that make it so. Raises Conflict `no_room`, or `guarantee_in_use`, after one full look."""
    return tried(lambda fleet: moves_for(wanted, fleet, seed))


def tried(attempt: Callable[[Fleet], T]) -> T:
    """The attempt on what this process knows, and where that is refused on what there really is."""
    try:
        return attempt(ledger.look())
    except Problem:
        return attempt(ledger.look(full=True))


def moves_for(wanted: Guarantee, fleet: Fleet, seed: int) -> list[Move]:
    """The moves that make it so on this fleet. Raises Conflict."""
    more, fewer = wanted.after.minus(wanted.before), wanted.before.minus(wanted.after)
    moves: list[Move] = []
    if fewer != NOTHING:
        moves = given_up(wanted, fewer, fleet)
        fleet = moved(fleet, moves)
    if more != NOTHING or wanted.reshaped:
        moves += _grown(wanted, more, fleet, seed)
    return moves


def _grown(wanted: Guarantee, more: Amounts, fleet: Fleet, seed: int) -> list[Move]:
    """So much more. Where the whole would not hold as many chunks of the declared shape as it promises, what lies loose
    of it is laid anew with it, and at last all that is on hosts where none of it is in use. Raises Conflict."""
    moves: list[Move] = []
    if more != NOTHING and wanted.above is not None:
        moves = handed_over(wanted.above, wanted, more, fleet, seed)
    elif more != NOTHING:
        moves = from_hosts(wanted, more, fleet, seed)
    if wanted.chunk is None or _in_chunks(wanted, wanted.chunk, moved(fleet, moves)):
        return moves
    from_above = [replace(one, target=None) for one in moves if one.source is not None]
    for whole_too in (False, True):
        freed = from_above + _loose(wanted, wanted.chunk, fleet, whole_too)
        amounts = more
        for one in freed[len(from_above) :]:
            amounts = amounts.plus(Amounts(one.vcpu, one.memory_mib))
        moves = freed + from_hosts(wanted, amounts, moved(fleet, freed), seed)
        if _in_chunks(wanted, wanted.chunk, moved(fleet, moves)):
            break
    return moves


def _in_chunks(wanted: Guarantee, chunk: Shape, fleet: Fleet) -> bool:
    """Whether it holds as many chunks as its amounts make, were none of it in use."""
    there = dict(wanted.eaten)
    for hold in held_by(wanted.pool_id, fleet):
        there[hold.host_id] = there.get(hold.host_id, NOTHING).plus(Amounts(hold.vcpu, hold.memory_mib))
    return sum(map(chunk_count(chunk), there.values())) >= chunk_count(chunk)(wanted.after.minus(wanted.handed_down))


def _loose(wanted: Guarantee, chunk: Shape, fleet: Fleet, whole_too: bool) -> list[Move]:
    """What lies on hosts where none of it is in use and makes up no chunk there, back to free room; or all of it."""
    found = []
    for hold in held_by(wanted.pool_id, fleet):
        whole = 0 if whole_too else chunk_count(chunk)(Amounts(hold.vcpu, hold.memory_mib))
        vcpu, memory_mib = hold.vcpu - whole * chunk.vcpu, hold.memory_mib - whole * chunk.memory_mib
        if (vcpu or memory_mib) and hold.host_id not in wanted.eaten:
            found.append(Move(hold.host_id, wanted.pool_id, None, vcpu, memory_mib))
    return found


def chunk_count(chunk: Shape) -> Callable[[Amounts], int]:
    """How many whole chunks amounts make."""
    return lambda amounts: min(amounts.vcpu // chunk.vcpu, amounts.memory_mib // chunk.memory_mib)


def held_by(pool_id: UUID, fleet: Fleet) -> list[Hold]:
    """A pool's Holds, as rows."""
    held = fleet.holds.get(pool_id)
    if held is None:
        return []
    columns = zip(held.at.tolist(), held.vcpu.tolist(), held.memory_mib.tolist(), strict=True)
    return [Hold(fleet.hosts[at].id, vcpu, memory) for at, vcpu, memory in columns]


def from_hosts(wanted: Guarantee, more: Amounts, fleet: Fleet, seed: int) -> list[Move]:
    """Room for so much more, from the hosts' free room. Raises Conflict `no_room`, Invalid for too small a shape."""
    there = Amounts(
        sum(host.vcpu_limit for host in fleet.hosts if host.zone_id == wanted.zone_id),
        sum(host.memory_limit_mib for host in fleet.hosts if host.zone_id == wanted.zone_id),
    )
    chunk = chunk_of(wanted, fleet)
    beyond = [name for name, asked, has in zip(Amounts._fields, more, there, strict=True) if asked > has]
    if beyond or chunk is None:  # said before anything as large as the number is laid out
        sentence = f"The whole zone has less {beyond[0]}." if beyond else "No flavor fits a host of the zone."
        raise Conflict(sentence, code="no_room", limits=_limits("zone", there, more), filters=[], nearest=[])
    pieces = max(-(-more.vcpu // chunk.vcpu), -(-more.memory_mib // chunk.memory_mib))
    if pieces > MOST_PIECES:
        sentence = f"It would be kept in {pieces} pieces of {chunk.vcpu} vCPUs and {chunk.memory_mib} MiB, at most"
        raise Invalid({"largest_shape": f"{sentence} {MOST_PIECES} are laid at once. Say a larger shape."})
    found = place_holds(
        vcpu=more.vcpu,
        memory_mib=more.memory_mib,
        chunk=chunk,
        zone_id=wanted.zone_id,
        fleet=fleet,
        policy=Policy.SPREAD,
        seed=seed,
    )
    if isinstance(found, NoRoom):
        raise refusals.no_room(found)
    return [Move(hold.host_id, None, wanted.pool_id, hold.vcpu, hold.memory_mib) for hold in found]


def given_up(wanted: Guarantee, fewer: Amounts, fleet: Fleet) -> list[Move]:
    """So much less, back to where it came from. Raises Conflict `guarantee_in_use`."""
    chunk = chunk_of(wanted, fleet) or Shape("", 1, 1, 0)
    taken = _taken(wanted.pool_id, fewer, chunk, fleet, wanted.holders)
    return [Move(hold.host_id, wanted.pool_id, wanted.above, hold.vcpu, hold.memory_mib) for hold in taken]


def handed_over(source: UUID, wanted: Guarantee, more: Amounts, fleet: Fleet, seed: int) -> list[Move]:
    """So much of another pool's Holds for this one: as they lie where they hold the chunks that this one promises, else
    laid anew on free room and theirs. Raises Conflict `guarantee_in_use` or `no_room`."""
    chunk = chunk_of(wanted, fleet) or Shape("", 1, 1, 0)
    taken = _taken(source, more, chunk, fleet, wanted.holders)
    count = chunk_count(chunk)
    if sum(count(Amounts(hold.vcpu, hold.memory_mib)) for hold in taken) >= count(more):
        return [Move(hold.host_id, source, wanted.pool_id, hold.vcpu, hold.memory_mib) for hold in taken]
    freed = [Move(hold.host_id, source, None, hold.vcpu, hold.memory_mib) for hold in taken]
    return freed + from_hosts(wanted, more, moved(fleet, freed), seed)


def chunk_of(wanted: Guarantee, fleet: Fleet) -> Shape | None:
    """The shape in whose chunks this guarantee is kept."""
    return wanted.chunk or largest_shape(
        wanted.flavors,
        vcpu=wanted.after.vcpu,
        memory_mib=wanted.after.memory_mib,
        zone_id=wanted.zone_id,
        fleet=fleet,
    )


def _taken(
    source: UUID, amounts: Amounts, chunk: Shape, fleet: Fleet, holders: Sequence[Mapping[str, Any]]
) -> list[Hold]:
    held = held_by(source, fleet)
    found = take_from(held, vcpu=amounts.vcpu, memory_mib=amounts.memory_mib, chunk=chunk)
    if found is not None:
        return found
    free = Amounts(sum(hold.vcpu for hold in held), sum(hold.memory_mib for hold in held))
    raise Conflict(
        f"Of the pool's guarantee {free.vcpu} vCPUs and {free.memory_mib} MiB are neither in use nor handed down; "
        f"{amounts.vcpu} and {amounts.memory_mib} were asked.",
        code="guarantee_in_use",
        limits=_limits("pool", free, amounts),
        holders=list(holders),
    )


def _limits(scope: str, has: Amounts, asked: Amounts) -> list[dict[str, Any]]:
    return [
        {"scope": scope, "resource": name, "limit": limit, "used": 0, "asked": amount}
        for name, limit, amount in zip(Amounts._fields, has, asked, strict=True)
        if amount > limit
    ]


def moved(fleet: Fleet, moves: Sequence[Move]) -> Fleet:
    """The fleet when these moves were carried out."""
    claimed: dict[UUID, list[int]] = defaultdict(lambda: [0, 0])
    touched: dict[UUID, dict[UUID, Hold]] = {}
    for one in moves:
        for pool, sign in ((one.source, -1), (one.target, 1)):
            if pool is None:
                claimed[one.host_id][0] -= sign * one.vcpu
                claimed[one.host_id][1] -= sign * one.memory_mib
                continue
            if pool not in touched:
                touched[pool] = {hold.host_id: hold for hold in held_by(pool, fleet)}
            kept = touched[pool]
            was = kept.get(one.host_id, Hold(one.host_id, 0, 0))
            kept[one.host_id] = Hold(one.host_id, was.vcpu + sign * one.vcpu, was.memory_mib + sign * one.memory_mib)
    hosts = [fleet.hosts[fleet.layout.hosts[id]] for id in claimed if id in fleet.layout.hosts]
    return fleet.with_changes(
        hosts=[
            host._replace(
                vcpu_claimed=host.vcpu_claimed + claimed[host.id][0],
                memory_claimed_mib=host.memory_claimed_mib + claimed[host.id][1],
            )
            for host in hosts
        ],
        holds={pool: kept.values() for pool, kept in touched.items()},
    )


# --- writing -------------------------------------------------------------------------------------------------------


def move(zone_id: UUID, moves: Sequence[Move]) -> None:
    """Move guaranteed room, all or nothing, in the caller's transaction. Locks hosts and holds. Raises Stale."""
    if not moves:
        return
    rows = [
        {
            "host": str(one.host_id),
            "source": str(one.source) if one.source else None,
            "target": str(one.target) if one.target else None,
            "vcpu": one.vcpu,
            "memory_mib": one.memory_mib,
        }
        for one in moves
    ]
    with connection.cursor() as cursor:
        cursor.execute("select hold_move(%s, %s)", [zone_id, Json(rows)])
        refused = cursor.fetchone()[0]
    if refused is not None:
        raise ledger.Stale(f"{len(json.loads(refused))} holds are out of date")


def move_in(moves: Moves) -> None:
    """`move` in several zones at once, by zone: all their hosts are locked by id before any Hold. Raises Stale."""
    hosts = {one.host_id for of_zone in moves.values() for one in of_zone}
    if len(moves) > 1:
        rows = Host.objects.filter(id__in=hosts).order_by("id").select_for_update(no_key=True)
        list(rows.values_list("id"))
    for zone_id in sorted(moves):
        move(zone_id, moves[zone_id])
