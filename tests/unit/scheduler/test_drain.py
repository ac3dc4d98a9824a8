"""What a drain comes to: nobody is oversold on the way, everybody who could go goes, and guarantees come along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Ask, NoRoom, Policy, Shape
from scheduler.core.drain import drain, drain_zone, lose_zone
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.standing import Moved, Relocation, Standing
from tests.unit.scheduler.drains import asked, carried_out, oversold, standing_on, with_holds
from tests.unit.scheduler.fleets import (
    HOSTS,
    POOLS,
    STORES,
    ZONES,
    apart,
    ask,
    asks,
    fleet,
    groups_apart,
    host,
    roles,
    small_fleets,
    store,
    together,
    uid,
)
from tests.unit.scheduler.oracle import plan_exists, reaches

policies = st.sampled_from(Policy)
seeds = st.integers(0, 5)
often = settings(max_examples=200, deadline=None)


@often
@given(small_fleets(), st.data(), policies, seeds)
def test_a_drain_oversells_nothing_and_keeps_every_rule(
    there: Fleet, data: st.DataObject, policy: Policy, seed: int
) -> None:
    standing = data.draw(standing_on(there))
    going = set(data.draw(st.lists(st.sampled_from([row.id for row in there.hosts]), unique=True, min_size=1)))
    found = drain(there, standing, going, policy=policy, seed=seed)
    movers = {one.key: one for one in standing if one.host_id in going}
    assert Counter([one.key for one in (*found.moved, *found.left)]) == Counter(movers.keys())
    assert oversold(there, carried_out(there, standing, found.moved)) == []
    empty = there.without_hosts(going)
    for at, one in enumerate(found.moved):
        wanted = asked(there, standing, going, movers[one.key], found.moved[:at])
        _fair(empty, wanted, movers[one.key], one)
        _guaranteed(movers[one.key], one)


def _fair(there: Fleet, wanted: Ask, was: Standing, one: Moved) -> None:
    """Alone, and with no other host to go to, it would have gone there: that is all rules but room that others took."""
    elsewhere = {row.id for row in there.hosts} - {one.host_id}
    assert plan_exists([wanted], there.without_hosts(elsewhere), {was.key: was.datastore_id})
    row = next(row for row in there.hosts if row.id == one.host_id)
    assert one.zone_id == row.zone_id
    if wanted.disk_gib is None:
        assert (one.datastore_id, one.disk_gib) == (was.datastore_id, 0)
    else:
        lies = next(chosen for chosen in there.datastores if chosen.id == one.datastore_id)
        assert reaches(row, lies)
        assert one.disk_gib == (0 if lies.id == was.datastore_id and was.datastore_id else wanted.disk_gib)


def _guaranteed(was: Standing, one: Moved) -> None:
    for amount, eaten, carried, before in (
        (was.ask.vcpu, one.vcpu_eaten, one.vcpu_carried, was.vcpu_from_hold),
        (was.ask.memory_mib, one.memory_eaten_mib, one.memory_carried_mib, was.memory_from_hold_mib),
    ):
        assert 0 <= carried <= before
        assert eaten + carried <= amount
        assert carried == before or eaten + carried == amount  # no more goes back into a Hold than has to


@often
@given(small_fleets(), st.data(), policies, seeds)
def test_who_is_left_fits_nowhere_tried_one_by_one(
    there: Fleet, data: st.DataObject, policy: Policy, seed: int
) -> None:
    standing = data.draw(standing_on(there))
    going = set(data.draw(st.lists(st.sampled_from([row.id for row in there.hosts]), unique=True, min_size=1)))
    found = drain(there, standing, going, policy=policy, seed=seed)
    then = carried_out(there, standing, found.moved).without_hosts(going)
    by_key = {one.key: one for one in standing}
    for one in found.left:
        wanted = asked(there, standing, going, by_key[one.key], found.moved)
        assert not plan_exists([wanted], then, {one.key: by_key[one.key].datastore_id})
        assert one.refused.reasons[-1].left_hosts == 0


@often
@given(small_fleets(), roles(groups=groups_apart("group")), st.data(), policies, seeds)
def test_equal_vms_of_one_host_all_go_exactly_when_a_plan_exists(
    there: Fleet, batch: list[Ask], data: st.DataObject, policy: Policy, seed: int
) -> None:
    row = data.draw(st.sampled_from(there.hosts))
    lies = data.draw(st.sampled_from([None, *(one.id for one in there.datastores if reaches(row, one))]))
    pool = data.draw(st.sampled_from([None, POOLS[0]]))
    inside = data.draw(st.booleans()) and pool is not None
    standing = [
        Standing(one, row.id, lies, pool, one.vcpu if inside else 0, one.memory_mib if inside else 0) for one in batch
    ]
    found = drain(there, standing, [row.id], policy=policy, seed=seed)
    empty = there.without_hosts([row.id])
    wanted = [asked(there, standing, [row.id], one) for one in standing]
    assert (not found.left) == plan_exists(wanted, empty, {one.key: lies for one in batch})
    assert all(one.refused.proven for one in found.left)


@often
@given(small_fleets(), st.data(), policies, seeds)
def test_guarantees_of_a_drained_host_are_as_large_elsewhere(
    there: Fleet, data: st.DataObject, policy: Policy, seed: int
) -> None:
    standing = data.draw(standing_on(there, most_roles=1))
    going = set(data.draw(st.lists(st.sampled_from([row.id for row in there.hosts]), unique=True, min_size=1)))
    chunks = data.draw(st.sampled_from([{}, {POOLS[0]: Shape("small", 1, 1, 0)}]))
    found = drain(there, standing, going, policy=policy, seed=seed, chunks=chunks)
    by_key = {one.key: one for one in standing}
    wanted: Counter[tuple[UUID, str]] = Counter()
    for pool, holds in there.listed_holds().items():
        for hold in holds:
            if hold.host_id in going:
                wanted[pool, "vcpu"] += hold.vcpu
                wanted[pool, "memory_mib"] += hold.memory_mib
    for one in found.moved:
        was = by_key[one.key]
        if was.pool is not None:
            wanted[was.pool, "vcpu"] += was.vcpu_from_hold - one.vcpu_carried
            wanted[was.pool, "memory_mib"] += was.memory_from_hold_mib - one.memory_carried_mib
    new: list[Hold] = []
    for pool, anew in found.holds.items():
        if not isinstance(anew, NoRoom):
            new += anew
            assert sum(hold.vcpu for hold in anew) == wanted[pool, "vcpu"]
            assert sum(hold.memory_mib for hold in anew) == wanted[pool, "memory_mib"]
            assert not {hold.host_id for hold in anew} & going
    assert {pool for (pool, _), amount in wanted.items() if amount} <= set(found.holds)
    assert oversold(there, with_holds(carried_out(there, standing, found.moved), new)) == []


# --- one by one ---


def moved(found: Relocation) -> dict[int, int]:
    """By the VM's number the number of the host that it goes to."""
    return {one.key.int & 0xFFFF: HOSTS.index(one.host_id) for one in found.moved}


