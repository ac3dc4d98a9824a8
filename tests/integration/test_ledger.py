"""Law 1: no grant ever passes a limit, under any concurrency; and what the ledger says of a refusal."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, connections, transaction

from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, InUse, NotFound
from infra.models import Datastore, Host, Zone, ZonePhase
from scheduler import guarantees, ledger, services
from scheduler.core.ask import Apart, Ask, Group, Placement, Plan, Policy
from scheduler.guarantees import Amounts
from scheduler.ledger import Spend, Stale
from scheduler.models import Allocation, Hold, ResourcePool
from scheduler.services import Limits
from tenants import isolation, quota
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system
from tests.room import GIB

CLIENTS = 8


def at_once(work, count=CLIENTS):
    """Run work(number) in so many threads, each with a connection of its own; their answers."""
    gate = threading.Barrier(count)

    def one(number):
        try:
            gate.wait()
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def straight(ask, host, place):
    """A plan that nobody thought about: this ask, onto this host."""
    return Plan((Placement(ask.key, place.zone.id, host.id, place.datastore.id, {}),))


def used(project, resource):
    with as_system():
        return Quota.objects.get(project=project, zone_id=None, resource=resource).used


def refused_how_often(place, acme, pool, tries_each=20, **more):
    """8 clients claim one vCPU each time on the one host, plans made blindly; (granted, kinds of refusals)."""
    host = place.hosts[0]

    def client(_):
        kinds = []
        for _ in range(tries_each):
            ask = room.ask(place, pool)
            try:
                room.claim(acme.project, pool, [ask], straight(ask, host, place), **more)
                kinds.append("granted")
            except Stale:
                kinds.append("stale")
            except Conflict as refusal:
                kinds.append(refusal.code)
        return kinds

    kinds = [kind for found in at_once(client) for kind in found]
    return kinds.count("granted"), set(kinds) - {"granted"}


def test_parallel_claims_never_oversell(acme):
    """160 tries, room for 50: on the host, then by the pool's limit, then by the quota. Always exactly 50."""
    place = room.land(vcpu=50)
    pool = room.pool(place, acme.tenant)
    assert refused_how_often(place, acme, pool) == (50, {"stale"})
    room.check_books()
    with as_system():
        assert Host.objects.get(pk=place.hosts[0].pk).vcpu_claimed == 50

    narrow = room.land(vcpu=500, name="az2")
    limited = room.pool(narrow, acme.tenant, limit=Limits(vcpu=50, memory_mib=None))
    assert refused_how_often(narrow, acme, limited) == (50, {"pool_exceeded"})
    room.check_books()

    with as_system():
        quota.set_limits(
            tenant=acme.tenant, project=acme.project, limits={"vms": 150}, zone_id=None, replace=False, by=SYSTEM
        )
    wide = room.land(vcpu=500, name="az3")
    open_pool = room.pool(wide, acme.tenant)
    assert refused_how_often(wide, acme, open_pool) == (50, {"quota_exceeded"})
    room.check_books()


def test_counters_are_the_sums_of_what_lives_after_mixed_claims_and_releases(acme):
    """Batches over several hosts, taken and given back by 8 clients at once: no deadlock, and the books are right."""
    place = room.land(hosts=6, vcpu=16, memory_mib=64 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(24, 48 * GIB))
    web = room.pool(place, acme.tenant, acme.project, model="flex", reserved=Amounts(8, 16 * GIB))
    other = factories.project(acme.tenant, "api", {})
    with as_system():
        quota.set_limits(
            tenant=acme.tenant, project=other, limits={"vcpu": 400, "memory_mib": 1_000_000, "storage_gib": 9000,
            "vms": 400}, zone_id=None, replace=False, by=SYSTEM,
        )  # fmt: skip
    owners = [(acme.project, web), (other, pool)]

    def client(number):
        dice = random.Random(number)
        project, mine = owners[number % 2]
        held, ends = [], []
        for _ in range(25):
            if held and dice.random() < 0.45:
                gone = [held.pop(dice.randrange(len(held))) for _ in range(min(len(held), dice.randint(1, 3)))]
                assert room.release(project, gone) == len(gone)
                continue
            asks = [room.ask(place, mine, dice.choice((1, 2, 4))) for _ in range(dice.randint(1, 5))]
            try:
                room.claim(project, mine, asks)
                held += [ask.key for ask in asks]
                ends.append("granted")
            except Stale:
                ends.append("stale")
            except Conflict as refusal:
                ends.append(refusal.code)
        return ends

    ends = {end for found in at_once(client) for end in found}
    assert "granted" in ends
    assert ends <= {"granted", "stale", "no_room"}
    room.check_books()


