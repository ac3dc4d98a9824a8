"""Moves between simulated hosts: room is held at the target, and the guest sees nothing of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.drivers import factory
from infra.drivers.base import InFlight, NotReady, Power, Refused, TaskState, Unreachable
from tests.contract.room import until

USER_DATA = "#cloud-config\nruncmd:\n  - mkdir -p /run/facet && touch /run/facet/done\n"


@pytest.fixture
def other(room, hand):
    """A host beside the room's; it is as it was after the test."""
    found = room.hosts()[0]
    yield found
    hand.hand("clear-faults")
    hand.hand("latency", move=0)
    hand.hand("host", name=found.ref, state="up", memory_mib=found.memory_mib, networks=list(found.network_refs))


def refused(outcome, code):
    assert isinstance(outcome, Refused), outcome
    assert outcome.code == code
    return outcome.reason


def ended(driver, ref):
    return until(lambda: (task := driver.poll([ref])[ref]).state is not TaskState.RUNNING and task)


def running(room, driver, **changes):
    vm = room.vm(**changes)
    driver.ensure_boot_data({vm.key: USER_DATA})
    room.power(vm.key, Power.ON)
    until(lambda: driver.find_vms([vm.key])[vm.key].address)
    return driver.find_vms([vm.key])[vm.key]


def free_gib(driver, ref):
    return next(store.free_gib for store in driver.inventory().datastores if store.ref == ref)


def templates_store(driver):
    return next(store.ref for store in driver.inventory().datastores if store.name == "templates")


# --- the guest -----------------------------------------------------------------------------------------------------


def test_a_guest_runs_on_while_its_vm_moves(room, driver, hand, other):
    vm = running(room, driver)
    until(lambda: "cloud-init: finished" in driver.console_log(vm.key))
    console = driver.console_log(vm.key)
    with hand.moves_take(0.3):
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert driver.find_vms([vm.key])[vm.key] == vm
        assert ended(driver, flying.ref).state is TaskState.SUCCEEDED
    assert driver.find_vms([vm.key])[vm.key] == replace(vm, host_ref=other.ref)
    assert driver.console_log(vm.key) == console


# --- room at the target --------------------------------------------------------------------------------------------


def test_a_running_vm_moves_only_where_its_memory_is_and_one_that_is_off_needs_none(room, driver, hand, other):
    hand.hand("host", name=other.ref, memory_mib=3000)
    first, second = running(room, driver), running(room, driver)
    assert room.right(room.move(room.place(first, other))[first.key]).host_ref == other.ref
    assert "952 MiB" in refused(driver.ensure_moved([room.place(second, other)])[second.key], "no_resources")
    assert driver.find_vms([second.key])[second.key] == second
    room.power(second.key, Power.OFF)
    assert room.right(room.move(room.place(second, other))[second.key]).host_ref == other.ref


def test_a_move_in_flight_holds_its_memory_at_both_ends(room, driver, hand, other):
    hand.hand("host", name=other.ref, memory_mib=3000)
    hand.hand("host", name=room.host.ref, memory_mib=4200)
    first, second = running(room, driver), running(room, driver)
    there, here = room.vm(host_ref=other.ref), room.vm()
    with hand.moves_take(1.0):
        flying = driver.ensure_moved([room.place(first, other)])[first.key]
        assert isinstance(flying, InFlight)
        refused(driver.ensure_moved([room.place(second, other)])[second.key], "no_resources")
        refused(driver.ensure_power({there.key: Power.ON})[there.key], "no_resources")
        refused(driver.ensure_power({here.key: Power.ON})[here.key], "no_resources")
        assert ended(driver, flying.ref).state is TaskState.SUCCEEDED
    assert room.power(here.key, Power.ON).host_ref == room.host.ref
    refused(driver.ensure_power({there.key: Power.ON})[there.key], "no_resources")


