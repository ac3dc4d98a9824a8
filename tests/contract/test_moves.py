"""Moves: live where a VM runs, once however often they are said, and refused before anything is begun."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from infra.drivers.base import InFlight, MoveSpec, NotReady, Power, Refused, TaskState, VmFacts

from .room import until


@pytest.fixture
def other(room):
    """A host beside the one on which the room's VMs are made."""
    return room.hosts()[0]


@pytest.fixture
def away(site, driver, room):
    """A host of another compute resource."""
    return next(host for host in driver.inventory().hosts if host.compute_ref != room.host.compute_ref)


@pytest.fixture
def other_store(site, driver):
    return next(store.ref for store in driver.inventory().datastores if store.name == site.other_datastore)


def running(site, room, driver):
    vm = room.vm()
    room.power(vm.key, Power.ON)
    if site.kind == "simulator":  # its guests say their address
        until(lambda: driver.find_vms([vm.key])[vm.key].address)
    return driver.find_vms([vm.key])[vm.key]


def refused(outcome, code):
    assert isinstance(outcome, Refused), outcome
    assert outcome.code == code
    return outcome.reason


# --- moving --------------------------------------------------------------------------------------------------------


def test_a_vm_moves_live_and_once(site, room, driver, connect, other):
    before = running(site, room, driver)
    move = room.place(before, other)
    writes = site.by_hand.writes()
    after = room.right(room.move(move)[before.key])
    assert after == replace(before, host_ref=other.ref)
    assert site.by_hand.writes() == writes + 1
    assert driver.ensure_moved([move])[before.key] == after
    assert connect().ensure_moved([move])[before.key] == after
    assert site.by_hand.writes() == writes + 1
    assert driver.find_vms([before.key])[before.key] == after


def test_a_vm_that_is_off_moves_too_and_starts_there(room, driver, other):
    before = room.vm()
    after = room.right(room.move(room.place(before, other))[before.key])
    assert after == replace(before, host_ref=other.ref)
    assert room.power(before.key, Power.ON).host_ref == other.ref


@pytest.mark.parametrize("power", [Power.ON, Power.OFF])
def test_disks_move_to_another_datastore(room, driver, other, other_store, power):
    vm = room.vm()
    room.power(vm.key, power)
    move = room.place(vm, other, datastore_ref=other_store)
    before = {store.ref: store.free_gib for store in driver.inventory().datastores}
    after = room.right(room.move(move)[vm.key])
    assert (after.host_ref, after.datastore_refs, after.power) == (other.ref, (other_store,), power)
    free = {store.ref: store.free_gib for store in driver.inventory().datastores}
    assert free[other_store] == before[other_store] - vm.disk_gib
    assert free[room.datastore_ref] == before[room.datastore_ref] + vm.disk_gib
    assert driver.ensure_moved([move])[vm.key] == after
    back = room.right(room.move(room.place(vm, room.host))[vm.key])
    assert (back.host_ref, back.datastore_refs) == (room.host.ref, (room.datastore_ref,))


def test_disks_alone_move_under_a_running_vm(site, room, driver, other_store):
    vm = running(site, room, driver)
    after = room.right(room.move(room.place(vm, room.host, datastore_ref=other_store))[vm.key])
    assert after == replace(vm, datastore_refs=(other_store,))


def test_a_vm_moves_to_another_compute_resource_into_a_pool_there(site, room, driver, away, other_store):
    vm = running(site, room, driver)
    pool = room.pool_elsewhere(away)
    move = room.place(vm, away, datastore_ref=other_store, pool_ref=pool)
    after = room.right(room.move(move)[vm.key])
    assert after == replace(vm, host_ref=away.ref, datastore_refs=(other_store,), pool_ref=pool)


def test_a_vm_that_has_moved_lives_on_as_every_other(site, room, driver, other, other_store):
    vm = room.vm()
    room.right(room.move(room.place(vm, other, datastore_ref=other_store))[vm.key])
    driver.ensure_boot_data({vm.key: "#cloud-config\n"})
    room.power(vm.key, Power.ON)
    assert room.remove([vm.key]) == {vm.key: None}
    assert site.by_hand.vm_names(room.folder_ref) == []