def test_a_plan_made_on_an_old_look_is_refused(acme):
    """The host was filled, cordoned or its zone closed after the look: nothing is written, and another look helps."""
    place = room.land(hosts=2, vcpu=4)
    pool = room.pool(place, acme.tenant)
    first = [room.ask(place, pool, 4)]
    stale = ledger.decide(first, seed=1)
    host = stale.placements[0].host_id
    rival = room.ask(place, pool, 1)
    room.claim(acme.project, pool, [rival], straight(rival, Host(id=host), place))
    with pytest.raises(Stale):
        room.claim(acme.project, pool, first, stale)
    with as_system():
        assert Allocation.objects.count() == 1
    assert used(acme.project, "vcpu") == 1
    again = room.claim(acme.project, pool, first)
    assert again.placements[0].host_id != host
    room.check_books()

    small = [room.ask(place, pool, 1)]
    plan = ledger.decide(small, seed=1)
    with as_system():
        Host.objects.filter(pk=plan.placements[0].host_id).update(cordoned=True, changed=CurrentXid())
    with pytest.raises(Stale):
        room.claim(acme.project, pool, small, plan)
    with as_system():
        Host.objects.update(cordoned=False, changed=CurrentXid())
        Zone.objects.update(phase=ZonePhase.DRAINING)
    with pytest.raises(Stale):
        room.claim(acme.project, pool, small, plan)
    with as_system():
        Zone.objects.update(phase=ZonePhase.ACTIVE)
        Datastore.objects.update(limit_gib=20, changed=CurrentXid())
    with pytest.raises(Stale):
        room.claim(acme.project, pool, small, plan)
    room.check_books()


def test_control_planes_stand_on_different_hosts(acme):
    """Also with those that stand already; where there are fewer hosts than members, the refusal says so."""
    place = room.land(hosts=3, vcpu=32)
    pool = room.pool(place, acme.tenant)

    def planes(count, members=()):
        group = Group("shop", Apart.REQUIRED, members=tuple(members))
        return [room.ask(place, pool, 2, role="control_plane", group=group) for _ in range(count)]

    plan = room.claim(acme.project, pool, planes(3))
    assert {one.host_id for one in plan.placements} == {host.id for host in place.hosts}
    with pytest.raises(Conflict) as refusal:
        ledger.decide(planes(1, [one.host_id for one in plan.placements]), seed=1)
    assert refusal.value.code == "no_room"
    told = {row["filter"]: row for row in refusal.value.more["filters"]}
    assert told["anti_affinity"]["removed_hosts"] == 3
    assert told["anti_affinity"]["left_hosts"] == 0


def test_a_refusal_says_why_and_what_would_fit(acme):
    place = room.land(hosts=2, vcpu=4)
    pool = room.pool(place, acme.tenant)
    asks = [room.ask(place, pool, 2) for _ in range(5)]
    with pytest.raises(Conflict) as refusal:
        ledger.decide(asks, seed=1)
    document = refusal.value.document()
    assert (document["status"], document["code"]) == (409, "no_room")
    assert document["detail"].startswith("4 of 5 find room")
    assert sum(row["removed_hosts"] for row in document["filters"]) == 2
    assert document["limits"][0]["resource"] == "vcpu"
    assert document["limits"][0]["asked"] == 2
    assert {"role": "worker", "count": 4} in [near["change"] for near in document["nearest"]]


def test_a_refusal_comes_only_after_a_full_look(acme):
    """What this process believes may be behind; before it says no, it reads everything anew."""
    place = room.land(vcpu=4)
    pool = room.pool(place, acme.tenant)
    ledger.look()
    with connection.cursor() as cursor:  # a writer that forgets `changed`: no look at changes can see this
        cursor.execute("update infra_host set vcpu_limit = 8")
    assert ledger.look().vcpu_limit.tolist() == [4]
    assert len(ledger.decide([room.ask(place, pool, 8)], seed=1).placements) == 1