def run(there: Fleet, standing: Sequence[Standing], *going: int, **options: object) -> Relocation:
    return drain(there, standing, [HOSTS[one] for one in going], **{"policy": Policy.PACK, "seed": 1} | options)


def test_a_disk_stays_where_the_new_host_reaches_it_and_is_laid_anew_elsewhere() -> None:
    """Datastore 0 is full; the host that reaches it has room for one of the two."""
    there = fleet(
        [host(0), host(1, vcpu=1), host(2, datastores=(STORES[1],))], [store(0, 10, claimed_gib=10), store(1, 10)]
    )
    found = run(there, [Standing(one, HOSTS[0], STORES[0]) for one in asks(2, 1, 1, 5)], 0)
    assert {(HOSTS.index(one.host_id), one.datastore_id, one.disk_gib) for one in found.moved} == {
        (1, STORES[0], 0),
        (2, STORES[1], 5),
    }


def test_what_movers_leave_behind_serves_nobody_before_they_have_gone() -> None:
    """Both datastores are full of the movers' own disks."""
    there = fleet(
        [host(0, datastores=(STORES[0],)), host(1, datastores=(STORES[1],)), host(2, zone=1, datastores=())],
        [store(0, 5, claimed_gib=5), store(1, 5, claimed_gib=5)],
    )
    found = run(there, [Standing(ask(0, 1, 1, 5), HOSTS[0], STORES[0])], 0)
    (left,) = found.left
    assert left.refused.tightest is not None
    assert left.refused.tightest.filter == "datastore"
    assert not found.fits


def test_members_that_stand_elsewhere_keep_movers_away_or_draw_them() -> None:
    there = fleet([host(0), host(1, vcpu_claimed=4), host(2), host(3, vcpu_claimed=2)])
    keep_off = [Standing(ask(0, group=apart()), HOSTS[0], STORES[0]), Standing(ask(1, group=apart()), HOSTS[1])]
    assert moved(run(there, keep_off, 0)) == {0: 3}
    join = [Standing(ask(0, group=together()), HOSTS[0], STORES[0]), Standing(ask(1, group=together()), HOSTS[2])]
    assert moved(run(there, join, 0)) == {0: 2}


