"""Faults that somebody asked for befall exactly what they were meant for, as often as was asked."""

from __future__ import annotations

from dataclasses import replace
from urllib.error import HTTPError

import pytest

from infra.drivers import factory
from infra.drivers.base import InFlight, Power, Refused, TaskState, Unreachable, VmFacts
from tests.contract.room import until


@pytest.fixture
def impatient(site):
    driver = factory.connect(replace(site.connection, call_timeout_s=0.4))
    yield driver
    driver.close()


def test_an_error_befalls_one_vm_once(room, driver, hand):
    good, bad = room.spec(), room.spec()
    hand.inject("clone", "error", match=bad.name, code="no_permission", reason="Not you.")
    first = driver.ensure_vms([good, bad])
    assert isinstance(first[good.key], VmFacts)
    assert (first[bad.key].code, first[bad.key].reason) == ("no_permission", "Not you.")
    assert isinstance(driver.ensure_vms([bad])[bad.key], VmFacts)


def test_an_error_that_is_always_there_ends_when_it_is_cleared(room, driver, hand):
    vm = room.vm()
    hand.inject("power_on", "error", times=-1)
    for _ in range(3):
        assert isinstance(driver.ensure_power({vm.key: Power.ON})[vm.key], Refused)
    assert hand.hand("faults")["faults"]
    hand.hand("clear-faults")
    assert room.power(vm.key, Power.ON).power is Power.ON


def test_a_task_fails_at_its_end_and_leaves_nothing(room, driver, hand):
    spec = room.spec()
    hand.inject("clone", "task", code="fault", reason="The wire broke.")
    with hand.clones_take(0.2):
        started = driver.ensure_vms([spec])[spec.key]
    assert isinstance(started, InFlight)
    assert driver.poll([started.ref])[started.ref].state is TaskState.RUNNING
    task = until(lambda: (seen := driver.poll([started.ref])[started.ref]).state is TaskState.FAILED and seen)
    assert (task.error.code, task.error.reason) == ("fault", "The wire broke.")
    assert hand.vm_names(room.folder_ref) == []


def test_a_site_that_is_down_is_unreachable_until_it_is_not(driver, hand):
    hand.inject("inventory", "down")
    with pytest.raises(Unreachable):
        driver.inventory()
    assert driver.inventory().hosts


def test_a_read_can_fail_too(driver, hand):
    hand.inject("inventory", "error", code="no_permission", reason="Not you.")
    with pytest.raises(Refused) as refused:
        driver.inventory()
    assert refused.value.code == "no_permission"
    assert driver.inventory().hosts


def test_a_call_that_hangs_is_given_up_in_time(impatient, hand):
    hand.inject("about", "hang")
    with pytest.raises(Unreachable) as unreachable:
        impatient.check()
    assert unreachable.value.code == "timeout"
    assert impatient.check().simulated


def test_what_was_done_before_the_answer_got_stuck_is_found_and_not_done_twice(room, impatient, hand):
    spec = room.spec()
    hand.inject("clone", "hang", after=True)
    with pytest.raises(Unreachable):
        impatient.ensure_vms([spec])
    before = hand.writes()
    assert room.right(impatient.ensure_vms([spec])[spec.key]).name == spec.name
    assert hand.writes() == before


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_in_a_clone_makes_one_vm_or_none(own, after):
    with own() as (site, driver, room):
        spec = room.spec()
        site.by_hand.inject("clone", "kill", after=after)
        with pytest.raises(Unreachable):
            driver.ensure_vms([spec])
        assert site.by_hand.process.wait(5) == -9
    with own(room=room) as (site, driver, _):
        assert set(driver.find_vms([spec.key])) == ({spec.key} if after else set())
        assert isinstance(driver.ensure_vms([spec])[spec.key], VmFacts)
        assert site.by_hand.vm_names(room.folder_ref) == [spec.name]
        assert site.by_hand.writes() == (0 if after else 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"verb": "fly", "kind": "error"},
        {"verb": "clone", "kind": "earthquake"},
        {"verb": "inventory", "kind": "task"},
        {"verb": "power_on", "kind": "kill"},
        {"verb": "clone", "kind": "error", "colour": "red"},
    ],
)
def test_a_fault_that_cannot_be_is_refused(hand, fault):
    with pytest.raises(HTTPError) as error:
        hand.hand("fault", **fault)
    assert error.value.code in (400, 409)
    assert hand.hand("faults") == {"faults": []}
