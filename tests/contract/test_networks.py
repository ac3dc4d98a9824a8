"""Networks on a switch: made once by key, put right where changed by hand, gone only when nobody is on them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from infra.drivers.base import NetworkSpec, Refused


@pytest.fixture
def spec(site, driver):
    """Of a tag that no other test of this process uses; what it makes is taken away."""
    [switch] = driver.switches()
    made = []

    def of(name="lan", **changes):
        taken = site.by_hand.made_networks().keys() | {one.vlan for one in made}
        tag = next(tag for tag in range(3000, 4000) if tag not in taken)
        made.append(replace(NetworkSpec(uuid4(), name, switch.ref, tag), **changes))
        return made[-1]

    yield of
    for one in made:
        driver.ensure_no_network(one.key)


def test_a_network_is_made_once_and_gone_once(site, driver, connect, spec):
    wanted = spec()
    found = driver.ensure_network(wanted)
    assert (found.vlan, found.kind) == (wanted.vlan, "distributed")
    before = site.by_hand.writes()
    assert driver.ensure_network(wanted) == found
    assert connect().ensure_network(wanted) == found
    assert site.by_hand.writes() == before
    assert site.by_hand.made_networks()[wanted.vlan] == found.name
    driver.ensure_no_network(wanted.key)
    driver.ensure_no_network(wanted.key)
    assert wanted.vlan not in site.by_hand.made_networks()


def test_it_shows_in_the_inventory_and_its_switchs_hosts_reach_it(driver, spec):
    found = driver.ensure_network(spec())
    seen = driver.inventory()
    assert found in seen.networks
    [switch] = driver.switches()
    assert {host.ref for host in seen.hosts if found.ref in host.network_refs} == set(switch.host_refs)


def test_what_was_renamed_and_retagged_by_hand_is_put_right(site, driver, spec):
    wanted, other = spec(), spec()
    found = driver.ensure_network(wanted)
    site.by_hand.change_network(wanted.vlan, to=other.vlan, name="mine")
    assert driver.ensure_network(wanted) == found
    made = site.by_hand.made_networks()
    assert made[wanted.vlan] == found.name
    assert other.vlan not in made


def test_a_tag_that_another_network_of_the_switch_has_is_refused(site, driver, spec):
    wanted = spec()
    site.by_hand.strange_network(f"theirs-{wanted.vlan}", wanted.vlan, wanted.switch_ref)
    with pytest.raises(Refused) as refused:
        driver.ensure_network(wanted)
    assert refused.value.code == "vlan_taken"
    site.by_hand.lose_network(wanted.vlan)
    assert driver.ensure_network(wanted).vlan == wanted.vlan


def test_a_name_that_another_network_has_is_refused(site, driver, spec):
    wanted, other = spec(), spec()
    name = f"{wanted.name} ({wanted.key.hex[-12:]})"
    site.by_hand.strange_network(name, other.vlan, wanted.switch_ref)
    with pytest.raises(Refused) as refused:
        driver.ensure_network(wanted)
    assert refused.value.code == "name_taken"
    site.by_hand.lose_network(other.vlan)


def test_one_that_was_removed_by_hand_is_made_anew(site, driver, spec):
    wanted = spec()
    found = driver.ensure_network(wanted)
    site.by_hand.lose_network(wanted.vlan)
    again = driver.ensure_network(wanted)
    assert again.ref != found.ref
    assert site.by_hand.made_networks()[wanted.vlan] == found.name


def test_a_network_that_a_vm_is_on_stays(room, driver, spec):
    wanted = spec()
    found = driver.ensure_network(wanted)
    vm = room.vm(network_ref=found.ref)
    with pytest.raises(Refused) as refused:
        driver.ensure_no_network(wanted.key)
    assert refused.value.code == "in_use"
    assert room.remove([vm.key]) == {vm.key: None}
    driver.ensure_no_network(wanted.key)
