"""Storage classes that are bound to a policy of their site: disks lie only where it is satisfied, and they follow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facet.operations.models import Event
from facet.workloads.models import VM
from infra import policies
from infra.drivers import base
from infra.models import Site, StorageClass, StoragePolicy, Zone
from scheduler import ledger
from scheduler.models import Allocation
from tests import ground, room, sites, work
from tests.contract import vsphere_site
from tests.factories import as_system


@pytest.fixture(scope="module", params=["simulator", "vsphere"])
def running(request, tmp_path_factory):
    if request.param == "vsphere":
        with vsphere_site.running(tmp_path_factory.mktemp("vcenter")) as site:
            yield site
    else:
        with ground.simulator_site.running(tmp_path_factory.mktemp("simulator")) as site:
            yield site


@pytest.fixture
def land(running):
    """A zone of two datastores."""
    found = ground.carved(running)
    both = [running.datastore, running.other_datastore]
    work.succeed(found.it, found.it.patch(f"zones/{zone(found).id}", {"datastores": both}))
    return found


def zone(land):
    with as_system():
        return Zone.objects.get(name=land.zones[0])


def policy(land):
    """One of the site's, as it is recorded."""
    with as_system():
        return StoragePolicy.objects.filter(site_id=land.site_id, present=True).order_by("name").first()


def satisfied_by(land, *names, sync=True):
    found = policy(land)
    land.site.by_hand.satisfied_by(base.PolicyFacts(found.ref, found.name), list(names))
    if sync:
        land.sync()


def offer(land, name="kept", **body):
    return land.it.post(f"zones/{zone(land).id}/storage-classes", {"name": name, **body})


def known(land):
    """The site, and its policies as they are recorded."""
    with as_system():
        rows = StoragePolicy.objects.filter(site_id=land.site_id, present=True)
        facts = [base.PolicyFacts(one.ref, one.name, tuple(one.datastore_refs)) for one in rows]
        return Site.objects.get(pk=land.site_id), facts


def of_class(land, made):
    return [store["name"] for store in land.it.get(f"storage-classes/{made['id']}")["datastores"]]


def ask(land, name, storage_class="kept"):
    body = {"name": name, "zones": land.zones, "flavor": "small", "placement": {"storage_class": storage_class}}
    return land.editor.post(f"{land.project}/vms", body)


def lie(land):
    with as_system():
        rows = Allocation.objects.filter(released=None).order_by("created", "id").select_related("datastore")
        return [row.datastore.name for row in rows]


def test_disks_lie_only_where_the_policy_is_satisfied(land):
    first, second = land.site.datastore, land.site.other_datastore
    satisfied_by(land, second)
    made = offer(land, policy=policy(land).name)
    assert made.status == 201, made
    assert (made["policy"]["name"], of_class(land, made)) == (policy(land).name, [second])
    seen = ledger.look()
    assert [ask(land, f"vm-{number}").status for number in range(4)] == [202] * 4
    assert lie(land) == [second] * 4

    satisfied_by(land, first)  # what lies stays; what comes goes where the policy is satisfied now
    assert ledger.look() is not seen
    assert of_class(land, made) == [first]
    assert ask(land, "later").status == 202
    assert lie(land) == [second] * 4 + [first]

    satisfied_by(land)
    refused = ask(land, "nowhere")
    assert (refused.status, refused["code"], refused["limits"][0]["filter"]) == (409, "no_room", "datastore")
    room.check_books()
    for vm in land.editor.get(f"{land.project}/vms")["items"]:
        work.succeed(land.editor, land.editor.delete(f"vms/{vm['id']}"))
    with as_system():
        told = Event.objects.filter(verb="storage-class.followed", target_id=made["id"]).order_by("seq")
        assert [one.after["datastores"] for one in told] == [[first], []]
        assert not VM.objects.filter(deleted_at=None).exists()


