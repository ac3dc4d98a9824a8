"""Guarantees are room on hosts: admitted, kept from others, given up, moved, and placed anew."""

from __future__ import annotations

import random

import pytest

from facet.operations.models import Event, Operation, Wakeup
from infra.models import Datastore, Host, HostState, Zone
from scheduler import services
from scheduler.core.ask import Placement, Plan
from scheduler.guarantees import Amounts
from scheduler.ledger import Stale
from scheduler.models import Allocation, ResourcePool
from tests import factories, kept, room, sites
from tests.factories import as_system
from tests.room import GIB, Land


def test_guarantees_are_admitted_only_while_all_can_be_honoured(admin):
    """Four hosts with room for four large VMs each, of which one host's is headroom: 12 are guaranteed, and not 13. All
    who were guaranteed something can have it at once."""
    zone = sites.carved(sites.registered(found=sites.world([sites.host(n) for n in (1, 2, 3, 4)])))
    assert admin.patch(f"zones/{zone.id}", {"failover_hosts": 1}).status == 202
    with as_system():
        Wakeup.objects.all().delete()
        place = Land(Zone.objects.get(), list(Host.objects.order_by("id")), Datastore.objects.get(name="ssd-1"))
    two = {"zone": "az1", "model": "reserved", "largest_shape": "large",
           "reserved": {"vcpu": 16, "memory_mib": 32 * GIB}}  # fmt: skip
    offices = [factories.office(f"t{number}") for number in range(8)]
    answers = [admin.post(f"tenants/{one.tenant.id}/pools", two) for one in offices]
    assert [answer.status for answer in answers] == [202] * 6 + [409] * 2
    assert {answer["code"] for answer in answers[6:]} == {"no_room"}
    assert answers[6]["limits"][0]["filter"] == "memory"
    with as_system():
        assert ResourcePool.objects.count() == 6
        full = [(host.memory_limit_mib, host.memory_claimed_mib) for host in Host.objects.all()]
    assert full == [(48 * GIB, 48 * GIB)] * 4
    for one, answer in zip(offices, answers[:6], strict=False):
        with as_system():
            pool = ResourcePool.objects.get(pk=answer["pool"]["id"])
        room.claim(one.project, pool, kept.of_shape(place, pool, kept.LARGE, 2))
    room.check_books()
    assert admin.patch(f"zones/{zone.id}", {"failover_hosts": 0}).status == 202
    assert admin.post(f"tenants/{offices[6].tenant.id}/pools", two).status == 202


