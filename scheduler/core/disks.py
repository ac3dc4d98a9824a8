"""Datastores for the asks of one role: who of those chosen can have one, without ever blocking another for nothing.

The asks of a role have equal disks, so this is a flow from rows (hosts that reach the same datastores) to datastores.
A row that finds its datastores full may push another row's disk to where that one can also lie. Taking hosts in order
of preference, and each only if the flow still grows, gives as many placements as there can be (a matching matroid).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from .ask import Ask
from .filters import usable_datastores
from .layout import Ints
from .room import Room


class Disks:
    """Free space while a role is placed; emptiest datastore first, ties by `rank` (one entry a datastore)."""

    def __init__(self, room: Room, ask: Ask, rank: Ints) -> None:
        self._rows = room.fleet.layout.reach(ask.storage_class).rows
        self._usable = usable_datastores(room.fleet, ask, room)
        self._disk = ask.disk_gib or 0
        self._rank = rank
        self._free = room.disk_gib
        self._space: dict[int, int] = {}  # of the datastores met so far
        self._heaps: dict[int, list[tuple[int, int, int]]] = {}
        self._flow: dict[int, dict[int, int]] = {}  # datastore -> row -> disks
        self.full: set[int] = set()  # rows that can take no more, now and later

    def push(self, row: int) -> bool:
        """Find room for one more disk of this row; False when there is none, whatever is moved."""
        if row in self.full:
            return False
        store = self._emptiest(row)
        if store is None:
            return self._push_others(row)
        self._space[store] -= self._disk
        self._add(store, row, 1)
        return True

    def of_rows(self) -> dict[int, list[int]]:
        """The datastores of each row, one for each of its disks, as they finally lie."""
        found: dict[int, list[int]] = {}
        for store, rows in self._flow.items():
            for row, count in rows.items():
                found.setdefault(row, []).extend([store] * count)
        return found

    def used_gib(self) -> Ints:
        """Space taken, one entry a datastore."""
        used = np.zeros_like(self._free)
        for store, rows in self._flow.items():
            used[store] = sum(rows.values()) * self._disk
        return used

    def _add(self, store: int, row: int, count: int) -> None:
        rows = self._flow.setdefault(store, {})
        rows[row] = rows.get(row, 0) + count
        if not rows[row]:
            del rows[row]

    def _emptiest(self, row: int) -> int | None:
        """The row's datastore with most space; other rows fill it too, so what the heap says is looked at again."""
        if row not in self._heaps:
            members = self._rows[row][self._usable[self._rows[row]]].tolist()
            for store in members:
                self._space.setdefault(store, int(self._free[store]))
            self._heaps[row] = [(-self._space[store], int(self._rank[store]), store) for store in members]
            heapq.heapify(self._heaps[row])
        heap = self._heaps[row]
        while heap:
            said, rank, store = heap[0]
            space = self._space[store]
            if space < self._disk:
                heapq.heappop(heap)
            elif -said != space:
                heapq.heapreplace(heap, (-space, rank, store))
            else:
                return store
        return None

    def _push_others(self, row: int) -> bool:
        """Look for a chain of moves that ends in free space, breadth first; carry it out if there is one."""
        came: dict[int, tuple[int, int] | None] = {row: None}  # row -> (row before, datastore that both use)
        waiting = deque([row])
        while waiting:
            here = waiting.popleft()
            end = self._emptiest(here)
            if end is not None:
                self._space[end] -= self._disk
                self._move(here, end, came)
                return True
            for store in self._rows[here].tolist():
                for other in self._flow.get(store, ()):
                    if other not in came:
                        came[other] = (here, store)
                        waiting.append(other)
        self.full |= came.keys()
        return False

    def _move(self, row: int, store: int, came: dict[int, tuple[int, int] | None]) -> None:
        """The last row of the chain takes the free space and leaves its old datastore to the one before, and so on."""
        self._add(store, row, 1)
        before = came[row]
        while before is not None:
            earlier, shared = before
            self._add(shared, row, -1)
            self._add(shared, earlier, 1)
            row, before = earlier, came[earlier]


def most_disks(wanted: Sequence[int], reach: Sequence[Sequence[int]], places: Mapping[int, int]) -> int:
    """How many equal disks find a place: `wanted` by each row, which may use the datastores `reach` of it, each of
    which has so many `places`. The greatest flow, by the shortest path that has room (Edmonds and Karp), in bulk."""
    left = dict(places)
    lies: dict[int, dict[int, int]] = {store: {} for store in left}  # datastore -> row -> disks
    total = 0
    for row, count in enumerate(wanted):
        while count:
            path = _way_to_space(row, reach, left, lies)
            if path is None:
                break
            end = path[-1][1]
            moved = min([count, left[end], *(lies[store][other] for (_, store), (other, _) in pairwise(path))])
            for one, store in path:
                lies[store][one] = lies[store].get(one, 0) + moved
            for (_, store), (other, _) in pairwise(path):
                lies[store][other] -= moved
            left[end] -= moved
            count -= moved
            total += moved
    return total


def _way_to_space(
    row: int, reach: Sequence[Sequence[int]], left: Mapping[int, int], lies: Mapping[int, Mapping[int, int]]
) -> list[tuple[int, int]] | None:
    """Rows, each with the datastore that takes over from the row before in the next one; the last has space."""
    came: dict[int, tuple[int, int] | None] = {row: None}  # row -> (row before, datastore that both use)
    waiting = deque([row])
    while waiting:
        here = waiting.popleft()
        end = max(reach[here], key=lambda store: left[store], default=None)
        if end is not None and left[end]:
            path, before = [(here, end)], came[here]
            while before is not None:
                path.append(before)
                before = came[before[0]]
            return path[::-1]
        for store in reach[here]:
            for other, count in lies[store].items():
                if count and other not in came:
                    came[other] = (here, store)
                    waiting.append(other)
    return None
