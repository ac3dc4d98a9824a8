"""What plain pyVmomi finds at the site after our verbs, and what becomes of vCenter's faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from pyVim.task import WaitForTask
from pyVmomi import vim

from infra.drivers.base import (
    AntiAffinityRule,
    FolderSpec,
    InFlight,
    NotReady,
    PoolPart,
    PoolSpec,
    Power,
    Refused,
    VmFacts,
)
from tests.contract.room import until

USER_DATA = "#cloud-config\nhostname: a-very-secret-thing\n"


def vm_of(vcenter, key):
    return vcenter.by_hand.content.searchIndex.FindByUuid(uuid=str(key), vmSearch=True, instanceUuid=True)


def device(vm, kind):
    return next(one for one in vm.config.hardware.device if isinstance(one, kind))


# --- real things at the site ---------------------------------------------------------------------------------------


def test_the_vm_that_was_asked_for_really_stands(vcenter, room):
    spec = room.spec(vcpu=3, memory_mib=5120)
    room.make_vms(spec)
    vm = vm_of(vcenter, spec.key)
    assert (vm.name, vm.config.hardware.numCPU, vm.config.hardware.memoryMB) == (spec.name, 3, 5120)
    assert device(vm, vim.vm.device.VirtualDisk).capacityInBytes == spec.disk_gib << 30
    assert device(vm, vim.vm.device.VirtualEthernetCard).backing.deviceName == "VM Network"
    assert vm.resourcePool._moId == room.pool_ref
    assert vm.parent._moId == room.folder_ref
    assert vm.runtime.host._moId == room.host.ref


def test_a_vm_on_a_distributed_port_group(vcenter, room, driver):
    group = next(net for net in driver.inventory().networks if net.name == "DC0_DVPG0")
    assert group.kind == "distributed"
    spec = room.spec(network_ref=group.ref)
    room.right(room.make_vms(spec)[spec.key])
    backing = device(vm_of(vcenter, spec.key), vim.vm.device.VirtualEthernetCard).backing
    assert backing.port.portgroupKey in group.ref


def test_making_one_vm_leaves_its_siblings_and_its_template_alone(vcenter, room, driver):
    small, large = room.spec(), room.spec(disk_gib=room.template.disk_gib + 40)
    room.make_vms(small, large)
    assert driver.find_vms([small.key])[small.key].disk_gib == small.disk_gib
    template = next(one for one in driver.inventory().templates if one.ref == room.template.ref)
    assert template.disk_gib == room.template.disk_gib


def test_a_pool_tree_with_its_figures_really_stands(vcenter, room, driver):
    compute = room.host.compute_ref
    key = uuid4()
    part = PoolPart(compute, room.pool_ref, None, 4000, 8192, 16000, 32768)
    ref = driver.ensure_pool(PoolSpec(key, "acme", (part,), expandable=False))[compute]
    pool = vim.ResourcePool(ref, vcenter.by_hand.si._stub)
    assert pool.name == f"acme ({key.hex[-12:]})"
    assert pool.parent._moId == room.pool_ref
    cpu, memory = pool.config.cpuAllocation, pool.config.memoryAllocation
    assert (cpu.reservation, cpu.limit, cpu.expandableReservation, cpu.shares.level) == (4000, 16000, False, "normal")
    assert (memory.reservation, memory.limit, memory.expandableReservation) == (8192, 32768, False)
    driver.ensure_no_pool([ref])


def test_a_pool_on_a_standalone_host(driver):
    host = next(one for one in driver.inventory().hosts if not one.vsphere_cluster)
    spec = PoolSpec(uuid4(), "alone", (PoolPart(host.compute_ref, None),))
    refs = driver.ensure_pool(spec)
    assert driver.ensure_pool(spec) == refs
    driver.ensure_no_pool(refs.values())


def test_folders_nest_below_the_datacenters_own(vcenter, room, driver):
    key = uuid4()
    ref = driver.ensure_folder(FolderSpec(key, "acme", room.folder_ref))
    folder = vim.Folder(ref, vcenter.by_hand.si._stub)
    assert folder.name == f"acme ({key.hex[-12:]})"
    assert folder.parent.parent.name == "vm"
    driver.ensure_no_folder(ref)


def test_a_rule_really_stands_in_the_vsphere_cluster(vcenter, room, driver):
    keys = (room.vm().key, room.vm().key)
    rule = AntiAffinityRule(f"facet-{uuid4()}", keys)
    driver.ensure_rule(rule)
    cluster = vm_of(vcenter, keys[0]).runtime.host.parent
    found = [one for one in cluster.configurationEx.rule if one.name == rule.name]
    assert [type(one) for one in found] == [vim.cluster.AntiAffinityRuleSpec]
    assert found[0].enabled
    assert {vm.config.instanceUuid for vm in found[0].vm} == {str(key) for key in keys}
    driver.ensure_no_rule(rule.name)
    assert rule.name not in {one.name for one in cluster.configurationEx.rule}


def test_a_batch_of_vms_costs_few_calls_and_never_a_full_read(vcenter, room, driver):
    specs = [room.spec() for _ in range(20)]
    before = vcenter.program.calls()
    room.make_vms(*specs)
    driver.ensure_boot_data(dict.fromkeys((spec.key for spec in specs), USER_DATA))
    driver.ensure_power(dict.fromkeys((spec.key for spec in specs), Power.ON))
    after = vcenter.program.calls()
    spent = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    print(f"calls for 20 VMs: {spent}; {sum(spent.values()) / 20:.1f} a VM")
    assert sum(spent.values()) / 20 <= 8
    assert "CreateContainerView" not in spent


def test_each_inventory_sees_what_changed_since_the_last(vcenter, room, driver):
    vm = room.vm()

    def listed():
        return next(one for one in driver.inventory().vms if one.key == vm.key)

    assert listed() == vm
    driver.ensure_boot_data({vm.key: USER_DATA})
    assert listed().boot_data_present
    attach(vcenter, vm.key, f"[LocalDS_0] {vm.name}/second.vmdk")
    assert listed().disk_gib == vm.disk_gib + 1
    driver.ensure_boot_data({vm.key: None})
    assert listed() == driver.find_vms([vm.key])[vm.key]


# --- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "detail", "expected", "code"),
    [
        ("NoPermission", "<privilegeId>VirtualMachine.Inventory.Create</privilegeId>", Refused, "no_permission"),
        ("InsufficientResourcesFault", "", Refused, "no_resources"),
        ("NoDiskSpace", "<file>x</file><datastore>LocalDS_0</datastore>", Refused, "no_space"),
        ("InvalidState", "", Refused, "invalid_state"),
        ("TaskInProgress", "", NotReady, "not_ready"),
        ("ConcurrentAccess", "", NotReady, "not_ready"),
    ],
)
def test_a_fault_becomes_what_it_means_for_one_vm_alone(vcenter, room, driver, fault, detail, expected, code):
    bad, good = room.spec(), room.spec()
    vcenter.program.inject("CloneVM_Task", fault, detail=detail, match=bad.name)
    made = driver.ensure_vms([bad, good])
    assert isinstance(made[bad.key], expected)
    assert made[bad.key].code == code
    assert made[bad.key].reason
    if code == "no_permission":
        assert "VirtualMachine.Inventory.Create" in made[bad.key].reason
    assert isinstance(made[good.key], VmFacts)


@pytest.mark.parametrize("wrong", ["folder_ref", "pool_ref", "network_ref"])
def test_a_place_that_is_gone_is_refused_for_that_vm_alone(room, driver, wrong):
    good, bad = room.spec(), replace(room.spec(), **{wrong: "group-987654321"})
    made = room.make_vms(good, bad)
    assert isinstance(made[good.key], VmFacts)
    assert isinstance(made[bad.key], Refused)
    assert made[bad.key].code == "not_found"


def test_a_task_that_ends_in_a_taken_name_asks_for_another_look(vcenter, room, driver):
    spec = room.spec()
    vcenter.program.inject("CloneVM_Task", "DuplicateName", kind="task", match=spec.name)
    assert isinstance(driver.ensure_vms([spec])[spec.key], NotReady)
    room.right(room.make_vms(spec)[spec.key])


def test_a_fault_while_boot_data_is_written_tells_nobody_what_it_was(vcenter, room, driver, caplog):
    vm = room.vm()
    vcenter.program.inject("ReconfigVM_Task", "InvalidState", text="The operation is not allowed.")
    outcome = driver.ensure_boot_data({vm.key: USER_DATA})[vm.key]
    assert isinstance(outcome, Refused)
    assert "secret" not in f"{outcome!r}{outcome}{caplog.text}"


def test_a_datastore_that_is_full_is_said_to_be_full(vcenter, room, driver):
    vcenter.program.admin("POST", "datastore", name="LocalDS_0", free_gib=1)
    try:
        spec = room.spec()
        outcome = driver.ensure_vms([spec])[spec.key]
        assert isinstance(outcome, Refused)
        assert outcome.code == "no_space"
    finally:
        vcenter.program.admin("POST", "datastore", name="LocalDS_0", free_gib=8192)
    room.right(room.make_vms(spec)[spec.key])


# --- other people at the site --------------------------------------------------------------------------------------


def test_boot_data_is_refused_once_somebody_had_the_vm_on(vcenter, room, driver):
    vm = room.vm()
    WaitForTask(vm_of(vcenter, vm.key).PowerOnVM_Task())
    WaitForTask(vm_of(vcenter, vm.key).PowerOffVM_Task())
    outcome = driver.ensure_boot_data({vm.key: USER_DATA})[vm.key]
    assert isinstance(outcome, Refused)
    assert outcome.code == "already_booted"


def test_a_vm_that_drs_moved_is_not_moved_back(vcenter, room, driver):
    spec = room.spec()
    room.make_vms(spec)
    room.power(spec.key, Power.ON)
    other = next(
        host for host in driver.inventory().hosts if host.vsphere_cluster == "DC0_C0" and host.ref != room.host.ref
    )
    host = vim.HostSystem(other.ref, vcenter.by_hand.si._stub)
    WaitForTask(vm_of(vcenter, spec.key).RelocateVM_Task(vim.vm.RelocateSpec(host=host)))
    before = vcenter.by_hand.writes()
    assert driver.ensure_vms([spec])[spec.key].host_ref == other.ref
    room.power(spec.key, Power.OFF)
    assert driver.ensure_vms([spec])[spec.key].host_ref == other.ref
    assert vcenter.by_hand.writes() == before + 1


def test_a_clone_made_by_hand_bears_no_witness(vcenter, room, driver):
    vm = room.vm()
    source = vm_of(vcenter, vm.key)
    copied = [vim.option.OptionValue(key="facet.key", value=str(vm.key))]
    spec = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(pool=source.resourcePool), config=vim.vm.ConfigSpec(extraConfig=copied)
    )
    task = source.CloneVM_Task(folder=source.parent, name="copied-by-hand", spec=spec)
    WaitForTask(task)
    copy = next(one for one in driver.inventory().vms if one.name == "copied-by-hand")
    room.keys.add(copy.key)
    assert not copy.witness
    assert copy.key != vm.key


def test_a_foreign_disk_outlives_the_vm(vcenter, room, driver):
    vm = room.vm()
    store = vim.Datastore(room.datastore_ref, vcenter.by_hand.si._stub)
    volume = Path(store.summary.url) / "volumes" / f"{vm.key}.vmdk"
    volume.parent.mkdir(exist_ok=True)
    attach(vcenter, vm.key, f"[LocalDS_0] volumes/{vm.key}.vmdk")
    assert volume.exists()
    assert driver.find_vms([vm.key])[vm.key].disk_gib == vm.disk_gib
    assert room.remove([vm.key]) == {vm.key: None}
    assert volume.exists()


def test_a_vm_stays_while_a_foreign_disk_cannot_be_taken_off(vcenter, room, driver):
    vm = room.vm()
    store = vim.Datastore(room.datastore_ref, vcenter.by_hand.si._stub)
    (Path(store.summary.url) / "volumes").mkdir(exist_ok=True)
    attach(vcenter, vm.key, f"[LocalDS_0] volumes/{vm.key}.vmdk")
    vcenter.program.inject("ReconfigVM_Task", "InvalidState")
    assert isinstance(driver.ensure_no_vms([vm.key])[vm.key], Refused)
    assert vm.key in driver.find_vms([vm.key])


def attach(vcenter, key, path):
    vm = vm_of(vcenter, key)
    controller = device(vm, vim.vm.device.ParaVirtualSCSIController)
    disk = vim.vm.device.VirtualDisk(key=-5, controllerKey=controller.key, unitNumber=3, capacityInKB=1 << 20)
    disk.backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent")
    change = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    task = vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change]))
    WaitForTask(task)


def test_a_change_of_size_by_hand_is_reported(vcenter, room, driver):
    vm = room.vm()
    cursor = driver.inventory().cursor
    WaitForTask(vm_of(vcenter, vm.key).ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=7)))
    seen = until(lambda: [one for one in driver.changes(cursor, 1).vms if one.key == vm.key])
    assert seen[0].vcpu == 7


def test_a_host_that_shrinks_and_a_datastore_that_fills_are_reported(vcenter, room, driver):
    cursor = driver.inventory().cursor
    vcenter.program.admin("POST", "host", name=room.host.name, cores=4, memory_mib=65536)
    seen = until(lambda: driver.changes(cursor, 1).hosts)
    assert [(host.ref, host.cpu_cores, host.memory_mib) for host in seen] == [(room.host.ref, 4, 65536)]
    vcenter.program.admin("POST", "datastore", name="LocalDS_0", free_gib=100)
    stores = until(lambda: driver.changes(cursor, 1).datastores)
    assert stores[0].free_gib == 100
    vcenter.program.admin("POST", "datastore", name="LocalDS_0", free_gib=8192)


def test_a_vm_in_flight_is_not_made_by_a_second_driver(vcenter, room, connect):
    spec = room.spec()
    with vcenter.program.clones_take(0.6):
        assert isinstance(connect().ensure_vms([spec])[spec.key], InFlight)
        assert isinstance(connect().ensure_vms([spec])[spec.key], NotReady)
        stranger = replace(spec, key=uuid4())
        assert isinstance(connect().ensure_vms([stranger])[stranger.key], NotReady)
    room.right(room.make_vms(spec)[spec.key])
    refused = connect().ensure_vms([stranger])[stranger.key]
    assert refused.code == "name_taken"
