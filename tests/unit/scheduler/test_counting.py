"""How many of each shape still fit, against placing them; and what share of free room the largest cannot use."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Shape
from scheduler.core.counting import counts_of, fragmentation
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.whatif import how_many
from tests.unit.scheduler.fleets import (
    AZ1,
    HOSTS,
    POOLS,
    STORES,
    ZONES,
    ask,
    fleet,
    host,
    small_fleets,
    store,
    tight_fleets,
    uid,
)

amounts = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)).filter(lambda each: any(each[:2]))


@settings(max_examples=300, deadline=None)
@given(st.one_of(small_fleets(), tight_fleets()), st.lists(amounts, min_size=1, max_size=4))
def test_as_many_fit_as_could_be_placed(there: Fleet, shapes: list[tuple[int, int, int]]) -> None:
    named = [Shape(str(at), *each) for at, each in enumerate(shapes)]
    found = counts_of(named, there, ZONES[0])
    for shape in named:
        wanted = ask(vcpu=shape.vcpu, memory_mib=shape.memory_mib, disk_gib=shape.disk_gib, zones=AZ1)
        assert found[shape.name] == how_many(wanted, there, most=99)


def test_disks_that_several_hosts_reach_are_counted_once() -> None:
    there = fleet(
        [host(0, datastores=tuple(STORES[:2])), host(1, datastores=(STORES[1],)), host(2, datastores=(STORES[2],))],
        [store(0, 3), store(1, 4), store(2, 100)],
    )
    assert counts_of([Shape("small", 1, 1, 2)], there, ZONES[0]) == {"small": 1 + 2 + 8}


def test_room_that_the_largest_shape_leaves_is_fragmented() -> None:
    """Hosts with 6 and 9 free vCPUs take one and two of 4: 3 of the 15 are left over, and 19 MiB of 25."""
    there = fleet([host(0, vcpu_claimed=2), host(1, vcpu=9, memory_mib=17)])
    assert fragmentation([Shape("tiny", 1, 1, 1), Shape("large", 4, 2, 1)], there, ZONES[0]) == {
        "vcpu": pytest.approx(1 - 12 / 15),
        "memory_mib": pytest.approx(1 - 6 / 25),
    }


def test_nothing_free_is_not_fragmented_and_what_no_shape_fits_is_wholly() -> None:
    full = fleet([host(0, vcpu_claimed=8, memory_claimed_mib=4)], holds={POOLS[0]: [Hold(HOSTS[0], 4, 4)]})
    assert fragmentation([Shape("tiny", 1, 1, 1)], full, ZONES[0]) == {"vcpu": 0.0, "memory_mib": 1.0}
    assert fragmentation([], fleet([host(0)]), ZONES[0]) == {"vcpu": 1.0, "memory_mib": 1.0}
    assert counts_of([Shape("tiny", 1, 1, 1)], full, uid(1, 99)) == {"tiny": 0}
