"""Another size for what stands: the difference is charged, once, or nothing is; and a Hold gets back what it gave."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict
from infra.models import Datastore, Host
from scheduler.guarantees import Amounts
from scheduler.ledger import Size
from scheduler.models import Allocation, Hold, Move
from scheduler.services import Limits
from tenants import quota
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system
from tests.integration.test_ledger import at_once, straight
from tests.room import GIB


def claimed(acme, place, pool, *sizes):
    """One holder for each size, all on the first host."""
    asks = [room.ask(place, pool, size.vcpu, size.memory_mib, size.storage_gib) for size in sizes]
    for ask in asks:
        room.claim(acme.project, pool, [ask], straight(ask, place.hosts[0], place))
    return [ask.key for ask in asks]


def refusal_of(acme, sizes):
    """Nothing is written; the refusal."""
    with as_system():
        before = list(Allocation.objects.order_by("id").values())
    with pytest.raises(Conflict) as refusal:
        room.resize(acme.project, sizes)
    with as_system():
        assert list(Allocation.objects.order_by("id").values()) == before
    room.check_books()
    return refusal.value


def spent(acme):
    with as_system():
        rows = Quota.objects.filter(project=acme.project, used__gt=0, zone_id=None)
        return dict(rows.values_list("resource", "used"))


def test_the_difference_is_charged_and_the_rows_tell_when(acme):
    place = room.land(vcpu=16)
    pool = room.pool(place, acme.tenant, limit=Limits(16, 64 * GIB))
    web = room.pool(place, acme.tenant, acme.project, limit=Limits(12, 64 * GIB))
    one, two = claimed(acme, place, web, Size(4, 8 * GIB, 40), Size(2, 2 * GIB, 10))
    room.resize(acme.project, {one: Size(8, 4 * GIB, 50), two: Size(1, 2 * GIB, 10)})
    room.check_books()
    assert spent(acme) == {"vcpu": 9, "memory_mib": 6 * GIB, "storage_gib": 60, "vms": 2}
    with as_system():
        was, now = Allocation.objects.filter(holder=one).order_by("created")
        assert (was.released, now.released) == (now.created, None)
        assert (now.host_id, now.datastore_id, now.pool_id) == (was.host_id, was.datastore_id, was.pool_id)
        assert (now.ask["vcpu"], now.ask["memory_mib"], now.ask["disk_gib"]) == (8, 4 * GIB, 50)
        assert now.why == was.why
        pool.refresh_from_db()
        assert (pool.vcpu_used, pool.memory_used_mib) == (9, 6 * GIB)
    room.release(acme.project, [one, two])
    room.check_books()
    assert spent(acme) == {}


def test_said_twice_and_by_eight_at_once_it_is_done_once(acme):
    place = room.land(vcpu=16)
    pool = room.pool(place, acme.tenant)
    (one,) = claimed(acme, place, pool, Size(4, GIB, 10))
    at_once(lambda _: room.resize(acme.project, {one: Size(6, GIB, 10)}))
    room.resize(acme.project, {one: Size(6, GIB, 10)})
    room.resize(acme.project, {})
    with as_system():
        assert Allocation.objects.filter(holder=one).count() == 2
    assert spent(acme)["vcpu"] == 6
    room.check_books()


def test_each_limit_refuses_by_its_name_and_nothing_is_written(acme):
    place = room.land(vcpu=16, memory_mib=32 * GIB, storage_gib=100)
    pool = room.pool(place, acme.tenant, limit=Limits(12, None))
    one, two = claimed(acme, place, pool, Size(4, GIB, 10), Size(2, GIB, 10))
    host = refusal_of(acme, {one: Size(4, 40 * GIB, 10), two: Size(1, GIB, 10)})
    assert (host.code, host.more["limits"]) == (
        "no_room",
        [{"scope": "host", "resource": "memory_mib", "free": 30 * GIB, "asked": 39 * GIB}],
    )
    store = refusal_of(acme, {one: Size(4, GIB, 91)})
    assert (store.code, store.more["limits"][0]["asked"]) == ("no_room", 81)
    limit = refusal_of(acme, {one: Size(11, GIB, 10)})
    assert (limit.code, limit.more["limits"][0]["used"], limit.more["limits"][0]["asked"]) == ("pool_exceeded", 6, 7)
    with as_system():
        quota.set_limits(
            tenant=acme.tenant, project=acme.project, limits={"vcpu": 7}, zone_id=None, replace=False, by=SYSTEM
        )
    dear = refusal_of(acme, {one: Size(6, GIB, 10)})
    assert (dear.code, dear.more["limits"][0]["scope"]) == ("quota_exceeded", "project")
    room.resize(acme.project, {one: Size(6, GIB, 10), two: Size(1, GIB, 10)})
    room.check_books()


def test_who_has_no_room_or_is_another_tenants_gets_no_size(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    one, gone = claimed(acme, place, pool, Size(4, GIB, 10), Size(4, GIB, 10))
    room.release(acme.project, [gone])
    assert refusal_of(acme, {one: Size(5, GIB, 10), gone: Size(5, GIB, 10)}).code == "not_held"
    assert refusal_of(acme, {uuid4(): Size(5, GIB, 10)}).code == "not_held"
    rival = factories.office("other")
    with pytest.raises(Conflict):
        room.resize(rival.project, {one: Size(5, GIB, 10)})
    for bad in (Size(0, 0, 1), Size(-1, GIB, 1), Size(1, -GIB, 1), Size(1, 1, -1)):
        with pytest.raises(Exception, match="no less than zero"):
            room.resize(acme.project, {one: bad})
    room.check_books()


def test_a_closed_or_overdrawn_host_gives_no_more_and_takes_back(acme):
    place = room.land(vcpu=10)
    pool = room.pool(place, acme.tenant)
    one, two = claimed(acme, place, pool, Size(4, GIB, 10), Size(4, GIB, 10))
    with as_system():
        Host.objects.update(cordoned=True, changed=CurrentXid())
    assert "takes nothing new" in refusal_of(acme, {one: Size(5, GIB, 10)}).detail
    room.resize(acme.project, {one: Size(3, GIB, 10)})
    with as_system():  # what the sync writes when the host comes back smaller
        Host.objects.update(cordoned=False, vcpu_limit=5, vcpu_overdrawn=2, changed=CurrentXid())
        Datastore.objects.update(accessible=False, changed=CurrentXid())
    assert refusal_of(acme, {one: Size(4, GIB, 10)}).more["limits"][0]["free"] == -2
    room.resize(acme.project, {one: Size(4, GIB, 10), two: Size(2, GIB, 9)})
    with as_system():
        host = Host.objects.get()
        assert (host.vcpu_claimed, host.vcpu_overdrawn) == (6, 1)
    assert refusal_of(acme, {two: Size(1, GIB, 10)}).code == "no_room"
    room.check_books()


def test_a_hold_gets_back_what_it_gave_and_others_never_get_it(acme):
    """A guarantee of 8 on a host of 12: what stands in it grows and shrinks, and 4 are left for others all the time."""
    place = room.land(vcpu=12, memory_mib=64 * GIB)
    kept = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="medium")
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    foreign = room.ask(place, theirs, 3)
    room.claim(rival.project, theirs, [foreign])
    one, two = claimed(acme, place, kept, Size(4, 8 * GIB, 10), Size(2, 4 * GIB, 10))
    for sizes, held, host_vcpu in (
        ({two: Size(1, GIB, 10)}, 3, 11),
        ({one: Size(8, 8 * GIB, 10)}, 0, 12),
        ({one: Size(2, 8 * GIB, 10)}, 5, 11),
        ({two: Size(6, 8 * GIB, 10)}, 0, 11),
        ({two: Size(7, 8 * GIB, 10)}, 0, 12),
        ({one: Size(1, GIB, 10)}, 1, 12),
        ({two: Size(1, GIB, 10)}, 6, 11),
        ({one: Size(2, GIB, 10), two: Size(2, GIB, 10)}, 4, 11),
    ):
        room.resize(acme.project, sizes)
        room.check_books()
        with as_system():
            assert sum(Hold.objects.filter(pool_id=kept.id).values_list("vcpu", flat=True)) == held, sizes
            assert Host.objects.get().vcpu_claimed == host_vcpu, sizes
    with pytest.raises(Conflict):
        room.resize(rival.project, {foreign.key: Size(5, GIB, 10)})
    room.resize(rival.project, {foreign.key: Size(4, GIB, 10)})
    room.check_books()


def test_a_holder_on_its_way_keeps_its_size(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    (one,) = claimed(acme, place, pool, Size(4, GIB, 10))
    with as_system():
        there = Allocation.objects.get(holder=one)
        Move.objects.create(
            tenant=acme.tenant, project=acme.project, drain_id=uuid7(), holder=one, source=there, zone=place.zone,
            pool=pool, host=place.hosts[1], datastore=place.datastore, vcpu=0, memory_mib=0,
        )  # fmt: skip
    with pytest.raises(Conflict) as refusal:
        room.resize(acme.project, {one: Size(5, GIB, 10)})
    assert refusal.value.code == "moving"
    with as_system():
        Move.objects.update(ended_at=timezone.now())
    room.resize(acme.project, {one: Size(5, GIB, 10)})
    room.check_books()


def test_resizes_at_once_never_oversell(acme):
    """Eight grow on one host at once, again and again: the host is full, never more than that."""
    place = room.land(vcpu=20)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(6, 6 * GIB))
    keys = claimed(acme, place, pool, *[Size(1, GIB, 10)] * 8)

    def grow(number):
        won, codes = 1, set()
        for vcpu in range(2, 8):
            try:
                room.resize(acme.project, {keys[number]: Size(vcpu, GIB, 10)})
                won = vcpu
            except Conflict as refusal:
                codes.add(refusal.code)
        return won, codes

    ends = at_once(grow)
    assert sum(won for won, _ in ends) == 20
    assert set.union(*(codes for _, codes in ends)) == {"no_room"}
    room.check_books()
    with as_system():
        host = Host.objects.get()
        assert (host.vcpu_claimed, host.vcpu_limit) == (20, 20)
