"""Addresses of a project's network: which is the lowest that is free, who gets the last one, and what is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from itertools import islice

import pytest
from django.db import IntegrityError, connections, transaction

from facet.workloads import addresses
from facet.workloads.models import Address, ObjectPhase
from tests import factories, ground, nets, sites, work
from tests.factories import as_system


@pytest.fixture
def lan():
    """A network of ten addresses beside its gateway's; nothing answers at its site."""
    zone = sites.carved(sites.registered())
    office = factories.office("acme")
    with as_system():
        return office, nets.row(office.project, zone, cidr="10.7.0.0/28", phase=ObjectPhase.READY)


def keep(lan, name="vip", **body):
    office, network = lan
    return office.editor.post(f"networks/{network.id}/addresses", {"name": name, **body})


def listed(lan):
    office, network = lan
    return [one["address"] for one in office.editor.get(f"networks/{network.id}/addresses").body["items"]]


# --- which ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cidr", "besides", "lowest"),
    [
        ("10.0.0.0/24", [], ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.0/24", ["10.0.0.1", "10.0.0.3"], ["10.0.0.2", "10.0.0.4"]),
        ("10.0.0.0/30", [], ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.0/31", [], ["10.0.0.0", "10.0.0.1"]),
        ("10.0.0.7/32", [], ["10.0.0.7"]),
        ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"], []),
        ("2001:db8::/64", ["2001:db8::1"], ["2001:db8::2", "2001:db8::3"]),
        ("2001:db8::/127", [], ["2001:db8::", "2001:db8::1"]),
    ],
)
def test_the_lowest_that_are_free_come_first(cidr, besides, lowest):
    subnet = ip_network(cidr)
    taken = {int(addresses.ip_address(one)) for one in besides}
    assert [str(one) for one in islice(addresses.free(subnet, taken), 2)] == lowest


# --- given out once ------------------------------------------------------------------------------------------------


def test_an_address_is_given_out_once(tmp_path):
    with ground.simulated(tmp_path) as land:
        network = nets.own(land)
        place, project = f"networks/{network.id}/addresses", land.project
        kept = land.editor.post(place, {"name": "api"})
        assert (kept.status, kept["address"], kept["vm"]) == (201, "10.7.0.2", None)
        named = land.editor.post(place, {"name": "web", "address": "10.7.0.200"})
        assert (named.status, named["address"]) == (201, "10.7.0.200")
        vm = {"name": "db", "zones": land.zones, "nics": [{"network": "lan"}]}
        asked = land.editor.post(f"{project}/vms", vm)
        assert asked["vm"]["nics"] == [{"network": "lan", "address_wanted": "10.7.0.3"}]
        again = land.editor.post(place, {"name": "other", "address": "10.7.0.3"})
        assert (again.status, again["code"]) == (409, "address_taken")
        work.succeed(land.editor, asked)
        rows = {row["address"]: row for row in land.office.viewer.get(place).body["items"]}
        assert list(rows) == ["10.7.0.2", "10.7.0.200", "10.7.0.3"]
        assert rows["10.7.0.3"]["vm"] == {"id": asked["vm"]["id"], "name": "db"}
        in_use = land.editor.delete(f"addresses/{rows['10.7.0.3']['id']}")
        assert (in_use.status, in_use["code"]) == (409, "in_use")
        assert land.editor.delete(f"addresses/{kept['id']}").status == 204
        assert land.editor.delete(f"addresses/{kept['id']}").status == 404
        work.succeed(land.editor, land.editor.delete(f"vms/{asked['vm']['id']}"))
        assert nets.given(network) == ["10.7.0.200"]
        assert land.editor.post(place, {"name": "api"})["address"] == "10.7.0.2"


def test_the_wall_holds_where_a_giver_forgets_the_lock(lan):
    _, network = lan
    owner = {"tenant_id": network.tenant_id, "project_id": network.project_id, "network": network}
    with as_system():
        Address.objects.create(**owner, address="10.7.0.5")
        with pytest.raises(IntegrityError, match="address_given_once"), transaction.atomic():
            Address.objects.create(**owner, address="10.7.0.5")


def test_all_are_given_and_then_no_more(lan):
    given = [keep(lan, f"vip-{number}")["address"] for number in range(13)]
    assert given == [f"10.7.0.{number}" for number in range(2, 15)]
    refused = keep(lan, "one-more")
    assert (refused.status, refused["code"]) == (409, "addresses_exhausted")
    assert listed(lan) == given


def test_those_who_ask_at_once_have_one_each_and_the_rest_none(lan):
    def try_it(number):
        try:
            return keep(lan, f"vip-{number}")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(try_it, range(18)))
    assert sorted(answer.status for answer in answers) == [201] * 13 + [409] * 5
    given = [answer["address"] for answer in answers if answer.status == 201]
    assert len(set(given)) == 13
    assert sorted(listed(lan)) == sorted(given)


def test_one_name_keeps_one_address(lan):
    assert keep(lan).status == 201
    assert (keep(lan).status, keep(lan)["code"]) == (409, "name_taken")


def test_a_request_that_is_said_twice_keeps_one(lan):
    office, network = lan
    place = f"networks/{network.id}/addresses"
    first, again = (office.editor.post(place, {"name": "vip"}, Idempotency_Key="k") for _ in range(2))
    assert first.body == again.body
    assert len(listed(lan)) == 1


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["10.7.0.0", "10.7.0.15", "10.7.0.1", "10.7.1.2", "::1", "10.7.0.2/28", "010.7.0.2", "x", "10.7.0.2%eth0"],
)
def test_what_is_no_address_of_the_network_is_refused(lan, address):
    answer = keep(lan, address=address)
    assert answer.status == 422, answer
    assert "address" in answer["errors"]
    assert listed(lan) == []


def test_where_dhcp_gives_addresses_only_named_ones_are_kept(lan):
    _, network = lan
    with as_system():
        network.__class__.objects.filter(pk=network.pk).update(dhcp=True)
    assert keep(lan).status == 422
    assert keep(lan, address="10.7.0.9").status == 201


@pytest.mark.parametrize("phase", [ObjectPhase.PENDING, ObjectPhase.FAILED, ObjectPhase.DELETING])
def test_a_network_that_is_not_ready_keeps_nothing_new(lan, phase):
    _, network = lan
    with as_system():
        network.__class__.objects.filter(pk=network.pk).update(phase=phase)
    answer = keep(lan)
    assert (answer.status, answer["code"]) == (409, "network_not_ready")


def test_who_may_look_may_not_keep_and_strangers_see_nothing(lan):
    office, network = lan
    place = f"networks/{network.id}/addresses"
    kept = keep(lan)
    assert office.viewer.get(place).status == 200
    assert office.viewer.post(place, {"name": "web"}).status == 403
    assert office.viewer.delete(f"addresses/{kept['id']}").status == 403
    rival = factories.office("rival").editor
    assert rival.get(place).status == rival.post(place, {"name": "web"}).status == 404
    assert rival.delete(f"addresses/{kept['id']}").status == 404


def test_what_is_kept_and_given_back_is_told(lan):
    office, _ = lan
    kept = keep(lan)
    assert office.editor.delete(f"addresses/{kept['id']}").status == 204
    events = [one for one in office.editor.get("events").body["items"] if one["verb"].startswith("address.")]
    assert sorted(one["verb"] for one in events) == ["address.drop", "address.keep"]