def test_a_move_that_fails_gives_back_what_it_held(room, driver, hand, other):
    hand.hand("host", name=other.ref, memory_mib=3000)
    first, second = running(room, driver), running(room, driver)
    store = templates_store(driver)
    here, there = free_gib(driver, room.datastore_ref), free_gib(driver, store)
    hand.fail_move(first.key)
    with hand.moves_take(0.4):
        flying = driver.ensure_moved([room.place(first, other, datastore_ref=store)])[first.key]
        assert (free_gib(driver, room.datastore_ref), free_gib(driver, store)) == (here, there - first.disk_gib)
        task = ended(driver, flying.ref)
    assert (task.state, task.error.code) == (TaskState.FAILED, "no_resources")
    assert driver.find_vms([first.key])[first.key] == first
    assert (free_gib(driver, room.datastore_ref), free_gib(driver, store)) == (here, there)
    assert room.right(room.move(room.place(second, other))[second.key]).host_ref == other.ref


def test_a_datastore_that_is_full_takes_no_disks(room, driver, hand, other):
    store, vm = templates_store(driver), room.vm()
    before = free_gib(driver, store)
    hand.hand("datastore", name=store, free_gib=vm.disk_gib - 1)
    try:
        refused(driver.ensure_moved([room.place(vm, other, datastore_ref=store)])[vm.key], "no_space")
    finally:
        hand.hand("datastore", name=store, free_gib=before)


def test_a_pool_stays_while_a_vm_is_on_its_way_into_it(site, room, driver, hand):
    away = next(host for host in driver.inventory().hosts if host.vsphere_cluster == "rack-2")
    pool, vm = room.pool_elsewhere(away), room.vm()
    with hand.moves_take(0.5):
        move = room.place(vm, away, datastore_ref=templates_store(driver), pool_ref=pool)
        flying = driver.ensure_moved([move])[vm.key]
        with pytest.raises(Refused) as in_use:
            driver.ensure_no_pool([pool])
        refused(in_use.value, "in_use")
        ended(driver, flying.ref)
    assert driver.find_vms([vm.key])[vm.key].pool_ref == pool


# --- bad luck ------------------------------------------------------------------------------------------------------


def test_a_host_out_of_reach_of_the_network_takes_no_vm(room, driver, hand, other):
    vm = room.vm()
    hand.hand("host", name=other.ref, networks=[])
    assert "VM Network" in refused(driver.ensure_moved([room.place(vm, other)])[vm.key], "invalid")


@pytest.mark.parametrize("down", ["source", "target"])
def test_a_host_that_is_down_at_either_end_is_waited_for(room, driver, hand, other, down):
    vm = room.vm()
    name = room.host.ref if down == "source" else other.ref
    hand.hand("host", name=name, state="down")
    assert isinstance(driver.ensure_moved([room.place(vm, other)])[vm.key], NotReady)
    hand.hand("host", name=name, state="up")
    assert room.right(room.move(room.place(vm, other))[vm.key]).host_ref == other.ref


def test_a_datastore_out_of_reach_at_either_end_is_waited_for(room, driver, hand, other):
    vm = room.vm()
    hand.hand("datastore", name=room.datastore_ref, accessible=False)
    assert isinstance(driver.ensure_moved([room.place(vm, other)])[vm.key], NotReady)
    moved_away = room.place(vm, other, datastore_ref=templates_store(driver))
    assert isinstance(driver.ensure_moved([moved_away])[vm.key], NotReady)


@pytest.mark.parametrize(("state", "code"), [("down", "not_ready"), ("maintenance", "no_resources")])
def test_a_target_that_closes_during_the_move_gets_no_vm(room, driver, hand, other, state, code):
    vm = running(room, driver)
    with hand.moves_take(0.4):
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        hand.hand("host", name=other.ref, state=state)
        task = ended(driver, flying.ref)
    assert (task.state, task.error.code) == (TaskState.FAILED, code)
    assert driver.find_vms([vm.key])[vm.key] == vm
    hand.hand("host", name=other.ref, state="up")
    assert room.right(room.move(room.place(vm, other))[vm.key]).host_ref == other.ref


