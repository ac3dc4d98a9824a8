"""Volumes of a project from request to gone, on a simulated site, by the passes of the real engine; and bad luck."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from facet.operations.models import Wakeup
from facet.rest.problems import Conflict
from facet.workloads.maintenance import plan
from facet.workloads.models import Volume
from infra.models import Datastore, Host, Site
from scheduler import ledger
from scheduler.models import Allocation, VolumeClaim
from tests import room, work
from tests.factories import as_system


def ask(land, name="data", size_gib=10, **more):
    body = {"name": name, "zone": land.zones[0], "size_gib": size_gib, **more}
    return land.editor.post(f"{land.project}/volumes", body)


def made(land, name="data", size_gib=10, **more):
    answer = ask(land, name, size_gib, **more)
    work.succeed(land.editor, answer)
    return answer["volume"]["id"]


def shown(land, id):
    return land.editor.get(f"volumes/{id}").body


def machine(land, name="db"):
    body = {"name": name, "zones": land.zones, "flavor": "small", "power": "off"}
    answer = land.editor.post(f"{land.project}/vms", body)
    work.succeed(land.editor, answer)
    return answer["vm"]["id"]


def attach(land, id, vm):
    return land.editor.post(f"volumes/{id}/attach", {"vm": vm})


def detach(land, id):
    return land.editor.post(f"volumes/{id}/detach")


def at_site(land):
    """Size and holder of each volume that the site has, by key."""
    found = land.site.by_hand._post("v1/volumes", {"keys": keys()})
    return {key: (one["size_gib"], one["attached_to"]) for key, one in found.items()}


def keys():
    with as_system():
        return [str(id) for id in Volume.objects.values_list("id", flat=True)]


def remove(land, id):
    work.succeed(land.editor, land.editor.delete(f"volumes/{id}"))


def remove_vm(land, id):
    work.succeed(land.editor, land.editor.delete(f"vms/{id}"))


def problem(land, answer):
    operation = work.done(land.editor, answer)
    assert operation["phase"] == "failed", operation
    return operation["problem"]["code"]


def nothing_held():
    room.check_books()
    with as_system():
        return not VolumeClaim.objects.filter(released=None).exists()


# --- its life ------------------------------------------------------------------------------------------------------


def test_a_volume_survives_its_vm(land):
    id, vm = made(land), machine(land)
    assert at_site(land) == {id: (10, None)}
    work.succeed(land.editor, attach(land, id, "db"))
    assert (shown(land, id)["vm"]["name"], shown(land, id)["attached_to"]) == ("db", vm)
    assert at_site(land) == {id: (10, vm)}
    work.succeed(land.editor, land.editor.patch(f"volumes/{id}", {"size_gib": 25}))
    assert at_site(land) == {id: (25, vm)}
    room.check_books()
    taken = land.editor.post(f"volumes/{id}/snapshots", {"name": "before"})
    work.succeed(land.editor, taken)
    listed = land.editor.get(f"volumes/{id}/snapshots")["items"]
    assert [(one["name"], one["phase"]) for one in listed] == [("before", "ready")]
    remove_vm(land, vm)
    left = shown(land, id)
    assert (left["phase"], left["vm"], left["attached_to"], left["size_gib"]) == ("ready", None, None, 25)
    assert at_site(land) == {id: (25, None)}
    other = machine(land, "db2")
    work.succeed(land.editor, attach(land, id, other))
    work.succeed(land.editor, detach(land, id))
    assert at_site(land) == {id: (25, None)}
    work.succeed(land.editor, land.editor.delete(f"volume-snapshots/{taken['volume_snapshot']['id']}"))
    remove(land, id)
    assert at_site(land) == {}
    assert land.editor.get(f"volumes/{id}").status == 404
    assert nothing_held()
    with as_system():
        assert not Wakeup.objects.filter(kind="volume").exists()


def test_a_volume_is_never_attached_twice(land):
    """Two ask at once, for two VMs: one wins, the other hears who has it; the books stay exact."""
    id = made(land)
    vms = [machine(land, name) for name in ("db", "db2")]

    def one(vm):
        try:
            return attach(land, id, vm)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as both:
        answers = list(both.map(one, vms))
    assert sorted(answer.status for answer in answers) == [202, 409]
    lost = next(answer for answer in answers if answer.status == 409)
    won = next(answer for answer in answers if answer.status == 202)
    assert lost["code"] == "attached"
    work.succeed(land.editor, won)
    holder = shown(land, id)["attached_to"]
    assert at_site(land) == {id: (10, holder)}
    assert attach(land, id, next(vm for vm in vms if vm != holder))["code"] == "attached"
    work.succeed(land.editor, attach(land, id, holder))
    refused = land.editor.delete(f"volumes/{id}")
    assert (refused.status, refused["code"], refused["holders"][0]["id"]) == (409, "in_use", holder)
    room.check_books()
    work.succeed(land.editor, detach(land, id))
    work.succeed(land.editor, detach(land, id))
    remove(land, id)
    assert nothing_held()


def test_what_cannot_be_is_refused_at_once_and_holds_nothing(land):
    assert ask(land, size_gib=0).status == 422
    assert ask(land, storage_class="fast").body["errors"].keys() == {"storage_class"}
    assert ask(land, zone="nowhere").body["errors"].keys() == {"zone"}
    full = ask(land, size_gib=60_000)
    assert (full.status, full["code"]) == (409, "no_room")
    limits = {"limits": {"storage_gib": 15, "volumes": 5, "vcpu": 100, "memory_mib": 400_000, "vms": 100}}
    assert land.it.put(f"{land.project}/quota", limits).status == 200
    assert ask(land, size_gib=16)["code"] == "quota_exceeded"
    assert keys() == []
    id = made(land)
    assert ask(land)["code"] == "name_taken"
    assert land.editor.patch(f"volumes/{id}", {"size_gib": 9}).body["errors"].keys() == {"size_gib"}
    assert land.editor.patch(f"volumes/{id}", {"size_gib": 16})["code"] == "quota_exceeded"
    assert attach(land, id, "nobody").body["errors"].keys() == {"vm"}
    assert shown(land, id)["size_gib"] == 10
    remove(land, id)
    assert nothing_held()


# --- bad luck ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["volume", "attach", "detach", "no_volume"])
def test_an_answer_that_is_lost_is_asked_for_again_and_done_once(land, verb):
    id, vm = made(land, "first"), machine(land)
    land.site.by_hand.inject(verb, "down")
    land.site.by_hand.inject(verb, "hang", seconds=0.0, after=True)
    if verb == "volume":
        work.succeed(land.editor, land.editor.patch(f"volumes/{id}", {"size_gib": 12}))
    work.succeed(land.editor, attach(land, id, vm))
    work.succeed(land.editor, detach(land, id))
    remove(land, id)
    assert at_site(land) == {}
    assert nothing_held()


def test_a_site_without_room_fails_a_create_and_gives_a_grow_back(land):
    land.site.by_hand.inject("volume", "error", code="no_space", reason="The datastore is full.")
    first = ask(land)
    assert problem(land, first) == "no_space"
    failed = shown(land, first["volume"]["id"])
    assert (failed["phase"], failed["reason"]["code"]) == ("failed", "no_space")
    room.check_books()
    remove(land, first["volume"]["id"])
    assert nothing_held()
    id = made(land)
    land.site.by_hand.inject("volume", "error", code="no_space", reason="The datastore is full.")
    assert problem(land, land.editor.patch(f"volumes/{id}", {"size_gib": 20})) == "no_space"
    assert (shown(land, id)["phase"], shown(land, id)["size_gib"]) == ("ready", 10)
    room.check_books()
    remove(land, id)
    assert nothing_held()


def test_a_vm_that_was_destroyed_by_hand_leaves_its_volume(land):
    id, vm = made(land), machine(land)
    work.succeed(land.editor, attach(land, id, vm))
    land.site.by_hand.delete_vm(vm)
    assert at_site(land) == {id: (10, None)}
    work.succeed(land.editor, detach(land, id))
    remove_vm(land, vm)
    assert (shown(land, id)["vm"], shown(land, id)["attached_to"]) == (None, None)
    remove(land, id)
    assert nothing_held()


def test_a_volume_that_was_removed_by_hand_is_not_made_anew_empty(land):
    id, vm = made(land), machine(land)
    land.site.by_hand._post("v1/no_volume", {"keys": [id]})
    assert problem(land, attach(land, id, vm)) == "volume_missing"
    assert problem(land, land.editor.patch(f"volumes/{id}", {"size_gib": 20})) == "volume_missing"
    assert at_site(land) == {}
    assert (shown(land, id)["size_gib"], shown(land, id)["reason"]["code"]) == (10, "volume_missing")
    room.check_books()
    remove_vm(land, vm)
    remove(land, id)
    assert nothing_held()


def test_a_site_without_the_privileges_takes_no_volume_and_no_network(land):
    with as_system():
        Site.objects.update(missing_privileges={"storage": ["Datastore.FileManagement"], "network": ["Host.Config"]})
    network = {"name": "inside", "zone": land.zones[0], "cidr": "10.7.0.0/24"}
    for answer in (ask(land), land.editor.post(f"{land.project}/networks", network)):
        assert (answer.status, answer["code"]) == (409, "no_permission"), answer
    assert nothing_held()


def test_a_vm_is_not_destroyed_while_its_volume_cannot_be_taken_from_it(land):
    id, vm = made(land), machine(land)
    work.succeed(land.editor, attach(land, id, vm))
    land.site.by_hand.inject("detach", "error", times=-1, code="invalid_state", reason="The disk is in use.")
    going = land.editor.delete(f"vms/{vm}")
    work.until(lambda: (land.editor.get(f"vms/{vm}").body["reason"] or {}).get("code") == "invalid_state")
    assert at_site(land) == {id: (10, vm)}
    land.site.by_hand.hand("clear-faults")
    work.succeed(land.editor, going)
    assert at_site(land) == {id: (10, None)}
    remove(land, id)
    assert nothing_held()


def test_a_volume_is_ours_and_never_counted_as_others_use(land):
    def store():
        with as_system():
            found = Datastore.objects.get(name=land.site.datastore)
            return found.claimed_gib, found.unmanaged_gib

    before = store()
    id = made(land, size_gib=500)
    land.sync()
    assert store() == (before[0] + 500, before[1])
    vm = machine(land)
    work.succeed(land.editor, attach(land, id, vm))
    land.sync()
    assert store()[1] == before[1]
    work.succeed(land.editor, detach(land, id))
    remove(land, id)
    remove_vm(land, vm)
    land.sync()
    assert store() == before
    assert nothing_held()


def test_a_drain_moves_a_vm_only_where_its_volume_is_reached(land):
    """Of the other hosts one mounts a second datastore, on which the volume lies."""
    id, vm = made(land), machine(land)
    with as_system():
        held = Allocation.objects.select_related("host").get(holder=vm, released=None)
        others = Host.objects.filter(zone=held.zone_id).exclude(pk=held.host_id).order_by("name")
        claim = VolumeClaim.objects.get(holder=id, released=None)
        lone = Datastore.objects.create(
            site=claim.datastore.site, ref="lone", name="lone", capacity_gib=50, free_gib=50, limit_gib=50
        )
        lone.zones.add(held.zone)
        VolumeClaim.objects.filter(pk=claim.pk).update(datastore=lone)
        Volume.objects.filter(pk=id).update(wanted_by_id=vm, attached_to=vm)
        reached = [held.host, others.last()]
        for host in reached:
            Host.objects.filter(pk=host.pk).update(datastore_refs=[*host.datastore_refs, "lone"])
        leaving = plan.read(held.zone, held.host)
        found = plan.relocate(leaving, ledger.look(full=True))
        assert [one.host_id for one in found.moved] == [others.last().id]
        Host.objects.filter(pk=others.last().pk).update(datastore_refs=[])
        with pytest.raises(Conflict) as refused:
            plan.prove(plan.read(held.zone, held.host))
    assert refused.value.code == "no_room"
