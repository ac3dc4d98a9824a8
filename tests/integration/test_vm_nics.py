"""VMs with network cards of their own choice: from the request to what their guests tell; and bad luck."""

from __future__ import annotations

import base64
import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from facet.workloads.models import Address, Nic, ObjectPhase
from infra.models import PhysicalNetwork
from tests import nets, work
from tests.factories import as_system


def ask(land, name="db", **body):
    """The answer to a request for a VM."""
    return land.editor.post(f"{land.project}/vms", {"name": name, "zones": land.zones[:1], "flavor": "small", **body})


def shown(land, asked):
    return land.editor.get(f"vms/{asked['vm']['id']}").body


def refused(answer, status, code):
    assert (answer.status, answer["code"]) == (status, code), answer


def network_config(land, asked):
    """What cloud-init reads of the cards, by their names."""
    told = land.site.by_hand.extra_config(asked["vm"]["id"])["guestinfo.metadata"]
    return json.loads(gzip.decompress(base64.b64decode(told)))["network"]["ethernets"]


# --- its life ------------------------------------------------------------------------------------------------------


def test_a_vm_has_several_nics_and_tells_what_was_seen(land):
    lan = nets.own(land, dns=["10.7.0.2", "10.7.0.3"])
    dmz = nets.own(land, "dmz", "10.8.0.0/24")
    cards = [{"network": "lan"}, {"network": str(dmz.id), "address": "10.8.0.9"}, {"network": "VM Network"}]
    asked = ask(land, nics=cards)
    work.succeed(land.editor, asked)
    vm = shown(land, asked)
    assert vm["nics"] == asked["vm"]["nics"] == [
        {"network": "lan", "address_wanted": "10.7.0.2"},
        {"network": "dmz", "address_wanted": "10.8.0.9"},
        {"network": "VM Network", "address_wanted": None},
    ]  # fmt: skip
    assert (vm["address"], vm["addresses"][:2]) == ("10.7.0.2", ["10.7.0.2", "10.8.0.9"])
    assert vm["addresses"][2].startswith("127.")  # the third card asked DHCP
    with as_system():
        lent = PhysicalNetwork.objects.get(name="VM Network").ref
    assert land.site.by_hand.networks_of(vm["id"]) == [lan.physical.ref, dmz.physical.ref, lent]
    first, second, third = network_config(land, asked).values()
    assert (first["addresses"], first["routes"], first["nameservers"]) == (
        ["10.7.0.2/24"], [{"to": "0.0.0.0/0", "via": "10.7.0.1"}], {"addresses": ["10.7.0.2", "10.7.0.3"]},
    )  # fmt: skip
    assert (second["addresses"], "routes" in second, third["dhcp4"]) == (["10.8.0.9/24"], False, True)
    work.succeed(land.editor, land.editor.delete(f"vms/{vm['id']}"))
    assert nets.given(lan) == nets.given(dmz) == []
    with as_system():
        assert not Nic.objects.exists()


def test_a_vm_that_names_no_card_has_one_on_the_first_network_that_is_lent(land):
    nets.own(land)
    asked = ask(land)
    work.succeed(land.editor, asked)
    vm = shown(land, asked)
    assert vm["nics"] == [{"network": "VM Network", "address_wanted": None}]
    assert vm["addresses"] == [vm["address"]]
    assert land.editor.get(f"{land.project}/vms").body["items"][0]["nics"] == vm["nics"]


def test_with_dhcp_no_address_is_given_and_none_may_be_named(land):
    lan = nets.own(land, dhcp=True)
    asked = ask(land, nics=[{"network": "lan"}])
    work.succeed(land.editor, asked)
    vm = shown(land, asked)
    assert vm["nics"] == [{"network": "lan", "address_wanted": None}]
    assert vm["address"].startswith("127.")
    assert nets.given(lan) == []
    answer = ask(land, "other", nics=[{"network": "lan", "address": "10.7.0.9"}])
    assert list(answer["errors"]) == ["nics.0.address"]


def test_two_cards_on_one_network_have_an_address_each(land):
    lan = nets.own(land)
    asked = ask(land, nics=[{"network": "lan"}, {"network": "lan"}])
    work.succeed(land.editor, asked)
    assert shown(land, asked)["addresses"] == ["10.7.0.2", "10.7.0.3"] == nets.given(lan)


