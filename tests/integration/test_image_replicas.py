"""Images in zones whose hosts do not reach their templates: copied before they are first needed; and bad luck."""

from __future__ import annotations

import pytest
from django.utils import timezone

from facet.operations import wakeups
from facet.operations.models import Wakeup
from infra.models import ImageReplica
from tests import ground, work
from tests.factories import as_system

from .test_clusters import at_site
from .test_vms import ask, at_once, deleted, killed_at, reason


@pytest.fixture
def land(tmp_path):
    """Two zones; the hosts of the second no longer reach the datastore of the templates."""
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def cut(land):
    hosts = land.it.get("zones").body["items"]
    second = next(zone["id"] for zone in hosts if zone["name"] == "az2")
    names = [one["name"] for one in land.it.get(f"sites/{land.site_id}/hosts?limit=100")["items"]]
    for name in [name for name in names if "rack-2" in name or name.startswith("r2")]:
        land.site.by_hand.hand("host", name=name, datastores=["rack-2-ssd"])
    land.sync()
    return second


def image(land):
    return land.it.get("images?name=kube")["items"][0]["id"]


def replicas(land):
    return [
        (one["zone"]["name"], one["phase"], one["datastore"])
        for one in land.it.get(f"images/{image(land)}/replicas")["items"]
    ]


def ready():
    with as_system():
        return ImageReplica.objects.filter(phase="ready").count()


def replicate(land, zone="az2"):
    return land.it.post(f"images/{image(land)}/replicas", {"zone": zone})


def calls(land):
    return land.site.by_hand.hand("calls")["calls"]


def rows():
    with as_system():
        return ImageReplica.objects.count()


TEMPLATE_GIB = 8
READY = [("az2", "ready", "rack-2-ssd")]


def test_a_zone_that_lacks_an_image_gets_its_copy_before_it_is_needed(land):
    cut(land)
    assert replicas(land) == []
    answer = land.it.post(
        "images", {"name": "kube-2", "site": "dc1", "template": land.site.template, "version": "v1.34.2"}
    )
    assert answer.status == 201
    work.until(lambda: replicas(land) == READY and ready() == 2)  # of both images, and of none in the first zone
    with as_system():
        ref = ImageReplica.objects.get(image__name="kube").ref
    asked = ask(land, zones=["az2"], image="kube")
    work.succeed(land.editor, asked)
    assert ref
    deleted(land, asked)


def test_it_is_asked_for_once_and_the_zone_that_reaches_it_needs_none(land):
    cut(land)
    answers = at_once(*[lambda: replicate(land)] * 3)
    assert {answer.status for answer in answers} <= {200, 202}
    work.until(lambda: replicas(land) == READY)
    again = replicate(land)
    assert (again.status, again["replica"]["phase"]) == (200, "ready")
    assert calls(land)["image"] == 1
    refused = replicate(land, "az1")
    assert (refused.status, refused["code"]) == (409, "not_needed")
    assert replicate(land, "nowhere").status == 422


def test_killed_at_any_statement_one_copy_is_made(land):
    cut(land)
    receipt = replicate(land)
    number = 1
    while not work.ended(land.it, receipt["operation"]["id"]):
        with as_system():
            Wakeup.objects.exclude(kind="image-replica").update(due_at=timezone.now() + timezone.timedelta(hours=1))
            Wakeup.objects.filter(kind="image-replica").update(due_at=timezone.now(), lease_until=None)
        lease = wakeups.take()
        assert lease is not None, work.queue()
        number = number + 1 if killed_at(lease, number) else 1
    assert replicas(land) == READY
    found = land.site.by_hand._post("v1/inventory", {})["datastores"]
    assert copies_on(found, "rack-2-ssd") == 1


def copies_on(stores, name):
    """How many templates' disks lie on this datastore, which nothing else uses."""
    store = next(one for one in stores if one["name"] == name)
    return (store["capacity_gib"] - store["free_gib"]) // TEMPLATE_GIB


