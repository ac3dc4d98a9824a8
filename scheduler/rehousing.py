"""Guarantees on hosts that are closed, placed anew on open hosts of their zone: chunk by chunk, as room allows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from . import ledger
from .core.ask import Ask, NoRoom, Plan, Policy, Shape
from .core.fleet import Fleet, Hold
from .core.place import place
from .core.whatif import how_many
from .guarantees import NOTHING, Amounts, Guarantee, Move, chunk_of, held_by, moved


class Piece(NamedTuple):
    """A part of one Hold that moves as a whole."""

    host_id: UUID
    vcpu: int
    memory_mib: int


@dataclass(frozen=True)
class Rehoused:
    """`moves` lead from closed hosts to open ones. `short`: by the Holds' pool_id, what finds no room, and stays."""

    moves: list[Move] = field(default_factory=list)
    short: dict[UUID, Amounts] = field(default_factory=dict)


def rehouse(kept: Sequence[Guarantee], hosts: Collection[UUID], *, seed: int, fleet: Fleet | None = None) -> Rehoused:
    """Where the Holds of these pools on these hosts go, each in its own zone, largest chunks first.

    `kept` as services.kept_in answers it. Decides on `fleet`, by default on a full look where the first one is short;
    writes nothing: `guarantees.move` does. What finds no room stays where it is.
    """
    if fleet is not None:
        return _rehoused(kept, hosts, seed, fleet)
    found = _rehoused(kept, hosts, seed, ledger.look())
    return _rehoused(kept, hosts, seed, ledger.look(full=True)) if found.short else found


def _rehoused(kept: Sequence[Guarantee], hosts: Collection[UUID], seed: int, fleet: Fleet) -> Rehoused:
    fleet, found = fleet.without_hosts(hosts), Rehoused()
    chunks = {one.pool_id: chunk_of(one, fleet) or Shape("", 1 << 40, 1 << 40, 0) for one in kept}
    for one in sorted(kept, key=lambda one: chunks[one.pool_id][1:3], reverse=True):
        leaving = [hold for hold in held_by(one.pool_id, fleet) if hold.host_id in hosts]
        moves, short = _placed(one, leaving, chunks[one.pool_id], seed, fleet)
        fleet = moved(fleet, moves)
        found.moves.extend(moves)
        if short != NOTHING:
            found.short[one.pool_id] = short
    return found


def _placed(
    one: Guarantee, leaving: Sequence[Hold], chunk: Shape, seed: int, fleet: Fleet
) -> tuple[list[Move], Amounts]:
    """The moves, and what finds no room. Whole chunks that find none stay whole."""
    chunks, rests = _pieces(leaving, chunk)
    moves = _moves(one, chunks + rests, seed, fleet)
    if moves is not None:
        return moves, NOTHING
    found: list[Move] = []
    if chunks:
        fitting = how_many(_ask(0, chunks[0], one.zone_id), fleet, most=len(chunks))
        found = _moves(one, chunks[:fitting], seed, fleet) or []
    fleet = moved(fleet, found)
    for piece in rests:
        ways = ([piece],) if not (piece.vcpu and piece.memory_mib) else ([piece], *_alone(piece))
        for way in ways:
            moves = _moves(one, way, seed, fleet)
            if moves is None:
                continue
            found += moves
            fleet = moved(fleet, moves)
            if way[0] is piece:
                break
    all_of_it = Amounts(sum(hold.vcpu for hold in leaving), sum(hold.memory_mib for hold in leaving))
    gone = [move for move in found if move.target is None]
    return found, all_of_it.minus(Amounts(sum(m.vcpu for m in gone), sum(m.memory_mib for m in gone)))


def _alone(piece: Piece) -> Iterator[list[Piece]]:
    """Each resource of a piece by itself."""
    yield [piece._replace(memory_mib=0)]
    yield [piece._replace(vcpu=0)]


def _pieces(leaving: Sequence[Hold], chunk: Shape) -> tuple[list[Piece], list[Piece]]:
    """What lies on these hosts as whole chunks, and the rest of each host in pieces of at most a chunk's amounts."""
    chunks, rests = [], []
    for host, vcpu, memory in leaving:
        whole = min(vcpu // chunk.vcpu, memory // chunk.memory_mib)
        chunks += [Piece(host, chunk.vcpu, chunk.memory_mib)] * whole
        vcpu, memory = vcpu - whole * chunk.vcpu, memory - whole * chunk.memory_mib
        while vcpu or memory:
            piece = Piece(host, min(vcpu, chunk.vcpu), min(memory, chunk.memory_mib))
            vcpu, memory = vcpu - piece.vcpu, memory - piece.memory_mib
            rests.append(piece)
    return chunks, rests


def _ask(at: int, piece: Piece, zone_id: UUID) -> Ask:
    return Ask(UUID(int=at), piece.vcpu, piece.memory_mib, None, (zone_id,))


def _moves(one: Guarantee, pieces: Sequence[Piece], seed: int, fleet: Fleet) -> list[Move] | None:
    """Moves for all of these pieces; None where they do not all fit."""
    asks = [_ask(at, piece, one.zone_id) for at, piece in enumerate(pieces)]
    plan: Plan | NoRoom = place(asks, fleet, policy=Policy.SPREAD, seed=seed)
    if isinstance(plan, NoRoom):
        return None
    found: list[Move] = []
    for piece, to in zip(pieces, plan.placements, strict=True):
        found.append(Move(piece.host_id, one.pool_id, None, piece.vcpu, piece.memory_mib))
        found.append(Move(to.host_id, None, one.pool_id, piece.vcpu, piece.memory_mib))
    return found
