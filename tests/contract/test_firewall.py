"""A network's filter: what was asked is what the layer has, rule by rule and in order."""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import FirewallRule, NetworkSpec, Refused

RULES = (
    FirewallRule("allow", "in", "tcp", "10.0.0.0/8", (22, 22), "from the office"),
    FirewallRule("allow", "in", "udp", "", (8000, 8999)),
    FirewallRule("deny", "out", "icmp", "192.0.2.7/32"),
    FirewallRule("deny", "out", "icmp", "2001:db8::/32"),
    FirewallRule("allow", "out", "tcp", "2001:db8::/32", (443, 443)),
    FirewallRule("deny", "in"),
)


@pytest.fixture
def network(site, driver):
    [switch] = driver.switches()
    tag = next(tag for tag in range(2000, 3000) if tag not in site.by_hand.made_networks())
    spec = NetworkSpec(uuid4(), "lan", switch.ref, tag)
    driver.ensure_network(spec)
    yield spec
    driver.ensure_no_network(spec.key)


def test_a_filter_is_what_was_asked(site, driver, connect, network):
    assert driver.isolation() == "stateless-acl"
    assert driver.firewall(network.key) == ()
    driver.ensure_firewall(network.key, RULES)
    assert connect().firewall(network.key) == RULES
    before = site.by_hand.writes()
    driver.ensure_firewall(network.key, RULES)
    assert site.by_hand.writes() == before
    driver.ensure_firewall(network.key, RULES[::-1])
    assert driver.firewall(network.key) == RULES[::-1]
    driver.ensure_firewall(network.key, ())
    assert driver.firewall(network.key) == ()


def test_another_tag_by_hand_is_put_right_and_the_filter_stays(site, driver, network):
    driver.ensure_firewall(network.key, RULES)
    site.by_hand.change_network(network.vlan, to=1999, name="mine")
    driver.ensure_network(network)
    assert driver.firewall(network.key) == RULES


def test_a_filter_of_a_network_that_is_not_there_is_refused(driver):
    with pytest.raises(Refused) as refused:
        driver.ensure_firewall(uuid4(), RULES)
    assert refused.value.code == "not_found"
