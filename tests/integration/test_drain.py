"""Hosts and zones that are emptied: only when all fits elsewhere, live, claimed at both ends, whatever happens."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from facet.operations import engine, wakeups
from facet.operations.models import Inflight, Wakeup
from facet.workloads.models import VM, Drain
from infra.drivers import factory
from infra.models import Host, Zone
from scheduler.models import Allocation, Hold, Move, ResourcePool
from tenants.models import Quota
from tests import ground, work
from tests.factories import as_system
from tests.room import check_books

from .test_clusters import at_site, held
from .test_vms import ask, killed_at


@pytest.fixture
def two_zones(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def made(land, count=1, **body):
    """VMs that run; their ids."""
    asked = [ask(land, f"db-{number}", **body) for number in range(1, count + 1)]
    for one in asked:
        work.succeed(land.editor, one)
    return [one["vm"]["id"] for one in asked]


def made_in_az1(land, count):
    """VMs that were asked for in both zones and stand in the first; their ids."""
    shut = hosts(zone__name="az2")
    for host in shut:
        land.it.post(f"hosts/{host.id}/cordon")
    ids = made(land, count, zones=land.zones)
    for host in shut:
        land.it.post(f"hosts/{host.id}/uncordon")
    return ids


def hosts(**where):
    with as_system():
        return list(Host.objects.filter(**{"zone__name": "az1", **where}).order_by("name"))


def host_of(id):
    with as_system():
        return Allocation.objects.get(holder=id, released=None).host


def others(host):
    return [one for one in hosts() if one.id != host.id]


def places(land):
    """VM id -> name of the host that it stands on, as the site itself says."""
    driver = factory.connect(land.site.connection)
    try:
        seen = driver.inventory()
    finally:
        driver.close()
    names = {host.ref: host.name for host in seen.hosts}
    return {str(vm.key): names[vm.host_ref] for vm in seen.vms if vm.witness}


def drain(land, host):
    return land.it.post(f"hosts/{host.id}/drain")


def row(host):
    with as_system():
        return Host.objects.get(pk=host.pk)


def open_moves():
    with as_system():
        return list(Move.objects.filter(ended_at=None))


def one_claim_each(*ids):
    with as_system():
        for id in ids:
            assert Allocation.objects.filter(holder=id, released=None).count() == 1
        assert not Move.objects.filter(ended_at=None).exists()
        assert not Inflight.objects.exists()
    check_books()


def as_it_says(land, *ids):
    """The site shows each VM where the ledger has it."""
    seen = places(land)
    for id in ids:
        assert seen[id] == host_of(id).name


# --- cordon --------------------------------------------------------------------------------------------------------


def test_a_cordoned_host_takes_nothing_new(land):
    kept, *shut = hosts()
    for host in shut:
        answer = land.it.post(f"hosts/{host.id}/cordon")
        assert (answer.status, answer["cordoned"]) == (200, True)
        assert land.it.post(f"hosts/{host.id}/cordon").status == 200
    events = land.it.get("events?verb=host.cordoned&page_size=100")["items"]
    assert sorted(event["target"]["name"] for event in events) == [host.name for host in shut]
    for id in made(land, 3):
        assert host_of(id).id == kept.id
    assert land.it.get(f"hosts/{shut[0].id}")["cordoned"] is True
    assert land.it.post(f"hosts/{shut[0].id}/uncordon")["cordoned"] is False
    assert land.it.post(f"hosts/{shut[0].id}/uncordon").status == 200
    land.it.post(f"hosts/{kept.id}/cordon")
    after = ask(land, "after")
    work.succeed(land.editor, after)
    assert host_of(after["vm"]["id"]).id == shut[0].id
    assert len(land.it.get("events?verb=host.uncordoned")["items"]) == 1
    assert land.editor.post(f"hosts/{kept.id}/uncordon").status == 403


def test_what_a_pool_keeps_on_a_host_that_is_cordoned_is_placed_anew(land):
    with as_system():
        pool = ResourcePool.objects.get()
    reserved = {"model": "flex", "reserved": {"vcpu": 8, "memory_mib": 16 * 1024}}
    work.succeed(land.it, land.it.patch(f"pools/{pool.id}", reserved))
    with as_system():
        host = Hold.objects.filter(vcpu__gt=0).first().host
    land.it.post(f"hosts/{host.id}/cordon")
    work.until(lambda: row(host).vcpu_claimed == 0, what=lambda: row(host).vcpu_claimed)
    check_books()


# --- a drain -------------------------------------------------------------------------------------------------------


def test_a_drain_moves_all_of_them_live(land):
    ids = made(land, 5)
    host = host_of(ids[0])
    booted = {str(vm.id): vm.booted_at for vm in vms()}
    asked = drain(land, host)
    assert asked.status == 202, asked
    assert (asked["drain"]["host"], asked["drain"]["phase"]) == (host.name, "running")
    operation = work.succeed(land.it, asked)
    assert (operation["verb"], operation["target"]["name"]) == ("host.drain", host.name)
    assert [(step["name"], step["phase"]) for step in operation["steps"]] == [("move", "done"), ("guarantees", "done")]
    told = land.it.get(f"drains/{asked['drain']['id']}")
    assert (told["phase"], told["left"], told["reason"]) == ("drained", 0, None)
    assert host.name not in places(land).values()
    assert row(host).cordoned
    assert row(host).vcpu_claimed == 0
    one_claim_each(*ids)
    as_it_says(land, *ids)
    assert {str(vm.id): vm.booted_at for vm in vms()} == booted  # nothing was powered
    assert all(vm.power == "on" for vm in vms())
    moved = land.editor.get("events?verb=vm.moved")["items"]
    assert {event["before"]["host"] for event in moved} == {host.name}
    assert land.it.post(f"hosts/{host.id}/uncordon")["cordoned"] is False


def vms():
    with as_system():
        return list(VM.objects.filter(deleted_at=None).order_by("id"))


def test_a_drain_that_does_not_fit_names_who(land):
    ids = made(land, 2)
    host = host_of(ids[0])
    for one in others(host):
        land.it.post(f"hosts/{one.id}/cordon")
    before = held()
    refused = drain(land, host)
    assert (refused.status, refused["code"]) == (409, "no_room")
    names = {vm.name for vm in vms() if host_of(vm.id).id == host.id}
    assert {one["name"] for one in refused["holders"]} == names
    first = refused["holders"][0]
    assert (first["kind"], first["tenant"], first["project"]) == ("vm", "acme", "web")
    assert "cordoned" in first["why"]
    assert held() == before
    assert not row(host).cordoned
    with as_system():
        assert not Drain.objects.exists()
        assert not Move.objects.exists()
    assert land.it.get("events?verb=host.drain")["items"] == []


def test_a_guarantee_that_finds_no_other_room_keeps_a_host_from_being_drained(land):
    with as_system():
        pool = ResourcePool.objects.get()
    reserved = {"model": "flex", "reserved": {"vcpu": 8, "memory_mib": 16 * 1024}}
    work.succeed(land.it, land.it.patch(f"pools/{pool.id}", reserved))
    with as_system():
        host = Hold.objects.filter(vcpu__gt=0).first().host
    for one in others(host):
        land.it.post(f"hosts/{one.id}/cordon")
    refused = drain(land, host)
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert ("guarantee", "az1", "acme") in {(one["kind"], one["name"], one["tenant"]) for one in refused["holders"]}
    for one in others(host):
        land.it.post(f"hosts/{one.id}/uncordon")
    work.succeed(land.it, drain(land, host))
    assert row(host).vcpu_claimed == 0
    check_books()


def test_the_destination_is_claimed_before_and_the_source_freed_after(land):
    """Read between the steps: both ends are claimed from before the site was asked until the move was seen."""
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.hand("latency", move=1.0)
    asked = drain(land, host)
    before = places(land)
    calls = land.site.by_hand.hand("calls")["calls"].get("move", 0)
    seen_claimed = False
    while not work.ended(land.it, asked["operation"]["id"]):
        engine.take_next()
        check_books()
        moves = open_moves()
        if moves and places(land) == before:
            seen_claimed = True
            assert host_of(id).id == host.id
            assert row(host).vcpu_claimed == 2
            assert row(moves[0].host).vcpu_claimed == 2
        if not moves and land.site.by_hand.hand("calls")["calls"].get("move", 0) == calls:
            assert places(land) == before  # nothing is asked of the site for what is not claimed
        if host_of(id).id != host.id:
            assert places(land)[id] == host_of(id).name
    assert seen_claimed
    with as_system():
        old, new = Allocation.objects.filter(holder=id).order_by("created")
    assert old.released == new.created
    one_claim_each(id)


# --- kill, cancel --------------------------------------------------------------------------------------------------


def till_the_end(land, receipt):
    """Every pass of the drain is killed one statement later than the one before; how many were killed."""
    number, killed = 1, 0
    while not work.ended(land.it, receipt["operation"]["id"]):
        lease = wakeups.take()
        if lease is None:
            with as_system():
                Wakeup.objects.update(due_at=timezone.now(), lease_until=None)  # the leases of the dead run out
            continue
        if lease.kind != "drain":
            engine.run(lease)
            continue
        died = killed_at(lease, number)
        number, killed = (number + 1, killed + 1) if died else (1, killed)
        check_books()
    return killed


def test_a_killed_drain_goes_on_and_a_cancelled_one_stops(land):
    ids = made(land, 2)
    host = host_of(ids[0])
    land.site.by_hand.hand("latency", move=0.3)
    moves_before = land.site.by_hand.hand("calls")["calls"].get("move", 0)
    asked = drain(land, host)
    here = sum(1 for id in ids if host_of(id).id == host.id)
    assert till_the_end(land, asked) > 20
    assert land.it.get(f"operations/{asked['operation']['id']}")["phase"] == "succeeded"
    one_claim_each(*ids)
    as_it_says(land, *ids)
    with as_system():
        assert Move.objects.filter(phase="done").count() == here
    assert land.site.by_hand.hand("calls")["calls"]["move"] >= moves_before + here
    land.it.post(f"hosts/{host.id}/uncordon")

    for passes in range(0, 10):
        source = host_of(ids[0])
        asked = drain(land, source)
        assert asked.status == 202, asked
        for _ in range(passes):
            engine.take_next()
        cancelled = land.it.post(f"operations/{asked['operation']['id']}/cancel")
        if cancelled.status == 409:
            assert cancelled["code"] == "already_ended"
        else:
            work.until(lambda: not Drain.objects.filter(ended_at=None).exists())
            assert land.it.get(f"drains/{asked['drain']['id']}")["phase"] == "cancelled"
            assert not row(source).cordoned
        one_claim_each(*ids)
        as_it_says(land, *ids)
        land.it.post(f"hosts/{source.id}/uncordon")


def test_a_cancelled_drain_keeps_a_host_closed_that_was_closed_before(land):
    (id,) = made(land)
    host = host_of(id)
    land.it.post(f"hosts/{host.id}/cordon")
    asked = drain(land, host)
    assert land.it.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    work.until(lambda: not Drain.objects.filter(ended_at=None).exists())
    assert row(host).cordoned
    one_claim_each(id)


def test_while_it_is_drained_a_host_is_neither_opened_nor_drained_again(land):
    (id,) = made(land)
    host = host_of(id)
    asked = drain(land, host)
    for refused in (
        drain(land, host),
        land.it.post(f"hosts/{host.id}/uncordon"),
        land.it.post(f"zones/{host.zone_id}/drain"),
    ):
        assert (refused.status, refused["code"]) == (409, "draining")
    work.succeed(land.it, asked)
    work.succeed(land.it, drain(land, host))  # an empty one is drained at once


# --- a zone --------------------------------------------------------------------------------------------------------


def test_a_zone_is_drained_or_refused(two_zones):
    land = two_zones
    ids = made_in_az1(land, 3)
    with as_system():
        zone, other = Zone.objects.get(name="az1"), Zone.objects.get(name="az2")
    fixed = ask(land, "fixed", zones=["az1"])
    work.succeed(land.editor, fixed)
    refused = land.it.post(f"zones/{zone.id}/drain")
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert [(one["name"], one["why"]) for one in refused["holders"]] == [
        ("fixed", "It was asked for in this zone alone.")
    ]
    assert land.it.get(f"zones/{zone.id}")["phase"] == "active"
    work.succeed(land.editor, land.editor.delete(f"vms/{fixed['vm']['id']}"))

    asked = land.it.post(f"zones/{zone.id}/drain")
    assert asked.status == 202, asked
    assert land.it.get(f"zones/{zone.id}")["phase"] == "draining"
    operation = work.succeed(land.it, asked)
    assert (operation["verb"], operation["target"]["name"]) == ("zone.drain", "az1")
    one_claim_each(*ids)
    as_it_says(land, *ids)
    with as_system():
        assert {vm.zone_id for vm in VM.objects.filter(deleted_at=None)} == {other.id}
        assert {row.zone_id for row in Allocation.objects.filter(released=None)} == {other.id}
        used = Quota.objects.filter(zone_id=zone.id).values_list("used", flat=True)
        assert set(used) == {0}
    assert {host.vcpu_claimed for host in hosts(zone__name="az1")} == {0}
    assert ask(land, "late").status == 409  # a drained zone takes nothing new
    answer = land.it.post(f"zones/{zone.id}/resume")
    assert (answer.status, answer["phase"]) == (200, "active")
    assert land.it.post(f"zones/{zone.id}/resume").status == 200
    late = ask(land, "late")
    work.succeed(land.editor, late)
    for id in [*ids, late["vm"]["id"]]:
        work.succeed(land.editor, land.editor.delete(f"vms/{id}"))
    assert at_site(land) == []
    check_books()


def test_what_is_not_there_is_not_drained(land):
    assert land.it.post(f"hosts/{uuid4()}/drain").status == 404
    assert land.it.post(f"zones/{uuid4()}/resume").status == 404
    with as_system():
        outside = Host.objects.filter(zone=None).first()
    refused = drain(land, outside)
    assert (refused.status, refused["code"]) == (409, "no_zone")
    assert land.office.tenant_admin.post(f"hosts/{outside.id}/drain").status == 403
