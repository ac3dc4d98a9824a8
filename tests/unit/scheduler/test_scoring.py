"""Which host comes first: the core against a plain greedy choice, one ask after another over all hosts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Apart, Ask, Group, NoRoom, Plan, Policy
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.layout import Host
from scheduler.core.place import place
from scheduler.core.slots import Slots
from tests.unit.scheduler.fleets import (
    AZ1,
    GOLD,
    HOSTS,
    POOLS,
    STORES,
    ZONES,
    apart,
    ask,
    asks,
    fleet,
    host,
    spread_out,
    store,
    uid,
)

RACK_A, RACK_B = ("rack", "a"), ("rack", "b")


def placed(batch: Sequence[Ask], there: Fleet, policy: Policy = Policy.PACK, seed: int = 1) -> Plan:
    answer = place(batch, there, policy=policy, seed=seed)
    assert isinstance(answer, Plan), answer
    return answer


# --- one greedy choice after another ---


def greedy_scores(batch: Sequence[Ask], there: Fleet, policy: Policy) -> list[dict[str, float]]:
    """The score of each choice, by trying every host for every ask. Limits are powers of two, so shares are exact."""
    pool = batch[0].pools[0] if batch[0].pools else None
    held = {hold.host_id: hold for hold in there.listed_holds().get(pool, [])} if pool else {}
    got: Counter[UUID] = Counter()
    found = []
    for wanted in batch:
        scores = [_score(wanted, row, held.get(row.id, Hold(row.id, 0, 0)), got[row.id], policy) for row in there.hosts]
        best = min((score, row.id) for score, row in zip(scores, there.hosts, strict=True) if score is not None)
        got[best[1]] += 1
        members, labels, guarantee, usage = best[0]
        levels = 63 if policy is Policy.PACK else 65535
        found.append({"members": members, "labels": labels, "guarantee": guarantee, "usage": round(usage / levels, 3)})
    return found


def _score(wanted: Ask, row: Host, hold: Hold, got: int, policy: Policy) -> tuple[int, int, int, int] | None:
    free = (row.vcpu_limit - row.vcpu_claimed, row.memory_limit_mib - row.memory_claimed_mib)
    limit = (row.vcpu_limit, row.memory_limit_mib)
    want = (wanted.vcpu, wanted.memory_mib)
    kept = (hold.vcpu, hold.memory_mib)
    new = [max(0, (got + 1) * want[i] - kept[i]) for i in (0, 1)]
    if any(new[i] > free[i] for i in (0, 1)):
        return None
    group = wanted.group
    members = group.members.count(row.id) + got if group else 0
    labels = sum(row.labels.get(k) != v for k, v in wanted.prefer) + sum(
        row.labels.get(k) == v for k, v in wanted.avoid
    )
    inside = all((got + 1) * want[i] <= kept[i] for i in (0, 1))
    partly = any(got * want[i] < kept[i] for i in (0, 1))
    guarantee = 0 if inside else 1 if partly else 2
    if policy is Policy.PACK:
        usage = int(min(free[i] / limit[i] for i in (0, 1)) * 63)
    else:
        usage = int((1 - min((free[i] - new[i]) / limit[i] for i in (0, 1))) * 65535)
    return members, labels, guarantee, usage


@st.composite
def roomy_fleets(draw: st.DrawFn) -> Fleet:
    limits = st.sampled_from([8, 16, 32])
    rows = []
    for number in range(draw(st.integers(1, 6))):
        vcpu, memory = draw(limits), draw(limits)
        rows.append(
            host(
                number,
                vcpu=vcpu,
                memory_mib=memory,
                vcpu_claimed=draw(st.integers(0, vcpu)),
                memory_claimed_mib=draw(st.integers(0, memory)),
                labels=draw(st.sampled_from([{}, {"rack": "a"}, {"rack": "b"}])),
            )
        )
    kept = draw(st.lists(st.sampled_from(rows), unique_by=lambda row: row.id))
    amounts = st.integers(0, 4)
    return fleet(rows, holds={POOLS[0]: [Hold(row.id, draw(amounts), draw(amounts)) for row in kept]})


@settings(max_examples=300, deadline=None)
@given(
    there=roomy_fleets(),
    count=st.integers(1, 20),
    shape=st.sampled_from([(1, 1), (2, 1), (1, 3)]),
    group=st.sampled_from(
        [None, Group("g", Apart.PREFERRED), Group("g", Apart.PREFERRED, members=(HOSTS[0], HOSTS[0]))]
    ),
    pools=st.sampled_from([(), (POOLS[0],)]),
    prefer=st.sampled_from([(), (RACK_A,)]),
    avoid=st.sampled_from([(), (RACK_B,)]),
    policy=st.sampled_from(Policy),
    seed=st.integers(0, 9),
)
def test_a_batch_scores_as_one_greedy_choice_after_another(
    there: Fleet, count: int, shape: tuple[int, int], policy: Policy, seed: int, **wishes: object
) -> None:
    batch = asks(count, *shape, **wishes)
    answer = place(batch, there, policy=policy, seed=seed)
    if isinstance(answer, Plan):
        assert [one.why["score"] for one in answer.placements] == greedy_scores(batch, there, policy)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_best_slots_are_the_smallest_of_all(data: st.DataObject) -> None:
    depths = data.draw(st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=8))
    table = [[sum(steps[: at + 1]) for at in range(len(steps))] for steps in depths]  # keys that never fall
    taken = [data.draw(st.integers(0, len(row))) for row in table]
    wanted = data.draw(st.integers(1, 30))

    def keys(entries: np.ndarray | slice, depth: np.ndarray | int) -> np.ndarray:
        some = np.arange(len(table))[entries]
        pairs = zip(some.tolist(), np.broadcast_to(depth, some.shape).tolist(), strict=True)
        return np.array([(table[e][d] if d < len(table[e]) else 999) * 100 + e for e, d in pairs], np.int64)

    slots = Slots(keys, np.array([len(row) for row in table]))
    slots.take(np.repeat(np.arange(len(taken)), taken))
    everything = sorted((key * 100 + entry, entry) for entry, row in enumerate(table) for key in row[taken[entry] :])
    entries, found = slots.best(wanted)
    assert [*zip(found.tolist(), entries.tolist(), strict=True)] == everything[:wanted]


# --- policies and wishes, one by one ---


def test_pack_fills_the_fullest_host_first() -> None:
    there = fleet([host(0), host(1, vcpu_claimed=4), host(2, vcpu_claimed=2)])
    assert spread_out(placed(asks(6), there)) == {1: 4, 2: 2}


def test_spread_evens_out_the_scarcer_resource() -> None:
    there = fleet([host(0), host(1, memory_claimed_mib=4), host(2, vcpu_claimed=2)])
    assert spread_out(placed(asks(6), there, Policy.SPREAD)) == {0: 4, 2: 2}


def test_equal_hosts_come_in_an_order_that_the_seed_gives() -> None:
    there = fleet([host(number) for number in range(30)])
    chosen = [spread_out(placed(asks(1), there, policy, seed)) for policy in Policy for seed in range(20)]
    assert len({next(iter(one)) for one in chosen}) > 8


def test_the_same_arguments_give_the_same_plan() -> None:
    there = fleet([host(number) for number in range(30)], [store(n) for n in range(4)])
    batch = [*asks(3, 2, 2, group=apart()), *asks(40, start=10)]
    assert placed(batch, there, seed=4) == placed(batch, there, seed=4)
    assert placed(batch, there, seed=4) != placed(batch, there, seed=5)


def test_a_group_that_must_stay_apart_gets_a_host_each() -> None:
    there = fleet([host(number) for number in range(3)])
    assert set(spread_out(placed(asks(3, group=apart()), there)).values()) == {1}


def test_standing_members_keep_new_ones_away() -> None:
    there = fleet([host(number) for number in range(3)])
    group = apart(members=(HOSTS[0], HOSTS[2]))
    assert spread_out(placed(asks(1, group=group), there)) == {1: 1}


def test_a_group_that_prefers_to_stay_apart_shares_when_it_must() -> None:
    there = fleet([host(0, vcpu_claimed=5), host(1), host(2)])
    group = Group("workers", Apart.PREFERRED)
    assert spread_out(placed(asks(7, group=group), there)) == {0: 3, 1: 2, 2: 2}


def test_control_planes_are_split_over_their_zones() -> None:
    there = fleet([host(0), host(1), host(2), host(3, zone=1), host(4, zone=2)], [store()])
    group = apart(over_zones=True)
    plan = placed(asks(3, zones=tuple(ZONES), group=group), there)
    assert {one.zone_id for one in plan.placements} == set(ZONES)


def test_zones_are_evened_out_with_the_members_that_stand() -> None:
    rows = [host(n, zone=n // 4, vcpu=64, memory_mib=64) for n in range(12)]
    group = Group("workers", Apart.PREFERRED, over_zones=True, members=(HOSTS[0], HOSTS[1], HOSTS[4]))
    plan = placed(asks(6, zones=tuple(ZONES), group=group), fleet(rows, [store()]))
    assert Counter(one.zone_id for one in plan.placements) == {ZONES[0]: 1, ZONES[1]: 2, ZONES[2]: 3}


def test_a_full_zone_does_not_keep_the_rest_from_the_others() -> None:
    rows = [host(0, vcpu=1), host(1, zone=1, vcpu=64, memory_mib=64)]
    group = Group("workers", Apart.PREFERRED, over_zones=True)
    plan = placed(asks(6, zones=tuple(ZONES[:2]), group=group), fleet(rows, [store()]))
    assert spread_out(plan) == {0: 1, 1: 5}


def test_preferred_labels_win_over_policy_and_avoided_ones_lose() -> None:
    there = fleet([host(0, vcpu_claimed=6), host(1, labels={"rack": "a"}), host(2, labels={"rack": "b"})])
    assert spread_out(placed(asks(1, prefer=(RACK_A,)), there)) == {1: 1}
    assert spread_out(placed(asks(11, prefer=(RACK_A,), avoid=(RACK_B,)), there)) == {1: 8, 0: 2, 2: 1}


def test_room_of_the_guarantee_is_used_before_room_that_others_could_use() -> None:
    there = fleet(
        [host(0, vcpu_claimed=6), host(1, vcpu_claimed=4, memory_claimed_mib=4)],
        holds={POOLS[0]: [Hold(HOSTS[1], 4, 4)]},
    )
    assert spread_out(placed(asks(5, pools=(POOLS[0],)), there)) == {1: 4, 0: 1}
    assert spread_out(placed(asks(2), there)) == {0: 2}


def test_a_hold_serves_its_pool_alone_even_on_a_full_host() -> None:
    there = fleet([host(0, vcpu_claimed=8, memory_claimed_mib=8)], holds={POOLS[0]: [Hold(HOSTS[0], 2, 2)]})
    assert spread_out(placed(asks(2, pools=(POOLS[0],)), there)) == {0: 2}
    for batch in (asks(1), asks(1, pools=(POOLS[1],)), asks(3, pools=(POOLS[0],))):
        assert not isinstance(place(batch, there, policy=Policy.PACK, seed=1), Plan)


def test_two_pools_of_one_batch_do_not_share_a_hold() -> None:
    there = fleet(
        [host(0, vcpu_claimed=8, memory_claimed_mib=8)], holds={POOLS[n]: [Hold(HOSTS[0], 1, 1)] for n in (0, 1)}
    )
    batch = [*asks(1, pools=(POOLS[0],)), *asks(1, start=5, pools=(POOLS[1],))]
    assert spread_out(placed(batch, there)) == {0: 2}
    assert not isinstance(place(asks(2, pools=(POOLS[0],)), there, policy=Policy.PACK, seed=1), Plan)


# --- datastores ---


def test_disks_go_where_most_space_is() -> None:
    there = fleet([host(0, datastores=tuple(STORES[:3]))], [store(0, 10), store(1, 30), store(2, 20, accessible=False)])
    plan = placed(asks(4, 1, 1, 6), there)
    assert Counter(one.datastore_id for one in plan.placements) == {STORES[1]: 4}


def test_a_disk_moves_over_for_a_host_that_has_no_other_datastore() -> None:
    there = fleet(
        [host(0, vcpu=2, datastores=(STORES[0], STORES[1])), host(1, vcpu=2, datastores=(STORES[0],))],
        [store(0, 3), store(1, 2)],
    )
    for seed in range(6):
        plan = placed(asks(4, 1, 1, 1), there, Policy.SPREAD, seed)
        assert Counter(one.datastore_id for one in plan.placements)[STORES[1]] >= 1


def test_hosts_whose_datastores_are_full_do_not_end_the_choice() -> None:
    """The best hosts by policy are all refused a disk in one round; the others still get theirs."""
    rows = [host(n, vcpu=8, vcpu_claimed=4, datastores=(STORES[n % 2],)) for n in range(4)]
    there = fleet([*rows, host(4, datastores=(STORES[2],))], [store(0, 1), store(1, 0), store(2, 8)])
    assert spread_out(placed(asks(5), there))[4] == 4


def test_a_datastore_serves_only_hosts_of_its_zones() -> None:
    there = fleet([host(0), host(1, zone=1)], [store(0, zones=(ZONES[1],))])
    assert not isinstance(place([ask()], there, policy=Policy.PACK, seed=1), Plan)
    assert spread_out(placed([ask(zones=tuple(ZONES))], there)) == {1: 1}


def test_the_storage_class_is_kept() -> None:
    there = fleet(
        [host(0, datastores=tuple(STORES[:2]))],
        [store(0, 900), store(1, 5, storage_classes=(*GOLD, (ZONES[0], "fast")))],
    )
    plan = placed([ask(storage_class="gold")], there)
    assert plan.placements[0].datastore_id == STORES[1]
    assert not isinstance(place([ask(storage_class="tape")], there, policy=Policy.PACK, seed=1), Plan)


@pytest.mark.parametrize("effort", [0, 100_000])
def test_a_storage_class_is_what_the_hosts_own_zone_says(effort: int) -> None:
    """Two zones share two datastores, and each calls another one gold."""
    there = fleet(
        [host(0, datastores=tuple(STORES[:2])), host(1, zone=1, datastores=tuple(STORES[:2]))],
        [store(0, 3, storage_classes=GOLD[:1]), store(1, 2, storage_classes=GOLD[1:])],
    )
    wanted = asks(5, storage_class="gold", zones=tuple(ZONES))
    plan = place(wanted, there, policy=Policy.PACK, seed=1, effort=effort)
    assert isinstance(plan, Plan)
    assert Counter((HOSTS.index(one.host_id), one.datastore_id) for one in plan.placements) == {
        (0, STORES[0]): 3,
        (1, STORES[1]): 2,
    }
    one_more = place([*wanted, ask(9, storage_class="gold", zones=tuple(ZONES))], there, policy=Policy.PACK, seed=1)
    assert isinstance(one_more, NoRoom)
    assert one_more.proven


def test_another_class_is_another_layout() -> None:
    there = fleet([host(0)], [store(0, 9)])
    assert not isinstance(place([ask(storage_class="gold")], there, policy=Policy.PACK, seed=1), Plan)
    changed = there.with_changes(datastores=[store(0, 9, storage_classes=GOLD)])
    assert isinstance(place([ask(storage_class="gold")], changed, policy=Policy.PACK, seed=1), Plan)


def test_an_ask_without_a_disk_needs_no_datastore() -> None:
    there = fleet([host(0, datastores=())], [])
    assert placed([ask(disk_gib=None)], there).placements[0].datastore_id is None


# --- several roles ---


def test_control_planes_take_the_hosts_where_workers_lose_least() -> None:
    """Anywhere else the control plane would cost the second worker its host."""
    there = fleet([host(0, vcpu_claimed=4), host(1, vcpu=4), host(2, vcpu=3)])
    batch = [*asks(1, 1, 1, group=apart(), role="control-plane"), *asks(2, 4, 4, start=10, role="workers")]
    for policy in Policy:
        for seed in range(4):
            plan = placed(batch, there, policy, seed)
            assert plan.placements[0].host_id == HOSTS[2]


def test_a_small_batch_of_many_shapes_is_packed_exactly() -> None:
    """Best first leaves a rest on each host; 4 + 3 + 1 and 5 + 3 is the only way."""
    there = fleet([host(0, memory_mib=99), host(1, memory_mib=99)])
    batch = [ask(at, vcpu, 1, role=str(at)) for at, vcpu in enumerate((3, 5, 1, 4, 3))]
    assert set(spread_out(placed(batch, there)).values()) == {2, 3}


def test_a_small_batch_on_unequal_hosts_is_packed_exactly() -> None:
    batch = [*asks(3, 3, 1, role="threes"), *asks(2, 5, 1, start=10, role="fives")]
    assert spread_out(placed(batch, fleet([host(0, vcpu=11), host(1, vcpu=8)]))) == {0: 3, 1: 2}


def test_a_small_batch_finds_the_only_way_to_lay_its_disks() -> None:
    there = fleet(
        [host(0, vcpu=12, datastores=tuple(STORES[:2])), host(1, vcpu=9, datastores=(STORES[1],))],
        [store(0, 2), store(1, 1)],
    )
    batch = [ask(0, 6, 1, 1, role="small disk"), ask(1, 5, 1, 2, role="large disk")]
    assert [one.datastore_id for one in placed(batch, there).placements] == [STORES[1], STORES[0]]
    answer = place(batch, there, policy=Policy.PACK, seed=1, effort=0)
    assert isinstance(answer, Plan) or not answer.proven


def test_placements_come_in_the_order_of_the_asks() -> None:
    there = fleet([host(number) for number in range(4)])
    batch = [ask(at, vcpu=1 + at % 3, role=str(at % 3)) for at in range(9)]
    assert [one.key for one in placed(batch, there).placements] == [one.key for one in batch]


def test_nothing_asked_is_a_plan_without_placements() -> None:
    assert placed([], fleet([host(0)])) == Plan(())


def test_a_key_asked_twice_and_a_group_told_two_ways_are_errors() -> None:
    there = fleet([host(0)])
    with pytest.raises(ValueError, match="key"):
        place([ask(1), ask(1)], there, policy=Policy.PACK, seed=1)
    with pytest.raises(ValueError, match="group"):
        place([ask(1, group=apart()), ask(2, group=Group("control-planes"))], there, policy=Policy.PACK, seed=1)


def test_a_fleet_without_hosts_refuses() -> None:
    assert not isinstance(place([ask()], fleet([], []), policy=Policy.PACK, seed=1), Plan)
    assert not isinstance(place([ask(zones=(uid(1, 99),))], fleet([host(0)]), policy=Policy.PACK, seed=1), Plan)
    assert not isinstance(place([ask(zones=())], fleet([host(0)]), policy=Policy.PACK, seed=1), Plan)
    assert (ZONES[0],) == AZ1


def test_each_role_of_a_batch_may_have_a_policy_of_its_own() -> None:
    """Four packed onto the fullest host that takes them, four spread over the hosts, in one decision."""
    there = fleet([host(n, vcpu=16, vcpu_claimed=n) for n in range(4)], [store(0, 1000)])
    packed = asks(4, role="packed", policy=Policy.PACK)
    spread = asks(4, start=10, role="spread")
    plan = placed([*packed, *spread], there, policy=Policy.SPREAD)
    hosts = [HOSTS.index(one.host_id) for one in plan.placements]
    assert hosts[:4] == [3] * 4
    assert len(set(hosts[4:])) > 1
    assert [one.why["policy"] for one in plan.placements] == ["pack"] * 4 + ["spread"] * 4