def test_one_that_finds_no_space_fails_and_is_tried_again_when_it_is_asked_for(land):
    cut(land)
    land.site.by_hand.inject("image", "error", code="no_space", reason="The datastore is full.")
    operation = work.done(land.it, replicate(land))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_space")
    assert replicas(land)[0][:2] == ("az2", "failed")
    work.succeed(land.it, replicate(land))
    assert replicas(land) == READY


def test_it_goes_with_its_image_and_with_its_zone(land):
    second = cut(land)
    work.succeed(land.it, replicate(land))
    id = land.it.get(f"images/{image(land)}/replicas")["items"][0]["id"]
    work.succeed(land.it, land.it.delete(f"image-replicas/{id}"))
    assert replicas(land) == []
    work.succeed(land.it, replicate(land))
    assert land.it.delete(f"images/{image(land)}").status == 204
    work.until(lambda: rows() == 0)
    answer = land.it.post(
        "images", {"name": "kube", "site": "dc1", "template": land.site.template, "version": "v1.34.2"}
    )
    assert answer.status == 201
    work.until(lambda: replicas(land) == READY)
    for pool in land.it.get(f"tenants/{land.office.tenant.id}/pools")["items"]:
        if pool["zone"] == "az2":
            work.succeed(land.it, land.it.delete(f"pools/{pool['id']}"))
    work.succeed(land.it, land.it.delete(f"zones/{second}"))
    assert rows() == 0
    with as_system():
        assert not Wakeup.objects.filter(kind="image-replica").exists()
    assert at_site(land) == []


def golden(land, **more):
    """An image of an item of a content library: the answer."""
    land.site.by_hand.library_item("kube-golden")
    land.sync()
    told = land.it.get(f"sites/{land.site_id}/templates?name=kube-golden")["items"]
    assert [(one["kind"], one["path"]) for one in told] == [("library-item", "/content-library/golden/kube-golden")]
    body = {"name": "golden", "site": "dc1", "template": "kube-golden", "version": "v1.34.2", **more}
    return land.it.post("images", body)


def test_an_image_is_copied_to_a_zone_that_lacks_it(land):
    """Which is every zone, where it is an item of a content library: it is a template there before it is needed."""
    made = golden(land)
    assert made.status == 201
    copies = f"images/{made['id']}/replicas"
    work.until(lambda: {one["phase"] for one in land.it.get(copies)["items"]} == {"ready"})
    assert {one["zone"]["name"] for one in land.it.get(copies)["items"]} == {"az1", "az2"}
    before = calls(land).get("image", 0)
    for number, zone in enumerate(land.zones):
        asked = ask(land, f"db-{number}", zones=[zone], image="golden")
        work.succeed(land.editor, asked)
        work.succeed(land.editor, land.editor.delete(f"vms/{asked['vm']['id']}"))
    assert calls(land).get("image", 0) == before
    assert at_site(land) == []


def test_a_vm_of_a_library_item_waits_for_its_template(land):
    land.site.by_hand.inject("image", "error", times=-1, code="not_ready", reason="The library is busy.")
    golden(land)
    asked = ask(land, image="golden")
    work.until(lambda: reason(land, asked) == "image_not_ready")
    assert at_site(land) == []
    land.site.by_hand.hand("clear-faults")
    work.succeed(land.editor, asked)


def test_a_cluster_of_a_library_item_waits_for_its_template(land):
    land.site.by_hand.inject("image", "error", times=-1, code="not_ready", reason="The library is busy.")
    assert golden(land, framework="kubernetes", version="v1.35.1").status == 201
    asked = land.cluster(version="v1.35.1", node_pools=[])
    about = f"clusters/{asked['cluster']['id']}"
    work.until(lambda: (land.editor.get(about)["reason"] or {}).get("code") == "image_not_ready")
    assert at_site(land) == []
    land.site.by_hand.hand("clear-faults")
    work.succeed(land.editor, asked)
