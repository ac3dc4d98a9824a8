"""Holds leave hosts that close: as room allows, once, and never half."""

from __future__ import annotations

import pytest

from facet.operations.models import Wakeup
from facet.rest.problems import Conflict
from infra.models import Host, HostState
from scheduler import guarantees, reconcile, rehousing, services
from scheduler.core.ask import Placement, Plan
from scheduler.guarantees import Amounts, Move
from scheduler.ledger import Stale
from scheduler.models import ResourcePool
from tests import factories, kept, room
from tests.factories import as_system
from tests.room import GIB


def test_a_look_that_shows_a_closed_host_wakes_its_pools(acme):
    """A complete one and a watched one; a pool that knows already comes again by itself."""
    place = room.land(hosts=2, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(32, 64 * GIB), largest_shape="large")
    room.pool(place, factories.tenant("beta"))
    with as_system():
        Wakeup.objects.all().delete()
        ResourcePool.objects.update(refs={host.compute_ref: "p" for host in place.hosts})
    reconcile.observe(as_system, place.zone.site_id, (), complete=True)
    with as_system():
        assert not Wakeup.objects.exists()
        Host.objects.filter(pk=place.hosts[0].pk).update(state=HostState.DOWN)
    for complete in (False, True):
        reconcile.observe(as_system, place.zone.site_id, (), complete=complete)
        with as_system():
            assert list(Wakeup.objects.values_list("key", flat=True)) == [pool.id]
            Wakeup.objects.all().delete()
    with as_system():  # one that has left the zone is of no use to them either
        Host.objects.filter(pk=place.hosts[0].pk).update(state=HostState.UP, zone=None)
    reconcile.observe(as_system, place.zone.site_id, (), complete=True)
    with as_system():
        assert list(Wakeup.objects.values_list("key", flat=True)) == [pool.id]
        Wakeup.objects.all().delete()
        Host.objects.filter(pk=place.hosts[0].pk).update(state=HostState.DOWN, zone=place.zone)
        ResourcePool.objects.filter(pk=pool.pk).update(reason={"code": "guarantee_short"})
    reconcile.observe(as_system, place.zone.site_id, (), complete=True)
    with as_system():
        assert not Wakeup.objects.exists()


def test_what_finds_no_room_stays_and_the_pool_says_so(acme):
    """Three of four hosts close: one chunk finds room, the rest stays where it is; it goes when there is room."""
    place = room.land(hosts=4, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(40, 80 * GIB), largest_shape="large")
    for host in place.hosts[1:]:
        kept.close(host, state=HostState.DOWN)
    kept.passes()
    found = kept.row(pool)
    assert found.phase == "pending"  # nothing failed: its site was never asked
    assert kept.held(pool.id)[place.hosts[0].id] == (16, 32 * GIB)
    assert found.reason["code"] == "guarantee_short"
    assert found.reason["guarantee"] == {"vcpu": 24, "memory_mib": 48 * GIB}
    assert "24 vCPUs and 49152 MiB of its guarantee lie on closed hosts" in found.reason["sentence"]
    assert kept.summed(pool.id) == (40, 80 * GIB)
    room.check_books()
    for host in place.hosts[1:3]:
        kept.close(host, state=HostState.UP)
    kept.passes()
    assert kept.row(pool).reason is None
    assert place.hosts[3].id not in kept.held(pool.id)
    room.check_books()


def test_pieces_that_find_no_room_together_go_apart(acme):
    """Two hosts are left, one with CPU to spare and one with memory: each takes its part."""
    place = room.land(hosts=3, vcpu=8, memory_mib=16 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(2, 4 * GIB), largest_shape="large")
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    home = next(iter(kept.held(pool.id)))
    others = [host for host in place.hosts if host.id != home]
    asks = [room.ask(place, theirs, 2, 15 * GIB), room.ask(place, theirs, 7, 4 * GIB)]
    plan = Plan(
        tuple(
            Placement(ask.key, place.zone.id, host.id, place.datastore.id, {})
            for ask, host in zip(asks, others, strict=True)
        )
    )
    room.claim(rival.project, theirs, asks, plan)
    with as_system():
        there = services.kept_in(place.zone.id)
    done = rehousing.rehouse(there, [home], seed=1)
    assert done.short == {}
    with as_system():
        guarantees.move(place.zone.id, done.moves)
    assert home not in kept.held(pool.id)
    assert kept.summed(pool.id) == (2, 4 * GIB)
    room.check_books()


def test_a_claim_that_comes_between_makes_the_move_stale(acme):
    place = room.land(hosts=3, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large")
    home = next(iter(kept.held(pool.id)))
    with as_system():
        there = services.kept_in(place.zone.id)
    done = rehousing.rehouse(there, [home], seed=1)
    room.claim(
        acme.project, pool, [ask := room.ask(place, pool)],
        Plan((Placement(ask.key, place.zone.id, home, place.datastore.id, {}),)),
    )  # fmt: skip
    with pytest.raises(Stale), as_system():
        guarantees.move(place.zone.id, done.moves)
    assert kept.summed(pool.id) == (7, 15 * GIB)
    room.check_books()


def test_hosts_that_close_while_others_claim_lose_and_double_nothing(acme):
    """Passes move Holds, and clients claim and release, at the same time."""
    place = room.land(hosts=4, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(24, 48 * GIB), largest_shape="medium")

    def claiming():
        ends = []
        for _ in range(12):
            asks = kept.of_shape(place, pool, kept.MEDIUM, 2)
            try:
                room.claim(acme.project, pool, asks)
            except (Stale, Conflict):
                ends.append("refused")
                continue
            ends.append("granted")
            room.release(acme.project, [ask.key for ask in asks])
        return ends

    def closing():
        ends = []
        for turn in range(12):
            host = place.hosts[turn % 4]
            with as_system():
                there = services.kept_in(place.zone.id)
            done = rehousing.rehouse(there, [host.id], seed=turn)
            try:
                with as_system():
                    guarantees.move(place.zone.id, done.moves)
                ends.append("moved")
            except Stale:
                ends.append("stale")
        return ends

    ends = {end for found in kept.at_once([claiming, claiming, closing]) for end in found}
    assert ends >= {"moved", "granted"}
    assert kept.summed(pool.id) == (24, 48 * GIB)
    room.check_books()


def test_a_move_that_is_refused_in_part_moves_nothing(acme):
    place = room.land(hosts=2, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large")
    home = next(iter(kept.held(pool.id)))
    other = next(host.id for host in place.hosts if host.id != home)
    crooked = [Move(home, pool.id, None, 8, 16 * GIB), Move(other, None, pool.id, 17, 0)]
    with pytest.raises(Stale), as_system():
        guarantees.move(place.zone.id, crooked)
    assert kept.held(pool.id) == {home: (8, 16 * GIB)}
    room.check_books()