def test_a_source_that_dies_during_the_move_keeps_its_vm(room, driver, hand, other):
    vm = running(room, driver)
    with hand.moves_take(0.4):
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        hand.hand("host", name=room.host.ref, state="down")
        assert ended(driver, flying.ref).state is TaskState.FAILED
    seen = driver.find_vms([vm.key])[vm.key]
    assert (seen.host_ref, seen.power) == (room.host.ref, Power.OFF)


def test_what_is_busy_is_not_moved_and_what_moves_is_busy(room, driver, hand, other):
    vm = room.vm()
    hand.hand("latency", power_on=0.3)
    try:
        started = driver.ensure_power({vm.key: Power.ON})[vm.key]
        assert isinstance(driver.ensure_moved([room.place(vm, other)])[vm.key], NotReady)
        ended(driver, started.ref)
    finally:
        hand.hand("latency", power_on=0)
    with hand.moves_take(0.3):
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(flying, InFlight)
        assert isinstance(driver.ensure_power({vm.key: Power.OFF})[vm.key], NotReady)
        ended(driver, flying.ref)


def test_an_error_befalls_one_move_once(room, driver, hand, other):
    good, bad = room.vm(), room.vm()
    hand.inject("move", "error", match=bad.name, code="no_permission", reason="Not you.")
    moves = [room.place(good, other), room.place(bad, other)]
    first = driver.ensure_moved(moves)
    assert (first[bad.key].code, first[bad.key].reason) == ("no_permission", "Not you.")
    assert first[good.key].host_ref == other.ref
    assert driver.ensure_moved(moves)[bad.key].host_ref == other.ref


def test_a_move_whose_answer_got_stuck_is_found_and_not_done_twice(site, room, hand, other):
    impatient = factory.connect(replace(site.connection, call_timeout_s=0.4))
    vm = room.vm()
    hand.inject("move", "hang", after=True)
    with pytest.raises(Unreachable):
        impatient.ensure_moved([room.place(vm, other)])
    before = hand.writes()
    assert impatient.ensure_moved([room.place(vm, other)])[vm.key].host_ref == other.ref
    assert hand.writes() == before
    impatient.close()


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_in_a_move_leaves_the_vm_in_one_place(own, after):
    with own() as (site, driver, room):
        vm = running(room, driver)
        move = room.place(vm, room.hosts()[0])
        site.by_hand.inject("move", "kill", after=after)
        with pytest.raises(Unreachable):
            driver.ensure_moved([move])
    with own(room=room) as (site, driver, _):
        seen = driver.find_vms([vm.key])[vm.key]
        assert seen == replace(vm, host_ref=move.host_ref if after else vm.host_ref)
        assert driver.ensure_moved([move])[vm.key] == replace(vm, host_ref=move.host_ref)


def test_a_move_goes_on_after_a_kill_and_still_holds_its_room(own):
    with own() as (site, driver, room):
        vm, more = running(room, driver), running(room, driver)
        other = room.hosts()[0]
        move = room.place(vm, other)
        site.by_hand.hand("host", name=other.ref, memory_mib=3000)
        site.by_hand.hand("latency", move=5.0)
        flying = driver.ensure_moved([move])[vm.key]
        site.by_hand.kill()
    with own(room=room) as (site, driver, _):
        refused(driver.ensure_moved([room.place(more, other)])[more.key], "no_resources")
        assert driver.ensure_moved([move])[vm.key] == flying
        assert ended(driver, flying.ref).state is TaskState.SUCCEEDED
        assert driver.find_vms([vm.key])[vm.key] == replace(vm, host_ref=other.ref)
        refused(driver.ensure_moved([room.place(more, other)])[more.key], "no_resources")
