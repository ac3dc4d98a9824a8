"""A refusal says why: which filter removed how many hosts, the tightest limit, and what would fit instead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Ask, NoRoom, Plan, Policy, Shape
from scheduler.core.filters import FILTERS
from scheduler.core.fleet import Fleet
from scheduler.core.layout import Zone
from scheduler.core.nearest import with_nearest
from scheduler.core.place import place
from scheduler.core.why import as_json
from tests.unit.scheduler.fleets import (
    HOSTS,
    NETWORKS,
    STORES,
    ZONES,
    apart,
    ask,
    asks,
    fleet,
    host,
    roles,
    small_fleets,
    store,
)

SMALL, MEDIUM, LARGE = Shape("small", 1, 1, 1), Shape("medium", 2, 2, 1), Shape("large", 4, 4, 1)


def refused(batch: Sequence[Ask], there: Fleet, effort: int = 1000) -> NoRoom:
    answer = place(batch, there, policy=Policy.PACK, seed=1, effort=effort)
    assert isinstance(answer, NoRoom), answer
    return answer


def removed(answer: NoRoom) -> dict[str, int]:
    return {reason.filter: reason.removed_hosts for reason in answer.reasons if reason.removed_hosts}


def test_each_filter_counts_the_hosts_that_it_removed() -> None:
    rows = [
        host(0, zone=1),
        host(1, open=False),
        host(2, vcpu=1),
        host(3, memory_mib=1),
        host(4, datastores=(STORES[1],)),
        host(5, networks=()),
        host(6, labels={"rack": "b"}),
        host(7, labels={"rack": "a"}),
        host(8, datastores=(STORES[2],)),
    ]
    wanted = ask(
        vcpu=2,
        memory_mib=2,
        disk_gib=5,
        networks=(NETWORKS[0],),
        every_datastore=(STORES[0],),
        require=(("rack", "a"),),
        group=apart(members=(HOSTS[7],)),
    )
    answer = refused([wanted], fleet(rows, [store(0, 5), store(1, 4), store(2, 5)]))
    assert removed(answer) == {rule.name: 1 for rule in FILTERS if rule.name != "affinity"}
    assert [reason.left_hosts for reason in answer.reasons] == [8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert all(reason.sentence for reason in answer.reasons)


@pytest.mark.parametrize("wanted", [(NETWORKS[0],), (NETWORKS[1],), tuple(NETWORKS)])
def test_a_host_must_reach_every_network_of_an_ask(wanted: tuple[UUID, ...]) -> None:
    rows = [host(at, networks=nets) for at, nets in enumerate([(), (NETWORKS[0],), (NETWORKS[1],), tuple(NETWORKS)])]
    able = [row for row in rows if set(wanted) <= set(row.networks)]
    asked = asks(len(able), 8, every_network=wanted)
    found = place(asked, fleet(rows), policy=Policy.PACK, seed=1)
    assert isinstance(found, Plan)
    assert {one.host_id for one in found.placements} == {row.id for row in able}
    answer = refused(asks(len(able) + 1, 8, every_network=wanted), fleet(rows))
    assert removed(answer)["network"] == len(rows) - len(able)


@pytest.mark.parametrize("active", [True, False])
def test_a_zone_that_takes_nothing_new_closes_its_hosts(active: bool) -> None:
    there = fleet([host(0)], zones=[Zone(ZONES[0], "az1", active)])
    assert isinstance(place([ask()], there, policy=Policy.PACK, seed=1), Plan) == active


def test_counts_are_of_the_first_ask_that_found_no_host() -> None:
    answer = refused(asks(5, 2, 1, role="workers"), fleet([host(0), host(1, vcpu=4, open=False)]))
    assert (answer.asked, answer.placed, answer.role) == (5, 4, "workers")
    assert removed(answer) == {"open": 1, "cpu": 1}


def test_more_members_than_hosts_names_anti_affinity() -> None:
    answer = refused(asks(3, group=apart()), fleet([host(0), host(1)]))
    assert answer.placed == 2
    assert answer.tightest is not None
    assert (answer.tightest.filter, answer.tightest.hosts_without) == ("anti_affinity", 2)
    assert answer.tightest.numbers == {"hosts": 2}


def test_the_tightest_limit_comes_with_its_numbers() -> None:
    answer = refused([ask(vcpu=4)], fleet([host(0, vcpu_claimed=5), host(1, vcpu_claimed=6), host(2, open=False)]))
    assert answer.tightest is not None
    assert answer.tightest.filter == "cpu"
    assert answer.tightest.hosts_without == 2
    assert answer.tightest.numbers == {"asked": 4, "largest_free": 3, "free_together": 5}


def test_a_full_datastore_says_how_much_was_free() -> None:
    answer = refused([ask(disk_gib=50)], fleet([host(0)], [store(0, 100, claimed_gib=60), store(1, 400)]))
    assert answer.tightest is not None
    assert answer.tightest.filter == "datastore"
    assert answer.tightest.numbers == {"asked": 50, "largest_free": 40, "free_together": 40}


def test_overdrawn_hosts_have_no_room_rather_than_less_than_none() -> None:
    answer = refused([ask()], fleet([host(0, vcpu_claimed=20), host(1, vcpu_claimed=8)]))
    assert answer.tightest is not None
    assert answer.tightest.numbers["free_together"] == 0


@settings(max_examples=200, deadline=None)
@given(small_fleets(), roles(), st.integers(0, 3))
def test_the_filters_of_a_refusal_leave_no_host(there: Fleet, batch: list[Ask], seed: int) -> None:
    answer = place(batch, there, policy=Policy.SPREAD, seed=seed)
    if isinstance(answer, NoRoom):
        left = [len(there.hosts), *(reason.left_hosts for reason in answer.reasons)]
        assert left[-1] == 0
        assert [a - b for a, b in pairwise(left)] == [r.removed_hosts for r in answer.reasons]
        assert answer.tightest is not None
        json.dumps(as_json(answer))


def test_a_search_that_is_given_up_does_not_claim_proof() -> None:
    """12 disks of 10 shapes over 3 equal datastores, one GiB too many: no bound sees it at once."""
    there = fleet([host(0, vcpu=99, memory_mib=99, datastores=tuple(STORES[:3]))], [store(n, 30) for n in range(3)])
    batch = [ask(at, 1, 1, disk, role=str(at)) for at, disk in enumerate((11, 11, 11, 10, 10, 9, 8, 7, 6, 5, 2, 1))]
    assert not refused(batch, there, effort=10).proven
    assert not refused(batch, there, effort=0).proven


# --- nearest ---


def nearest(batch: Sequence[Ask], there: Fleet, **options: object) -> list[dict[str, object]]:
    answer = with_nearest(refused(batch, there), batch, there, policy=Policy.PACK, seed=1, **options)
    assert all(fit.sentence for fit in answer.nearest)
    json.dumps(as_json(answer))
    return [{"kind": fit.kind, **fit.change} for fit in answer.nearest]


def test_fewer_is_the_most_that_fits() -> None:
    batch = [*asks(3, group=apart(), role="control-plane"), *asks(20, 2, 1, start=10, role="workers")]
    there = fleet([host(number) for number in range(3)])
    assert nearest(batch, there) == [{"kind": "fewer", "role": "workers", "count": 9}]


def test_fewer_keeps_to_the_counts_that_a_role_may_have() -> None:
    batch = asks(5, group=apart(), role="control-plane")
    there = fleet([host(number) for number in range(4)])
    found = nearest(batch, there, counts={"control-plane": [1, 3, 5]})
    assert found == [{"kind": "fewer", "role": "control-plane", "count": 3}]


def test_fewer_of_another_role_where_the_one_refused_cannot_shrink() -> None:
    batch = [*asks(1, 8, 1, role="control-plane"), *asks(4, 2, 1, start=10, role="workers")]
    there = fleet([host(0, vcpu=10)])
    found = nearest(batch, there)
    assert found == [{"kind": "fewer", "role": "workers", "count": 1}]


def test_a_smaller_flavor_is_the_largest_that_fits() -> None:
    found = nearest(asks(3, 4, 4, role="workers"), fleet([host(0)]), flavors=[SMALL, LARGE, MEDIUM])
    assert {"kind": "flavor", "role": "workers", "flavor": "medium", "vcpu": 2, "memory_mib": 2} in found


def test_another_zone_is_named_when_the_whole_batch_fits_there() -> None:
    there = fleet([host(0, vcpu=1), host(1, zone=1), host(2, zone=2, vcpu=2)])
    found = nearest(asks(2, 2, 2), there, zones=ZONES)
    assert [fit for fit in found if fit["kind"] == "zone"] == [{"kind": "zone", "zone": str(ZONES[1]), "name": "az2"}]


def test_what_is_named_does_fit() -> None:
    there = fleet([host(n, zone=n % 2, vcpu_claimed=n) for n in range(6)])
    batch = [*asks(3, 2, 2, group=apart(), role="control-plane"), *asks(12, 4, 4, start=10, role="workers")]
    for fit in nearest(batch, there, flavors=[SMALL, MEDIUM], zones=ZONES):
        changed = list(batch)
        if fit["kind"] == "fewer":
            workers = [one for one in batch if one.role == fit["role"]]
            changed = [one for one in batch if one not in workers[int(str(fit["count"])) :]]
        elif fit["kind"] == "flavor":
            changed = [
                replace(one, vcpu=fit["vcpu"], memory_mib=fit["memory_mib"]) if one.role == fit["role"] else one
                for one in batch
            ]
        assert isinstance(place(changed, there, policy=Policy.PACK, seed=1), Plan)


def test_looking_for_what_fits_is_bounded() -> None:
    batch = asks(1000, 2, 2, role="workers")
    there = fleet([host(0)])
    assert nearest(batch, there, tries=3) == []
    assert nearest(batch, there, tries=12)[0]["count"] == 4
