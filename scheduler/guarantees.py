"""Guarantees as room: deciding which Holds a pool gets or gives up, and moving them.

Room of a tenant's pool comes from the hosts' free room; a project's pool takes over Holds of its tenant's, by host.
Deciding runs on this process's Fleet, outside the transaction; `move` writes, and raises Stale when the room has moved.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.problems import Conflict, Problem
from infra.models import Host

from . import ledger
from .core.ask import NoRoom, Policy, Shape
from .core.fleet import Fleet, Hold
from .core.holds import largest_shape, place_holds, take_from

T = TypeVar("T")


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
    if more != NOTHING and wanted.above is not None:
        moves += handed_over(wanted.above, wanted, more, fleet, seed, whose="tenant's pool")
    elif more != NOTHING:
        moves += from_hosts(wanted, more, fleet, seed)
    return moves


def from_hosts(wanted: Guarantee, more: Amounts, fleet: Fleet, seed: int) -> list[Move]:
    """Room for so much more, from the hosts' free room. Raises Conflict `no_room`."""
    there = Amounts(
        sum(host.vcpu_limit for host in fleet.hosts if host.zone_id == wanted.zone_id),
        sum(host.memory_limit_mib for host in fleet.hosts if host.zone_id == wanted.zone_id),
    )
    chunk = chunk_of(wanted, fleet)
    beyond = [name for name, asked, has in zip(Amounts._fields, more, there, strict=True) if asked > has]
    if beyond or chunk is None:  # said before anything as large as the number is laid out
        sentence = f"The whole zone has less {beyond[0]}." if beyond else "No flavor fits a host of the zone."
        raise Conflict(sentence, code="no_room", limits=_limits("zone", there, more), filters=[], nearest=[])
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
        raise ledger.no_room(found)
    return [Move(hold.host_id, None, wanted.pool_id, hold.vcpu, hold.memory_mib) for hold in found]


def given_up(wanted: Guarantee, fewer: Amounts, fleet: Fleet) -> list[Move]:
    """So much less, back to where it came from. Raises Conflict `guarantee_in_use`."""
    chunk = chunk_of(wanted, fleet) or Shape("", 1, 1, 0)
    taken = _taken(wanted.pool_id, fewer, chunk, fleet, "pool", wanted.holders)
    return [Move(hold.host_id, wanted.pool_id, wanted.above, hold.vcpu, hold.memory_mib) for hold in taken]


def handed_over(
    source: UUID, wanted: Guarantee, more: Amounts, fleet: Fleet, seed: int, *, whose: str = "pool"
) -> list[Move]:
    """So much of another pool's Holds for this one: as they lie where they hold the chunks that this one promises, else
    laid anew on free room and theirs. Raises Conflict `guarantee_in_use` or `no_room`."""
    chunk = chunk_of(wanted, fleet) or Shape("", 1, 1, 0)
    taken = _taken(source, more, chunk, fleet, whose, wanted.holders)
    promised = min(more.vcpu // chunk.vcpu, more.memory_mib // chunk.memory_mib)
    if sum(min(hold.vcpu // chunk.vcpu, hold.memory_mib // chunk.memory_mib) for hold in taken) >= promised:
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
    source: UUID, amounts: Amounts, chunk: Shape, fleet: Fleet, whose: str, holders: Sequence[Mapping[str, Any]]
) -> list[Hold]:
    held = fleet.listed_holds().get(source, [])
    found = take_from(held, vcpu=amounts.vcpu, memory_mib=amounts.memory_mib, chunk=chunk)
    if found is not None:
        return found
    free = Amounts(sum(hold.vcpu for hold in held), sum(hold.memory_mib for hold in held))
    raise Conflict(
        f"Of the {whose}'s guarantee {free.vcpu} vCPUs and {free.memory_mib} MiB are neither in use nor handed down; "
        f"{amounts.vcpu} and {amounts.memory_mib} were asked.",
        code="guarantee_in_use",
        limits=_limits(whose, free, amounts),
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
    held = {pool: {hold.host_id: hold for hold in holds} for pool, holds in fleet.listed_holds().items()}
    touched: dict[UUID, dict[UUID, Hold]] = {}
    for one in moves:
        for pool, sign in ((one.source, -1), (one.target, 1)):
            if pool is None:
                claimed[one.host_id][0] -= sign * one.vcpu
                claimed[one.host_id][1] -= sign * one.memory_mib
                continue
            kept = touched.setdefault(pool, held.get(pool, {}))
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