def test_a_class_of_a_policy_follows_the_datastores_that_its_zone_has(land):
    first, second = land.site.datastore, land.site.other_datastore
    satisfied_by(land, first, second)
    made = offer(land, policy=policy(land).ref)  # by its ref, too
    assert of_class(land, made) == sorted([first, second])
    for names in ([second], [first, second], [first]):
        work.succeed(land.it, land.it.patch(f"zones/{zone(land).id}", {"datastores": names}))
        assert of_class(land, made) == sorted(names)


def test_what_was_seen_already_is_not_written_again(land):
    satisfied_by(land, land.site.datastore)
    made = offer(land, policy=policy(land).name)
    with as_system():
        before = Event.objects.count(), StorageClass.objects.get(pk=made["id"])
    site, seen = known(land)
    policies.write(site, [replace(one, datastore_refs=one.datastore_refs[::-1]) for one in seen], as_system)
    with as_system():
        assert (Event.objects.count(), StorageClass.objects.get(pk=made["id"])) == before


def test_a_policy_that_went_away_satisfies_nothing_until_it_is_back(land):
    satisfied_by(land, land.site.datastore)
    made = offer(land, policy=policy(land).name)
    site, seen = known(land)
    policies.write(site, [one for one in seen if one.name != made["policy"]["name"]], as_system)
    assert of_class(land, made) == []
    assert offer(land, "other", policy=made["policy"]["name"]).status == 422
    policies.write(site, seen, as_system)
    assert of_class(land, made) == [land.site.datastore]


def test_a_site_that_does_not_tell_its_policies_is_looked_at_without(land):
    """Its policy service is down, or its user may not ask: what was known stays, and the look is complete."""
    satisfied_by(land, land.site.datastore)
    made = offer(land, policy=policy(land).name)
    satisfied_by(land, land.site.other_datastore, sync=False)
    if land.site.kind == "vsphere":
        land.site.by_hand.program.inject("PbmQueryProfile", "SystemError", times=0)
        mend = land.site.by_hand.program.heal
    else:
        land.site.by_hand.inject("policies", "down", times=-1)
        mend = lambda: land.site.by_hand.hand("clear-faults")  # noqa: E731
    with sites.logged() as log:
        land.sync()
    assert "does not tell its storage policies" in log.getvalue()
    assert land.it.get(f"sites/{land.site_id}")["phase"] == "active"
    assert of_class(land, made) == [land.site.datastore]
    mend()
    land.sync()
    assert of_class(land, made) == [land.site.other_datastore]


def test_what_means_nothing_is_refused_and_names_its_field(land):
    for body, field in [
        ({"policy": "no such policy"}, "policy"),
        ({"policy": "\x00"}, "policy"),
        ({"policy": ""}, "policy"),
        ({"policy": ["gold"]}, "policy"),
        ({}, "datastores"),
        ({"policy": "x", "datastores": ["ds"]}, "datastores"),
        ({"datastores": []}, "datastores"),
    ]:
        refused = offer(land, **body)
        assert (refused.status, list(refused["errors"])) == (422, [field]), refused
    assert not land.it.get(f"zones/{zone(land).id}/storage-classes")["items"]


def test_a_class_changes_between_a_policy_and_datastores(land):
    satisfied_by(land, land.site.datastore)
    made = offer(land, datastores=[land.site.other_datastore])
    assert made["policy"] is None
    bound = land.it.patch(f"storage-classes/{made['id']}", {"policy": policy(land).name})
    assert (bound.status, bound["policy"]["name"]) == (200, policy(land).name)
    assert of_class(land, made) == [land.site.datastore]
    free = land.it.patch(f"storage-classes/{made['id']}", {"datastores": [land.site.other_datastore]})
    assert (free["policy"], of_class(land, made)) == (None, [land.site.other_datastore])
    satisfied_by(land, land.site.datastore)  # it follows nothing any more
    assert of_class(land, made) == [land.site.other_datastore]
    hidden = land.office.editor.get(f"storage-classes/{made['id']}")
    assert (hidden.status, hidden["policy"], hidden["datastores"]) == (200, None, None)