def test_many_vms_move_with_one_call(room, other):
    vms = [room.vm() for _ in range(5)]
    moved = room.move(*(room.place(vm, other) for vm in vms))
    assert {room.right(moved[vm.key]).host_ref for vm in vms} == {other.ref}


def test_no_move_is_no_call(room, driver):
    assert driver.ensure_moved([]) == {}


@pytest.mark.parametrize("disks_too", [False, True])
def test_watchers_hear_where_a_vm_has_moved_to(room, driver, other, other_store, disks_too):
    vm = room.vm()
    cursor = driver.inventory().cursor
    move = room.place(vm, room.host, datastore_ref=other_store) if disks_too else room.place(vm, other)
    moved = room.right(room.move(move)[vm.key])
    heard: dict[str, VmFacts] = {}

    def hear():
        nonlocal cursor
        news = driver.changes(cursor, 2.0)
        assert not news.resync
        cursor = news.cursor
        heard.update({one.ref: one for one in news.vms})
        return heard.get(vm.ref) == moved

    until(hear)


# --- in flight -----------------------------------------------------------------------------------------------------


def test_a_move_said_again_while_it_is_at_work_is_the_same_one(site, room, driver, connect, other):
    vm = running(site, room, driver)
    third = room.hosts()[1]
    with site.by_hand.moves_take(2.0):
        first = driver.ensure_moved([room.place(vm, other)])[vm.key]
        writes = site.by_hand.writes()
        assert isinstance(first, InFlight)
        assert driver.ensure_moved([room.place(vm, other)])[vm.key] == first
        assert connect().ensure_moved([room.place(vm, other)])[vm.key] == first
        assert driver.ensure_moved([room.place(vm, third)])[vm.key] == first
        assert driver.ensure_moved([room.place(vm, room.host)])[vm.key] == first
        assert site.by_hand.writes() == writes
        assert driver.find_vms([vm.key])[vm.key] == vm
        assert room.right(room.move(room.place(vm, other))[vm.key]).host_ref == other.ref
        assert site.by_hand.writes() == writes


def test_the_ref_of_a_move_tells_its_progress_and_its_end(site, room, driver, other):
    vm = room.vm()
    with site.by_hand.moves_take(1.0):
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(flying, InFlight)
        assert flying.doing
        first = driver.poll([flying.ref])[flying.ref]
        assert first.state is TaskState.RUNNING
        assert first.progress in range(100)
        later = until(
            lambda: (task := driver.poll([flying.ref])[flying.ref]).progress not in (None, first.progress) and task
        )
        assert later.progress > first.progress
        ended = until(lambda: (task := driver.poll([flying.ref])[flying.ref]).state is not TaskState.RUNNING and task)
    assert (ended.state, ended.error) == (TaskState.SUCCEEDED, None)
    assert driver.find_vms([vm.key])[vm.key].host_ref == other.ref


@pytest.mark.parametrize("take_s", [0.0, 0.6])
def test_a_move_said_by_several_threads_at_once_is_one_move(site, room, driver, connect, other, take_s):
    vm = room.vm()
    drivers = [driver, driver, connect(), connect()]
    writes = site.by_hand.writes()
    with site.by_hand.moves_take(take_s), ThreadPoolExecutor(len(drivers)) as threads:
        outcomes = list(threads.map(lambda one: one.ensure_moved([room.place(vm, other)])[vm.key], drivers))
        assert all(isinstance(outcome, VmFacts | InFlight | NotReady) for outcome in outcomes), outcomes
        assert len({outcome.ref for outcome in outcomes if isinstance(outcome, InFlight)}) <= 1
        assert room.right(room.move(room.place(vm, other))[vm.key]).host_ref == other.ref
    if site.kind == "simulator":  # a vCenter is asked, and says that one is under way
        assert site.by_hand.writes() == writes + 1


def test_a_vm_deleted_during_its_move_is_gone(site, room, driver, other):
    vm = room.vm()
    with site.by_hand.moves_take(0.5):
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(flying, InFlight)
        site.by_hand.delete_vm(vm.key)
        refused(driver.ensure_moved([room.place(vm, other)])[vm.key], "not_found")
        ended = until(lambda: (task := driver.poll([flying.ref])[flying.ref]).state is not TaskState.RUNNING and task)
    assert ended.state is TaskState.FAILED
    assert ended.error is not None
    refused(driver.ensure_moved([room.place(vm, other)])[vm.key], "not_found")
    assert driver.find_vms([vm.key]) == {}