def test_limits_are_named_with_what_is_used_and_asked(acme):
    place = room.land(vcpu=100)
    pool = room.pool(place, acme.tenant, limit=Limits(vcpu=10, memory_mib=None))
    room.claim(acme.project, pool, [room.ask(place, pool, 7)])
    with pytest.raises(Conflict) as refusal:
        room.claim(acme.project, pool, [room.ask(place, pool, 4)])
    assert refusal.value.code == "pool_exceeded"
    assert refusal.value.more["limits"] == [
        {"scope": "tenant pool", "pool": "az1", "resource": "vcpu", "limit": 10, "used": 7, "asked": 4}
    ]
    with pytest.raises(Conflict) as refusal:
        room.claim(acme.project, pool, [room.ask(place, pool)], spend=[Spend(None, "clusters", 51)])
    assert refusal.value.code == "quota_exceeded"
    assert [(row["scope"], row["limit"], row["used"], row["asked"]) for row in refusal.value.more["limits"]] == [
        ("project", 50, 0, 51)
    ]
    room.check_books()


def test_a_zone_quota_narrows(acme):
    place = room.land(vcpu=100)
    pool = room.pool(place, acme.tenant)
    with as_system():
        for project in (None, acme.project):
            quota.set_limits(
                tenant=acme.tenant, project=project, limits={"vcpu": 3}, zone_id=place.zone.id, replace=False, by=SYSTEM
            )
    asks = [room.ask(place, pool, 3)]
    room.claim(acme.project, pool, asks)
    with pytest.raises(Conflict) as refusal:
        room.claim(acme.project, pool, [room.ask(place, pool, 1)])
    assert refusal.value.more["limits"][0]["zone"] == str(place.zone.id)
    room.release(acme.project, [asks[0].key])
    with as_system():
        assert set(Quota.objects.filter(resource="vcpu").values_list("used", flat=True)) == {0}


