"""Guarantees are room on hosts: admitted, kept from others, given up, moved between pools, and placed anew."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from facet.operations.models import Event, Operation, Wakeup
from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from infra.models import Datastore, Host, HostState, Zone
from scheduler import guarantees, ledger, reconcile, rehousing, services, transfer
from scheduler.core.ask import Placement, Plan, Shape
from scheduler.guarantees import Amounts, Move
from scheduler.ledger import Stale
from scheduler.models import Allocation, Hold, ResourcePool
from scheduler.services import Limits
from tests import factories, ground, room, sites, work
from tests.factories import as_system
from tests.room import GIB, Land

LARGE = Shape("large", 8, 16 * GIB, 80)
MEDIUM = Shape("medium", 4, 8 * GIB, 40)


def of_shape(place, pool, shape, count):
    return [room.ask(place, pool, shape.vcpu, shape.memory_mib) for _ in range(count)]


def row(pool):
    with as_system():
        return ResourcePool.objects.get(pk=pool.pk)


def held(pool_id):
    """host -> (vCPU, MiB) that is kept there for a pool."""
    with as_system():
        rows = Hold.objects.filter(pool_id=pool_id)
        return {one.host_id: (one.vcpu, one.memory_mib) for one in rows if one.vcpu or one.memory_mib}


def summed(pool_id):
    amounts = held(pool_id).values()
    return sum(vcpu for vcpu, _ in amounts), sum(memory for _, memory in amounts)


def fits(place, pool, shape, count):
    """Whether so many of this shape find room; nothing is claimed."""
    try:
        return bool(ledger.decide(of_shape(place, pool, shape, count), seed=1))
    except Conflict:
        return False


# --- admission -----------------------------------------------------------------------------------------------------


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
        kept = [(host.memory_limit_mib, host.memory_claimed_mib) for host in Host.objects.all()]
    assert kept == [(48 * GIB, 48 * GIB)] * 4
    for one, answer in zip(offices, answers[:6], strict=False):
        with as_system():
            pool = ResourcePool.objects.get(pk=answer["pool"]["id"])
        room.claim(one.project, pool, of_shape(place, pool, LARGE, 2))
    room.check_books()
    assert admin.patch(f"zones/{zone.id}", {"failover_hosts": 0}).status == 202
    assert admin.post(f"tenants/{offices[6].tenant.id}/pools", two).status == 202


@pytest.mark.parametrize("seed", range(6))
def test_others_can_neither_take_nor_fragment_a_guarantee(acme, seed):
    """Others fill the zone with awkward shapes, also blindly onto what is kept; the owner still places exactly as many
    VMs of its largest shape as its guarantee has; and again after it has let go, and others have come and gone."""
    dice = random.Random(seed)
    shape = dice.choice([LARGE, MEDIUM])
    place = room.land(hosts=5, vcpu=20, memory_mib=40 * GIB)
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    before = _fill(dice, place, rival, theirs, at_most=dice.randint(2, 5))
    count = dice.randint(2, 3)
    amounts = Amounts(count * shape.vcpu + dice.randint(0, 3), count * shape.memory_mib + dice.randint(0, 3) * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=amounts, largest_shape=shape.name)
    taken = before + _fill(dice, place, rival, theirs)
    _blindly_onto(place, rival, theirs)
    for _ in range(2):
        assert not fits(place, pool, shape, count + 1)
        mine = of_shape(place, pool, shape, count)
        room.claim(acme.project, pool, mine)
        room.check_books()
        room.release(acme.project, [ask.key for ask in mine])
        gone = [taken.pop(dice.randrange(len(taken))) for _ in range(len(taken) // 2)]
        room.release(rival.project, gone)
        taken += _fill(dice, place, rival, theirs)
        _blindly_onto(place, rival, theirs)
        room.check_books()


def _fill(dice, place, office, pool, at_most=1000):
    """VMs of all kinds of shapes, until not even the smallest finds room."""
    keys = []
    while len(keys) < at_most:
        for vcpu, gib in ((dice.randint(1, 7), dice.randint(1, 15)), (1, 1)):
            ask = room.ask(place, pool, vcpu, gib * GIB, 1)
            try:
                room.claim(office.project, pool, [ask])
            except Conflict:
                continue
            keys.append(ask.key)
            break
        else:
            break
    return keys


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
    assert list(held(web.id).values()) == [(8, 16 * GIB)]
    rival = factories.office("other")
    _fill(random.Random(1), place, rival, room.pool(place, rival.tenant))
    room.claim(acme.project, web, of_shape(place, web, LARGE, 1))
    room.check_books()


def test_a_guarantee_that_grows_by_halves_or_takes_another_shape_still_holds_whole_chunks(admin, acme):
    """Two halves make one large chunk; small pieces are laid anew when a larger shape is declared, but for what lies
    with VMs that use it; and where they cannot be, that is refused."""
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 8 * GIB), largest_shape="large")
    assert admin.patch(f"pools/{pool.id}", {"reserved": {"vcpu": 8, "memory_mib": 16 * GIB}}).status == 202
    assert list(held(pool.id).values()) == [(8, 16 * GIB)]
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
    assert home in held(pool.id)
    rival = factories.office("other")
    _fill(random.Random(1), place, rival, room.pool(place, rival.tenant))
    room.claim(acme.project, pool, of_shape(place, pool, MEDIUM, 5))
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
    assert row(pool).largest_shape == "medium"
    assert summed(pool.id) == (16, 32 * GIB)
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


# --- from pool to pool ---------------------------------------------------------------------------------------------


@pytest.fixture
def two(acme):
    """A zone, and a pool of acme's and of beta's there."""
    place = room.land(hosts=4, vcpu=16, memory_mib=64 * GIB)
    beta = factories.office("beta")
    mine = room.pool(place, acme.tenant, model="reserved", reserved=Amounts(32, 64 * GIB), largest_shape="large")
    theirs = room.pool(place, beta.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="medium")
    with as_system():
        Wakeup.objects.all().delete()
    return place, beta, mine, theirs


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
    assert (row(theirs).vcpu_reserved, row(theirs).generation, row(theirs).vcpu_limit) == (16, 2, None)
    assert summed(mine.id) == (24, 48 * GIB)
    assert summed(theirs.id) == (16, 32 * GIB)
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
    assert fits(place, theirs, MEDIUM, 4)


def place_hosts():
    with as_system():
        return list(Host.objects.order_by("id"))


def test_what_is_in_use_does_not_move(admin, acme, two):
    place, _, mine, theirs = two
    used = [room.ask(place, mine, 8, 16 * GIB, name=f"shop-w-{number}") for number in (1, 2, 3)]
    room.claim(acme.project, mine, used)
    refused = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 9})
    assert (refused.status, refused["code"]) == (409, "guarantee_in_use")
    assert sorted((one["name"], one["vcpu"]) for one in refused["holders"]) == [(f"shop-w-{n}", 8) for n in (1, 2, 3)]
    much = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 33})
    assert (much.status, much["code"]) == (409, "guarantee_in_use")
    assert len(much["holders"]) == 3
    assert (row(mine).generation, row(theirs).generation) == (1, 1)
    assert summed(theirs.id) == (8, 16 * GIB)
    assert admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 7}).status == 202
    room.check_books()


def test_models_stay_what_they_say(admin, acme, two):
    """A reserved pool keeps some of each, an on-demand one takes nothing, a limit is a limit, and a flex pool that
    gives everything is on-demand."""
    _, _, mine, theirs = two
    all_of_it = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 32})
    assert (all_of_it.status, all_of_it["code"]) == (409, "reserved")
    assert (
        admin.post(f"pools/{theirs.id}/transfer", {"to": str(mine.id), "vcpu": 8, "memory_mib": 16 * GIB}).status == 202
    )
    assert (row(theirs).model, row(mine).vcpu_limit, row(mine).vcpu_reserved) == ("on-demand", 40, 40)
    back = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 1})
    assert (back.status, back["code"]) == (409, "on_demand")
    assert "make it flex" in back["detail"]
    flex = {"model": "flex", "reserved": {"vcpu": 1}, "limit": {"vcpu": 2}}
    assert admin.patch(f"pools/{theirs.id}", flex).status == 202
    beyond = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 2})
    assert (beyond.status, beyond["code"]) == (409, "pool_exceeded")
    room.check_books()


def test_a_tenant_admin_moves_between_projects_only(admin, acme, two):
    place, beta, mine, theirs = two
    api = factories.project(acme.tenant, "api")
    web = room.pool(place, acme.tenant, acme.project, model="reserved", reserved=Amounts(16, 32 * GIB))
    other = room.pool(place, acme.tenant, api, model="flex", reserved=Amounts(4, 8 * GIB), limit=Limits(12, 16 * GIB))
    move = {"to": str(other.id), "vcpu": 8, "memory_mib": 8 * GIB}
    assert acme.editor.post(f"pools/{web.id}/transfer", move).status == 403
    assert beta.tenant_admin.post(f"pools/{web.id}/transfer", move).status == 404
    moved = acme.tenant_admin.post(f"pools/{web.id}/transfer", move)
    assert moved.status == 202, moved
    assert moved["pool"]["limit"] == {"vcpu": 8, "memory_mib": 24 * GIB}
    assert (row(other).vcpu_reserved, row(other).vcpu_limit) == (12, 12)
    above = row(mine)
    assert (above.vcpu_reserved, above.vcpu_reserved_handed_down, above.vcpu_handed_down) == (32, 20, 20)
    room.check_books()
    up = acme.tenant_admin.post(f"pools/{web.id}/transfer", {"to": str(mine.id), "vcpu": 1})
    assert up.status == 403
    foreign = acme.tenant_admin.post(f"pools/{web.id}/transfer", {"to": str(theirs.id), "vcpu": 1})
    assert (foreign.status, list(foreign["errors"])) == (422, ["to"])
    assert acme.tenant_admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 1}).status == 403
    for source, target in ((web, mine), (mine, web), (web, theirs)):
        crooked = admin.post(f"pools/{source.id}/transfer", {"to": str(target.id), "vcpu": 1})
        assert (crooked.status, list(crooked["errors"])) == (422, ["to"])


def test_what_arrives_is_laid_in_the_chunks_that_its_new_pool_promises(admin, acme):
    """Small pieces of one tenant's guarantee on four hosts become one large chunk of another's."""
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    beta = factories.office("beta")
    theirs = room.pool(place, beta.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large")
    mine = room.pool(place, acme.tenant, model="flex", reserved=Amounts(12, 12 * GIB), largest_shape="small")
    assert len(held(mine.id)) == 3
    answer = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 8, "memory_mib": 12 * GIB})
    assert answer.status == 202, answer
    assert summed(theirs.id) == (16, 28 * GIB)
    room.check_books()


def at_once(works):
    """Run these in a thread each; their answers."""

    def one(work_):
        try:
            return work_()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def test_transfers_and_claims_at_once_lose_and_double_nothing(acme, two):
    """Two that move it there, two that move it back, two that claim from it: whatever wins, the books are right."""
    place, beta, mine, theirs = two

    def moving(source, target):
        ends = []
        for _ in range(6):
            try:
                with as_system():
                    pools = [ResourcePool.objects.select_related("zone").get(pk=one.pk) for one in (source, target)]
                    asked = transfer.read(source=pools[0], target=pools[1], amounts=Amounts(4, 8 * GIB))
                moves = transfer.decide(asked)
                with as_system():
                    transfer.write(asked, moves, by=SYSTEM)
                ends.append("moved")
            except Stale:
                ends.append("stale")
            except Conflict as refusal:
                ends.append(refusal.code)
        return ends

    def claiming(office, pool):
        ends = []
        for _ in range(8):
            asks = of_shape(place, pool, MEDIUM, 1)
            try:
                room.claim(office.project, pool, asks)
                ends.append("granted")
            except Stale:
                ends.append("stale")
                continue
            except Conflict as refusal:
                ends.append(refusal.code)
                continue
            room.release(office.project, [asks[0].key])
        return ends

    works = [
        lambda: moving(mine, theirs), lambda: moving(mine, theirs), lambda: moving(theirs, mine),
        lambda: moving(theirs, mine), lambda: claiming(acme, mine), lambda: claiming(beta, theirs),
    ]  # fmt: skip
    ends = {end for found in at_once(works) for end in found}
    assert ends >= {"moved", "granted"}
    assert ends <= {"moved", "granted", "stale", "guarantee_in_use", "pool_exceeded", "reserved", "on_demand"}
    assert row(mine).vcpu_reserved + row(theirs).vcpu_reserved == 40
    assert summed(mine.id)[0] + summed(theirs.id)[0] == 40
    room.check_books()


def test_both_are_mirrored_at_the_site_again(tmp_path):
    with ground.simulated(tmp_path) as land:
        beta = factories.office("beta")
        some = {"zone": "az1", "model": "flex", "reserved": {"vcpu": 4, "memory_mib": 8 * GIB}, "limit": ground.POOL}
        made = land.it.post(f"tenants/{beta.tenant.id}/pools", some)
        work.succeed(land.it, made)
        with as_system():
            mine = ResourcePool.objects.get(tenant=land.office.tenant)
        change = {"model": "flex", "reserved": {"vcpu": 2, "memory_mib": 4 * GIB}}
        work.succeed(land.it, land.it.patch(f"pools/{mine.id}", change))
        work.succeed(land.it, land.it.post(f"pools/{made['pool']['id']}/transfer", {"to": str(mine.id), "vcpu": 2}))
        work.until(lambda: row(mine).observed_generation == row(mine).generation)
        with as_system():
            assert set(Operation.objects.filter(verb="pool.transfer").values_list("phase", flat=True)) == {"succeeded"}


# --- hosts that close ----------------------------------------------------------------------------------------------


def close(host, **how):
    with as_system():
        Host.objects.filter(pk=host.pk).update(**how)
        services.wake_pools_of(host.zone_id)
    ledger.look(full=True)


def passes():
    """Whatever is due now."""
    with as_system():
        Wakeup.objects.update(due_at="2026-01-01T00:00:00Z")
    work.until(lambda: not _due())


def _due():
    with as_system():
        return Wakeup.objects.filter(due_at="2026-01-01T00:00:00Z").exists()


@pytest.mark.parametrize(
    "how", [{"state": HostState.DOWN}, {"state": HostState.MAINTENANCE}, {"state": HostState.GONE}, {"cordoned": True}]
)
def test_a_hold_on_a_closed_host_is_placed_anew(acme, how):
    """By the pool's own pass, in whole chunks, and VMs in it stay where they are."""
    place = room.land(hosts=4, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(33, 65 * GIB), largest_shape="large")
    mine = of_shape(place, pool, MEDIUM, 1)
    room.claim(acme.project, pool, mine)
    with as_system():
        lost = Allocation.objects.get().host
    close(lost, **how)
    passes()
    assert lost.id not in held(pool.id)
    assert summed(pool.id) == (29, 57 * GIB)
    assert row(pool).reason is None
    room.check_books()
    with as_system():
        assert Allocation.objects.get(released=None).host_id == lost.id
    # a release onto the closed host gives the room back there; the same pass mends it
    room.release(acme.project, [mine[0].key])
    assert held(pool.id)[lost.id] == (4, 8 * GIB)
    with as_system():
        services.wake_pools_of(place.zone.id)
    passes()
    assert lost.id not in held(pool.id)
    assert summed(pool.id) == (33, 65 * GIB)
    assert fits(place, pool, LARGE, 3)
    room.check_books()


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
    with as_system():
        ResourcePool.objects.filter(pk=pool.pk).update(reason={"code": "guarantee_short"})
    reconcile.observe(as_system, place.zone.site_id, (), complete=True)
    with as_system():
        assert not Wakeup.objects.exists()