def test_addresses_outlive_a_restart_of_the_site_and_go_when_it_is_off(land):
    nets.own(land)
    asked = ask(land, nics=[{"network": "lan"}])
    work.succeed(land.editor, asked)
    land.site.by_hand.power_off(asked["vm"]["id"])
    land.sync()
    assert (shown(land, asked)["address"], shown(land, asked)["addresses"]) == (None, [])
    land.site.by_hand.hand("power-vm", key=asked["vm"]["id"], power="on")
    land.sync()
    work.until(lambda: land.sync() or shown(land, asked)["addresses"] == ["10.7.0.2"])


def test_a_dry_run_says_whether_there_are_addresses_and_gives_none(land):
    lan = nets.own(land, cidr="10.7.0.0/29")
    asked = {"vm": {"zones": land.zones, "nics": [{"network": "lan"}]}}
    fits = land.editor.post(f"{land.project}/placements", asked | {"count": 5})
    assert (fits.status, len(fits["placements"])) == (200, 5), fits
    assert nets.given(lan) == []
    short = land.editor.post(f"{land.project}/placements", asked | {"count": 6})
    assert "addresses_exhausted" in str(short.body), short
    assert nets.given(lan) == []


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "field"),
    [
        ({"network": "nowhere"}, "nics.0.network"),
        ({"network": "00000000-0000-7000-8000-000000000000"}, "nics.0.network"),
        ({"network": "lan", "address": "10.9.0.5"}, "nics.0.address"),
        ({"network": "lan", "address": "10.7.0.0"}, "nics.0.address"),
        ({"network": "lan", "address": "10.7.0.255"}, "nics.0.address"),
        ({"network": "lan", "address": "10.7.0.1"}, "nics.0.address"),
        ({"network": "lan", "address": "fe80::1%eth0"}, "nics.0.address"),
        ({"network": "lan", "address": "10.7.0.5/24"}, "nics.0.address"),
        ({"network": "lan", "address": "'; drop table"}, "nics.0.address"),
        ({"network": "VM Network", "address": "10.7.0.5"}, "nics.0.address"),
        ({"network": ""}, "nics.0.network"),
        ({"network": 7}, "nics.0.network"),
        ({"address": "10.7.0.5"}, "nics.0.network"),
        ({"network": "lan", "mac": "00:50:56:00:00:01"}, "nics.0.mac"),
    ],
)
def test_a_card_that_cannot_be_is_refused_and_its_field_named(land, card, field):
    lan = nets.own(land)
    answer = ask(land, nics=[card])
    assert answer.status == 422, answer
    assert field in answer["errors"], answer
    assert nets.given(lan) == []


def test_no_vm_has_more_cards_than_vsphere_gives(land):
    nets.own(land)
    assert ask(land, nics=[{"network": "lan"}] * 11).status == 422


def test_a_network_of_another_project_is_not_there(land):
    with as_system():
        other = land.office.project.__class__.objects.create(tenant=land.office.tenant, name="other")
    nets.own(land, "secret", project=other)
    network = nets.own(land, "mine", "10.9.0.0/24")
    for name in ("secret", str(network.id)[:-1]):
        assert ask(land, nics=[{"network": name}]).status == 422
    land.sync()  # the site's own look knows it; it is lent to nobody all the same
    assert ask(land, nics=[{"network": "secret"}]).status == 422


def test_a_network_that_is_not_ready_takes_nothing_new(land):
    lan = nets.own(land, phase=ObjectPhase.PENDING)
    refused(ask(land, nics=[{"network": "lan"}]), 409, "network_not_ready")
    assert nets.given(lan) == []


# --- bad luck ------------------------------------------------------------------------------------------------------


def test_a_fixed_address_that_is_taken_is_refused_and_nothing_is_held(land):
    lan = nets.own(land)
    assert ask(land, "first", nics=[{"network": "lan", "address": "10.7.0.2"}]).status == 202
    refused(ask(land, "second", nics=[{"network": "lan", "address": "10.7.0.2"}]), 409, "address_taken")
    refused(ask(land, "third", nics=[{"network": "lan", "address": "10.7.0.7"}] * 2), 409, "address_taken")
    assert nets.given(lan) == ["10.7.0.2"]
    assert len(land.editor.get(f"{land.project}/vms").body["items"]) == 1


