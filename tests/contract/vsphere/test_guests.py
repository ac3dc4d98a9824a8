"""Simulated guests follow what a vCenter's VMs do. The house here keeps a book of what it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from uuid import uuid4

import pytest

from infra.drivers.base import Power, mac_of_card
from infra.drivers.vsphere.guestinfo import GuestSite
from infra.simulator.vcenter_guests import VcenterGuests
from tests.contract.room import until

USER_DATA = "#cloud-config\nhostname: node\n"


class Book:
    """Stands in for the house of guests, whose own tests say that it boots."""

    def __init__(self) -> None:
        self.on = {}
        self.destroyed = []
        self.taken = 0

    async def power_on(self, machine, guestinfo):
        if machine.key not in self.on:
            self.taken += 1
            self.on[machine.key] = (f"127.88.16.{self.taken}", machine, dict(guestinfo))
        return self.on[machine.key][0]

    async def power_off(self, key):
        self.on.pop(key, None)

    async def destroy(self, key):
        self.on.pop(key, None)
        self.destroyed.append(key)


@pytest.fixture
def follow(vcenter, tmp_path):
    """Follow the vCenter in a thread of its own while the block is entered."""

    @contextmanager
    def following(book):
        site = GuestSite(vcenter.connection())
        guests, loops = [], []

        async def serve():
            loops.append(asyncio.get_running_loop())
            guests.append(VcenterGuests(site, book, tmp_path / "known.json"))
            await guests[0].run()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        until(lambda: guests)
        try:
            yield
        finally:
            loops[0].call_soon_threadsafe(guests[0].end)
            thread.join(15)
            assert not thread.is_alive()
            site.close()

    return following


def address_of(driver, key):
    return until(lambda: driver.find_vms([key])[key].address)


def test_a_vm_that_is_powered_on_boots_and_its_address_is_seen_through_the_vcenter(room, driver, follow):
    spec = room.spec()
    room.make_vms(spec)
    driver.ensure_boot_data({spec.key: USER_DATA})
    book = Book()
    with follow(book):
        room.power(spec.key, Power.ON)
        address = address_of(driver, spec.key)
    told, machine, guestinfo = book.on[str(spec.key)]
    assert address == told
    assert (machine.name, machine.vcpu, machine.memory_mib, machine.version) == (spec.name, 2, 2048, "v1.34.2")
    assert set(guestinfo) == {"userdata", "userdata.encoding", "metadata", "metadata.encoding"}
    assert guestinfo["userdata.encoding"] == "gzip+base64"


def test_fixed_addresses_of_several_cards_are_told_as_the_guest_was_told_them(vcenter, room, driver, follow):
    cards = [
        {"match": {"macaddress": mac_of_card(0)}, "addresses": ["10.7.0.5/24"]},
        {"match": {"macaddress": mac_of_card(1)}, "dhcp4": True},
        {"match": {"macaddress": mac_of_card(2)}, "addresses": ["10.8.0.5/24"]},
    ]
    network = {"version": 2, "ethernets": {f"eth{at}": card for at, card in enumerate(cards)}}
    lan = vcenter.by_hand.make_network(f"lan-{uuid4().hex[:8]}")
    metadata = json.dumps({"instance-id": "x", "network": network})
    spec = room.spec(network_ref=lan, more_networks=(room.network_ref, lan), metadata=metadata)
    room.right(room.make_vms(spec)[spec.key])
    book = Book()
    with follow(book):
        room.power(spec.key, Power.ON)
        leased = until(lambda: book.on.get(str(spec.key)))[0]
        seen = until(lambda: len((one := driver.find_vms([spec.key])[spec.key]).addresses) == 3 and one)
    assert seen.addresses == ("10.7.0.5", leased, "10.8.0.5")
    assert seen.address == "10.7.0.5"
    assert seen.tools


def test_a_guest_goes_off_and_away_with_its_vm(vcenter, room, driver, follow):
    vm = room.vm()
    book = Book()
    with follow(book):
        room.power(vm.key, Power.ON)
        address_of(driver, vm.key)
        room.power(vm.key, Power.OFF)
        until(lambda: str(vm.key) not in book.on)
        assert book.destroyed == []
        room.power(vm.key, Power.ON)
        until(lambda: str(vm.key) in book.on)
        vcenter.by_hand.delete_vm(vm.key)
        until(lambda: book.destroyed == [str(vm.key)])


def test_what_happened_while_nobody_followed_is_made_up_for(vcenter, room, driver, follow):
    stays, goes, comes = room.vm(), room.vm(), room.vm()
    book = Book()
    with follow(book):
        for vm in (stays, goes):
            room.power(vm.key, Power.ON)
            address_of(driver, vm.key)
    vcenter.by_hand.delete_vm(goes.key)
    room.power(comes.key, Power.ON)
    with follow(book):
        address_of(driver, comes.key)
        until(lambda: book.destroyed == [str(goes.key)])
        assert set(book.on) == {str(stays.key), str(comes.key)}


def test_vms_of_others_get_no_guest(vcenter, room, driver, follow):
    ref = vcenter.by_hand.make_vm("not-ours", room.folder_ref, room.pool_ref, room.host.ref, room.datastore_ref)
    other = next(vm for vm in driver.inventory().vms if vm.ref == ref)
    room.keys.add(other.key)
    ours, book = room.vm(), Book()
    with follow(book):
        room.power(other.key, Power.ON)
        room.power(ours.key, Power.ON)
        address_of(driver, ours.key)
        assert set(book.on) == {str(ours.key)}


def test_a_vcenter_that_ends_the_session_is_followed_again(vcenter, room, driver, follow):
    vm, book = room.vm(), Book()
    with follow(book):
        manager = vcenter.by_hand.content.sessionManager
        mine = manager.currentSession.key
        until(lambda: len(manager.sessionList) > 1)
        manager.TerminateSession([one.key for one in manager.sessionList if one.key != mine])
        room.power(vm.key, Power.ON)
        address_of(driver, vm.key)