def test_a_group_that_must_share_a_host_goes_to_one_where_all_its_shapes_fit() -> None:
    there = fleet([host(0), host(1, vcpu_claimed=4), host(2, vcpu_claimed=1)])
    group = together()
    standing = [
        *(Standing(one, HOSTS[0], STORES[0]) for one in asks(2, 2, 1, group=group, role="a")),
        *(Standing(one, HOSTS[0], STORES[0]) for one in asks(3, 1, 1, start=5, group=group, role="b")),
    ]
    assert set(moved(run(there, standing, 0)).values()) == {2}


def test_what_is_within_a_guarantee_moves_into_free_room_and_its_hold_stays() -> None:
    there = fleet([host(0), host(1)], holds={POOLS[0]: [Hold(HOSTS[1], 2, 2)]})
    found = run(there, [Standing(ask(0, 2, 2), HOSTS[0], STORES[0], POOLS[0], 2, 2)], 0)
    (one,) = found.moved
    assert (one.vcpu_eaten, one.memory_eaten_mib, one.vcpu_carried, one.memory_carried_mib) == (0, 0, 2, 2)
    assert found.holds == {}


def test_a_guarantee_that_cannot_come_along_is_held_anew() -> None:
    """Host 1 has the pool's Hold and no free room, host 2 free room that does not reach the disk's class."""
    there = fleet([host(0), host(1, vcpu_claimed=8), host(2, networks=())], holds={POOLS[0]: [Hold(HOSTS[1], 2, 0)]})
    wanted = ask(0, 2, 2, networks=host(0).networks)
    found = run(there, [Standing(wanted, HOSTS[0], STORES[0], POOLS[0], 2, 2)], 0)
    (one,) = found.moved
    assert (one.host_id, one.vcpu_eaten, one.vcpu_carried, one.memory_carried_mib) == (HOSTS[1], 2, 0, 2)
    assert found.holds == {POOLS[0]: [Hold(HOSTS[2], 2, 0)]}


def test_a_hold_in_one_piece_is_placed_before_small_vms_crowd_it_out() -> None:
    there = fleet([host(0), host(1, vcpu=4, vcpu_claimed=1), host(2, vcpu=4)], holds={POOLS[0]: [Hold(HOSTS[0], 4, 4)]})
    standing = [Standing(one, HOSTS[0], STORES[0]) for one in asks(3)]
    found = run(there, standing, 0, policy=Policy.SPREAD)
    assert found.fits
    assert found.holds == {POOLS[0]: [Hold(HOSTS[2], 4, 4)]}
    assert set(moved(found).values()) == {1}
    less = run(there.without_hosts([HOSTS[2]]), standing, 0, policy=Policy.SPREAD)
    assert not less.fits
    assert isinstance(less.holds[POOLS[0]], NoRoom)
    assert not less.left


def test_a_zone_is_emptied_into_the_others_that_the_asks_allow() -> None:
    there = fleet([host(0), host(1, zone=1), host(2, zone=2)], [store()], holds={POOLS[0]: [Hold(HOSTS[0], 1, 1)]})
    narrow = Standing(ask(0), HOSTS[0], STORES[0])
    wide = Standing(ask(1, zones=(ZONES[0], ZONES[2])), HOSTS[0], STORES[0])
    found = drain_zone(there, [narrow, wide], ZONES[0], policy=Policy.PACK, seed=1)
    assert moved(found) == {1: 2}
    assert [one.key for one in found.left] == [narrow.key]
    assert found.holds == {}
    told = drain_zone(there, [narrow, wide], ZONES[0], policy=Policy.PACK, seed=1, zones=[ZONES[0], ZONES[1]])
    assert moved(told) == {0: 1, 1: 1}


def test_the_loss_of_a_zone_eats_the_room_that_others_keep_for_it() -> None:
    spare = uid(5, 99)
    there = fleet(
        [host(0), host(1, zone=1, vcpu_claimed=8, memory_claimed_mib=8)],
        [store()],
        holds={spare: [Hold(HOSTS[1], 2, 2)]},
    )
    standing = [Standing(one, HOSTS[0], STORES[0], POOLS[0], 1, 1) for one in asks(3, zones=tuple(ZONES[:2]))]
    assert len(lose_zone(there, standing, ZONES[0], policy=Policy.PACK, seed=1).left) == 3
    keys = [one.key for one in standing]
    found = lose_zone(there, standing, ZONES[0], policy=Policy.PACK, seed=1, pools=dict.fromkeys(keys[:2], (spare,)))
    assert moved(found) == {0: 1, 1: 1}
    assert [(one.vcpu_eaten, one.vcpu_carried) for one in found.moved] == [(1, 0), (1, 0)]
    assert [one.key for one in found.left] == keys[2:]


def test_hosts_that_are_not_known_and_nobody_to_move_are_no_matter() -> None:
    there = fleet([host(0), host(1)])
    assert run(there, [Standing(ask(0), HOSTS[0])], 40) == Relocation([], [], {})
    assert run(there, [], 0, 1).fits