def test_a_vm_that_shall_go_goes_also_in_the_middle_of_a_move(site, room, driver, other):
    vm = room.vm()
    with site.by_hand.moves_take(0.5):
        assert isinstance(driver.ensure_moved([room.place(vm, other)])[vm.key], InFlight)
        assert room.remove([vm.key]) == {vm.key: None}
    assert driver.find_vms([vm.key]) == {}


# --- refused -------------------------------------------------------------------------------------------------------


def test_a_host_in_maintenance_takes_no_vm_and_keeps_those_that_stand_there(site, room, driver, other):
    comes, stands = room.vm(), room.vm(host_ref=other.ref)
    with site.by_hand.maintenance(other.ref):
        writes = site.by_hand.writes()
        outcomes = driver.ensure_moved([room.place(comes, other), room.place(stands, other)])
        assert other.name in refused(outcomes[comes.key], "no_resources")
        assert outcomes[stands.key] == stands
        assert site.by_hand.writes() == writes
        assert driver.find_vms([comes.key])[comes.key].host_ref == room.host.ref
    assert room.right(room.move(room.place(comes, other))[comes.key]).host_ref == other.ref


def test_vms_leave_a_host_in_maintenance(site, room, driver, other):
    vm = running(site, room, driver)
    with site.by_hand.maintenance(room.host.ref):
        after = room.right(room.move(room.place(vm, other))[vm.key])
    assert after == replace(vm, host_ref=other.ref)


def test_a_key_that_nobody_bears_is_refused_for_itself_alone(room, driver, other):
    vm, nobody = room.vm(), uuid4()
    nowhere = MoveSpec(nobody, other.ref, room.datastore_ref, room.pool_ref)
    moved = room.move(nowhere, room.place(vm, other))
    assert room.right(moved[vm.key]).host_ref == other.ref
    refused(moved[nobody], "not_found")


@pytest.mark.parametrize(
    "wrong",
    [
        {"host_ref": "host-987654321"},
        {"datastore_ref": "datastore-987654321"},
        {"pool_ref": "resgroup-987654321"},
    ],
)
def test_a_place_that_nobody_knows_is_refused_for_that_vm_alone(site, room, driver, other, wrong):
    good, bad = room.vm(), room.vm()
    moved = room.move(room.place(bad, other, **wrong), room.place(good, other))
    assert room.right(moved[good.key]).host_ref == other.ref
    refused(moved[bad.key], "not_found")
    assert driver.find_vms([bad.key])[bad.key] == bad


def test_a_host_that_does_not_reach_the_datastore_takes_no_vm(site, room, driver, other):
    vm = room.vm()
    with site.by_hand.unmounted(other.ref, room.datastore_ref):
        assert other.name in refused(room.move(room.place(vm, other))[vm.key], "invalid")
    assert driver.find_vms([vm.key])[vm.key] == vm


def test_a_pool_of_another_compute_resource_takes_no_vm(room, driver, other, away):
    vm = room.vm()
    refused(room.move(room.place(vm, other, pool_ref=room.pool_elsewhere(away)))[vm.key], "invalid")
    assert driver.find_vms([vm.key])[vm.key] == vm


@pytest.mark.parametrize("take_s", [0.0, 0.3])
def test_a_fault_of_one_move_fails_no_other_and_may_be_tried_again(site, room, driver, other, take_s):
    good, bad = room.vm(), room.vm()
    site.by_hand.fail_move(bad.key)
    moves = [room.place(bad, other), room.place(good, other)]
    with site.by_hand.moves_take(take_s):
        first = driver.ensure_moved(moves)[bad.key]
        if isinstance(first, InFlight):
            ref = first.ref
            task = until(lambda: (found := driver.poll([ref])[ref]).state is not TaskState.RUNNING and found)
            assert task.state is TaskState.FAILED
            first = task.error
        assert isinstance(first, Refused), first
        assert driver.find_vms([bad.key])[bad.key] == bad
        moved = room.move(*moves)
    assert {room.right(moved[vm.key]).host_ref for vm in (good, bad)} == {other.ref}