@pytest.mark.parametrize("seed", range(6))
def test_others_can_neither_take_nor_fragment_a_guarantee(acme, seed):
    """Others fill the zone with awkward shapes, also blindly onto what is kept; the owner still places exactly as many
    VMs of its largest shape as its guarantee has; and again after it has let go, and others have come and gone."""
    dice = random.Random(seed)
    shape = dice.choice([kept.LARGE, kept.MEDIUM])
    place = room.land(hosts=5, vcpu=20, memory_mib=40 * GIB)
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    before = kept.fill(dice, place, rival, theirs, at_most=dice.randint(2, 5))
    count = dice.randint(2, 3)
    amounts = Amounts(count * shape.vcpu + dice.randint(0, 3), count * shape.memory_mib + dice.randint(0, 3) * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=amounts, largest_shape=shape.name)
    taken = before + kept.fill(dice, place, rival, theirs)
    _blindly_onto(place, rival, theirs)
    for _ in range(2):
        assert not kept.fits(place, pool, shape, count + 1)
        mine = kept.of_shape(place, pool, shape, count)
        room.claim(acme.project, pool, mine)
        room.check_books()
        room.release(acme.project, [ask.key for ask in mine])
        gone = [taken.pop(dice.randrange(len(taken))) for _ in range(len(taken) // 2)]
        room.release(rival.project, gone)
        taken += kept.fill(dice, place, rival, theirs)
        _blindly_onto(place, rival, theirs)
        room.check_books()


def _blindly_onto(place, office, pool):
    """A plan that nobody thought about never gets what is kept."""
    for host in place.hosts:
        ask = room.ask(place, pool, 1, GIB, 1)
        plan = Plan((Placement(ask.key, place.zone.id, host.id, place.datastore.id, {}),))
        with pytest.raises(Stale):
            room.claim(office.project, pool, [ask], plan)


def test_a_projects_guarantee_is_kept_in_its_own_chunks_too(acme):
    """Cut from a tenant's guarantee that lies in small pieces, it is laid anew in the shape that it promises."""
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="small")
    web = room.pool(
        place, acme.tenant, acme.project, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large"
    )
    assert list(kept.held(web.id).values()) == [(8, 16 * GIB)]
    rival = factories.office("other")
    kept.fill(random.Random(1), place, rival, room.pool(place, rival.tenant))
    room.claim(acme.project, web, kept.of_shape(place, web, kept.LARGE, 1))
    room.check_books()


def test_a_guarantee_that_grows_by_halves_or_takes_another_shape_still_holds_whole_chunks(admin, acme):
    """Two halves make one large chunk; small pieces are laid anew when a larger shape is declared, but for what lies
    with VMs that use it; and where they cannot be, that is refused."""
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 8 * GIB), largest_shape="large")
    assert admin.patch(f"pools/{pool.id}", {"reserved": {"vcpu": 8, "memory_mib": 16 * GIB}}).status == 202
    assert list(kept.held(pool.id).values()) == [(8, 16 * GIB)]
    assert admin.patch(f"pools/{pool.id}", {"largest_shape": "small"}).status == 202
    assert admin.patch(f"pools/{pool.id}", {"reserved": {"vcpu": 14, "memory_mib": 28 * GIB}}).status == 202
    used = [room.ask(place, pool, 1, GIB)]
    room.claim(acme.project, pool, used)
    with as_system():
        home = Allocation.objects.get().host_id
    assert admin.patch(f"pools/{pool.id}", {"reserved": {"vcpu": 24, "memory_mib": 48 * GIB}}).status == 202
    assert admin.patch(f"pools/{pool.id}", {"largest_shape": "medium"}).status == 202
    room.check_books()
    room.release(acme.project, [used[0].key])
    assert home in kept.held(pool.id)
    rival = factories.office("other")
    kept.fill(random.Random(1), place, rival, room.pool(place, rival.tenant))
    room.claim(acme.project, pool, kept.of_shape(place, pool, kept.MEDIUM, 5))
    room.check_books()


def test_a_shape_that_the_guarantee_cannot_take_is_refused(admin, acme):
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    plan_asks = [room.ask(place, theirs, 4, 8 * GIB) for _ in place.hosts]
    plan = Plan(
        tuple(
            Placement(ask.key, place.zone.id, host.id, place.datastore.id, {})
            for ask, host in zip(plan_asks, place.hosts, strict=True)
        )
    )
    room.claim(rival.project, theirs, plan_asks, plan)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(16, 32 * GIB), largest_shape="medium")
    refused = admin.patch(f"pools/{pool.id}", {"largest_shape": "large"})
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert kept.row(pool).largest_shape == "medium"
    assert kept.summed(pool.id) == (16, 32 * GIB)
    room.check_books()


def test_a_guarantee_in_use_names_the_vms_in_it(admin, acme):
    """Also what was handed down; and it says how much would be free to give up."""
    place = room.land(hosts=2, vcpu=32, memory_mib=128 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(24, 48 * GIB))
    web = room.pool(place, acme.tenant, acme.project, model="flex", reserved=Amounts(4, 8 * GIB))
    api = factories.project(acme.tenant, "api")
    names = [f"shop-w-{number}" for number in (1, 2)]
    room.claim(api, pool, [room.ask(place, pool, 4, 8 * GIB, name=name) for name in names])
    refused = admin.patch(f"pools/{pool.id}", {"reserved": {"vcpu": 8, "memory_mib": 48 * GIB}})
    assert (refused.status, refused["code"]) == (409, "guarantee_in_use")
    assert refused["limits"] == [{"scope": "pool", "resource": "vcpu", "limit": 12, "used": 0, "asked": 16}]
    assert sorted((one["kind"], one["name"], one["vcpu"], one["memory_mib"]) for one in refused["holders"]) == [
        ("project pool", "web/az1", 4, 8 * GIB),
        ("vm", "shop-w-1", 4, 8 * GIB),
        ("vm", "shop-w-2", 4, 8 * GIB),
    ]
    below = acme.tenant_admin.patch(f"pools/{web.id}", {"reserved": {"vcpu": 30, "memory_mib": 8 * GIB}})
    assert (below.status, below["code"]) == (409, "guarantee_in_use")
    assert {one["name"] for one in below["holders"]} >= set(names)
    assert admin.patch(f"pools/{pool.id}", {"reserved": {"vcpu": 12, "memory_mib": 48 * GIB}}).status == 202
    room.check_books()


