"""What a driver sees: the inventory, single VMs, tasks, changes."""

from __future__ import annotations

import threading
from uuid import uuid4

from infra.drivers.base import HostState, Power, TaskState

from .room import until


def test_a_check_names_the_site_and_says_the_same_each_time(site, driver, connect):
    first = driver.check()
    assert first.product
    assert first.version
    assert first.instance_id
    assert first.simulated is site.simulated
    assert connect().check() == first


def test_an_inventory_is_complete_and_its_refs_lead_somewhere(site, driver):
    seen = driver.inventory()
    hosts = [host for host in seen.hosts if host.vsphere_cluster == site.vsphere_cluster]
    assert hosts
    for host in hosts:
        assert host.name
        assert host.compute_ref
        assert host.cpu_cores > 0
        assert host.core_mhz > 0
        assert host.memory_mib > 0
        assert host.state is HostState.UP
        assert set(host.datastore_refs) <= {store.ref for store in seen.datastores}
        assert set(host.network_refs) <= {net.ref for net in seen.networks}
    assert len({host.compute_ref for host in hosts}) == 1
    store = next(store for store in seen.datastores if store.name == site.datastore)
    assert 0 < store.free_gib <= store.capacity_gib
    assert store.accessible
    assert site.network in {net.name for net in seen.networks}
    template = next(found for found in seen.templates if site.template in (found.name, found.path))
    assert template.path
    assert template.vcpu > 0
    assert template.memory_mib > 0
    assert template.disk_gib >= 2
    assert len({found.path for found in seen.templates}) == len(seen.templates)


def test_an_inventory_shows_a_vm_as_find_shows_it(room, driver):
    vm = room.vm()
    assert [seen for seen in driver.inventory().vms if seen.key == vm.key] == [driver.find_vms([vm.key])[vm.key]]


def test_a_key_that_is_not_there_is_missing_from_the_answer(room, driver):
    vm = room.vm()
    assert set(driver.find_vms([vm.key, uuid4()])) == {vm.key}
    assert driver.find_vms([]) == {}


def test_another_persons_vm_is_seen_without_a_witness(site, room, driver):
    ref = site.by_hand.make_vm("somebodys", room.folder_ref, room.pool_ref, room.host.ref, room.datastore_ref)
    seen = next(vm for vm in driver.inventory().vms if vm.ref == ref)
    room.keys.add(seen.key)
    assert not seen.witness
    assert seen.name == "somebodys"


def test_a_ref_that_nobody_knows_has_vanished_and_spoils_no_other(site, room, driver):
    with site.by_hand.clones_take(0.5):
        spec = room.spec()
        running = driver.ensure_vms([spec])[spec.key].ref
        states = {ref: task.state for ref, task in driver.poll([running, "task-987654321"]).items()}
    assert states["task-987654321"] is TaskState.VANISHED
    assert states[running] in (TaskState.RUNNING, TaskState.SUCCEEDED)
    assert driver.poll([]) == {}


def test_a_task_in_flight_ends_in_success(site, room, driver):
    with site.by_hand.clones_take(0.3):
        spec = room.spec()
        ref = driver.ensure_vms([spec])[spec.key].ref
        first = driver.poll([ref])[ref]
        assert first.state is TaskState.RUNNING
        assert first.progress is None or 0 <= first.progress <= 100
    until(lambda: driver.poll([ref])[ref].state is TaskState.SUCCEEDED)


def changes_from(driver, cursor, wanted):
    """All changes since the cursor, gathered until `wanted` is true of them."""
    seen = []

    def look():
        seen.append(driver.changes(seen[-1].cursor if seen else cursor, 0.2))
        assert not seen[-1].resync
        return wanted(seen)

    until(look)
    return seen


def test_nothing_moved_is_an_empty_answer_and_the_cursor_goes_on(driver):
    cursor = driver.inventory().cursor
    quiet = driver.changes(cursor, 0)
    assert (quiet.hosts, quiet.vms, quiet.gone_refs, quiet.resync) == ((), (), (), False)
    assert not driver.changes(quiet.cursor, 0).resync


def test_changes_report_who_enters_who_is_powered_and_who_leaves(site, room, driver):
    cursor = driver.inventory().cursor
    vm = room.vm()
    entered = changes_from(driver, cursor, lambda seen: any(vm.key == new.key for one in seen for new in one.vms))
    room.power(vm.key, Power.ON)

    def is_on(seen):
        return any(new.key == vm.key and new.power is Power.ON for one in seen for new in one.vms)

    powered = changes_from(driver, entered[-1].cursor, is_on)
    site.by_hand.delete_vm(vm.key)
    changes_from(driver, powered[-1].cursor, lambda seen: any(vm.ref in one.gone_refs for one in seen))
    assert driver.find_vms([vm.key]) == {}


def test_changes_made_by_hand_are_reported(site, room, driver):
    vm = room.vm()
    room.power(vm.key, Power.ON)
    cursor = driver.inventory().cursor
    site.by_hand.power_off(vm.key)

    def is_off(seen):
        return any(new.key == vm.key and new.power is Power.OFF for one in seen for new in one.vms)

    off = changes_from(driver, cursor, is_off)
    site.by_hand.rename_vm(vm.key, f"renamed-{vm.key.hex[:8]}")
    changes_from(
        driver, off[-1].cursor, lambda seen: any(new.name.startswith("renamed-") for one in seen for new in one.vms)
    )


def test_a_waiting_look_wakes_when_something_moves(site, room, driver, connect):
    vm = room.vm()
    watcher = connect()
    cursor = watcher.inventory().cursor
    seen = []
    waiting = threading.Thread(target=lambda: seen.append(watcher.changes(cursor, 15)))
    waiting.start()
    room.power(vm.key, Power.ON)
    waiting.join(10)
    assert not waiting.is_alive()
    assert seen


def test_a_lost_cursor_asks_for_a_new_inventory(driver):
    assert driver.changes("a cursor of nobody", 0).resync


def test_the_layers_say_what_they_are(driver):
    assert driver.isolation() in {"l2", "stateless-acl", "stateful"}
    assert isinstance(driver.policies(), tuple)
