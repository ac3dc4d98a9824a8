"""Every placement can say why that host, as plain data."""

from __future__ import annotations

import json

from scheduler.core.ask import Apart, Group, Plan, Policy
from scheduler.core.place import place
from tests.unit.scheduler.fleets import HOSTS, ZONES, apart, ask, asks, fleet, host, store


def whys(*args: object, policy: Policy = Policy.PACK) -> list[dict[str, object]]:
    plan = place(*args, policy=policy, seed=1)
    assert isinstance(plan, Plan)
    return [dict(one.why) for one in plan.placements]


def test_why_tells_the_filters_the_score_and_the_next_best() -> None:
    there = fleet([host(0, vcpu_claimed=4), host(1), host(2, open=False)])
    (why,) = whys([ask()], there)
    assert why["policy"] == "pack"
    assert why["hosts"] == 3
    assert [step["left"] for step in why["filters"]] == [3, *[2] * 9]
    assert why["score"] == {"members": 0, "labels": 0, "guarantee": 2, "usage": 0.492}
    assert why["next_best"] == {
        "host": str(HOSTS[1]),
        "score": {"members": 0, "labels": 0, "guarantee": 2, "usage": 1.0},
    }


def test_next_best_is_another_host_at_that_moment() -> None:
    there = fleet([host(0, vcpu_claimed=4), host(1)])
    found = whys(asks(6), there)
    assert [why["next_best"]["host"] if why["next_best"] else None for why in found] == [
        *[str(HOSTS[1])] * 4,
        None,
        None,
    ]


def test_no_next_best_where_no_other_host_fits() -> None:
    assert whys([ask()], fleet([host(0), host(1, vcpu=0)]))[0]["next_best"] is None


def test_next_best_stays_in_the_zone_when_members_are_split_over_zones() -> None:
    there = fleet([host(0), host(1), host(2, zone=1), host(3, zone=1)], [store()])
    batch = asks(2, zones=tuple(ZONES), group=apart(over_zones=True))
    plan = place(batch, there, policy=Policy.PACK, seed=1)
    assert isinstance(plan, Plan)
    zone = {str(row.id): row.zone_id for row in there.hosts}
    assert all(zone[one.why["next_best"]["host"]] == one.zone_id for one in plan.placements)


def test_the_score_of_a_spread_counts_members_and_use() -> None:
    there = fleet([host(0), host(1)])
    found = whys(asks(4, group=Group("g", Apart.PREFERRED)), there, policy=Policy.SPREAD)
    assert [why["score"]["members"] for why in found] == [0, 0, 1, 1]
    assert [why["score"]["usage"] for why in found] == [0.125, 0.125, 0.25, 0.25]


def test_what_was_found_by_trying_all_ways_has_no_score() -> None:
    there = fleet([host(0, memory_mib=99), host(1, memory_mib=99)])
    batch = [ask(at, vcpu, 1, role=str(at)) for at, vcpu in enumerate((3, 5, 1, 4, 3))]
    assert {type(why["score"]) for why in whys(batch, there)} <= {dict, type(None)}


def test_why_can_be_written_as_json() -> None:
    json.dumps(whys(asks(3), fleet([host(0), host(1)])))
