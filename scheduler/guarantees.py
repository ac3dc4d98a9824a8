"""Guarantees as room: deciding which Holds a pool gets or gives up, and moving them.

Room of a tenant's pool comes from the hosts' free room; a project's pool takes over Holds of its tenant's, by host.
Deciding runs on this process's Fleet, outside the transaction; `move` writes, and raises Stale when the room has moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.problems import Conflict, Problem

from . import ledger
from .core.ask import NoRoom, Policy, Shape
from .core.fleet import Fleet, Hold
from .core.holds import largest_shape, place_holds, take_from


class Amounts(NamedTuple):
    vcpu: int = 0
    memory_mib: int = 0


NOTHING = Amounts()


@dataclass(frozen=True)
class Move:
    """Guaranteed room on one host, from one pool to another. None is the host's free room."""

    host_id: UUID
    source: UUID | None
    target: UUID | None
    vcpu: int
    memory_mib: int


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


def decide(wanted: Guarantee, *, seed: int) -> list[Move]:
    """The moves that make it so. Raises Conflict `no_room`, or `guarantee_in_use`, after one full look."""
    more = Amounts(*(max(0, after - before) for before, after in zip(wanted.before, wanted.after, strict=True)))
    fewer = Amounts(*(max(0, before - after) for before, after in zip(wanted.before, wanted.after, strict=True)))
    moves: list[Move] = []
    if fewer != NOTHING:
        moves += _from_holds(wanted, fewer, source=wanted.pool_id, target=wanted.above)
    if more != NOTHING and wanted.above is not None:
        moves += _from_holds(wanted, more, source=wanted.above, target=wanted.pool_id)
    elif more != NOTHING:
        moves += _from_hosts(wanted, more, seed)
    return moves


def _from_hosts(wanted: Guarantee, more: Amounts, seed: int) -> list[Move]:
    holds = _tried(lambda fleet: _placed(wanted, more, fleet, seed))
    return [Move(hold.host_id, None, wanted.pool_id, hold.vcpu, hold.memory_mib) for hold in holds]


def _placed(wanted: Guarantee, more: Amounts, fleet: Fleet, seed: int) -> list[Hold] | Problem:
    there = Amounts(
        sum(host.vcpu_limit for host in fleet.hosts if host.zone_id == wanted.zone_id),
        sum(host.memory_limit_mib for host in fleet.hosts if host.zone_id == wanted.zone_id),
    )
    chunk = chunk_of(wanted, fleet)
    beyond = [name for name, asked, has in zip(Amounts._fields, more, there, strict=True) if asked > has]
    if beyond or chunk is None:  # said before anything as large as the number is laid out
        sentence = f"The whole zone has less {beyond[0]}." if beyond else "No flavor fits a host of the zone."
        return Conflict(sentence, code="no_room", limits=_limits("zone", there, more), filters=[], nearest=[])
    found = place_holds(
        vcpu=more.vcpu,
        memory_mib=more.memory_mib,
        chunk=chunk,
        zone_id=wanted.zone_id,
        fleet=fleet,
        policy=Policy.SPREAD,
        seed=seed,
    )
    return ledger.no_room(found) if isinstance(found, NoRoom) else found


def chunk_of(wanted: Guarantee, fleet: Fleet) -> Shape | None:
    """The shape in whose chunks this guarantee is kept."""
    return wanted.chunk or largest_shape(
        wanted.flavors,
        vcpu=wanted.after.vcpu,
        memory_mib=wanted.after.memory_mib,
        zone_id=wanted.zone_id,
        fleet=fleet,
    )


def _from_holds(wanted: Guarantee, amounts: Amounts, *, source: UUID, target: UUID | None) -> list[Move]:
    holds = _tried(lambda fleet: _taken(wanted, amounts, source, fleet))
    return [Move(hold.host_id, source, target, hold.vcpu, hold.memory_mib) for hold in holds]


def _taken(wanted: Guarantee, amounts: Amounts, source: UUID, fleet: Fleet) -> list[Hold] | Problem:
    held = fleet.listed_holds().get(source, [])
    chunk = chunk_of(wanted, fleet) or Shape("", 1, 1, 0)
    found = take_from(held, vcpu=amounts.vcpu, memory_mib=amounts.memory_mib, chunk=chunk)
    if found is not None:
        return found
    free = Amounts(sum(hold.vcpu for hold in held), sum(hold.memory_mib for hold in held))
    whose = "tenant's pool" if source == wanted.above else "pool"
    return Conflict(
        f"Of the {whose}'s guarantee {free.vcpu} vCPUs and {free.memory_mib} MiB are neither in use nor handed down; "
        f"{amounts.vcpu} and {amounts.memory_mib} were asked.",
        code="guarantee_in_use",
        limits=_limits(whose, free, amounts),
    )


def _limits(scope: str, has: Amounts, asked: Amounts) -> list[dict[str, Any]]:
    return [
        {"scope": scope, "resource": name, "limit": limit, "used": 0, "asked": amount}
        for name, limit, amount in zip(Amounts._fields, has, asked, strict=True)
        if amount > limit
    ]


def _tried(attempt: Callable[[Fleet], list[Hold] | Problem]) -> list[Hold]:
    """The attempt on what this process knows, and where that fails on what there really is. Raises its refusal."""
    found = attempt(ledger.look())
    if isinstance(found, Problem):
        found = attempt(ledger.look(full=True))
    if isinstance(found, Problem):
        raise found
    return found


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
