"""Network cards: exactly those that were asked for, in their order; and the addresses that guests tell.

vcsim runs no guests: there the addresses are told by hand, as VMware Tools would.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from uuid import uuid4

import pytest

from infra.drivers.base import Power, Refused, mac_of_card, with_macs

from .room import until


@pytest.fixture
def networks(site, room):
    """Three networks that the room's host reaches."""
    others = [site.by_hand.make_network(f"lan-{uuid4().hex[:8]}") for _ in range(2)]
    known = {net.ref: net.kind for net in room.driver.inventory().networks}
    assert set(others) <= known.keys()
    return [room.network_ref, *others]


def metadata_of(site, key):
    told = site.by_hand.extra_config(key)
    return gzip.decompress(base64.b64decode(told["guestinfo.metadata"])).decode()


def test_a_vm_has_exactly_the_cards_that_were_asked_for(site, room, driver, networks):
    first, second, third = networks
    spec = room.spec(network_ref=second, more_networks=(first, third))
    room.right(room.make_vms(spec)[spec.key])
    assert site.by_hand.networks_of(spec.key) == [second, first, third]
    before = site.by_hand.writes()
    room.right(driver.ensure_vms([spec])[spec.key])
    assert site.by_hand.writes() == before


def test_two_cards_may_lead_to_one_network(site, room, networks):
    spec = room.spec(network_ref=networks[1], more_networks=(networks[1],))
    room.right(room.make_vms(spec)[spec.key])
    assert site.by_hand.networks_of(spec.key) == [networks[1]] * 2


def test_cards_of_the_source_are_used_and_those_too_many_removed(site, room, networks):
    source = room.vm(network_ref=networks[0], more_networks=(networks[1], networks[2]))
    spec = room.spec(template_ref=source.ref, network_ref=networks[2], disk_gib=source.disk_gib)
    room.right(room.make_vms(spec)[spec.key])
    assert site.by_hand.networks_of(spec.key) == [networks[2]]
    assert site.by_hand.networks_of(source.key) == networks


def test_a_network_that_is_not_there_is_refused_for_that_vm_alone(site, room, networks):
    good, bad = room.spec(more_networks=(networks[1],)), room.spec(more_networks=("network-987654321",))
    made = room.make_vms(bad, good)
    room.right(made[good.key])
    assert isinstance(made[bad.key], Refused)
    assert made[bad.key].code == "not_found"
    assert site.by_hand.vm_names(room.folder_ref) == [good.name]


@pytest.mark.parametrize("take_s", [0.0, 0.3])
def test_metadata_names_cards_by_the_macs_that_they_have(site, room, driver, networks, take_s):
    text = json.dumps({"instance-id": "x", "cards": [mac_of_card(0), mac_of_card(1)]})
    spec = room.spec(more_networks=(networks[1],), metadata=text)
    with site.by_hand.clones_take(take_s):
        room.right(room.make_vms(spec)[spec.key])
    macs = json.loads(metadata_of(site, spec.key))["cards"]
    assert all(re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac) for mac in macs)
    assert len(set(macs)) == 2
    before = site.by_hand.writes()
    room.right(driver.ensure_vms([spec])[spec.key])
    assert site.by_hand.writes() == before
    assert with_macs(text, macs[:1]) is None


def test_all_addresses_are_told_and_what_nobody_could_reach_is_left_out(site, room, driver):
    vm = room.vm()
    room.power(vm.key, Power.ON)
    until(lambda: site.kind == "vsphere" or driver.find_vms([vm.key])[vm.key].address)  # its guest has booted
    told = ["10.7.0.5", "fe80::250:56ff:fe00:1", "2001:db8::5", "10.7.1.5", "169.254.3.4"]
    site.by_hand.tell_addresses(vm.key, told)
    wanted = ("10.7.0.5", "10.7.1.5", "2001:db8::5")
    seen = until(lambda: (one := driver.find_vms([vm.key])[vm.key]).addresses == wanted and one)
    assert seen.address == "10.7.0.5"
    listed = next(one for one in driver.inventory().vms if one.key == vm.key)
    assert (listed.address, listed.addresses) == ("10.7.0.5", wanted)
    off = room.power(vm.key, Power.OFF)
    assert (off.address, off.addresses) == (None, ())