def test_what_finds_no_room_stays_and_the_pool_says_so(acme):
    """Three of four hosts close: one chunk finds room, the rest stays where it is; it goes when there is room."""
    place = room.land(hosts=4, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(40, 80 * GIB), largest_shape="large")
    for host in place.hosts[1:]:
        close(host, state=HostState.DOWN)
    passes()
    found = row(pool)
    assert found.phase == "pending"  # nothing failed: its site was never asked
    assert held(pool.id)[place.hosts[0].id] == (16, 32 * GIB)
    assert found.reason["code"] == "guarantee_short"
    assert found.reason["guarantee"] == {"vcpu": 24, "memory_mib": 48 * GIB}
    assert "24 vCPUs and 49152 MiB of its guarantee lie on closed hosts" in found.reason["sentence"]
    assert summed(pool.id) == (40, 80 * GIB)
    room.check_books()
    for host in place.hosts[1:3]:
        close(host, state=HostState.UP)
    passes()
    assert row(pool).reason is None
    assert place.hosts[3].id not in held(pool.id)
    room.check_books()


def test_pieces_that_find_no_room_together_go_apart(acme):
    """Two hosts are left, one with CPU to spare and one with memory: each takes its part."""
    place = room.land(hosts=3, vcpu=8, memory_mib=16 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(2, 4 * GIB), largest_shape="large")
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    home = next(iter(held(pool.id)))
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
        kept = services.kept_in(place.zone.id)
    done = rehousing.rehouse(kept, [home], seed=1)
    assert done.short == {}
    with as_system():
        guarantees.move(place.zone.id, done.moves)
    assert home not in held(pool.id)
    assert summed(pool.id) == (2, 4 * GIB)
    room.check_books()


