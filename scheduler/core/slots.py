"""Choosing the best of many slots without looking at most of them.

A slot is one place on one host: its depth is how many of the same ask that host got before it. Keys never fall with
depth, so that taking the n smallest keys over all slots is what a greedy choice, one ask after another, would do.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layout import Ints, Mask

Entries = Ints | slice
Keys = Callable[[Entries, Ints | int], Ints]  # (candidates, a depth for each or for all) -> keys, smallest first

ALL = slice(None)
TAKEN = np.iinfo(np.int64).max  # stands for the key of a candidate without slots


class Slots:
    """The slots of some candidates: entry i has depths 0 to `most[i]`, the latter left out.

    Keys of different candidates must differ.
    """

    def __init__(self, keys: Keys, most: Ints) -> None:
        self._keys = keys
        self.most = most
        self.taken = np.zeros_like(most)
        self._kept = keys(ALL, 0)  # the key of each candidate's next slot, but for the stale
        self._stale: list[Ints] = []
        self._end(most == 0)

    def _end(self, entries: Mask) -> None:
        if entries.any():
            self._kept = np.where(entries, TAKEN, self._kept)

    def _heads(self, but: int = -1) -> Ints:
        """The key of each candidate's next slot, TAKEN where it has none; of candidate `but` it may be an old one."""
        stale = np.concatenate(self._stale) if len(self._stale) > 1 else next(iter(self._stale), None)
        if stale is not None and not (len(stale) == 1 and stale[0] == but):
            self._stale = []
            touched = np.unique(stale)
            found = self._keys(touched, self.taken[touched])
            self._kept[touched] = np.where(self.taken[touched] < self.most[touched], found, TAKEN)
        return self._kept

    def best(self, wanted: int, among: Ints | None = None) -> tuple[Ints, Ints]:
        """The entries of the `wanted` best slots left with their keys, best first; fewer when there are no more.

        A candidate's slots are looked at in doubling numbers, and only while all of those seen so far are among the
        best: the work grows with candidates + wanted, whatever the number of slots.
        """
        heads = self._heads()
        if wanted == 1:
            return _smallest(heads, among)
        left = self.most - self.taken
        seen = np.minimum(left, 1)
        entries = np.flatnonzero(seen) if among is None else among[seen[among] > 0]
        found = heads[entries]
        while True:
            if len(found) > wanted:
                kept = np.argpartition(found, wanted - 1)[:wanted]
                entries, found = entries[kept], found[kept]
            here, counts = np.unique(entries, return_counts=True)
            grow = here[(counts == seen[here]) & (counts < left[here])]
            if not len(grow):
                order = np.argsort(found, kind="stable")
                return entries[order], found[order]
            more = np.minimum(seen[grow], left[grow] - seen[grow])
            added = np.repeat(grow, more)
            offset = np.arange(len(added)) - np.repeat(np.cumsum(more) - more, more)
            entries = np.concatenate((entries, added))
            found = np.concatenate((found, self._keys(added, self.taken[added] + seen[added] + offset)))
            seen[grow] += more

    def keys_of(self, entries: Ints) -> Ints:
        """The keys of the next slots of these entries, an entry once for each slot."""
        order = np.argsort(entries, kind="stable")
        ranked = entries[order]
        depths = np.empty_like(entries)
        depths[order] = np.arange(len(entries)) - np.searchsorted(ranked, ranked)
        return self._keys(entries, self.taken[entries] + depths)

    def keys_after(self, entries: Ints, counts: Ints) -> Ints:
        """The key of the last slot when each entry gives `counts` more."""
        return self._keys(entries, self.taken[entries] + counts - 1)

    def take(self, entries: Ints) -> None:
        """Take the next slot of each entry, in this order, an entry once for each slot."""
        if len(entries) == 1:
            self.taken[entries] += 1
        else:
            np.add.at(self.taken, entries, 1)
        self._stale.append(entries)

    def close(self, entries: Mask) -> None:
        """These candidates have no slots left."""
        self.most = np.where(entries, self.taken, self.most)
        self._end(entries)

    def next_but(self, entry: int, among: Mask | None = None) -> tuple[int, int] | None:
        """The entry and key of the best slot left (among these candidates), `entry` itself left out."""
        heads = self._heads(but=entry)
        mine, heads[entry] = heads[entry], TAKEN
        best, keys = _smallest(heads, None if among is None else np.flatnonzero(among))
        heads[entry] = mine
        return (int(best[0]), int(keys[0])) if len(best) else None


def _smallest(heads: Ints, among: Ints | None) -> tuple[Ints, Ints]:
    """The entry of the smallest of the heads (among these entries), and its key; empty when there is none."""
    some = heads if among is None else heads[among]
    at = int(some.argmin()) if len(some) else -1
    if at < 0 or some[at] == TAKEN:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.array([at if among is None else among[at]], np.int64), some[at : at + 1].copy()
