"""Moves at a vCenter: what RelocateVM_Task is told, and others who move the same VM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pyVmomi import vim

from infra.drivers.base import InFlight, NotReady, Power, Refused, TaskState, Unreachable
from tests.contract.room import until

from .test_vms import attach, device, vm_of


@pytest.fixture
def other(room):
    return room.hosts()[0]


@pytest.fixture
def other_store(vcenter, driver):
    return next(one.ref for one in driver.inventory().datastores if one.name == vcenter.site.other_datastore)


def host_of(vcenter, facts):
    return vim.HostSystem(facts.ref, vcenter.by_hand.si._stub)


def add_disk(vcenter, key, store_ref, folder):
    """One more disk, in a folder of its own or in the VM's."""
    store = vim.Datastore(store_ref, vcenter.by_hand.si._stub)
    (Path(store.summary.url) / folder).mkdir(exist_ok=True)
    attach(vcenter, key, f"[{store.name}] {folder}/second.vmdk")


def disk_places(vcenter, key):
    disks = [one for one in vm_of(vcenter, key).config.hardware.device if isinstance(one, vim.vm.device.VirtualDisk)]
    return sorted(disk.backing.fileName.partition("/")[0] for disk in disks)


def test_a_vm_really_stands_where_it_was_moved(vcenter, room, driver, other, other_store):
    vm = room.vm()
    room.right(room.move(room.place(vm, other, datastore_ref=other_store))[vm.key])
    seen = vm_of(vcenter, vm.key)
    assert seen.runtime.host._moId == other.ref
    assert seen in host_of(vcenter, other).vm
    assert seen not in host_of(vcenter, room.host).vm
    assert seen.config.files.vmPathName.startswith("[LocalDS_1] ")
    assert device(seen, vim.vm.device.VirtualDisk).backing.datastore._moId == other_store


def test_volumes_stay_where_they_are_while_a_vm_takes_its_own_disks_along(vcenter, room, driver, other, other_store):
    vm = room.vm()
    add_disk(vcenter, vm.key, room.datastore_ref, str(vm.key))
    move = room.place(vm, other, datastore_ref=other_store)
    after = room.right(room.move(move)[vm.key])
    assert disk_places(vcenter, vm.key) == sorted([f"[LocalDS_0] {vm.key}", f"[LocalDS_1] {vm.name}"])
    assert set(after.datastore_refs) == {room.datastore_ref, other_store}
    before = vcenter.by_hand.writes()
    assert driver.ensure_moved([move])[vm.key] == after
    assert vcenter.by_hand.writes() == before


