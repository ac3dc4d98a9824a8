"""A guarantee is room on hosts: its sums are exact, and VMs of its shape find it whatever others do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import NoRoom, Plan, Policy, Shape
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.holds import largest_shape, place_holds, take_from
from scheduler.core.place import place
from scheduler.core.whatif import after, how_many
from tests.unit.scheduler.fleets import HOSTS, POOLS, ZONES, ask, asks, fleet, host

CHUNK = Shape("medium", 2, 4, 0)


def held(
    there: Fleet, vcpu: int, memory_mib: int, chunk: Shape = CHUNK, policy: Policy = Policy.PACK
) -> list[Hold] | NoRoom:
    return place_holds(
        vcpu=vcpu, memory_mib=memory_mib, chunk=chunk, zone_id=ZONES[0], fleet=there, policy=policy, seed=1
    )


def with_holds(there: Fleet, holds: list[Hold]) -> Fleet:
    """The fleet when these are written: counted in the claims of their hosts."""
    by_host = {hold.host_id: hold for hold in holds}
    rows = [
        row._replace(
            vcpu_claimed=row.vcpu_claimed + by_host[row.id].vcpu,
            memory_claimed_mib=row.memory_claimed_mib + by_host[row.id].memory_mib,
        )
        for row in there.hosts
        if row.id in by_host
    ]
    return there.with_changes(hosts=rows, holds={POOLS[0]: holds})


def test_whole_chunks_first_then_the_rest_of_one_resource_alone() -> None:
    found = held(fleet([host(number, vcpu=4, memory_mib=4) for number in range(4)]), 5, 8)
    assert not isinstance(found, NoRoom)
    assert sum(hold.vcpu for hold in found) == 5
    assert sum(hold.memory_mib for hold in found) == 8
    assert sum(hold.vcpu >= 2 and hold.memory_mib >= 4 for hold in found) == 2


def test_a_host_has_one_hold_of_a_pool() -> None:
    found = held(fleet([host(0, vcpu=16, memory_mib=64)]), 9, 20)
    assert found == [Hold(HOSTS[0], 9, 20)]


def test_a_sum_that_no_host_can_hold_is_refused() -> None:
    """8 vCPUs are free in the zone, one on each host: no chunk of 2 finds room."""
    answer = held(fleet([host(number, vcpu=1) for number in range(8)]), 2, 4)
    assert isinstance(answer, NoRoom)
    assert answer.tightest is not None
    assert answer.tightest.numbers == {"asked": 2, "largest_free": 1, "free_together": 8}


def test_a_guarantee_of_nothing_holds_nothing() -> None:
    assert held(fleet([host(0)]), 0, 0) == []


@pytest.mark.parametrize(
    ("vcpu", "memory_mib", "chunk"), [(-1, 1, CHUNK), (1, -1, CHUNK), (1, 1, Shape("none", 0, 1, 0))]
)
def test_amounts_below_zero_and_empty_chunks_are_errors(vcpu: int, memory_mib: int, chunk: Shape) -> None:
    with pytest.raises(ValueError, match="guarantee"):
        held(fleet([host(0)]), vcpu, memory_mib, chunk)


@settings(max_examples=150, deadline=None)
@given(
    limits=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 24)), min_size=1, max_size=5),
    vcpu=st.integers(0, 16),
    memory_mib=st.integers(0, 32),
    stranger=st.sampled_from([(1, 1), (3, 1), (1, 7)]),
    policy=st.sampled_from(Policy),
)
def test_others_can_neither_take_nor_fragment_a_guarantee(
    limits: list[tuple[int, int]], vcpu: int, memory_mib: int, stranger: tuple[int, int], policy: Policy
) -> None:
    there = fleet([host(number, vcpu=v, memory_mib=m) for number, (v, m) in enumerate(limits)])
    holds = held(there, vcpu, memory_mib, policy=policy)
    if isinstance(holds, NoRoom):
        return
    there = with_holds(there, holds)
    assert (sum(hold.vcpu for hold in holds), sum(hold.memory_mib for hold in holds)) == (vcpu, memory_mib)
    assert (there.vcpu_claimed <= there.vcpu_limit).all()
    assert (there.memory_claimed_mib <= there.memory_limit_mib).all()

    strangers = asks(how_many(ask(0, *stranger), there, most=200), *stranger, role="others")
    plan = place(strangers, there, policy=policy, seed=2)
    assert isinstance(plan, Plan)
    full = after(there, strangers, plan)
    chunks = min(vcpu // CHUNK.vcpu, memory_mib // CHUNK.memory_mib)
    mine = asks(chunks, CHUNK.vcpu, CHUNK.memory_mib, start=1000, pools=(POOLS[0],))
    assert isinstance(place(mine, full, policy=policy, seed=3), Plan)


FLAVORS = [Shape("small", 1, 2, 10), Shape("large", 4, 8, 10), Shape("huge", 64, 128, 10), Shape("medium", 2, 4, 10)]


def test_the_default_chunk_is_the_largest_flavor_that_the_guarantee_holds() -> None:
    there = fleet([host(0, vcpu_claimed=8)])
    for amounts, expected in (((8, 32), "large"), ((4, 7), "medium"), ((100, 300), "large"), ((0, 4), "small")):
        shape = largest_shape(FLAVORS, vcpu=amounts[0], memory_mib=amounts[1], zone_id=ZONES[0], fleet=there)
        assert shape is not None
        assert shape.name == expected


def test_no_chunk_where_no_flavor_fits_an_empty_host() -> None:
    there = fleet([host(0, zone=1), host(1, vcpu=1, memory_mib=1)])
    assert largest_shape(FLAVORS, vcpu=8, memory_mib=8, zone_id=ZONES[0], fleet=there) is None


def rows(*amounts: tuple[int, int]) -> list[Hold]:
    return [Hold(HOSTS[number], vcpu, memory) for number, (vcpu, memory) in enumerate(amounts)]


def test_a_part_of_a_guarantee_is_taken_in_whole_chunks_first() -> None:
    found = take_from(rows((2, 4), (1, 1), (4, 8)), vcpu=5, memory_mib=9, chunk=CHUNK)
    assert found == [Hold(HOSTS[1], 1, 1), Hold(HOSTS[2], 4, 8)]  # (2, 4) stays whole


def test_what_is_not_held_cannot_be_taken() -> None:
    assert take_from(rows((2, 4)), vcpu=3, memory_mib=0, chunk=CHUNK) is None
    assert take_from(rows((2, 4)), vcpu=0, memory_mib=5, chunk=CHUNK) is None
    assert take_from([], vcpu=1, memory_mib=0, chunk=CHUNK) is None
    assert take_from(rows((2, 4)), vcpu=0, memory_mib=0, chunk=CHUNK) == []


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=6),
    st.integers(0, 30),
    st.integers(0, 30),
)
def test_taking_a_part_is_exact_and_never_more_than_there_is(
    amounts: list[tuple[int, int]], vcpu: int, memory: int
) -> None:
    there = rows(*amounts)
    found = take_from(there, vcpu=vcpu, memory_mib=memory, chunk=CHUNK)
    enough = vcpu <= sum(v for v, _ in amounts) and memory <= sum(m for _, m in amounts)
    assert (found is not None) == enough
    if found is not None:
        has = {hold.host_id: hold for hold in there}
        assert (sum(hold.vcpu for hold in found), sum(hold.memory_mib for hold in found)) == (vcpu, memory)
        assert len({hold.host_id for hold in found}) == len(found)
        for hold in found:
            assert 0 <= hold.vcpu <= has[hold.host_id].vcpu
            assert 0 <= hold.memory_mib <= has[hold.host_id].memory_mib
