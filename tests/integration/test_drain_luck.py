"""What comes between a drain and its end: refusals, deletes, builds, a site that is away, kills, rivals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import connections
from django.utils import timezone

from facet.operations.models import Inflight, Wakeup
from facet.workloads.models import VM, Drain
from infra import outside
from infra.models import Zone
from scheduler.models import Allocation, Hold, Move, ResourcePool
from tenants.models import Quota
from tests import ground, work
from tests.contract import vsphere_site
from tests.factories import as_system
from tests.room import check_books

from .test_clusters import at_site
from .test_drain import (
    as_it_says,
    drain,
    host_of,
    hosts,
    made,
    made_in_az1,
    one_claim_each,
    open_moves,
    places,
    row,
    till_the_end,
    vms,
)
from .test_vms import ask


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path) as found:
        yield found


@pytest.fixture
def two_zones(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


# --- the site and its VMs -------------------------------------------------------------------------------------------


def test_a_move_that_is_refused_is_tried_on_another_host(land):
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.inject("move", "task", times=1, code="no_resources", reason="There are not enough resources.")
    land.site.by_hand.hand("latency", move=0.1)
    work.succeed(land.it, drain(land, host))
    with as_system():
        refused, done = Move.objects.order_by("created_at")
    assert (refused.phase, refused.reason["code"], done.phase) == ("undone", "no_resources", "done")
    assert done.host_id != refused.host_id
    one_claim_each(id)
    as_it_says(land, id)


def test_a_vm_that_cannot_be_moved_fails_the_drain_with_the_first_cause(land):
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.inject("move", "error", times=9, code="no_permission", reason="Facet may not move it.")
    asked = drain(land, host)
    operation = work.done(land.it, asked)
    assert (operation["phase"], operation["problem"]["code"], operation["problem"]["vm"]) == (
        "failed", "no_permission", "db-1",
    )  # fmt: skip
    told = land.it.get(f"drains/{asked['drain']['id']}")
    assert (told["phase"], told["left"]) == ("failed", 1)
    assert "db-1" in told["reason"]["sentence"]
    assert row(host).cordoned
    one_claim_each(id)
    assert host_of(id).id == host.id
    with as_system():
        assert VM.objects.get(pk=id).phase == "running"  # a move that fails is no fault of the VM


def test_a_vm_that_is_deleted_on_its_way_frees_both_ends(land):
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.hand("latency", move=0.5)
    asked = drain(land, host)
    work.until(lambda: any(move.phase == "moving" for move in open_moves()))
    gone = land.editor.delete(f"vms/{id}")
    work.succeed(land.editor, gone)
    work.succeed(land.it, asked)
    assert at_site(land) == []
    with as_system():
        assert not Allocation.objects.filter(released=None).exists()
    check_books()
    assert {one.vcpu_claimed for one in hosts()} == {0}


def test_what_is_not_sent_yet_moves_in_the_ledger_alone(land):
    asked = ask(land)
    id = asked["vm"]["id"]
    host = host_of(id)
    with as_system():
        Wakeup.objects.filter(kind="vm").update(due_at=timezone.now() + timezone.timedelta(hours=1))
    work.succeed(land.it, drain(land, host))
    assert host_of(id).id != host.id
    assert places(land) == {}
    with as_system():
        Wakeup.objects.filter(kind="vm").update(due_at=timezone.now())
    work.succeed(land.editor, asked)
    one_claim_each(id)
    as_it_says(land, id)


def test_what_is_being_made_there_is_waited_for(land):
    land.site.by_hand.hand("latency", clone=0.8)
    asked = ask(land)
    id = asked["vm"]["id"]
    host = host_of(id)
    work.until(lambda: Inflight.objects.filter(doing="clone").exists())
    receipt = drain(land, host)
    work.until(lambda: land.it.get(f"drains/{receipt['drain']['id']}")["reason"])
    assert land.it.get(f"drains/{receipt['drain']['id']}")["reason"]["code"] == "busy"
    work.succeed(land.editor, asked)
    work.succeed(land.it, receipt)
    one_claim_each(id)
    as_it_says(land, id)


def test_a_site_that_is_down_for_a_while_only_delays(land):
    ids = made(land, 2)
    host = host_of(ids[0])
    land.site.by_hand.inject("move", "down", times=2)
    work.succeed(land.it, drain(land, host))
    one_claim_each(*ids)
    as_it_says(land, *ids)


def test_a_site_that_hangs_after_it_has_begun_moves_it_once(land):
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.hand("latency", move=0.5)
    land.site.by_hand.inject("move", "hang", after=True, seconds=30)
    work.succeed(land.it, drain(land, host), patience_s=90)
    one_claim_each(id)
    as_it_says(land, id)


def test_control_planes_stay_apart_while_their_hosts_are_drained(land):
    asked = land.cluster(control_planes={"count": 3}, node_pools=[])
    work.succeed(land.editor, asked, patience_s=90)
    ids = [str(vm.id) for vm in vms()]
    for host in {host_of(id).id: host_of(id) for id in ids}.values():
        work.succeed(land.it, drain(land, host))
        assert len({host_of(id).id for id in ids}) == 3
        as_it_says(land, *ids)
        land.it.post(f"hosts/{host.id}/uncordon")
    cluster = land.editor.get(f"clusters/{asked['cluster']['id']}")
    assert (cluster["phase"], cluster["reason"]) == ("ready", None)
    keep = {host_of(id).id for id in ids}
    spare = next(one for one in hosts() if one.id not in keep)
    land.it.post(f"hosts/{spare.id}/cordon")
    refused = drain(land, host_of(ids[0]))
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert "apart" in refused["holders"][0]["why"]
    one_claim_each(*ids)


def test_a_destination_that_closes_before_it_was_reached_is_given_back(land):
    """The site says that it is busy, again and again; meanwhile the destination is cordoned: another one is claimed."""
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.inject("move", "error", times=3, code="not_ready", reason="It is busy.")
    asked = drain(land, host)
    work.until(lambda: any(move.phase == "moving" for move in open_moves()))
    (first,) = open_moves()
    work.until(lambda: (land.it.get(f"drains/{asked['drain']['id']}")["reason"] or {}).get("code") == "not_ready")
    land.it.post(f"hosts/{first.host_id}/cordon")
    work.succeed(land.it, asked)
    one_claim_each(id)
    as_it_says(land, id)
    with as_system():
        undone, done = Move.objects.order_by("created_at")
    assert (undone.id, undone.phase, undone.reason) == (first.id, "undone", None)
    assert done.host_id not in (host.id, first.host_id)


def test_on_a_vcenter_it_is_the_same(tmp_path):
    with vsphere_site.running(tmp_path) as site:
        land = ground.carved(site)
        ids = made(land, 3, power="off")
        host = host_of(ids[0])
        with site.by_hand.moves_take(0.5):
            work.succeed(land.it, drain(land, host))
        assert row(host).vcpu_claimed == 0
        one_claim_each(*ids)
        as_it_says(land, *ids)
        outside.forget(UUID(land.site_id))


# --- guarantees ----------------------------------------------------------------------------------------------------


def reserve(land, vcpu):
    with as_system():
        pool = ResourcePool.objects.get()
    reserved = {"model": "flex", "reserved": {"vcpu": vcpu, "memory_mib": vcpu * 1024}}
    work.succeed(land.it, land.it.patch(f"pools/{pool.id}", reserved))


def within():
    with as_system():
        return sum(Allocation.objects.filter(released=None).values_list("vcpu_from_hold", flat=True))


def kept():
    with as_system():
        return sum(Hold.objects.values_list("vcpu", flat=True))


def test_who_is_within_a_guarantee_stays_within_it(land):
    reserve(land, 8)
    ids = made(land, 4)
    before = within(), kept()
    assert before[0] > 0
    host = host_of(ids[0])
    work.succeed(land.it, drain(land, host))
    assert (within(), kept()) == before
    assert row(host).vcpu_claimed == 0
    one_claim_each(*ids)


# --- zones ---------------------------------------------------------------------------------------------------------


def test_a_zone_is_not_drained_into_quotas_and_pools_that_are_too_small(two_zones):
    land = two_zones
    ids = made_in_az1(land, 2)
    with as_system():
        zone, other = Zone.objects.get(name="az1"), Zone.objects.get(name="az2")
        standing = Allocation.objects.filter(released=None, zone=zone).count()
        pool = ResourcePool.objects.get(zone=other)
        used = pool.vcpu_used
        ResourcePool.objects.filter(pk=pool.pk).update(vcpu_limit=used)
    assert standing
    refused = land.it.post(f"zones/{zone.id}/drain")
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert "Pool az2 there" in refused["holders"][0]["why"]
    with as_system():
        ResourcePool.objects.filter(pk=pool.pk).update(vcpu_limit=None)
        project = land.office.project
        Quota.objects.update_or_create(
            tenant=land.office.tenant,
            project=project,
            zone_id=other.id,
            resource="vms",
            defaults={"limit": len(ids) - standing},
        )
    refused = land.it.post(f"zones/{zone.id}/drain")
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert "quota of vms" in refused["holders"][0]["why"]


def test_a_cancelled_drain_of_a_zone_opens_it_again(two_zones):
    land = two_zones
    ids = made_in_az1(land, 3)
    with as_system():
        zone = Zone.objects.get(name="az1")
    land.site.by_hand.hand("latency", move=0.3)
    asked = land.it.post(f"zones/{zone.id}/drain")
    refused = land.it.post(f"zones/{zone.id}/resume")
    assert (refused.status, refused["code"]) == (409, "draining")
    work.until(lambda: open_moves())
    assert land.it.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    work.until(lambda: not Drain.objects.filter(ended_at=None).exists())
    assert land.it.get(f"zones/{zone.id}")["phase"] == "active"
    one_claim_each(*ids)
    as_it_says(land, *ids)


def test_a_drain_of_a_zone_is_killed_anywhere_and_goes_on(two_zones):
    land = two_zones
    ids = made_in_az1(land, 2)
    with as_system():
        zone = Zone.objects.get(name="az1")
    land.site.by_hand.hand("latency", move=0.2)
    asked = land.it.post(f"zones/{zone.id}/drain")
    assert till_the_end(land, asked) > 20
    assert land.it.get(f"operations/{asked['operation']['id']}")["phase"] == "succeeded"
    one_claim_each(*ids)
    as_it_says(land, *ids)
    with as_system():
        assert not Allocation.objects.filter(released=None, zone=zone).exists()


def test_a_zone_that_was_drained_can_be_taken_apart(two_zones):
    """VMs lie in the folder of their former zone until they go; then it goes too."""
    land = two_zones
    (id,) = made_in_az1(land, 1)
    with as_system():
        zone, pool = Zone.objects.get(name="az1"), ResourcePool.objects.get(zone__name="az1")
    work.succeed(land.it, land.it.post(f"zones/{zone.id}/drain"))
    work.succeed(land.it, land.it.delete(f"pools/{pool.id}"))
    work.succeed(land.editor, land.editor.delete(f"vms/{id}"))
    work.succeed(land.it, land.it.delete(f"zones/{zone.id}"))
    assert land.it.get(f"zones/{zone.id}").status == 404


# --- rivals --------------------------------------------------------------------------------------------------------


def test_nothing_comes_to_a_host_that_is_drained_while_others_ask_for_room(land):
    """Four clients ask all the while that a host is drained, its worker working: it ends empty, and nobody has two."""
    (id,) = made(land)
    host = host_of(id)

    def client(number):
        try:
            return [ask(land, f"c{number}-{turn}", power="off").status for turn in range(4)]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(client, number) for number in range(4)]
        asked = drain(land, host)
        answers = [status for one in asking for status in one.result()]
    assert set(answers) <= {202, 409, 503}
    if asked.status == 202:
        work.succeed(land.it, asked)
        with as_system():
            assert not Allocation.objects.filter(released=None, host=host).exists()
    with as_system():
        wanted = list(VM.objects.filter(deleted_at=None).order_by("created_at").values_list("id", flat=True))
    work.until(lambda: all(vm.phase == "built" or vm.id == wanted[0] for vm in vms()))
    one_claim_each(*wanted)
    as_it_says(land, *map(str, wanted))
