"""Networks of projects' own: a VLAN each, whatever happens between asking and standing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from facet.operations import engine, wakeups
from facet.operations.models import Wakeup
from facet.workloads import addresses
from facet.workloads.models import Network
from facet.workloads.networks import reconcile
from infra.models import PhysicalNetwork, Vlan, Zone
from tests import nets, work
from tests.factories import as_system

BODY = {"name": "lan", "zone": "az1", "cidr": "10.7.0.0/24", "gateway": "10.7.0.1", "dns": ["10.7.0.53"]}


def ranged(land, text="100-102", zone="az1"):
    with as_system():
        id = Zone.objects.get(name=zone).id
    work.succeed(land.it, land.it.patch(f"zones/{id}", {"vlan_range": text}))
    return id


def asked(land, api=None, **body):
    return (api or land.editor).post(f"{land.project}/networks", BODY | body)


def made(land, **body):
    answer = asked(land, **body)
    work.succeed(land.editor, answer)
    return land.editor.get(f"networks/{answer['network']['id']}").body


def at_site(land):
    """Tag -> name, of the networks that were made on a switch."""
    seen = land.site.by_hand._post("v1/inventory", {})["networks"]
    return {one["vlan"]: one["name"] for one in seen if one["kind"] == "distributed"}


def held(land):
    with as_system():
        return dict(Vlan.objects.exclude(holder=None).values_list("tag", "holder"))


def events_of(land, network):
    found = land.it.get(f"events?target_id={network['id']}").body["items"]
    return [one["verb"] for one in found]


def test_a_network_has_a_vlan_that_nobody_else_has(land):
    ranged(land, "100-101")
    first, second = made(land), made(land, name="dmz", cidr="10.8.0.0/24", gateway="")
    assert (first["phase"], first["vlan"], second["vlan"]) == ("ready", 100, 101)
    assert first["isolation"] == "stateless-acl"
    assert at_site(land).keys() == {100, 101}
    with as_system():
        row = Network.objects.get(pk=first["id"])
        assert row.physical.ref == row.ref
        assert row.physical.of_zone_id == row.zone_id
    refused = asked(land, name="third", cidr="10.9.0.0/24", gateway="")
    assert (refused.status, refused["code"]) == (409, "vlans_exhausted")
    work.succeed(land.editor, land.editor.delete(f"networks/{first['id']}"))
    assert at_site(land).keys() == {101}
    assert made(land, name="third")["vlan"] == 100


def test_two_ask_for_the_last_vlan_and_one_has_it(land):
    ranged(land, "100")
    rivals = [land.editor, land.it]
    start = threading.Barrier(2)

    def ask(number):
        try:
            start.wait()
            return asked(land, rivals[number], name=f"lan-{number}", cidr=f"10.{number}.0.0/24", gateway="")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(ask, range(2)))
    assert sorted(answer.status for answer in answers) == [202, 409]
    assert len(held(land)) == 1


def test_a_pass_killed_after_the_site_made_it_finds_it_again(land, monkeypatch):
    ranged(land)
    answer = asked(land)
    with monkeypatch.context() as broken:
        broken.setattr(reconcile, "_stands", killed)
        work.until(lambda: at_site(land))
    with as_system():
        assert Network.objects.get().ref == ""
        Wakeup.objects.filter(kind="network").update(lease_until=None)  # the time is over that the dead one had
    work.succeed(land.editor, answer)
    assert len(at_site(land)) == 1


def killed(*args):
    raise engine.LostTurn("killed")


def test_a_strange_network_with_our_vlan_is_left_alone_and_the_next_tag_taken(land):
    land.site.by_hand.hand("strange-network", name="theirs", vlan=100, switch="switch-1")
    ranged(land)
    network = made(land)
    assert network["vlan"] == 101
    assert "network.vlan_skipped" in events_of(land, network)
    assert held(land).keys() == {101}


def test_without_a_free_tag_at_the_site_it_fails_with_the_cause(land):
    land.site.by_hand.hand("strange-network", name="theirs", vlan=100, switch="switch-1")
    ranged(land, "100")
    answer = asked(land)
    ended = work.done(land.editor, answer)
    assert (ended["phase"], ended["problem"]["code"]) == ("failed", "vlan_taken")
    network = land.editor.get(f"networks/{answer['network']['id']}").body
    assert (network["phase"], network["reason"]["code"]) == ("failed", "vlan_taken")
    work.succeed(land.editor, land.editor.delete(f"networks/{network['id']}"))
    assert not held(land)


def test_a_network_removed_by_hand_is_made_anew_under_its_vlan_and_told(land):
    ranged(land)
    network = made(land)
    land.site.by_hand.hand("lose-network", name=at_site(land)[100])
    look_again(network)
    assert at_site(land).keys() == {100}
    assert "network.remade" in events_of(land, network)
    with as_system():
        row = Network.objects.get(pk=network["id"])
        assert row.physical.ref == row.ref
        assert row.physical.present
        assert PhysicalNetwork.objects.filter(of_zone=row.zone, present=True).count() == 1


def test_what_was_renamed_or_retagged_by_hand_is_put_right(land):
    ranged(land)
    network = made(land)
    name = at_site(land)[100]
    land.site.by_hand.hand("change-network", name=name, vlan=7, rename="mine")
    look_again(network)
    assert at_site(land) == {100: name}


def look_again(network):
    with as_system():
        wakeups.wake("network", Network.objects.get(pk=network["id"]).id, tenant_id=network["tenant"]["id"])
    work.until(lambda: not engine.take_next())


def test_a_network_that_vms_are_on_is_not_deleted_and_one_that_goes_takes_none(land):
    ranged(land)
    network = made(land)
    body = {"name": "db", "zones": ["az1"], "nics": [{"network": "lan"}], "power": "off"}
    vm = land.editor.post(f"{land.project}/vms", body)
    assert vm.status == 202, vm
    refused = land.editor.delete(f"networks/{network['id']}")
    assert (refused.status, refused["code"], refused["holders"][0]["name"]) == (409, "in_use", "db")
    work.succeed(land.editor, land.editor.delete(f"vms/{vm['vm']['id']}"))
    gone = land.editor.delete(f"networks/{network['id']}")
    assert gone.status == 202
    late = land.editor.post(f"{land.project}/vms", body | {"name": "late"})
    assert (late.status, late["code"]) == (409, "network_not_ready")
    work.succeed(land.editor, gone)


def test_a_vlan_returns_only_after_the_site_was_seen_without_the_network(land):
    ranged(land, "100")
    network = made(land)
    land.site.by_hand.inject("no_network", "error", code="fault", reason="The switch is upset.")
    gone = land.editor.delete(f"networks/{network['id']}")
    work.until(lambda: land.it.get(f"networks/{network['id']}").body.get("reason"))
    assert held(land).keys() == {100}
    assert asked(land, name="next", cidr="10.9.0.0/24", gateway="")["code"] == "vlans_exhausted"
    with as_system():
        wakeups.wake("network", Network.objects.get(pk=network["id"]).id)
    work.succeed(land.editor, gone)
    assert not held(land)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("cidr", "10.7.0.5/24"),
        ("cidr", "10.7.0.0"),
        ("cidr", "224.0.0.0/8"),
        ("cidr", "10.7.0.0/31"),
        ("gateway", "10.8.0.1"),
        ("gateway", "10.7.0.0"),
        ("gateway", "fe80::1%eth0"),
        ("dns", ["ten"]),
        ("zone", "az9"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(land, field, value):
    ranged(land)
    refused = asked(land, **{field: value})
    assert refused.status == 422, refused
    assert next(iter(refused["errors"])).partition(".")[0] == field


def test_subnets_of_one_project_do_not_overlap_and_names_are_once(land):
    ranged(land)
    made(land)
    overlap = asked(land, name="dmz", cidr="10.7.0.128/25", gateway="")
    assert (overlap.status, list(overlap["errors"])) == (422, ["cidr"])
    taken = asked(land, cidr="10.8.0.0/24", gateway="")
    assert (taken.status, taken["code"]) == (409, "name_taken")
    assert held(land).keys() == {100}


def test_a_range_is_changed_but_for_tags_in_use(land):
    zone = ranged(land)
    made(land)
    refused = land.it.patch(f"zones/{zone}", {"vlan_range": "101-110"})
    assert (refused.status, refused["code"]) == (409, "in_use")
    wider = land.it.patch(f"zones/{zone}", {"vlan_range": "100,4000-4094"})
    assert (wider.status, wider["zone"]["vlan_range"]) == (202, "100,4000-4094")
    for bad in ("0", "4095", "9-3", "ten", "1-2-3"):
        assert land.it.patch(f"zones/{zone}", {"vlan_range": bad}).status == 422
    assert land.it.delete(f"zones/{zone}")["code"] == "in_use"


def test_a_new_gateway_is_none_that_is_given_out(land):
    ranged(land)
    network = made(land)
    with as_system():
        row = Network.objects.get(pk=network["id"])
        addresses.give(row, [addresses.Wish("10.7.0.9", name="vip")])
    refused = land.editor.patch(f"networks/{network['id']}", {"gateway": "10.7.0.9"})
    assert (refused.status, list(refused["errors"])) == (422, ["gateway"])
    changed = land.editor.patch(f"networks/{network['id']}", {"gateway": "10.7.0.254", "name": "inner"})
    work.succeed(land.editor, changed)
    assert "inner" in at_site(land)[100]
    assert nets.given(network["id"]) == ["10.7.0.9"]
