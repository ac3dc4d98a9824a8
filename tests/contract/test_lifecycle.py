"""Guests asked to shut down, and VMs of another size: hot where the layer allows it, refused where it does not.

vcsim lets a running VM take any size; that the driver asks the vCenter first is what these tests see of it.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import NotReady, Power, Refused, SizeSpec

from .room import settled, until


def size_of(vm, **changes):
    size = {"vcpu": vm.vcpu, "memory_mib": vm.memory_mib, "disk_gib": vm.disk_gib} | changes
    return SizeSpec(**size)


def resized(room, key, size):
    return settled(lambda: dict(room.driver.ensure_size({key: size})), room.driver)[key]


@pytest.fixture
def running(site, room):
    """A VM that is on, with tools in its guest."""
    vm = room.vm()
    room.power(vm.key, Power.ON)
    site.by_hand.guest(vm.key)
    return until(lambda: next((seen for seen in room.driver.find_vms([vm.key]).values() if seen.tools), None))


# --- shutting down -------------------------------------------------------------------------------------------------


def test_a_guest_goes_down_when_it_is_asked_and_is_asked_once(site, room, driver, running):
    assert room.right(settled(lambda: dict(driver.shut_down([running.key])), driver)[running.key]).power is Power.OFF
    before = site.by_hand.writes()
    assert driver.shut_down([running.key])[running.key].power is Power.OFF
    assert site.by_hand.writes() == before


def test_a_guest_that_never_goes_down_is_asked_once_and_powered_off(site, room, driver, running):
    site.by_hand.guest(running.key, deaf=True)
    assert isinstance(driver.shut_down([running.key])[running.key], NotReady)
    before = site.by_hand.writes()
    assert isinstance(driver.shut_down([running.key])[running.key], NotReady)
    assert site.by_hand.writes() == before
    assert room.power(running.key, Power.OFF).power is Power.OFF


def test_a_guest_without_tools_cannot_be_asked(site, room, driver, running):
    site.by_hand.guest(running.key, tools=False)
    nobody = uuid4()
    answers = driver.shut_down([running.key, nobody])
    assert {key: one.code for key, one in answers.items()} == {running.key: "no_guest_tools", nobody: "not_found"}
    assert driver.find_vms([running.key])[running.key].power is Power.ON


def test_a_suspended_guest_cannot_be_asked(room, driver, running):
    room.power(running.key, Power.SUSPENDED)
    assert driver.shut_down([running.key])[running.key].code == "no_guest_tools"
    assert room.power(running.key, Power.OFF).power is Power.OFF


# --- size ----------------------------------------------------------------------------------------------------------


def test_a_size_is_reached_once(site, room, driver):
    vm = room.vm()
    size = size_of(vm, vcpu=4, memory_mib=4096, disk_gib=vm.disk_gib + 3)
    seen = room.right(resized(room, vm.key, size))
    assert (seen.vcpu, seen.memory_mib, seen.disk_gib) == (4, 4096, vm.disk_gib + 3)
    assert seen == driver.find_vms([vm.key])[vm.key]
    before = site.by_hand.writes()
    assert driver.ensure_size({vm.key: size})[vm.key] == seen
    assert site.by_hand.writes() == before
    smaller = room.right(resized(room, vm.key, size_of(seen, vcpu=1, memory_mib=1024)))
    assert (smaller.vcpu, smaller.memory_mib, smaller.disk_gib) == (1, 1024, seen.disk_gib)


def test_what_runs_grows_where_that_is_allowed_and_its_disk_always(site, room, driver, running):
    site.by_hand.guest(running.key, hot_add=False)
    before = site.by_hand.writes()
    for changes in ({"vcpu": 4}, {"memory_mib": 4096}, {"vcpu": 1}):
        assert resized(room, running.key, size_of(running, **changes)).code == "needs_power_off", changes
    assert site.by_hand.writes() == before
    grown = room.right(resized(room, running.key, size_of(running, disk_gib=running.disk_gib + 1)))
    assert (grown.disk_gib, grown.power) == (running.disk_gib + 1, Power.ON)
    site.by_hand.guest(running.key, hot_add=True)
    larger = room.right(resized(room, running.key, size_of(grown, vcpu=4, memory_mib=4096)))
    assert (larger.vcpu, larger.memory_mib, larger.power) == (4, 4096, Power.ON)
    for changes in ({"vcpu": 2}, {"memory_mib": 2048}):
        assert resized(room, running.key, size_of(larger, **changes)).code == "needs_power_off", changes


def test_a_disk_never_shrinks_and_one_refusal_is_no_other_vms(site, room, driver):
    vm, other, nobody = room.vm(), room.vm(), uuid4()
    sizes = {
        vm.key: size_of(vm, disk_gib=vm.disk_gib - 1),
        nobody: size_of(vm),
        other.key: size_of(other, vcpu=4),
    }
    answers = settled(lambda: dict(driver.ensure_size(sizes)), driver)
    assert [answers[key].code for key in (vm.key, nobody)] == ["disk_shrinks", "not_found"]
    assert all(isinstance(answers[key], Refused) for key in (vm.key, nobody))
    assert room.right(answers[other.key]).vcpu == 4