def test_release_said_twice_gives_back_once(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    asks = [room.ask(place, pool, 2), room.ask(place, pool, 3)]
    room.claim(acme.project, pool, asks, spend=[Spend(None, "clusters", 1)])
    assert used(acme.project, "clusters") == 1
    keys = [ask.key for ask in asks]
    assert room.release(acme.project, keys[:1]) == 1
    assert sum(at_once(lambda _: room.release(acme.project, keys))) == 1
    assert room.release(acme.project, keys) == 0
    assert room.release(acme.project, [uuid4()]) == 0
    room.check_books()
    assert (used(acme.project, "vcpu"), used(acme.project, "vms"), used(acme.project, "clusters")) == (0, 0, 1)
    assert room.release(acme.project, (), spend=[Spend(None, "clusters", 1)]) == 0
    assert used(acme.project, "clusters") == 0


def test_a_holder_has_room_once(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    ask = room.ask(place, pool)
    room.claim(acme.project, pool, [ask])
    with pytest.raises(Conflict) as refusal:
        room.claim(acme.project, pool, [ask])
    assert refusal.value.code == "already_held"
    with pytest.raises(ValueError, match="asked twice"):
        ledger.decide([ask, ask], seed=1)
    other = room.ask(place, pool)
    ends = at_once(
        lambda _: _end_of(lambda: room.claim(acme.project, pool, [other], straight(other, place.hosts[0], place)))
    )
    assert ends.count("granted") == 1
    room.check_books()
    room.release(acme.project, [ask.key])
    room.claim(acme.project, pool, [ask])
    room.check_books()


def _end_of(act):
    try:
        act()
    except IntegrityError:
        return "rival"  # the unique index, where two ask in the same moment
    except Conflict as refusal:
        return refusal.code
    return "granted"


def test_several_asks_on_one_host_are_summed_before_the_guard(acme):
    place = room.land(vcpu=5)
    pool = room.pool(place, acme.tenant)
    asks = [room.ask(place, pool, 2) for _ in range(3)]
    blind = Plan(tuple(straight(ask, place.hosts[0], place).placements[0] for ask in asks))
    with pytest.raises(Stale):
        room.claim(acme.project, pool, asks, blind)
    room.check_books()


def test_a_pool_of_another_zone_or_owner_pays_nothing(acme):
    place, other = room.land(), room.land(name="az2")
    here, there = room.pool(place, acme.tenant), room.pool(other, acme.tenant)
    ask = room.ask(place, here)
    for wrong in (there.id, uuid4()):
        with pytest.raises(Exception, match="another zone or owner"):
            _commit_with(acme.project, ask, straight(ask, place.hosts[0], place), wrong)
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    with pytest.raises(Exception, match="another zone or owner"):
        _commit_with(acme.project, ask, straight(ask, place.hosts[0], place), theirs.id)
    room.check_books()


def _commit_with(project, ask, plan, pool_id):
    with isolation.context(isolation.of([project.tenant_id])):
        ledger.commit(
            tenant_id=project.tenant_id, project_id=project.id, asks=[ask], plan=plan,
            pools={plan.placements[0].zone_id: pool_id},
        )  # fmt: skip


# --- the world outside ---------------------------------------------------------------------------------------------


def test_an_overdrawn_host_takes_nothing_new_and_a_release_lowers_it(acme):
    place = room.land(vcpu=10)
    pool = room.pool(place, acme.tenant)
    asks = [room.ask(place, pool, 4), room.ask(place, pool, 4)]
    room.claim(acme.project, pool, asks)
    with as_system():  # what the sync writes when the host comes back smaller
        Host.objects.update(vcpu_limit=6, vcpu_overdrawn=2, changed=CurrentXid())
    one = room.ask(place, pool, 1)
    with pytest.raises(Conflict):
        ledger.decide([one], seed=1)
    with pytest.raises(Stale):
        room.claim(acme.project, pool, [one], straight(one, place.hosts[0], place))
    room.release(acme.project, [asks[0].key])
    with as_system():
        host = Host.objects.get(pk=place.hosts[0].pk)
        assert (host.vcpu_claimed, host.vcpu_overdrawn) == (4, 0)
    room.claim(acme.project, pool, [room.ask(place, pool, 2)])
    room.check_books()


def test_a_look_sees_a_change_that_commits_late(acme):
    """What began before a look and commits after it is seen by the next one; a timestamp would miss it."""
    room.land(hosts=2, vcpu=10)
    ledger.look()
    began, go_on = threading.Event(), threading.Event()

    def late(_):
        try:
            with as_system():
                Host.objects.filter(name="host-1").update(vcpu_claimed=7, changed=CurrentXid())
                began.set()
                assert go_on.wait(20)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(late, 0)
        assert began.wait(20)
        with as_system():  # younger, and committed first: the watermark must not pass the older one
            Host.objects.filter(name="host-2").update(vcpu_claimed=3, changed=CurrentXid())
        assert sorted(ledger.look().vcpu_claimed.tolist()) == [0, 3]
        assert sorted(ledger.look().vcpu_claimed.tolist()) == [0, 3]
        go_on.set()
        writing.result()
    assert sorted(ledger.look().vcpu_claimed.tolist()) == [3, 7]


def test_a_look_inside_a_transaction_that_has_written_is_not_kept(acme):
    room.land(vcpu=10)
    ledger.look()
    with as_system():
        Host.objects.update(vcpu_claimed=9, changed=CurrentXid())
        assert ledger.look().vcpu_claimed.tolist() == [9]
        transaction.set_rollback(True)
    assert ledger.look().vcpu_claimed.tolist() == [0]


def test_a_look_goes_on_from_the_look_before(acme):
    """Hosts, datastores, zones, networks and holds that come, change and go: a look at changes is a look at all."""
    place = room.land(hosts=3, vcpu=16, memory_mib=64 * GIB)
    ledger.look(full=True)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB))
    same()
    asks = [room.ask(place, pool, 2, 4 * GIB) for _ in range(3)]
    room.claim(acme.project, pool, asks)
    same()
    room.release(acme.project, [ask.key for ask in asks])
    same()
    second = room.land(hosts=2, name="az2")
    same()
    with as_system():
        network = second.zone.site.networks.create(ref="n-1", name="n-1")
        Host.objects.update(network_refs=["n-1"], changed=CurrentXid())
    same()
    with as_system():
        network.zones.add(second.zone)
    same()
    with as_system():
        Zone.objects.filter(pk=second.zone.pk).update(phase=ZonePhase.DRAINING)
        Host.objects.filter(zone=place.zone, name="host-1").update(state="down", changed=CurrentXid())
    same()
    with as_system():
        Host.objects.filter(zone=second.zone).update(zone=None, changed=CurrentXid())
        Zone.objects.filter(pk=second.zone.pk).update(deleted_at="2026-01-01T00:00:00Z")
    same()