@pytest.fixture
def two(acme):
    """A zone, and a pool of acme's and of beta's there."""
    return kept.two_pools(acme)


def test_a_guarantee_moves_between_tenants_in_one_transaction(admin, acme, two):
    place, beta, mine, theirs = two
    before = {host.id: host.vcpu_claimed for host in place_hosts()}
    body = {"to": str(theirs.id), "vcpu": 8, "memory_mib": 16 * GIB}
    refused = admin.post(f"pools/{mine.id}/transfer", body, If_Match='"7"')
    assert (refused.status, refused["current"]["id"]) == (412, str(mine.id))
    answer = admin.post(f"pools/{mine.id}/transfer", body, If_Match='"1"')
    assert answer.status == 202, answer
    assert (answer["operation"]["verb"], answer["operation"]["generation"]) == ("pool.transfer", 2)
    assert answer["pool"]["reserved"] == answer["pool"]["limit"] == {"vcpu": 24, "memory_mib": 48 * GIB}
    assert (kept.row(theirs).vcpu_reserved, kept.row(theirs).generation, kept.row(theirs).vcpu_limit) == (16, 2, None)
    assert kept.summed(mine.id) == (24, 48 * GIB)
    assert kept.summed(theirs.id) == (16, 32 * GIB)
    assert {host.id: host.vcpu_claimed for host in place_hosts()} == before  # it never was anybody's on the way
    with as_system():
        moved = Event.objects.filter(verb="pool.transfer").order_by("seq")
        assert [(one.tenant_id, one.after["reserved"]["vcpu"]) for one in moved] == [
            (acme.tenant.id, 24),
            (beta.tenant.id, 16),
        ]
        assert set(Wakeup.objects.values_list("key", flat=True)) == {mine.id, theirs.id}  # both are mirrored again
        assert Operation.objects.filter(verb="pool.transfer", phase="pending").count() == 2
    for office, foreign in ((acme, theirs), (beta, mine)):
        told = str(office.tenant_admin.get("events").body) + str(office.tenant_admin.get("operations").body)
        assert "pool.transfer" in told
        assert str(foreign.id) not in told
    room.check_books()
    assert kept.fits(place, theirs, kept.MEDIUM, 4)


def place_hosts():
    with as_system():
        return list(Host.objects.order_by("id"))


@pytest.mark.parametrize(
    "how", [{"state": HostState.DOWN}, {"state": HostState.MAINTENANCE}, {"state": HostState.GONE}, {"cordoned": True}]
)
def test_a_hold_on_a_closed_host_is_placed_anew(acme, how):
    """By the pool's own pass, in whole chunks, and VMs in it stay where they are."""
    place = room.land(hosts=4, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(33, 65 * GIB), largest_shape="large")
    mine = kept.of_shape(place, pool, kept.MEDIUM, 1)
    room.claim(acme.project, pool, mine)
    with as_system():
        lost = Allocation.objects.get().host
    kept.close(lost, **how)
    kept.passes()
    assert lost.id not in kept.held(pool.id)
    assert kept.summed(pool.id) == (29, 57 * GIB)
    assert kept.row(pool).reason is None
    room.check_books()
    with as_system():
        assert Allocation.objects.get(released=None).host_id == lost.id
    # a release onto the closed host gives the room back there; the same pass mends it
    room.release(acme.project, [mine[0].key])
    assert kept.held(pool.id)[lost.id] == (4, 8 * GIB)
    with as_system():
        services.wake_pools_of(place.zone.id)
    kept.passes()
    assert lost.id not in kept.held(pool.id)
    assert kept.summed(pool.id) == (33, 65 * GIB)
    assert kept.fits(place, pool, kept.LARGE, 3)
    room.check_books()
