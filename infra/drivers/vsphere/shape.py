"""What a VM is asked to be, as vCenter's specs: the clone, and the edit that makes it right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim

from ..base import Refused, VmSpec
from ..extraconfig import KEY, LARGEST_VALUE, METADATA, VERSION, packed
from . import properties
from .machine import GIB, Machine, disk_bytes
from .session import Session


@dataclass(frozen=True)
class Surroundings:
    """What specs refer to, read once for a whole batch: templates, and the backings of network cards."""

    templates: Mapping[str, Machine]
    backings: Mapping[str, Any]

    def template(self, spec: VmSpec) -> Machine:
        found = self.templates.get(spec.template_ref)
        if found is None:
            raise Refused(f"The vCenter does not know the template {spec.template_ref}.", code="not_found")
        if spec.disk_gib * GIB < sum(disk_bytes(disk) for disk in found.own_disks):
            raise Refused(
                f"The disk of {spec.disk_gib} GiB is smaller than the template's {found.disk_gib} GiB.",
                code="disk_too_small",
            )
        return found

    def backing(self, spec: VmSpec) -> Any:
        if spec.network_ref is None:
            return None
        if spec.network_ref not in self.backings:
            raise Refused(f"The vCenter does not know the network {spec.network_ref}.", code="not_found")
        return self.backings[spec.network_ref]


def extra_config(values: Mapping[str, str]) -> list[Any]:
    for name, value in values.items():
        if len(value) > LARGEST_VALUE:
            raise Refused(f"{name} is larger than a guestinfo value may be (64 KiB).", code="invalid")
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def clone_spec(session: Session, spec: VmSpec) -> Any:
    """The key travels in the very call that makes the VM. So does the size, which simulators may ignore: look after."""
    witness = {KEY: str(spec.key)} | ({VERSION: spec.guest_version} if spec.guest_version else {})
    return vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(
            host=session.object(vim.HostSystem, spec.host_ref),
            datastore=session.object(vim.Datastore, spec.datastore_ref),
            pool=session.object(vim.ResourcePool, spec.pool_ref),
        ),
        powerOn=False,
        template=False,
        config=vim.vm.ConfigSpec(
            instanceUuid=str(spec.key),
            numCPUs=spec.vcpu,
            memoryMB=spec.memory_mib,
            extraConfig=extra_config(witness),
        ),
    )


def built(machine: Machine, spec: VmSpec) -> bool:
    """The metadata is written with the last edit: where it is right, the VM was made as asked, once."""
    return machine.metadata == spec.metadata


def relocation(session: Session, machine: Machine, spec: VmSpec) -> Any:
    """To the chosen host and datastore, where the clone did not land there; None where it did."""
    wrong_host = machine.host != spec.host_ref
    wrong_store = spec.datastore_ref not in machine.datastores
    if not (wrong_host or wrong_store):
        return None
    made = vim.vm.RelocateSpec()
    if wrong_host:
        made.host = session.object(vim.HostSystem, spec.host_ref)
    if wrong_store:
        made.datastore = session.object(vim.Datastore, spec.datastore_ref)
    return made


def edit(machine: Machine, spec: VmSpec, around: Surroundings) -> Any:
    """The ConfigSpec that makes a VM right; None where it is. Grows disks, never shrinks one."""
    made = vim.vm.ConfigSpec()
    right = True
    if machine.vcpu != spec.vcpu:
        made.numCPUs, right = spec.vcpu, False
    if machine.memory_mib != spec.memory_mib:
        made.memoryMB, right = spec.memory_mib, False
    if not built(machine, spec):
        made.extraConfig, right = extra_config(packed(METADATA, spec.metadata)), False
    changes = [
        change
        for change in (grown_disk(machine, spec.disk_gib), _card(machine, around.backing(spec)))
        if change is not None
    ]
    if changes:
        made.deviceChange, right = changes, False
    if right:
        return None
    if machine.change_version:
        made.changeVersion = machine.change_version  # another's edit in between is a fault, not a second card
    return made


def detachment(disks: tuple[Any, ...]) -> Any:
    """Takes disks off a VM and leaves their files where they are."""
    return vim.vm.ConfigSpec(
        deviceChange=[vim.vm.device.VirtualDeviceSpec(operation="remove", device=disk) for disk in disks]
    )


def first_disk(machine: Machine) -> Any:
    """The disk that grows with a VM's size: its own first one, or None."""
    return min(machine.own_disks, key=lambda disk: (disk.controllerKey or 0, disk.unitNumber or 0), default=None)


def grown_disk(machine: Machine, disk_gib: int) -> Any:
    """The change that gives a VM's own disks this size together; None where they have it."""
    first = first_disk(machine)
    missing = disk_gib * GIB - sum(disk_bytes(disk) for disk in machine.own_disks)
    if missing <= 0 or first is None:
        return None
    first.capacityInBytes = disk_bytes(first) + missing
    first.capacityInKB = first.capacityInBytes // 1024
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=first)


def _card(machine: Machine, backing: Any) -> Any:
    if backing is None:
        return None
    card = machine.card
    if card is None:
        made = vim.vm.device.VirtualVmxnet3(key=-1, backing=backing, addressType="generated")
        made.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, connected=True, allowGuestControl=True
        )
        return vim.vm.device.VirtualDeviceSpec(operation="add", device=made)
    if _leads_to(card.backing) == _leads_to(backing):
        return None
    card.backing = backing
    return vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)


def _leads_to(backing: Any) -> tuple[str, str]:
    """What a card's backing connects to, told apart."""
    card = vim.vm.device.VirtualEthernetCard
    if isinstance(backing, card.DistributedVirtualPortBackingInfo):
        return "distributed", str(backing.port.portgroupKey)
    if isinstance(backing, card.OpaqueNetworkBackingInfo):
        return "opaque", str(backing.opaqueNetworkId)
    return "network", str(getattr(backing, "deviceName", ""))


def backings(session: Session, refs: set[str]) -> dict[str, Any]:
    """A network card's backing for each network; a network that is gone is missing."""
    card = vim.vm.device.VirtualEthernetCard
    answer: dict[str, Any] = {}
    for ref in refs:
        network = session.object(vim.Network, ref)
        if isinstance(network, vim.dvs.DistributedVirtualPortgroup):
            found = properties.read(session, [network], ("key", "config.distributedVirtualSwitch")).get(network._moId)
            if found is not None:
                switch = found.get("config.distributedVirtualSwitch")
                uuid = properties.read(session, [switch], ("uuid",))[switch._moId].get("uuid")
                port = vim.dvs.PortConnection(portgroupKey=found.get("key"), switchUuid=uuid)
                answer[ref] = card.DistributedVirtualPortBackingInfo(port=port)
            continue
        found = properties.read(session, [network], ("name", "summary")).get(network._moId)
        if found is None:
            continue
        if isinstance(network, vim.OpaqueNetwork):
            about = found.get("summary")
            answer[ref] = card.OpaqueNetworkBackingInfo(
                opaqueNetworkId=about.opaqueNetworkId, opaqueNetworkType=about.opaqueNetworkType
            )
        else:
            answer[ref] = card.NetworkBackingInfo(deviceName=found.get("name"), network=network)
    return answer
