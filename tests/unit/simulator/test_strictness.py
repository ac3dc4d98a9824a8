"""What a strict vCenter refuses, and what people do there by hand."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from infra.drivers.base import FolderSpec, HostState, InFlight, NotReady, Power, Refused
from tests.contract.room import pool_spec, settled, until


def refused(outcome, code):
    assert isinstance(outcome, Refused), outcome
    assert outcome.code == code
    return outcome.reason


def store(driver, name="rack-1-ssd"):
    return next(one for one in driver.inventory().datastores if one.name == name)


def host(driver, name="rack-1-host-1"):
    return next(one for one in driver.inventory().hosts if one.name == name)


# --- room ----------------------------------------------------------------------------------------------------------


def test_a_datastore_that_is_full_refuses_a_clone_and_says_what_is_left(room, driver, hand):
    hand.hand("datastore", name="rack-1-ssd", free_gib=20)
    spec, small = room.spec(disk_gib=21), room.spec(disk_gib=12)
    made = room.make_vms(spec, small)
    assert "20 GiB left" in refused(made[spec.key], "no_space")
    room.right(made[small.key])
    assert store(driver).free_gib == 8
    assert hand.vm_names(room.folder_ref) == [small.name]


def test_clones_in_flight_hold_their_room_and_give_it_back_when_they_fail(room, driver, hand):
    hand.hand("datastore", name="rack-1-ssd", free_gib=20)
    first, second = room.spec(disk_gib=15), room.spec(disk_gib=15)
    hand.fail_clone(first.name)
    with hand.clones_take(0.2):
        answers = driver.ensure_vms([first, second])
    assert isinstance(answers[first.key], InFlight)
    refused(answers[second.key], "no_space")
    assert store(driver).free_gib == 5
    until(lambda: store(driver).free_gib == 20)
    assert hand.vm_names(room.folder_ref) == []
    room.right(room.make_vms(second)[second.key])


def test_a_disk_grows_only_into_room_that_is_there(room, driver, hand):
    spec = room.spec(disk_gib=10)
    room.make_vms(spec)
    hand.hand("datastore", name="rack-1-ssd", free_gib=5)
    larger = replace(spec, disk_gib=16)
    refused(driver.ensure_vms([larger])[spec.key], "no_space")
    grown = room.make_vms(replace(spec, disk_gib=15))[spec.key]
    assert room.right(grown).disk_gib == 15
    assert store(driver).free_gib == 0


def test_a_host_runs_no_more_than_its_memory(room, driver, hand):
    hand.hand("host", name="rack-1-host-1", memory_mib=5000)
    one, two, three = (room.vm(memory_mib=2400) for _ in range(3))
    room.power(one.key, Power.ON)
    room.power(two.key, Power.ON)
    assert "200 MiB" in refused(driver.ensure_power({three.key: Power.ON})[three.key], "no_resources")
    room.power(one.key, Power.OFF)
    assert room.power(three.key, Power.ON).power is Power.ON


def test_a_host_that_shrinks_below_what_runs_keeps_it_and_takes_no_more(room, driver, hand):
    vm, more = room.vm(), room.vm()
    room.power(vm.key, Power.ON)
    cursor = driver.inventory().cursor
    hand.hand("host", name="rack-1-host-1", memory_mib=1024, cpu_cores=4)
    (seen,) = driver.changes(cursor, 5).hosts
    assert (seen.memory_mib, seen.cpu_cores) == (1024, 4)
    assert driver.find_vms([vm.key])[vm.key].power is Power.ON
    refused(driver.ensure_power({more.key: Power.ON})[more.key], "no_resources")


def test_a_host_in_maintenance_is_refused_and_one_that_is_down_is_waited_for(room, driver, hand):
    vm, runs, spec = room.vm(), room.vm(), room.spec()
    room.power(runs.key, Power.ON)
    hand.hand("host", name="rack-1-host-1", state="maintenance")
    assert host(driver).state is HostState.MAINTENANCE
    refused(driver.ensure_vms([spec])[spec.key], "no_resources")
    refused(driver.ensure_power({vm.key: Power.ON})[vm.key], "no_resources")
    hand.hand("host", name="rack-1-host-1", state="down")
    assert host(driver).state is HostState.DOWN
    assert driver.find_vms([runs.key])[runs.key].power is Power.OFF
    assert isinstance(driver.ensure_vms([spec])[spec.key], NotReady)
    assert isinstance(driver.ensure_power({vm.key: Power.ON})[vm.key], NotReady)
    hand.hand("host", name="rack-1-host-1", state="up")
    room.right(room.make_vms(spec)[spec.key])


def test_a_datastore_out_of_reach_is_waited_for(room, driver, hand):
    hand.hand("datastore", name="rack-1-ssd", accessible=False)
    assert not store(driver).accessible
    spec = room.spec()
    assert isinstance(driver.ensure_vms([spec])[spec.key], NotReady)


# --- what belongs together -----------------------------------------------------------------------------------------


def test_a_vm_whose_parts_do_not_belong_together_is_refused(room, driver):
    seen = driver.inventory()
    other_host = next(one for one in seen.hosts if one.vsphere_cluster == "rack-2")
    other_store = next(one for one in seen.datastores if one.name == "rack-2-ssd")
    wrong = [
        room.spec(host_ref=other_host.ref, datastore_ref=other_store.ref),  # its pool is of rack-1
        room.spec(datastore_ref=other_store.ref),
        room.spec(vcpu=0),
    ]
    for outcome in driver.ensure_vms(wrong).values():
        refused(outcome, "invalid")
    unknown = [room.spec(folder_ref="group-9999"), room.spec(pool_ref="resgroup-9999"), room.spec(network_ref="n-9")]
    for outcome in driver.ensure_vms(unknown).values():
        refused(outcome, "not_found")


def test_a_pool_reserves_no_more_than_stands_behind_it(room, driver):
    parent = driver.ensure_pool(
        replace(
            pool_spec(room.host.compute_ref, parent_ref=room.pool_ref, memory_reserved_mib=4096, cpu_reserved_mhz=1000),
            expandable=False,
        )
    )[room.host.compute_ref]
    first = driver.ensure_pool(pool_spec(room.host.compute_ref, parent_ref=parent, memory_reserved_mib=3000))
    with pytest.raises(Refused) as more:
        driver.ensure_pool(pool_spec(room.host.compute_ref, parent_ref=parent, memory_reserved_mib=1097))
    refused(more.value, "no_resources")
    with pytest.raises(Refused) as absurd:
        driver.ensure_pool(pool_spec(room.host.compute_ref, parent_ref=room.pool_ref, cpu_reserved_mhz=10**9))
    refused(absurd.value, "no_resources")
    last = driver.ensure_pool(pool_spec(room.host.compute_ref, parent_ref=parent, memory_reserved_mib=1096))
    driver.ensure_no_pool([*first.values(), *last.values()])
    driver.ensure_no_pool([parent])


def test_boot_data_larger_than_a_guestinfo_value_is_refused(room, driver):
    vm = room.vm()
    text = "".join(uuid4().hex for _ in range(6000))
    refused(driver.ensure_boot_data({vm.key: text})[vm.key], "invalid")
    assert not driver.find_vms([vm.key])[vm.key].boot_data_present


def test_a_folder_and_a_vm_do_not_share_a_name(room, driver, hand):
    spec = FolderSpec(uuid4(), "team", room.folder_ref)
    name = f"team ({spec.key.hex[-12:]})"
    hand.make_vm(name, room.folder_ref, room.pool_ref, room.host.ref, room.datastore_ref)
    room.keys.add(next(vm.key for vm in driver.inventory().vms if vm.name == name))
    with pytest.raises(Refused) as taken:
        driver.ensure_folder(spec)
    refused(taken.value, "name_taken")


# --- by hand -------------------------------------------------------------------------------------------------------


def test_a_vm_moved_by_hand_is_shown_where_it_is_and_left_there(site, room, driver, hand):
    spec = room.spec()
    room.make_vms(spec)
    room.power(spec.key, Power.ON)
    cursor = driver.inventory().cursor
    hand.hand("move-vm", key=str(spec.key), host="rack-1-host-2")
    (moved,) = driver.changes(cursor, 5).vms
    assert moved.host_ref == host(driver, "rack-1-host-2").ref
    before = hand.writes()
    assert room.right(room.make_vms(spec)[spec.key]).host_ref == moved.host_ref
    assert hand.writes() == before


def test_a_vm_resized_while_off_is_mended_and_while_on_left_alone(room, driver, hand):
    spec = room.spec(vcpu=2)
    room.make_vms(spec)
    larger = replace(spec, vcpu=4, memory_mib=4096)
    vm = room.right(room.make_vms(larger)[spec.key])
    assert (vm.vcpu, vm.memory_mib) == (4, 4096)
    room.power(spec.key, Power.ON)
    before = hand.writes()
    assert room.right(room.make_vms(spec)[spec.key]).vcpu == 4
    assert hand.writes() == before


def test_a_vm_powered_on_before_it_was_finished_is_refused(room, driver):
    spec = room.spec()
    room.make_vms(spec)
    room.power(spec.key, Power.ON)
    refused(driver.ensure_vms([replace(spec, metadata="instance-id: another\n")])[spec.key], "invalid")


def test_two_acts_on_one_vm_come_one_after_the_other(room, driver, hand):
    vm = room.vm()
    hand.hand("latency", power_on=0.3)
    try:
        on = driver.ensure_power({vm.key: Power.ON})[vm.key]
        assert isinstance(on, InFlight)
        assert isinstance(driver.ensure_power({vm.key: Power.ON})[vm.key], NotReady)
        assert isinstance(driver.ensure_no_vms([vm.key])[vm.key], NotReady)
        assert settled(lambda: dict(driver.ensure_power({vm.key: Power.ON})), driver)[vm.key].power is Power.ON
    finally:
        hand.hand("latency", power_on=0)


def test_a_vm_of_somebody_else_can_be_cloned(room, driver, hand):
    ref = hand.make_vm("golden", room.folder_ref, room.pool_ref, room.host.ref, room.datastore_ref)
    seen = driver.inventory()
    room.keys.add(next(vm.key for vm in seen.vms if vm.ref == ref))
    golden = next(found for found in seen.templates if found.ref == ref)
    assert not golden.is_template
    spec = room.spec(template_ref=ref)
    room.right(room.make_vms(spec)[spec.key])


def test_a_site_that_lost_everything_is_still_the_same_site(own):
    with own() as (site, driver, room):
        room.vm()
        before = driver.check()
        cursor = driver.inventory().cursor
        site.by_hand.hand("lose-everything")
        seen = driver.inventory()
        assert driver.check() == before
        assert seen.vms == ()
        assert seen.hosts
        assert [found.name for found in seen.templates if found.name == site.template]
        assert driver.changes(cursor, 0).gone_refs
