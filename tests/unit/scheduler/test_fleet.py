"""A fleet is a value: replaced whole, never edited, the same whichever way it came about."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Plan, Policy
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.layout import Zone
from scheduler.core.place import place
from tests.unit.scheduler.fleets import (
    HOSTS,
    POOLS,
    STORES,
    ZONES,
    ask,
    asks,
    fleet,
    host,
    small_fleets,
    spread_out,
    store,
    uid,
)

COLUMNS = [
    field.name for field in fields(Fleet) if field.name not in ("hosts", "datastores", "zones", "holds", "layout")
]


def same(one: Fleet, other: Fleet) -> bool:
    columns = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in COLUMNS)
    return columns and one.listed_holds() == other.listed_holds() and one.zones == other.zones


@settings(max_examples=150, deadline=None)
@given(small_fleets(), st.data())
def test_a_fleet_after_changes_is_the_fleet_of_those_rows(there: Fleet, data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(there.hosts))
    stored = data.draw(st.sampled_from(there.datastores))
    changed = row._replace(
        vcpu_claimed=data.draw(st.integers(0, 9)),
        memory_limit_mib=data.draw(st.integers(0, 9)),
        open=data.draw(st.booleans()),
        zone_id=data.draw(st.sampled_from([row.zone_id, ZONES[1], None])),
    )
    stored = stored._replace(claimed_gib=data.draw(st.integers(0, 9)), accessible=data.draw(st.booleans()))
    zones = [Zone(zone, "az", data.draw(st.booleans())) for zone in ZONES]
    holds = {POOLS[0]: [Hold(changed.id, 1, 2)]}
    built = Fleet.of(
        [changed if one.id == row.id else one for one in there.hosts],
        [stored if one.id == stored.id else one for one in there.datastores],
        zones,
        {**there.listed_holds(), **holds},
    )
    assert same(there.with_changes(hosts=[changed], datastores=[stored], zones=zones, holds=holds), built)
    stepwise = there.with_changes(hosts=[changed]).with_changes(zones=zones)
    assert same(stepwise.with_changes(holds=holds).with_changes(datastores=[stored]), built)


def test_a_host_that_appears_or_goes_changes_the_fleet() -> None:
    there = fleet([host(0), host(1)], holds={POOLS[0]: [Hold(HOSTS[1], 1, 1)]})
    more = there.with_hosts([host(2)])
    assert [row.id for row in more.hosts] == HOSTS[:3]
    assert more.listed_holds() == there.listed_holds()
    less = more.with_changes(gone=[HOSTS[1], STORES[5]])
    assert [row.id for row in less.hosts] == [HOSTS[0], HOSTS[2]]
    assert less.listed_holds() == {POOLS[0]: []}
    assert same(less.with_changes(gone=[uid(8, 8)]), less)


def test_counters_alone_keep_the_layout() -> None:
    there = fleet([host(0), host(1)])
    assert there.with_changes(hosts=[host(1, vcpu_claimed=3)]).layout is there.layout
    assert there.with_changes(hosts=[host(1, labels={"rack": "a"})]).layout is not there.layout


def test_columns_cannot_be_edited() -> None:
    there = fleet([host(0)]).with_changes(hosts=[host(0, vcpu_claimed=1)])
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(there, name)[0] = 1


def test_placing_leaves_the_fleet_as_it_was() -> None:
    there = fleet([host(0), host(1)], holds={POOLS[0]: [Hold(HOSTS[0], 1, 1)]})
    before = there.with_changes()
    place(asks(4, pools=(POOLS[0],)), there, policy=Policy.PACK, seed=1)
    assert same(there, before)


def test_hosts_taken_away_in_a_what_if_get_nothing_not_even_on_their_holds() -> None:
    there = fleet([host(0), host(1)], holds={POOLS[0]: [Hold(HOSTS[0], 4, 4)]})
    plan = place([ask(pools=(POOLS[0],))], there.without_hosts([HOSTS[0], uid(8, 8)]), policy=Policy.PACK, seed=1)
    assert isinstance(plan, Plan)
    assert spread_out(plan) == {1: 1}


@pytest.mark.parametrize("rows", [{"hosts": [host(0), host(0)]}, {"datastores": [store(), store()]}])
def test_an_id_listed_twice_is_an_error(rows: dict[str, list[object]]) -> None:
    with pytest.raises(ValueError, match="twice"):
        fleet(**{"hosts": [host(0)], **rows})
    with pytest.raises(ValueError, match="one hold"):
        fleet([host(0)], holds={POOLS[0]: [Hold(HOSTS[0], 1, 1), Hold(HOSTS[0], 2, 2)]})


def test_holds_on_hosts_that_are_not_known_serve_nobody() -> None:
    assert fleet([host(0)], holds={POOLS[0]: [Hold(HOSTS[9], 1, 1)]}).listed_holds() == {POOLS[0]: []}
