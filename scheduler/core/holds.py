"""Guarantees as room: a pool's guaranteed amounts, laid on hosts in chunks of its largest shape."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from .ask import Ask, NoRoom, Policy, Shape
from .fleet import Fleet, Hold, one_a_host
from .place import place


def place_holds(
    *, vcpu: int, memory_mib: int, chunk: Shape, zone_id: UUID, fleet: Fleet, policy: Policy, seed: int
) -> list[Hold] | NoRoom:
    """Holds for these amounts, one a host, sums exact; or why they do not fit.

    Whole chunks come first, so that as many VMs of that shape find room as the guarantee has chunks. What is left of
    one resource is held alone, in pieces of at most one chunk's amount. To widen a guarantee, ask for the difference
    and add it to the holds there are. Raises ValueError for amounts below zero and a chunk without vCPU or memory.
    """
    if vcpu < 0 or memory_mib < 0 or chunk.vcpu < 1 or chunk.memory_mib < 1:
        raise ValueError("a guarantee is no less than zero, and its chunk has vCPU and memory")
    whole = min(vcpu // chunk.vcpu, memory_mib // chunk.memory_mib)
    wanted = [("chunks of the guarantee", chunk.vcpu, chunk.memory_mib)] * whole
    for piece in _pieces(vcpu - whole * chunk.vcpu, chunk.vcpu):
        wanted.append(("vCPUs of the guarantee", piece, 0))
    for piece in _pieces(memory_mib - whole * chunk.memory_mib, chunk.memory_mib):
        wanted.append(("memory of the guarantee", 0, piece))
    asks = [Ask(UUID(int=at), v, m, None, (zone_id,), role=role) for at, (role, v, m) in enumerate(wanted)]
    answer = place(asks, fleet, policy=policy, seed=seed)
    if isinstance(answer, NoRoom):
        return answer
    pairs = zip(asks, answer.placements, strict=True)
    return one_a_host(Hold(placed.host_id, ask.vcpu, ask.memory_mib) for ask, placed in pairs)


def _pieces(amount: int, largest: int) -> list[int]:
    rest = [amount % largest] if amount % largest else []
    return [largest] * (amount // largest) + rest


def largest_shape(flavors: Sequence[Shape], *, vcpu: int, memory_mib: int, zone_id: UUID, fleet: Fleet) -> Shape | None:
    """The chunk of a pool that declares none: the largest flavor that fits an empty host of the zone and of which the
    guarantee holds at least one; where it holds none, the smallest that fits a host. None: no flavor fits a host."""
    limits = [(host.vcpu_limit, host.memory_limit_mib) for host in fleet.hosts if host.zone_id == zone_id]
    fitting = sorted(
        (shape for shape in flavors if any(shape.vcpu <= v and shape.memory_mib <= m for v, m in limits)),
        key=lambda shape: (shape.vcpu, shape.memory_mib, shape.name),
    )
    held = [shape for shape in fitting if shape.vcpu <= vcpu and shape.memory_mib <= memory_mib]
    return held[-1] if held else next(iter(fitting), None)


def take_from(holds: Sequence[Hold], *, vcpu: int, memory_mib: int, chunk: Shape) -> list[Hold] | None:
    """A part of these holds, one a host, sums exact; None when they do not have as much.

    Whole chunks come first, from the hosts that have most of them, then what is left of each resource by itself: from
    what makes up no whole chunk, and from chunks only where that is not enough, so that the rest keeps its chunks.
    """
    left = {hold.host_id: [hold.vcpu, hold.memory_mib] for hold in holds}
    taken = {hold.host_id: [0, 0] for hold in holds}
    wanted = [vcpu, memory_mib]

    def take(host: UUID, amounts: tuple[int, int]) -> None:
        for at, amount in enumerate(amounts):
            left[host][at] -= amount
            taken[host][at] += amount
            wanted[at] -= amount

    def whole(host: UUID) -> int:
        return min(left[host][0] // chunk.vcpu, left[host][1] // chunk.memory_mib)

    for host in sorted(left, key=whole, reverse=True):
        chunks = min(whole(host), wanted[0] // chunk.vcpu, wanted[1] // chunk.memory_mib)
        take(host, (chunks * chunk.vcpu, chunks * chunk.memory_mib))
    for host in left:
        beyond = [amount - whole(host) * size for amount, size in zip(left[host], chunk[1:3], strict=True)]
        take(host, (min(beyond[0], wanted[0]), min(beyond[1], wanted[1])))
    for host in left:
        take(host, (min(left[host][0], wanted[0]), min(left[host][1], wanted[1])))
    if any(wanted):
        return None
    return [Hold(host, *amounts) for host, amounts in taken.items() if any(amounts)]
