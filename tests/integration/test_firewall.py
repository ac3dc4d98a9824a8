"""A project's rules: on all of its networks, those that come later too, before a VM can be put on one."""

from __future__ import annotations

import pytest

from facet.operations.wakeups import wake
from facet.workloads.models import Firewall, Network
from infra import outside
from infra.drivers.base import FirewallRule
from infra.models import Site, Zone
from tests import ground, work
from tests.factories import as_system

SSH = {"action": "allow", "direction": "in", "protocol": "tcp", "remote": "10.0.0.0/8", "ports": [22, 22]}
NOTHING = {"action": "deny", "direction": "in"}
AT_SITE = (FirewallRule("allow", "in", "tcp", "10.0.0.0/8", (22, 22)), FirewallRule("deny", "in"))


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path) as found:
        with as_system():
            zone = Zone.objects.get(name="az1").id
        work.succeed(found.it, found.it.patch(f"zones/{zone}", {"vlan_range": "100-109"}))
        yield found


def network(land, name="lan", cidr="10.7.0.0/24"):
    answer = land.editor.post(f"{land.project}/networks", {"name": name, "zone": "az1", "cidr": cidr})
    work.succeed(land.editor, answer)
    return land.editor.get(f"networks/{answer['network']['id']}").body


def put(land, *rules, **headers):
    return land.editor.put(f"{land.project}/firewall", {"rules": list(rules)}, **headers)


def at_site(shown):
    with as_system():
        driver, key = outside.driver_of(Site.objects.get()), Network.objects.get(pk=shown["id"]).id
    return driver.firewall(key)


def test_a_projects_rules_are_what_the_layer_has(land):
    assert land.editor.get(f"{land.project}/firewall").body == {"rules": [], "generation": 1}
    before = network(land)
    assert (at_site(before), before["firewall"]) == ((), {"applied_generation": 1, "wanted": 1})
    asked = put(land, SSH, NOTHING)
    assert asked["firewall"]["generation"] == 2
    ended = work.succeed(land.editor, asked)
    assert (ended["verb"], ended["done"], ended["total"]) == ("firewall.set", 1, 1)
    after = network(land, "dmz", "10.8.0.0/24")
    for shown in (before, after):
        found = land.editor.get(f"networks/{shown['id']}").body
        assert found["firewall"] == {"applied_generation": 2, "wanted": 2}
        assert found["isolation"] == "stateless-acl"
        assert at_site(found) == AT_SITE


def test_a_network_takes_vms_only_once_it_has_the_rules(land):
    work.succeed(land.editor, put(land, NOTHING))
    land.site.by_hand.inject("firewall", "error", times=-1, code="fault", reason="The switch is upset.")
    answer = land.editor.post(f"{land.project}/networks", {"name": "lan", "zone": "az1", "cidr": "10.7.0.0/24"})
    ended = work.done(land.editor, answer)
    assert (ended["phase"], ended["problem"]["detail"]) == ("failed", "The switch is upset.")
    body = {"name": "db", "zones": ["az1"], "nics": [{"network": "lan"}], "power": "off"}
    refused = land.editor.post(f"{land.project}/vms", body)
    assert (refused.status, refused["code"]) == (409, "network_not_ready")
    land.site.by_hand.hand("clear-faults")
    look_again(answer["network"])
    work.until(lambda: land.editor.get(f"networks/{answer['network']['id']}").body["phase"] == "ready")
    assert at_site(answer["network"]) == (FirewallRule("deny", "in"),)


def look_again(shown):
    with as_system():
        row = Network.objects.get(pk=shown["id"])
        wake("network", row.id, tenant_id=row.tenant_id)


def test_rules_of_an_older_generation_never_end_a_newer_operation(land):
    made = network(land)
    first, second = put(land, SSH), put(land, SSH, NOTHING)
    work.succeed(land.editor, second)
    assert land.editor.get(f"operations/{first['operation']['id']}").body["phase"] == "cancelled"
    assert at_site(made) == AT_SITE


def test_what_was_changed_by_hand_is_put_right_at_the_next_look(land):
    made = network(land)
    work.succeed(land.editor, put(land, SSH, NOTHING))
    with as_system():
        driver = outside.driver_of(Site.objects.get())
    with as_system():
        key = Network.objects.get(pk=made["id"]).id
    driver.ensure_firewall(key, [])
    look_again(made)
    work.until(lambda: at_site(made) == AT_SITE)


def test_who_saw_an_older_firewall_is_told(land):
    work.succeed(land.editor, put(land, SSH))
    refused = put(land, NOTHING, If_Match='"1"')
    assert (refused.status, refused["current"]["generation"]) == (412, 2)
    assert put(land, NOTHING, If_Match='"2"').status == 202


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"remote": "10.0.0.1/8"}, "remote"),
        ({"remote": "fe80::%eth0/64"}, "remote"),
        ({"ports": [22, 22]}, "ports"),
        ({"protocol": "tcp", "ports": [23, 22]}, "ports"),
        ({"protocol": "tcp", "ports": [22]}, "ports"),
        ({"protocol": "sctp"}, "protocol"),
        ({"action": "maybe"}, "action"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_by_its_field(land, rule, field):
    refused = put(land, NOTHING | rule)
    assert refused.status == 422, refused
    with as_system():
        assert not Firewall.objects.filter(generation__gt=1).exists()
