"""A holder on its way: claimed at both ends, counted once, whatever comes between."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import connection

from facet.rest.problems import Conflict
from infra.models import Host, Zone, ZonePhase
from scheduler import ledger, moves
from scheduler.guarantees import Amounts
from scheduler.models import Allocation, Hold, Move, MovePhase, ResourcePool
from scheduler.moves import Going
from scheduler.services import Limits
from tenants import isolation
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system
from tests.room import GIB, check_books

from .test_ledger import at_once, straight


def live(holder):
    with as_system():
        return Allocation.objects.get(holder=holder, released=None)


def begin(project, holder, host, *, place=None, pool=None, **more):
    """Claim the holder's destination; the move's id."""
    here = live(holder)
    one = Going(
        source_id=here.id, zone_id=place.zone.id if place else here.zone_id, pool_id=pool.id if pool else here.pool_id,
        host_id=host.id, datastore_id=place.datastore.id if place else here.datastore_id, **more,
    )  # fmt: skip
    with isolation.context(isolation.of([project.tenant_id])):
        moves.begin(tenant_id=project.tenant_id, project_id=project.id, drain_id=uuid4(), going=[one])
    return one.id


def end(act, project, id, **more):
    with isolation.context(isolation.of([project.tenant_id])):
        return act(tenant_id=project.tenant_id, project_id=project.id, ids=[id], **more)


def standing(acme, place, pool, **more):
    """One holder on the first host."""
    ask = room.ask(place, pool, **{"vcpu": 4, "memory_mib": 4 * GIB} | more)
    room.claim(acme.project, pool, [ask], straight(ask, place.hosts[0], place))
    return ask.key


def claimed(host):
    with as_system():
        return Host.objects.get(pk=host.pk).vcpu_claimed


def phase_of(id):
    with as_system():
        return Move.objects.get(pk=id).phase


def test_both_ends_are_claimed_until_it_is_seen(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    holder = standing(acme, place, pool)
    before = live(holder)
    id = begin(acme.project, holder, place.hosts[1])
    check_books()
    assert [claimed(host) for host in place.hosts] == [4, 4]
    assert end(moves.seen, acme.project, id) == {id}
    check_books()
    assert [claimed(host) for host in place.hosts] == [0, 4]
    after = live(holder)
    assert (after.id, after.host_id, after.ask) == (id, place.hosts[1].id, before.ask)
    with as_system():
        before.refresh_from_db()
    assert before.released == after.created
    assert end(moves.seen, acme.project, id) == set()
    assert end(moves.undo, acme.project, id) == set()
    check_books()
    assert phase_of(id) == MovePhase.DONE


def test_an_undone_move_leaves_nothing(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    holder = standing(acme, place, pool)
    id = begin(acme.project, holder, place.hosts[1])
    assert end(moves.undo, acme.project, id, reason={"code": "fault"}) == {id}
    check_books()
    assert [claimed(host) for host in place.hosts] == [4, 0]
    assert end(moves.undo, acme.project, id) == set()
    assert end(moves.seen, acme.project, id) == set()
    check_books()
    assert live(holder).host_id == place.hosts[0].id


def test_a_holder_that_goes_meanwhile_frees_both_ends(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant, model="reserved", reserved=Amounts(8, 8 * GIB))
    holder = standing(acme, place, pool)
    id = begin(acme.project, holder, place.hosts[1])
    assert room.release(acme.project, [holder]) == 1
    check_books()
    assert phase_of(id) == MovePhase.UNDONE
    assert end(moves.seen, acme.project, id) == set()
    check_books()
    with as_system():
        assert sum(Hold.objects.values_list("vcpu", flat=True)) == 8


def test_a_destination_without_room_or_that_is_closed_is_refused(acme):
    place = room.land(hosts=2, vcpu=6)
    pool = room.pool(place, acme.tenant)
    holder = standing(acme, place, pool)
    other = room.ask(place, pool, vcpu=4)
    room.claim(acme.project, pool, [other], straight(other, place.hosts[1], place))
    with pytest.raises(ledger.Stale):
        begin(acme.project, holder, place.hosts[1])
    room.release(acme.project, [other.key])
    with as_system():
        Host.objects.filter(pk=place.hosts[1].pk).update(cordoned=True)
    with pytest.raises(ledger.Stale):
        begin(acme.project, holder, place.hosts[1])
    with as_system():
        Host.objects.filter(pk=place.hosts[1].pk).update(cordoned=False)
        Host.objects.filter(pk=place.hosts[0].pk).update(cordoned=True)
    begin(acme.project, holder, place.hosts[1])
    with pytest.raises(ledger.Stale):  # it is on its way already
        begin(acme.project, holder, place.hosts[1])
    check_books()


def test_its_guarantee_goes_along_and_what_is_kept_there_is_eaten_first(acme):
    place = room.land(hosts=2, vcpu=16)
    pool = room.pool(place, acme.tenant, model="reserved", reserved=Amounts(8, 8 * GIB))  # a chunk of 4 on each host
    with as_system():
        held = dict(Hold.objects.filter(pool_id=pool.id).values_list("host_id", "vcpu"))
    first = standing(acme, place, pool)
    there = live(first).vcpu_from_hold
    assert there == min(4, held.get(place.hosts[0].id, 0))
    id = begin(acme.project, first, place.hosts[1])
    check_books()
    eaten = min(4, held.get(place.hosts[1].id, 0))
    end(moves.seen, acme.project, id)
    check_books()
    assert live(first).vcpu_from_hold == eaten + min(there, 4 - eaten)
    back = begin(acme.project, first, place.hosts[0])
    check_books()
    end(moves.seen, acme.project, back)
    check_books()


def test_one_that_has_its_guarantee_with_it_may_leave_the_hold_there_alone(acme):
    place = room.land(hosts=2, vcpu=16)
    pool = room.pool(place, acme.tenant, model="reserved", reserved=Amounts(8, 8 * GIB))
    holder = standing(acme, place, pool)
    there = live(holder).vcpu_from_hold
    with as_system():
        before = Hold.objects.filter(host=place.hosts[1]).values_list("vcpu", flat=True).first()
    id = begin(acme.project, holder, place.hosts[1], vcpu_eaten=0, memory_eaten_mib=0)
    check_books()
    end(moves.seen, acme.project, id)
    check_books()
    with as_system():
        assert Hold.objects.filter(host=place.hosts[1]).values_list("vcpu", flat=True).first() == before
        assert sum(Hold.objects.filter(host=place.hosts[0]).values_list("vcpu", flat=True)) == 8 - there - (before or 0)
    assert live(holder).vcpu_from_hold == there


def two_zones(acme, **limits):
    here, there = room.land(hosts=1), room.land(hosts=1, name="az2")
    with as_system():
        Zone.objects.filter(pk=there.zone.pk).update(site=here.zone.site_id)
        Host.objects.filter(zone=there.zone).update(site=here.zone.site_id, ref="host-b")
    first = room.pool(here, acme.tenant)
    second = room.pool(there, acme.tenant, **limits)
    return here, there, first, second


def zone_use(zone, resource="vcpu"):
    with as_system():
        return list(
            Quota.objects.filter(zone_id=zone.id, resource=resource)
            .order_by("project_id")
            .values_list("used", flat=True)
        )


@pytest.mark.parametrize("comes_off", [True, False])
def test_into_another_zone_it_is_paid_there_and_counted_once(acme, comes_off):
    here, there, first, second = two_zones(acme)
    holder = standing(acme, here, first)
    with as_system():
        total = Quota.objects.get(project=acme.project, zone_id=None, resource="vcpu")
        Quota.objects.filter(pk=total.pk).update(limit=4)  # all of it is used: moving takes no more
    id = begin(acme.project, holder, there.hosts[0], place=there, pool=second)
    check_books()
    assert (zone_use(here.zone), zone_use(there.zone)) == ([4, 4], [4, 4])
    end(moves.seen if comes_off else moves.undo, acme.project, id)
    check_books()
    stays = ([0, 0], [4, 4]) if comes_off else ([4, 4], [0, 0])
    assert (zone_use(here.zone), zone_use(there.zone)) == stays
    assert live(holder).pool_id == (second.id if comes_off else first.id)
    with as_system():
        total.refresh_from_db()
    assert total.used == 4


def test_a_zone_that_narrows_refuses_what_moves_there(acme):
    here, there, first, second = two_zones(acme, limit=Limits(2, None))
    holder = standing(acme, here, first)
    with pytest.raises(Conflict) as refused:
        begin(acme.project, holder, there.hosts[0], place=there, pool=second)
    assert refused.value.code == "pool_exceeded"
    with as_system():
        ResourcePool.objects.filter(pk=second.pk).update(vcpu_limit=None)
        Quota.objects.create(tenant=acme.tenant, project=acme.project, zone_id=there.zone.id, resource="vms", limit=0)
    with pytest.raises(Conflict) as refused:
        begin(acme.project, holder, there.hosts[0], place=there, pool=second)
    assert refused.value.code == "quota_exceeded"
    check_books()
    with as_system():
        assert not Move.objects.exists()


def test_out_of_a_zone_that_drains_it_may_go_and_into_it_nothing(acme):
    here, there, first, second = two_zones(acme)
    holder = standing(acme, here, first)
    with as_system():
        Zone.objects.filter(pk=here.zone.pk).update(phase=ZonePhase.DRAINING)
    end(moves.seen, acme.project, begin(acme.project, holder, there.hosts[0], place=there, pool=second))
    with pytest.raises(ledger.Stale):
        begin(acme.project, holder, here.hosts[0], place=here, pool=first)
    check_books()


def test_the_pool_that_pays_is_one_of_the_zone_and_of_the_owner(acme):
    here, there, first, _ = two_zones(acme)
    other = factories.office("other")
    foreign = room.pool(there, other.tenant)
    holder = standing(acme, here, first)
    for pool in (first, foreign):
        with pytest.raises(Exception, match="a pool of another zone or owner"):
            begin(acme.project, holder, there.hosts[0], place=there, pool=pool)
    check_books()


def test_whoever_ends_a_move_at_the_same_time_ends_it_once(acme):
    """Seen, undone and released at once, many times over: one of the three, and the books are right."""
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    for _ in range(5):
        holders = [standing(acme, place, pool, vcpu=1, memory_mib=GIB) for _ in range(3)]
        ids = [begin(acme.project, holder, place.hosts[1]) for holder in holders]

        def rival(number, holders=holders, ids=ids):
            for id, holder in zip(ids, holders, strict=True):
                if number % 3 == 0:
                    end(moves.seen, acme.project, id)
                elif number % 3 == 1:
                    end(moves.undo, acme.project, id)
                else:
                    room.release(acme.project, [holder])

        at_once(rival, 6)
        check_books()
        with as_system():
            assert not Allocation.objects.filter(holder__in=holders, released=None).exists()
            assert not Move.objects.filter(ended_at=None).exists()


def test_moves_are_hidden_from_other_tenants(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    holder = standing(acme, place, pool)
    id = begin(acme.project, holder, place.hosts[1])
    other = factories.office("other")
    assert end(moves.undo, other.project, id) == set()
    with isolation.context(isolation.of([other.tenant.id])), connection.cursor() as cursor:
        cursor.execute("select ledger_moved(%s, %s, %s::uuid[])", [acme.tenant.id, acme.project.id, [str(id)]])
        assert cursor.fetchone()[0] == []
    assert phase_of(id) == MovePhase.CLAIMED
    check_books()