def same():
    """What a look at changes finds is what a full look finds."""
    by_changes, whole = ledger.look(), ledger.look(full=True)
    assert sorted(by_changes.hosts) == sorted(whole.hosts)
    assert sorted(by_changes.datastores) == sorted(whole.datastores)
    assert by_changes.zones == whole.zones
    assert listed(by_changes) == listed(whole)
    open_hosts = {host.id: bool(up) for host, up in zip(by_changes.hosts, by_changes.open, strict=True)}
    assert open_hosts == {host.id: bool(up) for host, up in zip(whole.hosts, whole.open, strict=True)}


def listed(fleet):
    return {pool: sorted(holds) for pool, holds in fleet.listed_holds().items() if holds}


# --- guarantees are room -------------------------------------------------------------------------------------------


def test_others_cannot_take_guaranteed_room(acme):
    """A reserved pool's Hold is room: on-demand claims of others are refused, its own are not, and a release gives
    the Hold back."""
    place = room.land(hosts=2, vcpu=8, memory_mib=16 * GIB)
    kept = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="medium")
    rival = factories.office("other")
    theirs = room.pool(place, rival.tenant)
    with pytest.raises(Conflict) as refusal:
        ledger.decide([room.ask(place, theirs, 1) for _ in range(9)], seed=1)
    assert refusal.value.code == "no_room"
    taken = [room.ask(place, theirs, 1) for _ in range(8)]
    room.claim(rival.project, theirs, taken)
    blind = room.ask(place, theirs, 1)
    with pytest.raises(Stale):  # onto the room that is kept
        room.claim(rival.project, theirs, [blind], straight(blind, place.hosts[0], place))
    mine = [room.ask(place, kept, 1, 2 * GIB) for _ in range(8)]
    room.claim(acme.project, kept, mine)
    room.check_books()
    with as_system():
        assert sum(Hold.objects.values_list("vcpu", flat=True)) == 0
    room.release(acme.project, [ask.key for ask in mine])
    with as_system():
        assert sum(Hold.objects.values_list("vcpu", flat=True)) == 8
        assert sum(Host.objects.values_list("vcpu_claimed", flat=True)) == 16
    with pytest.raises(Conflict):
        ledger.decide([room.ask(place, theirs, 1)], seed=1)
    room.check_books()


def test_a_guarantee_that_finds_no_room_is_refused_and_holds_nothing(acme):
    """Sums lie: 8 free vCPUs on 8 hosts keep no chunk of 4."""
    place = room.land(hosts=8, vcpu=1, memory_mib=4 * GIB)
    with pytest.raises(Conflict) as refusal:
        room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 8 * GIB), largest_shape="large")
    assert refusal.value.code == "no_room"
    with pytest.raises(Conflict) as refusal:
        room.pool(place, acme.tenant, model="flex", reserved=Amounts(10**12, 10**12))
    assert refusal.value.code == "no_room"
    assert refusal.value.more["limits"][0]["limit"] == 8
    with as_system():
        assert not Hold.objects.exists()
        assert not ResourcePool.objects.exists()
        assert sum(Host.objects.values_list("vcpu_claimed", flat=True)) == 0


