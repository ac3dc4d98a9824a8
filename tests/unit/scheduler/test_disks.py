"""Disks against Hall's theorem: a set of demands can be met if no rows ask more than their datastores have together."""

from __future__ import annotations

from collections import Counter
from itertools import chain, combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.disks import Disks
from scheduler.core.room import Room
from tests.unit.scheduler.fleets import STORES, ask, fleet, host, store


def can_be_met(demands: Counter[int], reach: list[set[int]], space: list[int]) -> bool:
    rows = list(demands)
    for some in chain.from_iterable(combinations(rows, count) for count in range(1, len(rows) + 1)):
        if sum(demands[row] for row in some) > sum(space[s] for s in set().union(*(reach[row] for row in some))):
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_disk_is_refused_only_when_nothing_moved_would_help(data: st.DataObject) -> None:
    disk = data.draw(st.integers(1, 3))
    space = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    reach = data.draw(
        st.lists(st.sets(st.integers(0, len(space) - 1), min_size=1), min_size=1, max_size=5, unique_by=frozenset)
    )
    rows = [host(n, datastores=tuple(STORES[s] for s in sorted(stores))) for n, stores in enumerate(reach)]
    there = fleet(rows, [store(n, count * disk + disk - 1) for n, count in enumerate(space)])
    disks = Disks(Room(there), ask(disk_gib=disk), np.arange(len(space)))
    met: Counter[int] = Counter()
    for row in data.draw(st.lists(st.integers(0, len(reach) - 1), max_size=20)):
        wanted = met + Counter([row])
        assert disks.push(row) == can_be_met(wanted, reach, space)
        met = wanted if can_be_met(wanted, reach, space) else met
    lie = disks.of_rows()
    assert Counter({row: len(stores) for row, stores in lie.items()}) == met
    assert all(set(stores) <= reach[row] for row, stores in lie.items())
    used = Counter(chain.from_iterable(lie.values()))
    assert disks.used_gib().tolist() == [used[s] * disk for s in range(len(space))]
    assert all(used[s] <= space[s] for s in range(len(space)))