def test_a_host_that_does_not_reach_a_vms_volume_takes_it_not(vcenter, room, driver, other, other_store):
    vm = room.vm()
    add_disk(vcenter, vm.key, room.datastore_ref, str(vm.key))
    with vcenter.by_hand.unmounted(other.ref, room.datastore_ref):
        outcome = driver.ensure_moved([room.place(vm, other, datastore_ref=other_store)])[vm.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == "invalid"


def test_a_vm_of_which_one_disk_is_elsewhere_takes_that_one_along(vcenter, room, driver, other, other_store):
    vm = room.vm()
    add_disk(vcenter, vm.key, other_store, vm.name)
    assert set(driver.find_vms([vm.key])[vm.key].datastore_refs) == {room.datastore_ref, other_store}
    after = room.right(room.move(room.place(vm, room.host))[vm.key])
    assert after.datastore_refs == (room.datastore_ref,)
    assert disk_places(vcenter, vm.key) == [f"[LocalDS_0] {vm.name}"] * 2


def test_a_vm_that_is_in_another_pool_is_put_into_the_one_it_was_asked_for(room, driver):
    vm, pool = room.vm(), room.pool_elsewhere(room.host)
    after = room.right(room.move(room.place(vm, room.host, pool_ref=pool))[vm.key])
    assert after == replace(vm, pool_ref=pool)


def test_a_move_that_drs_has_begun_is_waited_for(vcenter, room, driver, other):
    vm, third = room.vm(), room.hosts()[1]
    room.power(vm.key, Power.ON)
    with vcenter.program.moves_take(1.0):
        spec = vim.vm.RelocateSpec(host=host_of(vcenter, third))
        task = vm_of(vcenter, vm.key).RelocateVM_Task(spec)
        before = vcenter.by_hand.writes()
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(flying, InFlight)
        assert flying.ref == task._moId
        assert vcenter.by_hand.writes() == before
        until(lambda: driver.poll([flying.ref])[flying.ref].state is TaskState.SUCCEEDED)
    assert driver.find_vms([vm.key])[vm.key].host_ref == third.ref
    assert room.right(room.move(room.place(vm, other))[vm.key]).host_ref == other.ref


def test_a_move_that_another_began_a_moment_before_is_the_answer(vcenter, room, driver, other):
    """It began after we looked: vCenter names its task in the fault."""
    vm, decoy = room.vm(), room.vm()
    with vcenter.program.moves_take(1.0):
        flying = driver.ensure_moved([room.place(decoy, other)])[decoy.key]
        vcenter.program.inject("RelocateVM_Task", "TaskInProgress", detail=f'<task type="Task">{flying.ref}</task>')
        outcome = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(outcome, InFlight)
        assert outcome.ref == flying.ref
    until(lambda: driver.poll([flying.ref])[flying.ref].state is TaskState.SUCCEEDED)


def test_a_vm_that_is_busy_with_something_else_is_to_be_moved_later(vcenter, room, driver, other):
    vm, spec = room.vm(), room.spec()
    with vcenter.program.clones_take(1.0):
        clone = driver.ensure_vms([spec])[spec.key]
        vcenter.program.inject("RelocateVM_Task", "TaskInProgress", detail=f'<task type="Task">{clone.ref}</task>')
        assert isinstance(driver.ensure_moved([room.place(vm, other)])[vm.key], NotReady)
        assert driver.poll([clone.ref])[clone.ref].state is TaskState.RUNNING
        room.make_vms(spec)
    assert room.right(room.move(room.place(vm, other))[vm.key]).host_ref == other.ref


def test_a_move_whose_answer_came_too_late_is_found_and_not_begun_twice(vcenter, room, connect, other):
    vm = room.vm()
    with vcenter.program.moves_take(2.0):
        vcenter.program.inject("RelocateVM_Task", "", kind="hang", hang_s=0.6)
        outcome = connect(call_timeout_s=0.4).ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(outcome, Unreachable)
        driver = connect()
        before = vcenter.program.calls()["RelocateVM_Task"]
        until(lambda: bool(vm_of(vcenter, vm.key).recentTask))
        flying = driver.ensure_moved([room.place(vm, other)])[vm.key]
        assert isinstance(flying, InFlight)
        assert vcenter.program.calls()["RelocateVM_Task"] == before
        until(lambda: driver.poll([flying.ref])[flying.ref].state is TaskState.SUCCEEDED)
    assert driver.find_vms([vm.key])[vm.key].host_ref == other.ref


@pytest.mark.parametrize(
    ("fault", "code"),
    [("CannotAccessNetwork", "invalid"), ("NoDiskSpace", "no_space"), ("InsufficientResourcesFault", "no_resources")],
)
def test_a_fault_of_a_move_becomes_what_it_means(vcenter, room, driver, other, fault, code):
    vm = room.vm()
    vcenter.program.inject("RelocateVM_Task", fault, kind="task")
    outcome = driver.ensure_moved([room.place(vm, other)])[vm.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == code
    assert driver.find_vms([vm.key])[vm.key] == vm


def test_a_datastore_that_is_full_takes_no_vm(vcenter, room, driver, other, other_store):
    vm = room.vm()
    vcenter.program.admin("POST", "datastore", name="LocalDS_1", free_gib=1)
    try:
        outcome = driver.ensure_moved([room.place(vm, other, datastore_ref=other_store)])[vm.key]
    finally:
        vcenter.program.admin("POST", "datastore", name="LocalDS_1", free_gib=8192)
    assert isinstance(outcome, Refused)
    assert outcome.code == "no_space"


def test_a_template_is_not_moved(vcenter, room, driver, other):
    vm = room.vm()
    vm_of(vcenter, vm.key).MarkAsTemplate()
    outcome = driver.ensure_moved([room.place(vm, other)])[vm.key]
    vm_of(vcenter, vm.key).MarkAsVirtualMachine(pool=vim.ResourcePool(room.pool_ref, vcenter.by_hand.si._stub))
    assert isinstance(outcome, Refused)
    assert outcome.code == "invalid"


def test_a_batch_of_moves_costs_few_calls(vcenter, room, driver, other):
    vms = [room.vm() for _ in range(10)]
    moves = [room.place(vm, other) for vm in vms]
    before = vcenter.program.calls()
    room.move(*moves)
    middle = vcenter.program.calls()
    driver.ensure_moved(moves)
    after = vcenter.program.calls()
    moved, again = sum(middle.values()) - sum(before.values()), sum(after.values()) - sum(middle.values())
    print(f"calls for 10 moves: {moved}; said again: {again}")
    assert moved <= 30
    assert again <= 12