def test_a_project_takes_over_holds_and_gives_them_back(acme):
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    above = room.pool(place, acme.tenant, model="flex", reserved=Amounts(16, 32 * GIB), limit=Limits(20, 64 * GIB))
    below = room.pool(
        place, acme.tenant, acme.project, model="flex", reserved=Amounts(6, 12 * GIB), limit=Limits(8, 16 * GIB)
    )
    room.check_books()
    with as_system():
        assert sum(Hold.objects.filter(pool_id=below.id).values_list("vcpu", flat=True)) == 6
        assert sum(Host.objects.values_list("vcpu_claimed", flat=True)) == 16  # moved, not taken twice
        wanted = services.changed(below, {"reserved": Amounts(17, 12 * GIB), "limit": Limits(20, 16 * GIB)})
    with pytest.raises(Conflict) as refusal:
        services.decide(wanted)
    assert refusal.value.code == "guarantee_in_use"
    with as_system():
        wanted = services.changed(below, {"limit": Limits(21, 16 * GIB)})
    with pytest.raises(Conflict) as refusal, as_system():
        services.update_pool(wanted=wanted, moves={}, by=SYSTEM)
    assert refusal.value.code == "pool_exceeded"
    asks = [room.ask(place, below, 2, 4 * GIB) for _ in range(3)]
    room.claim(acme.project, below, asks)
    with pytest.raises(InUse) as refusal, as_system():
        services.delete_pool(pool=above, by=SYSTEM)
    assert {holder["kind"] for holder in refusal.value.more["holders"]} == {"project pool"}
    with pytest.raises(InUse) as refusal, as_system():
        services.delete_pool(pool=ResourcePool.objects.get(pk=below.pk), by=SYSTEM)
    assert {holder["kind"] for holder in refusal.value.more["holders"]} == {"vm"}
    room.release(acme.project, [ask.key for ask in asks])
    with as_system():
        services.delete_pool(pool=ResourcePool.objects.get(pk=below.pk), by=SYSTEM)
    with as_system():
        assert sum(Hold.objects.filter(pool_id=above.id).values_list("vcpu", flat=True)) == 16
        row = ResourcePool.objects.get(pk=above.pk)
        assert (row.vcpu_handed_down, row.vcpu_reserved_handed_down, row.memory_handed_down_mib) == (0, 0, 0)


def test_holds_are_placed_once_however_many_ask(acme):
    """Eight tenants want the last guarantee at once: one gets it, and no host is oversold."""
    place = room.land(hosts=2, vcpu=8, memory_mib=16 * GIB)
    offices = [factories.tenant(f"t{number}") for number in range(CLIENTS)]
    ledger.look(full=True)

    def client(number):
        for _ in range(8):
            try:
                room.pool(place, offices[number], model="flex", reserved=Amounts(12, 8 * GIB))
                return "granted"
            except Stale:
                continue
            except Conflict as refusal:
                return refusal.code
        return "busy"

    ends = at_once(client)
    assert ends.count("granted") == 1
    assert set(ends) == {"granted", "no_room"}
    with as_system():
        assert sum(Hold.objects.values_list("vcpu", flat=True)) == 12
    room.check_books()


def test_a_guarantee_grows_and_shrinks_with_its_room(acme):
    place = room.land(hosts=2, vcpu=8, memory_mib=16 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 8 * GIB))
    for reserved in (Amounts(12, 8 * GIB), Amounts(6, 12 * GIB), Amounts(1, 1 * GIB)):
        with as_system():
            wanted = services.changed(pool, {"reserved": reserved})
        moves = services.decide(wanted)
        with as_system():
            services.update_pool(wanted=wanted, moves=moves, by=SYSTEM)
            assert sum(Hold.objects.values_list("vcpu", flat=True)) == reserved.vcpu
            assert sum(Hold.objects.values_list("memory_mib", flat=True)) == reserved.memory_mib
        room.check_books()
    with pytest.raises(Stale), as_system():  # the same decision again: the pool is another one by now
        services.update_pool(wanted=wanted, moves={}, by=SYSTEM)


