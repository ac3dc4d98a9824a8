"""VMs that Facet did not make become a project's, and are given back; nothing on them changes. And bad luck."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.utils import timezone

from facet.operations.models import Event
from facet.operations.wakeups import wake
from facet.workloads import watching
from facet.workloads.models import VM
from infra import inventory
from infra.models import Datastore, Host, Site, UnmanagedVm
from scheduler import ledger
from scheduler.models import Allocation
from tenants.models import Quota
from tests import ground, room, strangers, work
from tests.contract import simulator_site, vsphere_site
from tests.factories import as_system


@pytest.fixture(params=[simulator_site, vsphere_site], ids=["simulator", "vcsim"])
def either(request, tmp_path):
    with request.param.running(tmp_path) as site:
        yield ground.carved(site)


@pytest.fixture
def stranger(land):
    """A VM of another's that runs, and was seen."""
    vm = strangers.made(strangers.room(land))
    land.sync()
    return vm


def adopt(land, vm, **body):
    return land.it.post(
        f"zones/{strangers.zone_id(land)}/adopt", {"vm": vm.ref, "project": "acme/web", **body}
    )  # fmt: skip


def adopted(land, vm, **body):
    answer = adopt(land, vm, **body)
    assert answer.status == 200, answer
    return answer


def release(land, vm):
    return land.it.post(f"vms/{vm.key}/release")


def counted(vm):
    """(vCPU of others, vCPU claimed) of its host, (GiB of others, claimed) of its datastore."""
    with as_system():
        host, store = Host.objects.get(ref=vm.host_ref), Datastore.objects.get(ref=vm.datastore_refs[0])
    return (host.vcpu_unmanaged, host.vcpu_claimed), (store.unmanaged_gib, store.claimed_gib)


def is_listed(land, vm):
    return str(vm.key) in {one["key"] for one in strangers.listed(land)}


def test_adoption_changes_claims_and_nothing_on_the_vm(either):
    land = either
    vm = strangers.made(strangers.room(land))
    land.sync()
    hand, before = land.site.by_hand, counted(vm)
    writes, extra = hand.writes(), hand.extra_config(vm.key)
    plan = adopted(land, vm, dry_run=True)
    assert (plan["dry_run"], plan["changes"], plan["vm"]) == (True, [], None)
    assert (plan["claims"]["vcpu"], plan["claims"]["memory_mib"], plan["claims"]["vms"]) == (1, 512, 1)
    assert plan["claims"]["storage_gib"] == vm.disk_gib
    assert counted(vm) == before
    assert is_listed(land, vm)

    done = adopted(land, vm, name="db")
    assert (done["vm"]["id"], done["vm"]["name"], done["vm"]["adopted"]) == (str(vm.key), "db", True)
    assert (done["vm"]["phase"], done["vm"]["power"], done["claims"]) == ("running", "on", plan["claims"])
    others, claimed = counted(vm)[0]
    assert (others, claimed) == (before[0][0] - 1, before[0][1] + 1)  # the sum is as it was
    assert not is_listed(land, vm)
    room.check_books()
    land.sync()
    assert counted(vm)[0] == (others, claimed)
    shown = land.editor.get(f"vms/{vm.key}")
    assert (shown["drift"], shown["reason"], shown["phase"]) == (None, None, "running")
    assert not is_listed(land, vm)

    given = release(land, vm)
    assert given.status == 200, given
    assert counted(vm)[0] == before[0]
    assert is_listed(land, vm)
    assert land.editor.get(f"vms/{vm.key}").status == 404
    room.check_books()
    land.sync()
    assert counted(vm)[0] == before[0]
    assert (hand.writes(), hand.extra_config(vm.key)) == (writes, extra)


def test_it_is_managed_like_any_other(land, stranger):
    adopted(land, stranger)
    path = f"vms/{stranger.key}"
    work.succeed(land.editor, land.editor.post(f"{path}/stop", {"within_s": 0}))
    assert land.editor.get(path)["power"] == "off"
    work.succeed(land.editor, land.editor.post(f"{path}/resize", {"vcpu": 2, "memory_mib": 1024}))
    work.succeed(land.editor, land.editor.post(f"{path}/start"))
    shown = land.editor.get(path)
    assert (shown["vcpu"], shown["power"], shown["drift"]) == (2, "on", None)
    assert land.site.by_hand.extra_config(stranger.key) == {}
    work.succeed(land.editor, land.editor.delete(path))
    room.check_books()
    land.sync()
    assert strangers.listed(land) == []
    assert stranger.key not in {vm.key for vm in strangers.room(land).driver.inventory().vms}


def test_one_that_was_given_back_is_adopted_again_with_its_history(land, stranger):
    adopted(land, stranger, name="one")
    assert release(land, stranger).status == 200
    assert release(land, stranger).status == 404
    assert adopted(land, stranger, name="two")["vm"]["name"] == "two"
    with as_system():
        held = list(Allocation.objects.filter(holder=stranger.key).order_by("created"))
        assert [row.released is None for row in held] == [False, True]
        assert VM.objects.get(pk=stranger.key).generation == 3
    room.check_books()


def test_the_reaper_leaves_one_that_was_given_back(land, stranger):
    adopted(land, stranger)
    release(land, stranger)
    with as_system():
        wake("reap", land.site_id, site_id=land.site_id)
    work.until(lambda: not [row for row in work.queue() if row[0] == "reap"])
    assert stranger.key in {vm.key for vm in strangers.room(land).driver.inventory().vms}