def test_the_last_address_goes_to_one_of_two_who_ask_at_once(land):
    lan = nets.own(land, cidr="10.7.0.0/29")
    assert ask(land, "first", nics=[{"network": "lan"}] * 4).status == 202  # .2 to .5 of .1 to .6, .1 is the gateway

    def try_it(name):
        try:
            return ask(land, name, nics=[{"network": "lan"}])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(try_it, [f"rival-{number}" for number in range(4)]))
    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409]
    assert {answer["code"] for answer in answers if answer.status == 409} == {"addresses_exhausted"}
    assert nets.given(lan) == [f"10.7.0.{number}" for number in range(2, 7)]


def test_many_who_ask_at_once_never_have_the_same_address(land):
    lan = nets.own(land)

    def try_it(name):
        try:
            return ask(land, name, nics=[{"network": "lan"}])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(try_it, [f"db-{number}" for number in range(12)]))
    assert {answer.status for answer in answers} == {202}
    wanted = [answer["vm"]["nics"][0]["address_wanted"] for answer in answers]
    assert sorted(wanted) == sorted(nets.given(lan))
    assert len(set(wanted)) == 12


def test_a_create_that_finds_no_quota_gives_its_address_back(land):
    lan = nets.own(land)
    limits = {"limits": {"vcpu": 1, "memory_mib": 400_000, "storage_gib": 10_000, "vms": 100, "clusters": 10}}
    assert land.it.put(f"{land.project}/quota", limits).status == 200
    answer = ask(land, nics=[{"network": "lan"}])
    assert answer.status == 409, answer
    assert nets.given(lan) == []
    with as_system():
        assert not Nic.objects.exists()


def test_a_host_that_one_of_the_networks_does_not_reach_is_not_chosen(land):
    nets.own(land, hosts=["rack-1-host-2", "rack-1-host-3"])
    nets.own(land, "dmz", "10.8.0.0/24", hosts=["rack-1-host-3", "rack-1-host-4"])
    asked = ask(land, nics=[{"network": "lan"}, {"network": "dmz"}])
    work.succeed(land.editor, asked)
    assert shown(land, asked)["host"] == "rack-1-host-3"
    nets.own(land, "far", "10.9.0.0/24", hosts=["rack-1-host-1"])
    answer = ask(land, "other", nics=[{"network": "lan"}, {"network": "far"}])
    refused(answer, 409, "no_room")
    assert "cannot reach the network" in str(answer.body)


def test_who_leaves_a_host_goes_where_all_its_networks_lead(land):
    hosts = ["rack-1-host-2", "rack-1-host-3"]
    nets.own(land, hosts=hosts)
    asked = ask(land, nics=[{"network": "VM Network"}, {"network": "lan"}])
    work.succeed(land.editor, asked)
    before = shown(land, asked)["host"]
    ids = {host["name"]: host["id"] for host in land.it.get(f"sites/{land.site_id}/hosts").body["items"]}
    work.succeed(land.it, land.it.post(f"hosts/{ids[before]}/drain"))
    assert {before, shown(land, asked)["host"]} == set(hosts)
    left = shown(land, asked)["host"]
    refused(land.it.post(f"hosts/{ids[left]}/drain"), 409, "no_room")


def test_a_vm_that_was_lost_before_it_stood_is_made_anew_with_its_address(land):
    nets.own(land)
    asked = ask(land, nics=[{"network": "lan", "address": "10.7.0.20"}, {"network": "VM Network"}])
    work.until(lambda: shown(land, asked)["phase"] == "built" or shown(land, asked)["phase"] == "running")
    land.site.by_hand.delete_vm(asked["vm"]["id"])
    land.sync()
    work.succeed(land.editor, asked)
    work.until(lambda: "10.7.0.20" in shown(land, asked)["addresses"] or shown(land, asked)["reason"])
    with as_system():
        assert Address.objects.get().address == "10.7.0.20"