def test_a_claim_that_comes_between_makes_the_move_stale(acme):
    place = room.land(hosts=3, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large")
    home = next(iter(held(pool.id)))
    with as_system():
        kept = services.kept_in(place.zone.id)
    done = rehousing.rehouse(kept, [home], seed=1)
    room.claim(
        acme.project, pool, [ask := room.ask(place, pool)],
        Plan((Placement(ask.key, place.zone.id, home, place.datastore.id, {}),)),
    )  # fmt: skip
    with pytest.raises(Stale), as_system():
        guarantees.move(place.zone.id, done.moves)
    assert summed(pool.id) == (7, 15 * GIB)
    room.check_books()


def test_hosts_that_close_while_others_claim_lose_and_double_nothing(acme):
    """Passes move Holds, and clients claim and release, at the same time."""
    place = room.land(hosts=4, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(24, 48 * GIB), largest_shape="medium")

    def claiming():
        ends = []
        for _ in range(12):
            asks = of_shape(place, pool, MEDIUM, 2)
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
                kept = services.kept_in(place.zone.id)
            done = rehousing.rehouse(kept, [host.id], seed=turn)
            try:
                with as_system():
                    guarantees.move(place.zone.id, done.moves)
                ends.append("moved")
            except Stale:
                ends.append("stale")
        return ends

    ends = {end for found in at_once([claiming, claiming, closing]) for end in found}
    assert ends >= {"moved", "granted"}
    assert summed(pool.id) == (24, 48 * GIB)
    room.check_books()


def test_a_move_that_is_refused_in_part_moves_nothing(acme):
    place = room.land(hosts=2, vcpu=16, memory_mib=32 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large")
    home = next(iter(held(pool.id)))
    other = next(host.id for host in place.hosts if host.id != home)
    crooked = [Move(home, pool.id, None, 8, 16 * GIB), Move(other, None, pool.id, 17, 0)]
    with pytest.raises(Stale), as_system():
        guarantees.move(place.zone.id, crooked)
    assert held(pool.id) == {home: (8, 16 * GIB)}
    room.check_books()
