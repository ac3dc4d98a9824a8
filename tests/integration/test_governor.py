"""The governor of a site: tasks within the budget, shared between tenants; and a site that fails, alone."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from facet.operations import engine, governor, wakeups
from facet.operations.models import Circuit, Inflight, Share, Wakeup
from facet.rest.ids import uuid7
from facet.workloads.models import VM, VmPhase
from infra.models import Site
from infra.simulator.faults import CALLS
from tests import factories, ground, work
from tests.contract import simulator_site
from tests.factories import as_system

BUDGET, SLOTS = 8, 8
PLENTY = {"vcpu": 2000, "memory_mib": 4000 * 1024}


# --- the rule ------------------------------------------------------------------------------------------------------


def test_whoever_is_alone_gets_all_but_what_is_left_for_a_newcomer():
    assert governor.grant(want=500, budget=32, mine=0, others={}, waiting=()) == 28
    assert governor.grant(want=500, budget=32, mine=28, others={}, waiting=()) == 0
    assert governor.grant(want=3, budget=32, mine=28, others={}, waiting=()) == 0
    assert governor.grant(want=1, budget=32, mine=0, others={"big": 28}, waiting={"big"}) == 1
    assert governor.grant(want=1, budget=1, mine=0, others={}, waiting=()) == 1


def test_who_waits_gets_its_equal_share_before_anybody_goes_beyond_theirs():
    assert governor.grant(want=9, budget=32, mine=20, others={"small": 4}, waiting={"small"}) == 0
    assert governor.grant(want=9, budget=32, mine=4, others={"big": 20}, waiting={"big"}) == 6
    assert governor.grant(want=9, budget=32, mine=4, others={"big": 4}, waiting=()) == 9


@pytest.mark.parametrize("seed", range(5))
def test_many_tenants_come_to_equal_shares_and_never_pass_the_budget(seed):
    chance = random.Random(seed)
    budget, tenants = chance.choice([4, 16, 32, 100]), ["a", "b", "c"]
    open_tasks, waits = dict.fromkeys(tenants, 0), dict.fromkeys(tenants, False)
    open_tasks["a"] = governor.grant(want=budget, budget=budget, mine=0, others={}, waiting=())
    for _ in range(4 * budget):
        ended = chance.choices(tenants, [n + 0.001 for n in open_tasks.values()])[0]
        open_tasks[ended] = max(0, open_tasks[ended] - 1)
        for one in chance.sample(tenants, 3):  # everybody always wants more
            others = {other: n for other, n in open_tasks.items() if other != one}
            waiting = {other for other in others if waits[other]}
            got = governor.grant(want=budget, budget=budget, mine=open_tasks[one], others=others, waiting=waiting)
            open_tasks[one] += got
            waits[one] = got < budget
        assert sum(open_tasks.values()) <= budget
    assert min(open_tasks.values()) >= max(1, budget // 4)
    assert max(open_tasks.values()) <= budget // 3 + budget // governor.LEFT_FOR_OTHERS + 1


# --- taking --------------------------------------------------------------------------------------------------------


def lease_at(site, tenant=None):
    key = uuid7()
    return wakeups.Lease(uuid7(), "thing", key, tenant, site, 1, 0)


def test_passes_at_the_same_moment_never_take_more_than_the_budget():
    site, tenants = uuid7(), [uuid7() for _ in range(3)]
    for number in range(5):
        Inflight.objects.create(
            site_id=site, ref=f"task-{number}", kind="thing", key=uuid7(), about=uuid7(), doing="clone"
        )

    def take(number):
        try:
            with transaction.atomic():
                return governor.take(lease_at(site, tenants[number % 3]), 7, budget=32)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(take, range(24)))
    assert sum(got) + 5 <= 32
    assert sum(Share.objects.values_list("held", flat=True)) == sum(got)
    for number in range(3):
        assert sum(got[number::3])  # nobody was left without


def test_what_was_taken_is_given_back_or_lapses():
    site = uuid7()
    lease = lease_at(site, uuid7())
    with transaction.atomic():
        assert governor.take(lease, 20, budget=16) == 14
    other = lease_at(site, lease.tenant_id)
    with transaction.atomic():
        assert governor.free_for(other, 20, budget=16) == 0
    governor.give_back(lease)
    assert Share.objects.get(key=lease.key).held == 0  # it waits for more, and says so
    with transaction.atomic():
        assert governor.take(other, 14, budget=16) == 14
    Share.objects.update(held_until=timezone.now(), waits_until=None)  # a worker that was killed
    assert governor.free_for(lease, 20, budget=16) == 14
    governor.give_back(other)
    Share.objects.update(held_until="2020-01-01T00:00:00Z")
    governor.tidy()
    assert not Share.objects.exists()


# --- a flood -------------------------------------------------------------------------------------------------------


@contextmanager
def land_of(folder, budget=BUDGET, name="dc1"):
    with simulator_site.started(folder, "--racks", "2", "--hosts-per-rack", "8") as simulator:
        land = ground.carved(simulator_site.site_of(simulator), pools=False)
        work.succeed(land.it, land.it.patch(f"sites/{land.site_id}", {"budget": budget}))
        pool(land, land.office.tenant, land.zones[0])
        yield land


def pool(land, tenant, zone):
    answer = land.it.post(f"tenants/{tenant.id}/pools", {"zone": zone, "model": "on-demand", "limit": PLENTY})
    work.succeed(land.it, answer)


def ask(office, zone, name):
    answer = office.editor.post(f"projects/{office.project.id}/vms", {"name": name, "zones": [zone], "flavor": "small"})
    assert answer.status == 202, answer
    return answer


@contextmanager
def workers(count=4):
    """So many worker slots at once, until the block ends; answers how many tasks the site had open at most."""
    over, most = threading.Event(), []

    def run():
        pause = threading.Event()
        try:
            while not over.is_set():
                ran = engine.take_next()
                most.append(Inflight.objects.filter(ended_at=None).count())
                if not ran:
                    pause.wait(0.01)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        running = [pool.submit(run) for _ in range(count)]
        try:
            yield most
        finally:
            over.set()
            for one in running:
                one.result()


def until(true, what, patience_s=60.0):
    pause = threading.Event()
    for _ in range(int(patience_s / 0.02)):
        found = true()
        if found:
            return found
        pause.wait(0.02)
    raise AssertionError(f"it did not come to that: {what()}; queue: {work.queue()[:20]}")


def begun(tenant):
    """How many of a tenant's VMs have been sent to the site."""
    with as_system():
        return VM.objects.filter(tenant_id=tenant.id).exclude(phase=VmPhase.PENDING).count()