def test_a_site_that_loses_adopted_ones_is_looked_at_as_any(land, stranger):
    adopted(land, stranger)
    land.site.by_hand.delete_vm(stranger.key)
    land.sync()
    drift = land.editor.get(f"vms/{stranger.key}")["drift"]
    assert [line["field"] for line in drift] == ["machine"]
    with as_system():
        assert watching.adopted(land.site_id) == {stranger.key}
    assert release(land, stranger).status == 200  # it is gone, and what it held is free
    room.check_books()


# --- refused -------------------------------------------------------------------------------------------------------


def test_only_it_adopts_and_gives_back(land, stranger):
    body = {"vm": stranger.ref, "project": "acme/web"}
    assert land.editor.post(f"zones/{strangers.zone_id(land)}/adopt", body).status == 403
    adopted(land, stranger)
    assert land.editor.post(f"vms/{stranger.key}/release").status == 403


def test_what_cannot_be_said_is_named(land, stranger):
    zone = f"zones/{strangers.zone_id(land)}/adopt"
    assert land.it.post(zone, {"vm": "nobody", "project": "acme/web"})["errors"].keys() == {"vm"}
    assert land.it.post(zone, {"vm": stranger.ref, "project": "acme/nowhere"})["errors"].keys() == {"project"}
    strangers.made(strangers.room(land), "Web Server 01", power="off")
    land.sync()
    named = land.it.post(zone, {"vm": "Web Server 01", "project": "acme/web"})
    assert named["errors"].keys() == {"name"}
    answer = land.it.post(zone, {"vm": "Web Server 01", "project": "acme/web", "name": "server"})
    assert (answer["vm"]["name"], answer["vm"]["phase"], answer["vm"]["drift"]) == ("server", "built", None)
    land.sync()
    assert land.editor.get(f"vms/{answer['vm']['id']}")["drift"] is None  # its name at the site is its own


def test_a_quota_that_has_no_room_refuses_with_its_limits(land, stranger):
    before = counted(stranger)
    with as_system():
        Quota.objects.filter(project=land.office.project, zone_id=None, resource="vms").update(limit=0)
    for dry_run in (True, False):
        refused = adopt(land, stranger, dry_run=dry_run)
        assert (refused.status, refused["code"]) == (409, "quota_exceeded")
        assert refused["limits"]
    assert counted(stranger) == before
    assert [one["key"] for one in strangers.listed(land)] == [str(stranger.key)]


def test_a_host_without_room_refuses_one_that_is_off(land):
    vm = strangers.made(strangers.room(land), power="off")
    land.sync()
    with as_system():
        Host.objects.filter(ref=vm.host_ref).update(vcpu_limit=0)
    refused = adopt(land, vm)
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert refused["limits"][0]["resource"] == "vcpu"


def test_one_of_another_facet_is_not_adopted(land):
    """It carries the witness of whoever made it, and no row of ours knows it."""
    place = strangers.room(land)
    theirs = place.vm()
    land.sync()
    assert strangers.listed(land) == []
    refused = adopt(land, theirs)
    assert refused["errors"].keys() == {"vm"}
    zone = strangers.zone_id(land)
    with as_system():
        host = Host.objects.get(ref=theirs.host_ref)
        UnmanagedVm.objects.create(  # as an old look may have left it
            site_id=land.site_id, ref=theirs.ref, key=theirs.key, name=theirs.name, host=host, vcpu=1, memory_mib=1,
            disk_gib=1, power="off", seen_at=host.seen_at,
        )  # fmt: skip
    refused = land.it.post(f"zones/{zone}/adopt", {"vm": theirs.ref, "project": "acme/web"})
    assert (refused.status, refused["code"]) == (409, "foreign")


def test_one_that_was_made_by_facet_is_never_given_back(land):
    asked = land.editor.post(f"{land.project}/vms", {"name": "db", "zones": ["az1"], "flavor": "small"})
    work.succeed(land.editor, asked)
    refused = land.it.post(f"vms/{asked['vm']['id']}/release")
    assert (refused.status, refused["code"]) == (409, "not_adopted")


# --- bad luck ------------------------------------------------------------------------------------------------------


def test_of_two_who_adopt_it_at_once_one_does(land, stranger):
    gate = threading.Barrier(2)

    def one(name):
        gate.wait(10)
        try:
            return adopt(land, stranger, name=name)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(one, ("one", "two")))
    assert sorted(answer.status for answer in answers)[0] == 200
    assert sorted(answer.status for answer in answers)[1] in (409, 422)
    with as_system():
        assert VM.objects.filter(pk=stranger.key).count() == 1
        assert set(ledger.allocations([stranger.key])) == {stranger.key}
    room.check_books()


def test_one_that_is_deleted_by_hand_meanwhile_is_not_adopted(land, stranger):
    land.site.by_hand.delete_vm(stranger.key)
    refused = adopt(land, stranger)
    assert (refused.status, refused["code"]) == (409, "machine_missing")
    with as_system():
        assert not VM.objects.exists()
        assert not Event.objects.filter(verb="vm.adopted").exists()


def test_a_look_that_began_before_it_was_adopted_counts_it_once(land, stranger):
    """What that look found is told apart when it is written."""
    began, seen = timezone.now(), strangers.room(land).driver.inventory()
    adopted(land, stranger)
    ours = counted(stranger)
    with as_system():
        site = Site.objects.get(pk=land.site_id)
    inventory.write(site, seen, as_system, began)
    assert counted(stranger) == ours
    assert strangers.listed(land) == []
