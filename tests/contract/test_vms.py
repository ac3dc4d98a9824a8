"""VMs: found by key before they are made, right before they are left alone, gone when they are said to be gone."""

from __future__ import annotations

import base64
import gzip
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from infra.drivers.base import AntiAffinityRule, InFlight, NotReady, Power, Refused, TaskState, VmFacts

from .room import settled, until

USER_DATA = "#cloud-config\nhostname: node\nruncmd:\n  - mkdir -p /run/facet\n"


# --- making --------------------------------------------------------------------------------------------------------


def test_a_vm_stands_as_it_was_asked_for(site, room, driver):
    spec = room.spec(vcpu=4, memory_mib=3072)
    vm = room.right(room.make_vms(spec)[spec.key])
    assert (vm.key, vm.name, vm.vcpu, vm.memory_mib, vm.disk_gib) == (
        spec.key,
        spec.name,
        4,
        3072,
        room.template.disk_gib + 4,
    )
    assert (vm.host_ref, vm.pool_ref, vm.folder_ref) == (room.host.ref, room.pool_ref, room.folder_ref)
    assert vm.datastore_refs == (room.datastore_ref,)
    assert vm.power is Power.OFF
    assert vm.witness
    assert not vm.boot_data_present
    config = site.by_hand.extra_config(spec.key)
    assert config["facet.key"] == str(spec.key)
    assert config["facet.version"] == "v1.34.2"
    assert gzip.decompress(base64.b64decode(config["guestinfo.metadata"])).decode() == spec.metadata
    assert config["guestinfo.metadata.encoding"] == "gzip+base64"


def test_where_no_host_is_named_the_pool_is_the_target_and_the_site_chooses(site, room, driver):
    """As in a zone that DRS places: a clone and an empty VM stand on some host of the pool's vSphere cluster."""
    clone = room.spec(host_ref="")
    empty = room.spec("bare", host_ref="", template_ref="", guest_id="otherLinux64Guest")
    made = room.make_vms(clone, empty)
    within = {host.ref for host in driver.inventory().hosts if host.compute_ref == room.host.compute_ref}
    for spec in (clone, empty):
        vm = room.right(made[spec.key])
        assert vm.host_ref in within
        assert (vm.pool_ref, vm.datastore_refs) == (room.pool_ref, (room.datastore_ref,))
    writes = site.by_hand.writes()
    again = room.make_vms(clone, empty)
    assert {key: room.right(one).host_ref for key, one in again.items()} == {
        key: room.right(one).host_ref for key, one in made.items()
    }
    assert site.by_hand.writes() == writes
    room.power(clone.key, Power.ON)


def test_a_vm_asked_for_twice_is_one_vm_and_no_second_write(site, room, driver, connect):
    spec = room.spec()
    first = room.right(room.make_vms(spec)[spec.key])
    before = site.by_hand.writes()
    assert driver.ensure_vms([spec])[spec.key] == first
    assert connect().ensure_vms([spec])[spec.key] == first
    assert site.by_hand.writes() == before
    assert site.by_hand.vm_names(room.folder_ref) == [spec.name]


@pytest.mark.parametrize("take_s", [0.0, 0.4])
def test_a_vm_asked_for_by_several_threads_at_once_is_one_vm(site, room, driver, connect, take_s):
    spec = room.spec()
    drivers = [driver, driver, connect(), connect()]
    with site.by_hand.clones_take(take_s), ThreadPoolExecutor(len(drivers)) as threads:
        outcomes = list(threads.map(lambda one: one.ensure_vms([spec])[spec.key], drivers))
    assert all(isinstance(outcome, VmFacts | InFlight | NotReady) for outcome in outcomes), outcomes
    room.right(room.make_vms(spec)[spec.key])
    assert site.by_hand.vm_names(room.folder_ref) == [spec.name]
    assert len([vm for vm in driver.inventory().vms if vm.key == spec.key]) == 1


def test_a_clone_whose_ref_was_never_saved_is_adopted(site, room, connect):
    spec = room.spec()
    with site.by_hand.clones_take(0.5):
        killed = connect()
        assert isinstance(killed.ensure_vms([spec])[spec.key], InFlight)
        killed.close()
        heir = connect()
        assert isinstance(heir.ensure_vms([spec])[spec.key], InFlight | NotReady)
        vm = room.right(room.make_vms(spec, driver=heir)[spec.key])
    assert site.by_hand.vm_names(room.folder_ref) == [spec.name]
    assert vm.key == spec.key