def test_a_move_of_holds_is_fenced_by_what_they_are(acme):
    place = room.land(hosts=1, vcpu=8, memory_mib=16 * GIB)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 8 * GIB))
    host = place.hosts[0].id
    too_much = [
        guarantees.Move(host, None, pool.id, 5, 0),
        guarantees.Move(host, pool.id, None, 5, 0),
        guarantees.Move(host, uuid7(), None, 1, 0),
        guarantees.Move(uuid7(), None, pool.id, 1, 0),
    ]
    for one in too_much:
        with pytest.raises(Stale), as_system():
            guarantees.move(place.zone.id, [one])
    with as_system():
        guarantees.move(place.zone.id, [guarantees.Move(host, None, pool.id, 1, 0)])
        guarantees.move(place.zone.id, [guarantees.Move(host, pool.id, None, 1, 0)])
    room.check_books()


# --- isolation -----------------------------------------------------------------------------------------------------


def test_a_tenant_cannot_release_what_is_anothers(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    ask = room.ask(place, pool)
    room.claim(acme.project, pool, [ask])
    rival = factories.office("other")
    assert room.release(rival.project, [ask.key]) == 0
    with isolation.context(isolation.of([rival.tenant.id])):
        assert ledger.allocations([ask.key]) == {}
        assert ledger.release(tenant_id=acme.tenant.id, project_id=acme.project.id, holders=[ask.key]) == 0
    with isolation.context(isolation.of([acme.tenant.id])):
        found = ledger.allocations([ask.key])[ask.key]
        assert (found.host.name, found.datastore.name, found.zone.name) == ("host-1", "ds-1", "az1")
    room.check_books()


def test_a_commit_without_a_context_fails_loudly(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    ask = room.ask(place, pool)
    plan = ledger.decide([ask], policy=Policy.PACK, seed=1)
    with pytest.raises(Exception, match=r"app\.tenants"):
        ledger.commit(
            tenant_id=acme.tenant.id, project_id=acme.project.id, asks=[ask], plan=plan, pools={place.zone.id: pool.id}
        )
    with as_system():
        assert not Allocation.objects.exists()


def test_an_ask_without_a_disk_is_no_vm(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    ask = Ask(uuid7(), 1, 1, None, (place.zone.id,), pools=(pool.id,))
    with pytest.raises(ValueError, match="has a disk"):
        room.claim(acme.project, pool, [ask])


def test_quota_alone_can_be_spent_and_a_pool_that_goes_takes_nothing(acme):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    room.claim(acme.project, pool, [], Plan(()), spend=[Spend(None, "networks", 2)])
    assert used(acme.project, "networks") == 2
    ask = room.ask(place, pool)
    with as_system():
        services.delete_pool(pool=pool, by=SYSTEM)
    with pytest.raises(Stale):
        room.claim(acme.project, pool, [ask], straight(ask, place.hosts[0], place))
    room.check_books()


def test_a_claim_and_the_pools_own_end_never_both_win(acme):
    """Delete and claims at once, again and again: either claims are in and the delete is refused, or the other way."""
    place = room.land(hosts=2, vcpu=16, memory_mib=64 * GIB)
    for _ in range(6):
        pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 8 * GIB))
        asks = [room.ask(place, pool) for _ in range(CLIENTS)]

        def client(number, pool=pool, asks=asks):
            if number == 0:
                return "deleted" if _deleted(pool) else "kept"
            try:
                room.claim(acme.project, pool, [asks[number]])
            except (Stale, Conflict):
                return "refused"
            return "granted"

        ends = at_once(client)
        assert ("granted" in ends) == ("kept" in ends), ends
        room.check_books()
        room.release(acme.project, [ask.key for ask in asks])
        assert "deleted" in ends or _deleted(pool)
        with as_system():
            ResourcePool.objects.filter(pk=pool.pk).update(deleted_at="2026-01-01T00:00:00Z")
        room.check_books()


def test_a_pool_that_was_seen_gone_meanwhile_is_not_deleted_again(acme):
    pool = room.pool(room.land(), acme.tenant)
    assert _deleted(pool)
    with as_system():
        ResourcePool.objects.filter(pk=pool.pk).update(deleted_at="2026-01-01T00:00:00Z")
    with pytest.raises(NotFound), as_system():
        services.delete_pool(pool=pool, by=SYSTEM)


def _deleted(pool):
    """Tried as a placing view does it."""
    for _ in range(8):
        try:
            with as_system():
                services.delete_pool(pool=pool, by=SYSTEM)
        except Stale:
            continue
        except InUse:
            return False
        return True
    return False