def test_one_tenants_flood_leaves_room_for_anothers_first_vm(tmp_path, settings):
    """A cluster of 120 nodes and 60 VMs of one tenant; then another one's first VM, and its next five."""
    settings.FACET_WORKERS, settings.FACET_WORKER_SLOTS = 1, SLOTS
    with land_of(tmp_path) as land:
        acme, shop = land.office, factories.office("shop")
        pool(land, shop.tenant, land.zones[0])
        land.site.by_hand.hand("latency", clone=1.0)
        assert land.cluster(node_pools=[{"name": "workers", "size": 120}]).status == 202
        for number in range(60):
            ask(acme, land.zones[0], f"flood-{number}")
        with workers() as most:
            until(lambda: len(most) > 20 and max(most) >= BUDGET - 1, lambda: most[-20:])
            before = begun(acme.tenant)
            first = ask(shop, land.zones[0], "first")
            until(lambda: begun(shop.tenant), lambda: begun(acme.tenant))
            assert begun(acme.tenant) - before <= BUDGET  # of 180: nothing that came earlier had to be over first
            id = first["operation"]["id"]
            until(lambda: work.ended(shop.editor, id), lambda: shop.editor.get(f"operations/{id}").body)
            assert work.ended(shop.editor, id)["phase"] == "succeeded"
            assert begun(acme.tenant) < 120

            for number in range(5):
                ask(shop, land.zones[0], f"more-{number}")
            before = begun(acme.tenant)
            until(lambda: begun(shop.tenant) == 6, lambda: begun(shop.tenant))
            assert begun(acme.tenant) - before <= 3 * BUDGET  # side by side, and not after the flood
            assert begun(acme.tenant) < 120
        assert max(most) <= BUDGET
    with as_system():
        assert not Wakeup.objects.filter(attempts__gt=0).exists()


