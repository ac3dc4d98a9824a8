"""What comes between a drain and its end: refusals, deletes, builds, a site that is away, kills, rivals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.db import connections
from django.utils import timezone

from facet.operations.models import Inflight, Wakeup
from facet.workloads.models import VM
from infra import outside
from scheduler.models import Allocation, Move
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
    one_claim_each,
    open_moves,
    places,
    row,
    vms,
)
from .test_vms import ask

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


def test_a_destination_that_goes_down_while_it_is_moved_to_is_given_back(land):
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.hand("latency", move=1.0)
    asked = drain(land, host)
    work.until(lambda: Inflight.objects.filter(doing="move").exists())
    (first,) = open_moves()
    land.site.by_hand.hand("host", name=first.host.name, state="down")
    land.sync()
    work.succeed(land.it, asked)
    one_claim_each(id)
    as_it_says(land, id)
    assert host_of(id).id not in (host.id, first.host_id)


def test_a_vm_that_the_site_has_lost_is_named(land):
    (id,) = made(land)
    host = host_of(id)
    land.site.by_hand.delete_vm(id)
    asked = drain(land, host)
    operation = work.done(land.it, asked)
    assert (operation["phase"], operation["problem"]["code"], operation["problem"]["vm"]) == (
        "failed",
        "not_found",
        "db-1",
    )
    one_claim_each(id)
    work.succeed(land.editor, land.editor.delete(f"vms/{id}"))
    work.succeed(land.it, drain(land, host))
    check_books()


def test_a_cluster_that_is_deleted_meanwhile_is_nobody_to_move(land):
    asked = land.cluster(node_pools=[{"name": "workers", "size": 3}])
    work.succeed(land.editor, asked, patience_s=90)
    land.site.by_hand.hand("latency", move=0.3, destroy=0.3)
    host = host_of(vms()[0].id)
    receipt = drain(land, host)
    work.until(open_moves)
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    work.succeed(land.it, receipt)
    assert at_site(land) == []
    one_claim_each()


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
