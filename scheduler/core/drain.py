"""What if these hosts were emptied, or this zone were lost: who goes where, and who finds no room.

As many as a greedy choice can, the hardest first, each by the policy (moving.py). Each claims its new room while its
old one still stands: nothing that a mover gives up serves another, so that the moves may go in any order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from .ask import NoRoom, Policy, Shape
from .fleet import Fleet, Hold, one_a_host
from .holds import place_holds
from .moving import Mover, Work
from .room import settled
from .standing import Relocation, Standing

Homeless = Mapping[UUID, Sequence[Hold]]  # by pool, where they were
Anew = dict[UUID, Sequence[Hold] | NoRoom]

NOWHERE = UUID(int=0)
NO_CHUNKS: Mapping[UUID, Shape] = {}
NO_POOLS: Mapping[UUID, Sequence[UUID]] = {}


def drain(
    fleet: Fleet,
    standing: Sequence[Standing],
    hosts: Collection[UUID],
    *,
    policy: Policy,
    seed: int,
    chunks: Mapping[UUID, Shape] = NO_CHUNKS,
) -> Relocation:
    """Empty these hosts, within each VM's zone; the pools' Holds on them are placed anew.

    `standing`: all VMs of those hosts, and the members of their groups wherever they stand. `chunks`: the shape that
    each pool's guarantee is kept in; without one a Hold is placed anew in one piece.
    """
    going = frozenset(hosts)
    movers = [_within_its_zone(fleet, one) for one in standing if one.host_id in going]
    homeless: Homeless = {
        pool: on_them
        for pool, holds in fleet.listed_holds().items()
        if (on_them := [hold for hold in holds if hold.host_id in going])
    }

    def attempt(first: Homeless, then: Homeless) -> Relocation:
        held, there = _placed_anew(fleet.without_hosts(going), first, chunks, policy, seed)
        work = Work.of(there, standing, going, policy, seed)
        work.move(movers)
        last = {pool: [*then.get(pool, ()), *work.back.get(pool, ())] for pool in {**then, **work.back}}
        held_last, _ = _placed_anew(settled(work.room), last, chunks, policy, seed)
        return Relocation(work.moved, work.left, _joined(held, held_last))

    found = attempt({}, homeless)
    if found.fits or found.left or not homeless:
        return found
    other = attempt(homeless, {})  # VMs that came first have taken what only a Hold, in its large pieces, needs
    return other if other.fits else found


def drain_zone(
    fleet: Fleet, standing: Sequence[Standing], zone: UUID, *, policy: Policy, seed: int, zones: Sequence[UUID] = ()
) -> Relocation:
    """Empty a zone into others: those that each ask allows, or `zones` (its pools and networks must be theirs too).

    `standing`: as for `drain`. The zone's guarantees are of that zone: its pools' Holds stay.
    """
    return lose_zone(fleet, standing, zone, policy=policy, seed=seed, zones=zones)


def lose_zone(
    fleet: Fleet,
    standing: Sequence[Standing],
    zone: UUID,
    *,
    policy: Policy,
    seed: int,
    zones: Sequence[UUID] = (),
    pools: Mapping[UUID, Sequence[UUID]] = NO_POOLS,
) -> Relocation:
    """As drain_zone, when the zone is gone at once. `pools`: for a VM's key the pools whose Holds it may eat before
    those of its ask: spare room that other zones keep for this."""
    going = frozenset(host.id for host in fleet.hosts if host.zone_id == zone)
    work = Work.of(fleet, standing, going, policy, seed)
    work.move([_elsewhere(one, zone, zones, pools.get(one.key, ())) for one in standing if one.host_id in going])
    return Relocation(work.moved, work.left)


def _within_its_zone(fleet: Fleet, one: Standing) -> Mover:
    at = fleet.layout.hosts.get(one.host_id)
    zone = None if at is None else fleet.hosts[at].zone_id
    pools = () if one.pool is None else (one.pool,)
    ask = replace(one.ask, zones=() if zone is None else (zone,), pools=pools)
    return Mover(one, ask, guaranteed=one.pool if one.vcpu_from_hold or one.memory_from_hold_mib else None)


def _elsewhere(one: Standing, lost: UUID, zones: Sequence[UUID], pools: Sequence[UUID]) -> Mover:
    allowed = tuple(zone for zone in zones or one.ask.zones if zone != lost)
    return Mover(one, replace(one.ask, zones=allowed, pools=tuple(dict.fromkeys([*pools, *one.ask.pools]))))


def _placed_anew(
    there: Fleet, homeless: Homeless, chunks: Mapping[UUID, Shape], policy: Policy, seed: int
) -> tuple[Anew, Fleet]:
    """Room for as much as these Holds had, for each pool all or none, and the fleet with it."""
    found: Anew = {}
    for pool, holds in homeless.items():
        found[pool], there = _pool_placed_anew(there, holds, chunks.get(pool), policy, seed)
    return found, there


def _joined(first: Anew, last: Anew) -> Anew:
    """Both answers as one: no room where either has none."""
    found = {**first, **last}
    for pool in first.keys() & last.keys():
        mine, more = first[pool], last[pool]
        if isinstance(mine, NoRoom):
            found[pool] = mine
        elif not isinstance(more, NoRoom):
            found[pool] = one_a_host([*mine, *more])
    return found


def _pool_placed_anew(
    there: Fleet, holds: Sequence[Hold], chunk: Shape | None, policy: Policy, seed: int
) -> tuple[list[Hold] | NoRoom, Fleet]:
    at = there.layout.hosts.get(holds[0].host_id)
    zone = None if at is None else there.hosts[at].zone_id
    if chunk is None:
        pieces = [(hold, Shape("", max(hold.vcpu, 1), max(hold.memory_mib, 1), 0)) for hold in holds]
    else:
        whole = Hold(holds[0].host_id, sum(hold.vcpu for hold in holds), sum(hold.memory_mib for hold in holds))
        pieces = [(whole, chunk)]
    found: list[Hold] = []
    tried = there
    for piece, shape in pieces:
        new = place_holds(
            vcpu=piece.vcpu,
            memory_mib=piece.memory_mib,
            chunk=shape,
            zone_id=zone or NOWHERE,
            fleet=tried,
            policy=policy,
            seed=seed,
        )
        if isinstance(new, NoRoom):
            return new, there
        found += new
        tried = _with_holds(tried, new)
    return one_a_host(found), tried


def _with_holds(there: Fleet, holds: Sequence[Hold]) -> Fleet:
    rows = [(there.hosts[there.layout.hosts[hold.host_id]], hold) for hold in holds]
    return there.with_changes(
        hosts=[
            row._replace(
                vcpu_claimed=row.vcpu_claimed + hold.vcpu, memory_claimed_mib=row.memory_claimed_mib + hold.memory_mib
            )
            for row, hold in rows
        ]
    )
