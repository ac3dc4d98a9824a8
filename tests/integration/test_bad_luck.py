"""What the outside does to a cluster while it is made: it fails or heals with the first cause, and delete works."""

from __future__ import annotations

from django.db.models import F

from facet.clusters.models import Node
from facet.workloads.models import VM
from infra.models import Datastore, Endpoint, Host, Zone
from tests import work
from tests.factories import as_system

from .test_clusters import at_site, held


def deleted(land, asked):
    """Delete what was asked for: always possible, nothing left, nothing held."""
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert at_site(land) == []


def test_bad_luck_ends_in_a_cause_and_delete_works(land):
    """A datastore that fills up after the placing: the clones are refused, the cluster says so and can be deleted."""
    empty = held()
    asked = land.cluster()
    land.site.by_hand.hand("datastore", name=land.site.datastore, free_gib=1)
    operation = work.done(land.editor, asked)
    assert operation["phase"] == "failed"
    assert operation["problem"]["code"] == "no_space"
    cluster = land.editor.get(f"clusters/{asked['cluster']['id']}")
    assert (cluster["phase"], cluster["reason"]["code"]) == ("failed", "no_space")
    land.sync()
    with as_system():
        store = Datastore.objects.get(name=land.site.datastore)
        assert store.overdrawn_gib > 0
    refused = land.cluster("second")
    assert (refused.status, refused["code"]) == (409, "no_room")
    deleted(land, asked)
    assert held() == empty


def test_a_template_that_is_too_large_is_refused_before_anything_is_held(land):
    before = held()
    land.site.by_hand.hand("template", name="huge", disk_gib=500, version="v1.34.2")
    land.sync()
    image = {"name": "huge", "site": "dc1", "template": "huge", "framework": "kubernetes", "version": "v1.35.0"}
    assert land.it.post("images", image).status == 201
    refused = land.cluster(version="v1.35.0")
    assert refused.status == 422
    assert "500 GiB" in refused["detail"]
    assert held() == before


def test_a_template_that_grew_after_the_request_fails_the_cluster_with_its_cause(land):
    empty = held()
    asked = land.cluster()
    with as_system():
        name = Node.objects.first().name
    land.site.by_hand.inject("clone", "error", match=name, code="disk_too_small", reason="The template needs 500 GiB.")
    operation = work.done(land.editor, asked)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "disk_too_small")
    deleted(land, asked)
    assert held() == empty


def test_an_exhausted_endpoint_range_is_a_refusal_that_holds_nothing(land):
    with as_system():
        zone = Zone.objects.get(name=land.zones[0])
        keep = Endpoint.objects.filter(zone=zone).order_by("address").first()
        Endpoint.objects.filter(zone=zone).exclude(pk=keep.pk).delete()
    first = land.cluster("first")
    assert first.status == 202
    before = held()
    second = land.cluster("second")
    assert (second.status, second["code"]) == (409, "endpoints_exhausted")
    assert held() == before
    work.succeed(land.editor, first)
    deleted(land, first)
    third = land.cluster("third")  # the address that came back is handed out again
    assert third.status == 202
    assert third["cluster"]["endpoint"] == first["cluster"]["endpoint"]
    deleted(land, third)


def test_a_host_that_shrinks_below_its_claims_is_overdrawn_and_takes_nothing_new(land):
    asked = land.cluster()
    with as_system():
        host = Host.objects.filter(vcpu_claimed__gt=0).first()
    land.site.by_hand.hand("host", name=host.name, cpu_cores=1, memory_mib=1024)
    land.sync()
    with as_system():
        host.refresh_from_db()
        assert host.memory_overdrawn_mib > 0
        assert host.memory_claimed_mib == 2048
    events = land.it.get("events?verb=host.overdrawn")["items"]
    assert [event["target"]["name"] for event in events] == [host.name]
    operation = work.done(land.editor, asked)
    assert operation["phase"] in ("succeeded", "failed")
    if operation["phase"] == "failed":
        assert operation["problem"]["code"] == "no_resources"
    deleted(land, asked)
    with as_system():
        assert not Host.objects.filter(vcpu_claimed__gt=F("vcpu_limit")).exists()
        host.refresh_from_db()
        assert (host.memory_claimed_mib, host.memory_overdrawn_mib) == (0, 0)


def test_a_site_that_is_down_for_a_while_only_delays(land):
    asked = land.cluster()
    land.site.by_hand.inject("clone", "down", times=2)
    land.site.by_hand.inject("power", "down", times=1)
    work.succeed(land.editor, asked)
    deleted(land, asked)


def test_a_site_that_hangs_after_it_has_acted_makes_no_second_vm(land):
    """The call times out for us; the site has done it: the next pass finds by key what it would have made."""
    asked = land.cluster()
    land.site.by_hand.inject("clone", "hang", after=True, seconds=30)
    work.succeed(land.editor, asked, patience_s=90)
    names = at_site(land)
    assert len(names) == len(set(names)) == 4
    deleted(land, asked)


def test_an_address_that_a_zone_lends_is_held_by_one_cluster(land):
    answers = [land.cluster(f"c{number}", node_pools=[]) for number in range(5)]
    addresses = [answer["cluster"]["endpoint"] for answer in answers]
    assert len(set(addresses)) == 5
    with as_system():
        assert Endpoint.objects.exclude(holder=None).count() == 5
        assert VM.objects.count() == 5
