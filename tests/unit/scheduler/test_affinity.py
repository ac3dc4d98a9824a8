"""Members of a group that must, or would rather, share a host or a zone: against all plans, and one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Apart, Ask, Group, Level, NoRoom, Plan, Policy, Together
from scheduler.core.fleet import Fleet
from scheduler.core.place import place
from scheduler.core.whatif import how_many
from tests.unit.scheduler.fleets import (
    HOSTS,
    STORES,
    ZONES,
    ask,
    asks,
    fleet,
    groups_together,
    host,
    roles,
    small_fleets,
    spread_out,
    store,
    together,
)
from tests.unit.scheduler.oracle import broken_rules, most_that_fit, place_of, plan_exists

policies = st.sampled_from(Policy)
seeds = st.integers(0, 5)


@st.composite
def affine(draw: st.DrawFn) -> list[Ask]:
    """One role, or two that are of one group or of two."""
    batch: list[Ask] = draw(roles(most=3, groups=groups_together("shards")))
    if draw(st.booleans()):
        same = [one.group for one in batch[:1] if one.group]
        batch += draw(roles(start=100, most=3, groups=draw(st.sampled_from([same, groups_together("others")]))))
    return draw(st.permutations(batch))


@settings(max_examples=400, deadline=None)
@given(small_fleets(), affine(), policies, seeds)
def test_affinity_fits_exactly_when_a_plan_exists(there: Fleet, batch: list[Ask], policy: Policy, seed: int) -> None:
    answer = place(batch, there, policy=policy, seed=seed)
    assert isinstance(answer, Plan) == plan_exists(batch, there)
    if isinstance(answer, NoRoom):
        assert answer.proven
    else:
        assert broken_rules(batch, there, answer) == []


@settings(max_examples=300, deadline=None)
@given(small_fleets(), roles(groups=groups_together("shards")), policies, seeds)
def test_one_role_with_affinity_needs_no_search(there: Fleet, batch: list[Ask], policy: Policy, seed: int) -> None:
    most = most_that_fit(batch, there)
    answer = place(batch, there, policy=policy, seed=seed, effort=0)
    assert isinstance(answer, Plan) == (most == len(batch))
    assert how_many(batch[0], there, most=len(batch)) == most
    if isinstance(answer, NoRoom):
        assert answer.proven
        assert answer.placed == most


@settings(max_examples=300, deadline=None)
@given(small_fleets(), roles(groups=groups_together("shards")), policies, seeds)
def test_who_would_be_together_is_parted_only_when_all_do_not_fit_in_one_place(
    there: Fleet, batch: list[Ask], policy: Policy, seed: int
) -> None:
    group = batch[0].group
    answer = place(batch, there, policy=policy, seed=seed, effort=0)
    if group is None or not isinstance(answer, Plan):
        return
    must = [replace(one, group=replace(group, together=Together.REQUIRED)) for one in batch if group.apart is None]
    if group.members or not must or not plan_exists(must, there):
        return
    rows = {row.id: row for row in there.hosts}
    assert len({place_of(group, rows[one.host_id]) for one in answer.placements}) == 1


@settings(max_examples=200, deadline=None)
@given(small_fleets(), roles(groups=groups_together("shards")), policies, seeds)
def test_the_score_of_affinity_counts_members_elsewhere(
    there: Fleet, batch: list[Ask], policy: Policy, seed: int
) -> None:
    group = batch[0].group
    answer = place(batch, there, policy=policy, seed=seed, effort=0)
    if group is None or not isinstance(answer, Plan):
        return
    rows = {row.id: row for row in there.hosts}
    scores = [one.why["score"] for one in answer.placements]
    if group.together is Together.REQUIRED:
        assert all("elsewhere" not in score for score in scores)
        return
    members = [place_of(group, rows[one]) for one in group.members if one in rows]
    for one, score in zip(answer.placements, scores, strict=True):
        mine = place_of(group, rows[one.host_id])
        assert score["elsewhere"] == sum(member != mine for member in members)
        members.append(mine)


@settings(max_examples=200, deadline=None)
@given(small_fleets(), roles(most=1, groups=groups_together("shards")), policies, seeds)
def test_one_more_that_would_be_together_goes_where_most_members_are(
    there: Fleet, batch: list[Ask], policy: Policy, seed: int
) -> None:
    (wanted,) = batch
    group = wanted.group
    answer = place(batch, there, policy=policy, seed=seed)
    if group is None or group.together is Together.REQUIRED or not isinstance(answer, Plan):
        return
    rows = {row.id: row for row in there.hosts}
    members = Counter(place_of(group, rows[one]) for one in group.members if one in rows)
    able = [row for row in there.hosts if plan_exists(batch, there.without_hosts(set(rows) - {row.id}))]
    assert members[place_of(group, rows[answer.placements[0].host_id])] == max(
        members[place_of(group, row)] for row in able
    )


# --- one by one ---


def placed(batch: list[Ask], there: Fleet, policy: Policy = Policy.PACK, seed: int = 1) -> Plan:
    answer = place(batch, there, policy=policy, seed=seed)
    assert isinstance(answer, Plan), answer
    return answer


def test_a_group_that_must_share_a_host_passes_by_fuller_ones_that_cannot_take_all() -> None:
    there = fleet([host(0, vcpu_claimed=5), host(1), host(2, vcpu_claimed=2)])
    for policy in Policy:
        assert spread_out(placed(asks(5, group=together()), there, policy)) == {2 if policy is Policy.PACK else 1: 5}


def test_a_group_that_must_share_a_host_looks_at_its_disks_too() -> None:
    there = fleet([host(0, vcpu_claimed=2), host(1, datastores=(STORES[1],))], [store(0, 3), store(1, 4)])
    assert spread_out(placed(asks(4, group=together()), there)) == {1: 4}


def test_standing_members_draw_the_others_to_their_host() -> None:
    there = fleet([host(0), host(1), host(2)])
    for how in Together:
        assert spread_out(placed(asks(3, group=together(how=how, members=(HOSTS[2],))), there)) == {2: 3}


def test_a_group_in_one_zone_may_keep_its_hosts_apart() -> None:
    there = fleet([host(0), host(1), host(2, zone=1), host(3, zone=1), host(4, zone=1)], [store()])
    group = together(level=Level.ZONE, apart=Apart.REQUIRED)
    assert spread_out(placed(asks(3, zones=tuple(ZONES), group=group), there)) == {2: 1, 3: 1, 4: 1}


def test_what_does_not_fit_beside_the_others_goes_where_most_of_the_rest_fits() -> None:
    there = fleet([host(0, vcpu=5), host(1, vcpu=7), host(2, vcpu_claimed=6), host(3, vcpu=1)])
    plan = placed(asks(9, group=together(how=Together.PREFERRED)), there)
    assert spread_out(plan) == {1: 7, 2: 2}
    assert [one.why["score"]["elsewhere"] for one in plan.placements] == [0] * 7 + [7, 7]


def test_who_would_be_together_goes_beside_members_before_where_all_fit() -> None:
    there = fleet([host(0), host(1, vcpu=1), host(2)])
    plan = placed(asks(3, group=together(how=Together.PREFERRED, members=(HOSTS[1],))), there, Policy.SPREAD)
    assert sorted(spread_out(plan).values()) == [1, 2]
    assert spread_out(plan)[1] == 1


@pytest.mark.parametrize("level", Level)
def test_trying_all_ways_parts_nobody_either(level: Level) -> None:
    """Each role fits alone, and both would if they could part."""
    there = fleet([host(0), host(1, zone=1)], [store()])
    group = together(level=level)
    batch = [
        *asks(1, 5, 1, zones=tuple(ZONES), group=group, role="shards"),
        *asks(2, 2, 1, start=9, zones=tuple(ZONES), group=group, role="logs"),
    ]
    answer = place(batch, there, policy=Policy.PACK, seed=1)
    assert isinstance(answer, NoRoom)
    assert answer.proven
    assert not plan_exists(batch, there)


def test_two_roles_of_one_group_go_to_the_host_where_both_fit() -> None:
    there = fleet([host(n, vcpu=6 + n) for n in range(30)] + [host(40, vcpu=40, memory_mib=40)])
    batch = [*asks(3, 4, 4, role="shards", group=together()), *asks(7, 3, 3, start=9, role="logs", group=together())]
    assert spread_out(placed(batch, there)) == {40: 10}


def test_two_roles_of_one_group_go_to_the_zone_where_both_fit() -> None:
    there = fleet([host(0), host(1, zone=1), host(2, zone=1), host(3, zone=2, vcpu=9)], [store()])
    group = together(level=Level.ZONE)
    batch = [
        *asks(2, 4, 4, zones=tuple(ZONES), group=group, role="shards"),
        *asks(2, 3, 3, start=9, zones=tuple(ZONES), group=group, role="logs"),
    ]
    answer = place(batch, there, policy=Policy.PACK, seed=1, effort=0)
    assert isinstance(answer, Plan)
    assert {one.zone_id for one in answer.placements} == {ZONES[1]}


def test_a_refusal_names_affinity_when_only_other_hosts_have_room() -> None:
    there = fleet([host(0, vcpu=3), host(1, vcpu=2), host(2, vcpu=2)])
    answer = place(asks(5, group=together()), there, policy=Policy.PACK, seed=1)
    assert isinstance(answer, NoRoom)
    assert (answer.placed, answer.proven) == (3, True)
    assert answer.tightest is not None
    assert (answer.tightest.filter, answer.tightest.hosts_without) == ("affinity", 2)
    assert "together" in answer.tightest.sentence


def test_members_parted_from_outside_are_joined_wherever_there_is_room() -> None:
    there = fleet([host(0, vcpu_claimed=8), host(1), host(2)])
    group = together(members=(HOSTS[0], HOSTS[1]))
    assert spread_out(placed(asks(2, group=group), there)) == {1: 2}


def test_members_must_not_be_apart_and_together_on_one_host() -> None:
    with pytest.raises(ValueError, match="both apart and together"):
        Group("shards", Apart.REQUIRED, together=Together.REQUIRED)
    Group("shards", Apart.REQUIRED, together=Together.REQUIRED, level=Level.ZONE)


def test_a_large_group_is_kept_together_quickly() -> None:
    rows = [
        host(n % 64, zone=n % 3, vcpu=8 + n % 5, memory_mib=64)._replace(id=UUID(int=10_000 + n)) for n in range(999)
    ]
    there = fleet(rows, [store(limit_gib=99999)])
    plan = placed(asks(700, 1, 1, zones=tuple(ZONES), group=together(level=Level.ZONE)), there)
    assert len({one.zone_id for one in plan.placements}) == 1
    alone = ask(group=together(how=Together.PREFERRED))
    assert isinstance(
        place([replace(alone, key=UUID(int=n)) for n in range(700)], there, policy=Policy.PACK, seed=1), Plan
    )
