"""What makes one slot better than another. Scores are whole numbers, the lower the better, and never fall with depth.

A slot's key is its scores side by side in one 64-bit number, the weightiest first, then the host's place in the
shuffle: equal hosts come in an order that the request's seed gives, so that parallel requests do not chase one host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .ask import Ask, Policy
from .fleet import Fleet, Floats
from .layout import Ints
from .room import Room

PACK_LEVELS = 64  # hosts that are about as full are equally good, so the shuffle has something to choose from
SPREAD_LEVELS = (1 << 16) - 1


@dataclass(frozen=True)
class Look:
    """The candidates of one role, and what scorers need of them. Arrays have one entry a candidate."""

    fleet: Fleet
    ask: Ask
    room: Room
    policy: Policy
    hosts: Ints  # index into the fleet
    shuffle: Ints  # a number of its own for each candidate, below 2 ** 17
    loss: Ints | None = None  # see place.py, the second try

    @cached_property
    def free(self) -> tuple[Ints, Ints]:
        """vCPU and MiB that are free before this role."""
        return self.room.vcpu[self.hosts], self.room.memory_mib[self.hosts]

    @cached_property
    def parts(self) -> tuple[Floats, Floats]:
        """What part of the host one vCPU and one MiB are."""
        return self.fleet.vcpu_part[self.hosts], self.fleet.memory_part[self.hosts]

    @cached_property
    def held(self) -> tuple[Ints, Ints] | None:
        """vCPU and MiB kept for the ask's pools before this role; None when there is nothing."""
        held = self.room.guaranteed(self.ask.pools)
        return None if held is None else (held[0][self.hosts], held[1][self.hosts])

    @cached_property
    def holders(self) -> Ints:
        """The candidates that have anything of that, by entry: mostly few."""
        return np.zeros(0, np.int64) if self.held is None else np.flatnonzero(self.held[0] | self.held[1])

    @cached_property
    def emptiness(self) -> Ints:
        """How empty each host is before this role by its scarcest resource, in PACK_LEVELS."""
        share = np.minimum(self.free[0] * self.parts[0], self.free[1] * self.parts[1])
        levels: Ints = (share * (PACK_LEVELS - 1)).astype(np.int64)
        return levels


Entries = Ints | slice  # a slice is all of them
Depth = Ints | int  # one for each entry, or one for all
Scorer = Callable[[Look, Entries, Depth], Ints | int]  # a number is the score of all


def loss(look: Look, entries: Entries, depth: Depth) -> Ints | int:
    """How many slots of the roles still to come would be lost on this host."""
    return 0 if look.loss is None else np.minimum(look.loss[entries], MOST_LOSS)


def members(look: Look, entries: Entries, depth: Depth) -> Ints | int:
    """Members of the group that share the host."""
    group = look.ask.group
    if group is None or not group.avoids_sharing:
        return 0
    found: Ints = np.minimum(look.room.members(group)[look.hosts[entries]] + depth, MOST_MEMBERS)
    return found


def labels(look: Look, entries: Entries, depth: Depth) -> Ints | int:
    """Preferred labels that it lacks, and labels to avoid that it carries."""
    if not look.ask.prefer and not look.ask.avoid:
        return 0
    wrong = np.zeros(len(look.hosts), np.int64)
    for label in look.ask.prefer:
        wrong += ~look.fleet.layout.carries(label)[look.hosts]
    for label in look.ask.avoid:
        wrong += look.fleet.layout.carries(label)[look.hosts]
    found: Ints = np.minimum(wrong, MOST_WRONG)[entries]
    return found


def guarantee(look: Look, entries: Entries, depth: Depth) -> Ints | int:
    """0: inside room kept for its pool; 1: partly; 2: free room, which others could use."""
    if look.held is None:
        return 2
    if isinstance(entries, slice):
        found = np.full(len(look.hosts), 2)
        found[look.holders] = guarantee(look, look.holders, depth)
        return found
    vcpu, memory = look.held[0][entries], look.held[1][entries]
    inside = ((depth + 1) * look.ask.vcpu <= vcpu) & ((depth + 1) * look.ask.memory_mib <= memory)
    partly = (depth * look.ask.vcpu < vcpu) | (depth * look.ask.memory_mib < memory)
    return 2 - inside.astype(np.int64) - partly  # what is inside is partly so as well


def usage(look: Look, entries: Entries, depth: Depth) -> Ints | int:
    """Pack: how empty the host was before this role. Spread: how full it is with this slot. Its scarcest resource."""
    if look.policy is Policy.PACK:
        return look.emptiness[entries]
    vcpu, memory = (depth + 1) * look.ask.vcpu, (depth + 1) * look.ask.memory_mib
    if look.held is not None and not isinstance(entries, slice):
        vcpu, memory = np.maximum(vcpu - look.held[0][entries], 0), np.maximum(memory - look.held[1][entries], 0)
    free_vcpu = (look.free[0][entries] - vcpu) * look.parts[0][entries]
    free_memory = (look.free[1][entries] - memory) * look.parts[1][entries]
    found: Ints = ((1.0 - np.minimum(free_vcpu, free_memory)) * SPREAD_LEVELS).astype(np.int64)
    if look.held is not None and isinstance(entries, slice):
        found[look.holders] = usage(look, look.holders, depth)
    return found


class Scored(NamedTuple):
    name: str
    bits: int
    score: Scorer


SCORERS = (
    Scored("loss", 16, loss),
    Scored("members", 6, members),
    Scored("labels", 4, labels),
    Scored("guarantee", 2, guarantee),
    Scored("usage", 16, usage),
)
MOST_LOSS, MOST_MEMBERS, MOST_WRONG = ((1 << scored.bits) - 1 for scored in SCORERS[:3])
SHUFFLE_BITS = 17  # 61 bits in all


def key(look: Look, entries: Entries, depth: Depth) -> Ints:
    """The keys of these slots. A score too large for its bits counts as the largest, each by its scorer."""
    found: Ints = look.shuffle[entries]
    same = 0  # what is equal for all
    shift = SHUFFLE_BITS
    for _, bits, score in reversed(SCORERS):
        one = score(look, entries, depth)
        if isinstance(one, int):
            same |= one << shift
        else:
            found = found | (one << shift)
        shift += bits
    return found | same


def scores(one: int) -> dict[str, int]:
    """The scores that a key was made of."""
    one >>= SHUFFLE_BITS
    found = {}
    for name, bits, _ in reversed(SCORERS):
        found[name] = one & ((1 << bits) - 1)
        one >>= bits
    return dict(reversed(found.items()))
