"""What if these requests came again? Each is placed beside all before it that found room and have not gone since."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np

from .ask import Ask, NoRoom, Policy
from .fleet import Fleet, Hold, one_a_host
from .place import place
from .whatif import after


@dataclass(frozen=True)
class Request:
    """A batch that was decided as one. `comes` and `goes` count from any moment, in any unit; None: it stays."""

    asks: Sequence[Ask]
    comes: float = 0.0
    goes: float | None = None


@dataclass(frozen=True)
class Refused:
    """A request that found no room, and why."""

    request: Request
    refused: NoRoom


@dataclass(frozen=True)
class _Taken:
    """What a request took: of hosts' free room (vCPU, MiB), of datastores (GiB), and of pools' holds."""

    hosts: Mapping[UUID, tuple[int, int]]
    datastores: Mapping[UUID, int]
    holds: Mapping[UUID, Sequence[Hold]]


def replay(fleet: Fleet, requests: Iterable[Request], *, policy: Policy, seed: int, effort: int = 0) -> list[Refused]:
    """Those that are refused, in the order in which they come; equal times in the order given."""
    refused: list[Refused] = []
    going: list[tuple[float, int, _Taken]] = []
    for number, request in enumerate(sorted(requests, key=lambda one: one.comes)):
        while going and going[0][0] <= request.comes:
            fleet = _given_back(fleet, heapq.heappop(going)[2])
        answer = place(request.asks, fleet, policy=policy, seed=seed + number, effort=effort)
        if isinstance(answer, NoRoom):
            refused.append(Refused(request, answer))
            continue
        before, fleet = fleet, after(fleet, request.asks, answer)
        if request.goes is not None:
            pools = {pool for ask in request.asks for pool in ask.pools}
            heapq.heappush(going, (request.goes, number, _taken(before, fleet, pools)))
    return refused


def _taken(before: Fleet, now: Fleet, pools: Iterable[UUID]) -> _Taken:
    vcpu, memory = now.vcpu_claimed - before.vcpu_claimed, now.memory_claimed_mib - before.memory_claimed_mib
    disk = now.claimed_gib - before.claimed_gib
    had, has = before.listed_holds(), now.listed_holds()
    return _Taken(
        {now.hosts[at].id: (int(vcpu[at]), int(memory[at])) for at in np.flatnonzero(vcpu | memory).tolist()},
        {now.datastores[at].id: int(disk[at]) for at in np.flatnonzero(disk).tolist()},
        {pool: _less(had.get(pool, []), has.get(pool, [])) for pool in pools},
    )


def _less(had: Sequence[Hold], has: Sequence[Hold]) -> list[Hold]:
    """What of these holds is there no more."""
    left = {hold.host_id: hold for hold in has}
    found = []
    for hold in had:
        now = left.get(hold.host_id, Hold(hold.host_id, 0, 0))
        if hold != now:
            found.append(Hold(hold.host_id, hold.vcpu - now.vcpu, hold.memory_mib - now.memory_mib))
    return found


def _given_back(fleet: Fleet, taken: _Taken) -> Fleet:
    hosts = [(fleet.hosts[fleet.layout.hosts[id]], amounts) for id, amounts in taken.hosts.items()]
    stores = [(fleet.datastores[fleet.layout.datastores[id]], gib) for id, gib in taken.datastores.items()]
    held = fleet.listed_holds()
    return fleet.with_changes(
        hosts=[
            row._replace(vcpu_claimed=row.vcpu_claimed - vcpu, memory_claimed_mib=row.memory_claimed_mib - memory)
            for row, (vcpu, memory) in hosts
        ],
        datastores=[row._replace(claimed_gib=row.claimed_gib - gib) for row, gib in stores],
        holds={pool: one_a_host([*held.get(pool, []), *back]) for pool, back in taken.holds.items() if back},
    )
