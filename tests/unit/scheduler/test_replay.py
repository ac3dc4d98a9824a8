"""Requests that come again, and go."""

from __future__ import annotations

from uuid import UUID

import pytest

from scheduler.core.ask import Ask, Policy
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.layout import Datastore, Host, Zone
from scheduler.core.replay import Request, replay

ZONE, POOL, STORE = UUID(int=1), UUID(int=2), UUID(int=3)


def fleet(hosts: int, vcpu: int = 4, holds: int = 0) -> Fleet:
    """Hosts of so many vCPUs, of which `holds` on each are kept for POOL."""
    rows = [Host(UUID(int=100 + n), ZONE, vcpu, holds, 1000, 0, datastores=(STORE,)) for n in range(hosts)]
    kept = {POOL: [Hold(row.id, holds, 0) for row in rows]} if holds else {}
    return Fleet.of(rows, [Datastore(STORE, (ZONE,), 100, 0)], [Zone(ZONE, "az1")], kept)


def request(number: int, vcpu: int, comes: float, goes: float | None = None, **more: object) -> Request:
    ask = Ask(UUID(int=1000 + number), vcpu, 1, 1, (ZONE,), name=str(number), **more)  # type: ignore[arg-type]
    return Request([ask], comes, goes)


def refused(there: Fleet, requests: list[Request]) -> list[str]:
    found = replay(there, requests, policy=Policy.SPREAD, seed=1)
    return [ask.name for one in found for ask in one.request.asks]


def test_who_has_gone_makes_room_and_who_stays_does_not() -> None:
    there = fleet(hosts=1)
    assert refused(there, [request(1, 4, 0, 5), request(2, 4, 4), request(3, 4, 5)]) == ["2"]
    assert refused(there, [request(1, 4, 0), request(2, 4, 4), request(3, 4, 5)]) == ["2", "3"]


def test_they_come_in_the_order_of_their_time() -> None:
    assert refused(fleet(hosts=1), [request(1, 4, 9), request(2, 4, 0)]) == ["1"]


def test_a_batch_comes_whole_or_not_at_all() -> None:
    pair = [Ask(UUID(int=n), 3, 1, 1, (ZONE,), name=str(n)) for n in (1, 2)]
    assert refused(fleet(hosts=1), [Request(pair), request(3, 4, 1)]) == ["1", "2"]


def test_a_guarantee_is_whole_again_when_who_ate_of_it_has_gone() -> None:
    there = fleet(hosts=1, vcpu=4, holds=4)
    inside = [request(n, 4, n * 10.0, n * 10.0 + 5, pools=(POOL,)) for n in range(3)]
    assert refused(there, inside) == []
    assert refused(there, [*inside, request(9, 1, 7)]) == ["9"], "what is held is nobody else's, before and after"


def test_disks_come_back_too() -> None:
    wide = [Request([Ask(UUID(int=n), 1, 1, 60, (ZONE,), name=str(n))], n, n + 0.5) for n in range(3)]
    assert refused(fleet(hosts=3), wide) == []
    assert refused(fleet(hosts=3), [Request(one.asks, one.comes) for one in wide]) == ["1", "2"]


@pytest.mark.parametrize("seed", range(3))
def test_the_fleet_that_was_given_stays_as_it_is(seed: int) -> None:
    there = fleet(hosts=2, holds=2)
    before = there.vcpu_claimed.tolist(), there.listed_holds()
    replay(there, [request(n, 1, n, n + 2, pools=(POOL,)) for n in range(8)], policy=Policy.PACK, seed=seed)
    assert (there.vcpu_claimed.tolist(), there.listed_holds()) == before
