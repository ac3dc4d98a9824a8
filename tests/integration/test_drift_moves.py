"""A VM that DRS or a person moves: its allocation follows within the zone, and usage stays exact."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from django.db import connection

from facet.operations.models import Event
from facet.rest.ids import uuid7
from infra.models import Datastore, Host
from scheduler import following, ledger, moves
from scheduler.guarantees import Amounts
from scheduler.models import Allocation, Move
from scheduler.moves import Going
from tenants import isolation
from tests import ground, room, strangers, work
from tests.factories import as_system

from .test_drift import drift, told
from .test_vms import ask, deleted, shown

GIB = 1024


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def host_elsewhere(asked, *, zone="az1"):
    """Another host, of this zone: its name."""
    with as_system():
        rows = Host.objects.filter(zone__name=zone).exclude(name=asked["vm"]["host"]).order_by("name")
        return rows[0].name


def by_drs(land, asked, host):
    land.site.by_hand.hand("move-vm", key=asked["vm"]["id"], host=host)
    land.sync()


def history(asked):
    with as_system():
        rows = Allocation.objects.filter(holder=asked["vm"]["id"]).order_by("created").select_related("host")
        return list(rows)


def test_a_vm_that_drs_moves_moves_its_allocation(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    there = host_elsewhere(asked)
    by_drs(land, asked, there)
    vm = shown(land, asked)
    assert (vm["host"], vm["drift"], vm["phase"]) == (there, None, "running")
    before, after = history(asked)
    assert (before.released, after.released) == (after.created, None)
    assert (after.why, after.vcpu, after.ask) == ({"moved": "by the site"}, before.vcpu, before.ask)
    assert told(asked, "vm.moved") == 1
    with as_system():
        event = Event.objects.get(verb="vm.moved")
    assert (event.before["host"], event.after["host"]) == (asked["vm"]["host"], there)
    room.check_books()
    land.sync()
    assert len(history(asked)) == 2  # said twice, it moved once
    deleted(land, asked)
    room.check_books()


def test_one_that_left_its_zone_is_said_and_not_followed(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    name = host_elsewhere(asked)
    with as_system():
        left = list(Host.objects.filter(zone__name="az1").exclude(name=name).values_list("name", flat=True))
    path = f"zones/{strangers.zone_id(land)}"
    work.succeed(land.it, land.it.patch(path, {"selector": {"hosts": left}}))
    by_drs(land, asked, name)
    assert drift(land, asked) == {"host": (asked["vm"]["host"], name)}
    assert [row.host.name for row in history(asked)] == [asked["vm"]["host"]]
    by_drs(land, asked, asked["vm"]["host"])
    assert drift(land, asked) is None
    assert told(asked, "vm.drift_mended") == 1
    deleted(land, asked)


# --- in the ledger -------------------------------------------------------------------------------------------------


def follow(project, holder, host, datastore=None):
    with isolation.context(isolation.of([project.tenant_id])):
        return following.follow(
            tenant_id=project.tenant_id, project_id=project.id, holder=holder, host_id=host.id,
            datastore_id=datastore.id if datastore else None,
        )  # fmt: skip


def placed(acme, place, pool, **size):
    asked = room.ask(place, pool, **size)
    plan = room.claim(acme.project, pool, [asked])
    there = plan.placements[0].host_id
    return asked.key, next(host for host in place.hosts if host.id == there)


def other_than(place, host):
    return next(one for one in place.hosts if one.id != host.id)


def test_it_is_never_refused_for_want_of_room(acme):
    place = room.land(hosts=2, vcpu=10)
    pool = room.pool(place, acme.tenant)
    one, first = placed(acme, place, pool, vcpu=8)
    two, second = placed(acme, place, pool, vcpu=7)
    assert first.id != second.id
    assert follow(acme.project, one, second)
    with as_system():
        assert Host.objects.get(pk=second.id).vcpu_overdrawn == 5
        assert Host.objects.get(pk=first.id).vcpu_claimed == 0
    room.check_books()
    room.release(acme.project, [two])
    with as_system():
        assert Host.objects.get(pk=second.id).vcpu_overdrawn == 0
    room.check_books()


def test_a_guarantee_goes_along(acme):
    place = room.land(hosts=2, vcpu=50)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(8, 32 * GIB))
    holder, host = placed(acme, place, pool, vcpu=6, memory_mib=8 * GIB)
    assert follow(acme.project, holder, other_than(place, host))
    room.check_books()
    assert follow(acme.project, holder, host)
    room.check_books()
    assert not follow(acme.project, holder, host)
    room.release(acme.project, [holder])
    room.check_books()


def test_its_disk_may_have_moved_too(acme):
    place = room.land(hosts=1)
    with as_system():
        small = Datastore.objects.create(
            site=place.zone.site, ref="ds-2", name="ds-2", capacity_gib=5, free_gib=5, limit_gib=5
        )
        small.zones.add(place.zone)
    pool = room.pool(place, acme.tenant)
    holder, host = placed(acme, place, pool)
    assert follow(acme.project, holder, host, small)
    with as_system():
        small.refresh_from_db()
    assert (small.claimed_gib, small.overdrawn_gib) == (10, 5)
    room.check_books()


def test_not_while_a_move_of_ours_is_open(acme):
    place = room.land(hosts=3)
    pool = room.pool(place, acme.tenant)
    holder, host = placed(acme, place, pool)
    there, third = (one for one in place.hosts if one.id != host.id)
    with isolation.context(isolation.of([acme.tenant.id])):
        source = ledger.allocations([holder])[holder]
        going = Going(source.id, place.zone.id, pool.id, there.id, place.datastore.id)
        moves.begin(tenant_id=acme.tenant.id, project_id=acme.project.id, drain_id=uuid7(), going=[going])
    assert not follow(acme.project, holder, third)
    with isolation.context(isolation.of([acme.tenant.id])):
        moves.seen(tenant_id=acme.tenant.id, project_id=acme.project.id, ids=[going.id])
    assert follow(acme.project, holder, third)
    room.check_books()


def test_only_within_its_zone_and_only_what_is_held(acme):
    place, other = room.land(hosts=1), room.land(hosts=1, name="az2")
    pool = room.pool(place, acme.tenant)
    holder, _ = placed(acme, place, pool)
    assert not follow(acme.project, holder, other.hosts[0])
    assert not follow(acme.project, uuid7(), place.hosts[0])
    room.check_books()


def test_two_who_saw_it_move_move_it_once_and_a_release_meanwhile_ends_it(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    holder, host = placed(acme, place, pool)
    there, said = other_than(place, host), []
    gate = threading.Barrier(3)

    def act(what):
        gate.wait(10)
        try:
            said.append(what())
        finally:
            connection.close()

    threads = [threading.Thread(target=act, args=(lambda: follow(acme.project, holder, there),)) for _ in range(2)]
    threads.append(threading.Thread(target=act, args=(lambda: room.release(acme.project, [holder]) and False,)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(said) == 3
    assert said.count(True) <= 1
    room.check_books()
    if room.release(acme.project, [holder]):  # who released saw the one before the move, which has gone
        room.check_books()
    with as_system():
        assert not Allocation.objects.filter(holder=holder, released=None).exists()
        assert not Move.objects.filter(ended_at=None).exists()


def test_usage_is_exact_over_a_move(acme):
    place = room.land(hosts=2)
    pool = room.pool(place, acme.tenant)
    holder, host = placed(acme, place, pool)
    assert follow(acme.project, holder, other_than(place, host))
    with as_system():
        one, two = Allocation.objects.filter(holder=holder).order_by("created")
    assert one.released == two.created
    assert isinstance(two.holder, UUID)
