"""A guest's network configuration: read strictly, and told as the addresses that its cards have then."""

from __future__ import annotations

import json

import pytest

from infra.simulator.guests import cloudconfig
from infra.simulator.guests.netconfig import BadUserData

ONE, TWO = "00:50:56:00:00:01", "00:50:56:00:00:02"
LEASED = "127.44.16.1"


def card(mac, **more):
    return {"match": {"macaddress": mac}, "set-name": "eth0", **more}


def metadata(*cards, **more):
    network = {"version": 2, "ethernets": {f"nic{at}": one for at, one in enumerate(cards)}, **more}
    return {"metadata": json.dumps({"instance-id": "x", "network": network})}


def test_fixed_addresses_are_told_in_the_order_of_the_cards():
    first = card(ONE, addresses=["10.0.0.5/24"], routes=[{"to": "0.0.0.0/0", "via": "10.0.0.1"}],
                 nameservers={"addresses": ["10.0.0.2"]})  # fmt: skip
    told = cloudconfig.addresses(metadata(card(TWO, addresses=["10.0.1.5/24"]), first), [ONE, TWO], LEASED)
    assert told == ["10.0.0.5", "10.0.1.5"]


def test_the_first_that_asks_dhcp_has_the_leased_address():
    guestinfo = metadata(card(ONE, dhcp4=True), card(TWO, dhcp4=True))
    assert cloudconfig.addresses(guestinfo, [ONE, TWO], LEASED) == [LEASED]
    assert cloudconfig.addresses({}, [ONE], LEASED) == [LEASED]


def test_a_card_that_no_mac_names_stays_down():
    assert cloudconfig.addresses(metadata(card(TWO, addresses=["10.0.1.5/24"])), [ONE], LEASED) == []


@pytest.mark.parametrize(
    "wrong",
    [
        card(ONE, addresses=["10.0.0.5"]),
        card(ONE, addresses="10.0.0.5/24"),
        card(ONE, addresses=["10.0.0.500/24"]),
        card(ONE, addresses=["10.0.0.5/24"], routes=[{"to": "0.0.0.0/0", "via": "10.9.0.1"}]),
        card(ONE, addresses=["10.0.0.5/24"], routes=[{"to": "default", "via": "10.0.0.1"}]),
        card(ONE, gateway4="10.0.0.1"),
        card(ONE, dhcp4="yes"),
        card(ONE, nameservers={"addresses": ["dns"]}),
        card("${mac:0}", dhcp4=True),
        {"dhcp4": True},
        "dhcp",
    ],
)
def test_what_is_wrong_fails_the_boot(wrong):
    with pytest.raises(BadUserData):
        cloudconfig.seed(metadata(wrong))
    assert cloudconfig.addresses(metadata(wrong), [ONE], LEASED) == []


@pytest.mark.parametrize("network", [{"version": 1}, {"version": 2}, {"version": 2, "ethernets": {}}, [], "dhcp"])
def test_another_form_than_version_2_fails_the_boot(network):
    with pytest.raises(BadUserData):
        cloudconfig.seed({"metadata": json.dumps({"network": network})})