def test_many_vms_are_made_with_one_call(site, room):
    specs = [room.spec() for _ in range(8)]
    made = room.make_vms(*specs)
    assert {room.right(outcome).name for outcome in made.values()} == {spec.name for spec in specs}
    assert len(site.by_hand.vm_names(room.folder_ref)) == 8


def test_a_name_that_somebody_else_has_is_refused(site, room, driver):
    spec = room.spec()
    ref = site.by_hand.make_vm(spec.name, room.folder_ref, room.pool_ref, room.host.ref, room.datastore_ref)
    room.keys.add(next(vm.key for vm in driver.inventory().vms if vm.ref == ref))
    outcome = room.make_vms(spec)[spec.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == "name_taken"
    assert spec.name in outcome.reason


def test_a_name_that_another_key_of_ours_has_is_refused(room):
    vm = room.vm()
    spec = room.spec(name=vm.name)
    outcome = room.make_vms(replace(spec, name=vm.name))[spec.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == "name_taken"


@pytest.mark.parametrize(
    "wrong",
    [{"template_ref": "vm-987654321"}, {"host_ref": "host-987654321"}, {"datastore_ref": "datastore-987654321"}],
)
def test_a_ref_that_leads_nowhere_is_refused_for_that_vm_alone(site, room, wrong):
    good, bad = room.spec(), room.spec(**wrong)
    made = room.make_vms(bad, good)
    room.right(made[good.key])
    assert isinstance(made[bad.key], Refused)
    assert made[bad.key].code == "not_found"
    assert site.by_hand.vm_names(room.folder_ref) == [good.name]


def test_a_disk_smaller_than_the_templates_is_refused(site, room):
    spec = room.spec(disk_gib=room.template.disk_gib - 1)
    outcome = room.make_vms(spec)[spec.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == "disk_too_small"
    assert site.by_hand.vm_names(room.folder_ref) == []


def test_a_fault_of_one_clone_fails_no_other_and_may_be_tried_again(site, room, driver):
    good, bad = room.spec(), room.spec()
    site.by_hand.fail_clone(bad.name)
    first = driver.ensure_vms([bad, good])
    if isinstance(first[bad.key], InFlight):
        ref = first[bad.key].ref
        task = until(lambda: (found := driver.poll([ref])[ref]).state is not TaskState.RUNNING and found)
        assert task.state is TaskState.FAILED
        assert isinstance(task.error, Refused)
        assert task.error.reason
    else:
        assert isinstance(first[bad.key], Refused)
    made = room.make_vms(bad, good)
    room.right(made[good.key])
    room.right(made[bad.key])
    assert site.by_hand.vm_names(room.folder_ref) == sorted([good.name, bad.name])


# --- boot data and power -------------------------------------------------------------------------------------------


def test_boot_data_reaches_the_vm_packed_and_twice_is_no_second_write(site, room, driver):
    vm = room.vm()
    assert driver.ensure_boot_data({vm.key: USER_DATA}) == {vm.key: None}
    config = site.by_hand.extra_config(vm.key)
    assert gzip.decompress(base64.b64decode(config["guestinfo.userdata"])).decode() == USER_DATA
    assert config["guestinfo.userdata.encoding"] == "gzip+base64"
    assert driver.find_vms([vm.key])[vm.key].boot_data_present
    before = site.by_hand.writes()
    assert driver.ensure_boot_data({vm.key: USER_DATA}) == {vm.key: None}
    assert site.by_hand.writes() == before


def test_boot_data_is_wiped_and_metadata_stays(site, room, driver):
    vm = room.vm()
    driver.ensure_boot_data({vm.key: USER_DATA})
    room.power(vm.key, Power.ON)
    assert driver.ensure_boot_data({vm.key: None}) == {vm.key: None}
    config = site.by_hand.extra_config(vm.key)
    assert config.get("guestinfo.userdata", "") in ("", "---")
    assert config["guestinfo.metadata"]
    assert not driver.find_vms([vm.key])[vm.key].boot_data_present
    before = site.by_hand.writes()
    assert driver.ensure_boot_data({vm.key: None}) == {vm.key: None}
    assert site.by_hand.writes() == before


@pytest.mark.parametrize("left", [Power.ON, Power.OFF])
def test_boot_data_is_refused_once_a_vm_has_been_on(room, driver, left):
    vm = room.vm()
    room.power(vm.key, Power.ON)
    room.power(vm.key, left)
    outcome = driver.ensure_boot_data({vm.key: USER_DATA})[vm.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == "already_booted"
    assert not driver.find_vms([vm.key])[vm.key].boot_data_present


def test_making_sure_of_a_vm_leaves_its_boot_data_and_power_alone(site, room, driver):
    spec = room.spec()
    room.make_vms(spec)
    driver.ensure_boot_data({spec.key: USER_DATA})
    room.power(spec.key, Power.ON)
    before = site.by_hand.writes()
    vm = room.right(room.make_vms(spec)[spec.key])
    assert vm.power is Power.ON
    assert vm.boot_data_present
    assert site.by_hand.writes() == before


def test_power_asked_for_twice_is_one_write(site, room, driver):
    vm = room.vm()
    for power in (Power.ON, Power.OFF):
        assert room.power(vm.key, power).power is power
        before = site.by_hand.writes()
        assert driver.ensure_power({vm.key: power})[vm.key].power is power
        assert site.by_hand.writes() == before


def test_a_vm_that_is_not_there_is_refused_for_itself_alone(room, driver):
    vm, nobody = room.vm(), uuid4()
    powered = settled(lambda: dict(driver.ensure_power({nobody: Power.ON, vm.key: Power.ON})), driver)
    assert room.right(powered[vm.key]).power is Power.ON
    assert isinstance(powered[nobody], Refused)
    assert powered[nobody].code == "not_found"
    booted = driver.ensure_boot_data({nobody: USER_DATA, vm.key: None})
    assert booted[vm.key] is None
    assert booted[nobody].code == "not_found"


def test_a_console_is_text_where_the_layer_keeps_it(site, room, driver):
    vm = room.vm()
    if site.kind == "vsphere":
        with pytest.raises(Refused) as refused:
            driver.console_log(vm.key)
        assert refused.value.code == "no_console"
    else:
        assert isinstance(driver.console_log(vm.key), str)


# --- going ---------------------------------------------------------------------------------------------------------


def test_a_vm_is_removed_whatever_its_power_and_twice_is_done(site, room, driver):
    on, off = room.vm(), room.vm()
    room.power(on.key, Power.ON)
    keys = [on.key, off.key]
    assert room.remove(keys) == dict.fromkeys(keys)
    assert driver.find_vms(keys) == {}
    assert site.by_hand.vm_names(room.folder_ref) == []
    before = site.by_hand.writes()
    assert room.remove(keys) == dict.fromkeys(keys)
    assert site.by_hand.writes() == before


def test_a_vm_deleted_by_hand_is_made_anew_under_its_key(site, room, driver):
    spec = room.spec()
    first = room.right(room.make_vms(spec)[spec.key])
    site.by_hand.delete_vm(spec.key)
    assert driver.find_vms([spec.key]) == {}
    second = room.right(room.make_vms(spec)[spec.key])
    assert second.ref != first.ref
    assert second.key == first.key


def test_a_key_that_never_was_is_gone(room):
    key = uuid4()
    assert room.remove([key]) == {key: None}


# --- rules ---------------------------------------------------------------------------------------------------------


def test_a_rule_asked_for_twice_is_one_rule_and_goes_once(site, room, driver):
    rule = AntiAffinityRule(name=f"facet-{uuid4()}", vm_keys=(room.vm().key, room.vm().key))
    driver.ensure_rule(rule)
    before = site.by_hand.writes()
    driver.ensure_rule(rule)
    assert site.by_hand.writes() == before
    driver.ensure_no_rule(rule.name)
    after = site.by_hand.writes()
    assert after > before
    driver.ensure_no_rule(rule.name)
    assert site.by_hand.writes() == after


def test_a_rule_follows_its_members(site, room, driver):
    one, two, three = (room.vm().key for _ in range(3))
    rule = AntiAffinityRule(name=f"facet-{uuid4()}", vm_keys=(one, two))
    driver.ensure_rule(rule)
    before = site.by_hand.writes()
    driver.ensure_rule(replace(rule, vm_keys=(one, two, three)))
    assert site.by_hand.writes() > before
    driver.ensure_no_rule(rule.name)