# --- a site that fails ---------------------------------------------------------------------------------------------


def test_a_failing_site_waits_alone(tmp_path):
    """Nothing of its work is lost or counted as failed; another site's goes on; and a PATCH has it tried at once."""
    (tmp_path / "two").mkdir()
    with land_of(tmp_path, budget=32) as land, simulator_site.started(tmp_path / "two") as second:
        other = factories.office("shop")
        other_site = ground.register(land.it, simulator_site.site_of(second), "dc2")
        work.succeed(
            land.it,
            land.it.post("zones", {
                "name": "az9", "site": "dc2", "selector": {"vsphere_cluster": "rack-1"},
                "datastores": ["rack-1-ssd"], "networks": ["VM Network"],
            }),
        )  # fmt: skip
        image = {"name": "debian", "site": "dc2", "template": "debian-12", "framework": "vm", "version": "12"}
        pool(land, other.tenant, "az9")
        assert land.it.post("images", image).status == 201
        for verb in CALLS:
            land.site.by_hand.inject(verb, "down", times=-1)
        asked = [ask(land.office, land.zones[0], f"db-{number}") for number in range(5)]
        theirs = other.editor.post(
            f"projects/{other.project.id}/vms",
            {"name": "web", "zones": ["az9"], "flavor": "small", "image": "debian"},
        )
        work.succeed(other.editor, theirs)

        work.until(lambda: failures(land.site_id) >= 2)
        assert failures(other_site) == 0
        with as_system():
            assert set(Wakeup.objects.filter(kind="vm").values_list("attempts", flat=True)) == {0}
            assert set(VM.objects.filter(name__startswith="db-").values_list("failures", flat=True)) == {0}
        shown = [land.office.editor.get(f"operations/{one['operation']['id']}")["phase"] for one in asked]
        assert set(shown) <= {"pending", "running"}

        land.site.by_hand.hand("clear-faults")
        with as_system():
            Circuit.objects.filter(site_id=land.site_id).update(open_until="2999-01-01T00:00:00Z")
        changed = land.it.patch(f"sites/{land.site_id}", {"budget": 16})
        work.succeed(land.it, changed)
        assert land.it.get(f"sites/{land.site_id}")["budget"] == 16
        for one in asked:
            work.succeed(land.office.editor, one)
    with as_system():
        assert not VM.objects.exclude(failures=0).exists()


def failures(site_id):
    return Circuit.objects.filter(site_id=site_id).values_list("failures", flat=True).first() or 0


# --- the budget ----------------------------------------------------------------------------------------------------


def test_sites_of_one_vcenter_share_what_it_bears(tmp_path, admin):
    with simulator_site.started(tmp_path) as simulator:
        site = simulator_site.site_of(simulator)
        first = ground.register(admin, site)
        assert admin.get(f"sites/{first}")["budget"] == 32
        assert admin.patch(f"sites/{first}", {"budget": 641}).status == 422
        work.succeed(admin, admin.patch(f"sites/{first}", {"budget": 600}))
        way = {"driver": "simulator", "endpoint": site.connection.endpoint, "username": site.connection.username}
        answer = admin.post("sites", {**way, "name": "dc2", "password": site.connection.password, "budget": 64})
        work.succeed(admin, answer)
        second = answer["site"]["id"]
        assert admin.get(f"sites/{second}")["budget"] == 40  # cut to what the first one leaves
        assert [e["after"]["budget"] for e in admin.get("events?verb=site.budget_cut")["items"]] == [40]
        refused = admin.patch(f"sites/{second}", {"budget": 41})
        assert refused.status == 422
        assert "leave 40" in str(refused.body)
        work.succeed(admin, admin.patch(f"sites/{first}", {"budget": 599}))
        work.succeed(admin, admin.patch(f"sites/{second}", {"budget": 41}))
    with as_system():
        assert Site.objects.aggregate(Count("id"))["id__count"] == 2
