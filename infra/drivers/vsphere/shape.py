"""What a VM is asked to be, as vCenter's specs: the clone, and the edit that makes it right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import NotReady, Refused, VmSpec, names_cards, with_macs
from ..extraconfig import KEY, LARGEST_VALUE, METADATA, VERSION, packed
from . import properties
from .machine import GIB, Machine, disk_bytes
from .session import Session


@dataclass(frozen=True)
class Surroundings:
    """What specs refer to, read once for a whole batch: templates, and the backings of network cards."""

    templates: Mapping[str, Machine]
    backings: Mapping[str, Any]
    sources: Mapping[UUID, Machine] = field(default_factory=dict)  # VMs that clones are made of, by key

    def template(self, spec: VmSpec) -> Machine:
        found = self.templates.get(spec.template_ref)
        if spec.source_key is not None:
            found = self.sources.get(spec.source_key)
            if found is None:
                raise Refused("The VM that it is to be a clone of is gone.", code="source_gone")
        if found is None:
            raise Refused(f"The vCenter does not know the template {spec.template_ref}.", code="not_found")
        if spec.disk_gib * GIB < sum(disk_bytes(disk) for disk in found.own_disks):
            raise Refused(
                f"The disk of {spec.disk_gib} GiB is smaller than the template's {found.disk_gib} GiB.",
                code="disk_too_small",
            )
        return found

    def wiring(self, spec: VmSpec) -> list[Any]:
        """What its cards connect to, in order. Raises Refused(not_found)."""
        unknown = [ref for ref in spec.networks if ref not in self.backings]
        if unknown:
            raise Refused(f"The vCenter does not know the network {unknown[0]}.", code="not_found")
        return [self.backings[ref] for ref in spec.networks]


def extra_config(values: Mapping[str, str]) -> list[Any]:
    for name, value in values.items():
        if len(value) > LARGEST_VALUE:
            raise Refused(f"{name} is larger than a guestinfo value may be (64 KiB).", code="invalid")
    return [vim.option.OptionValue(key=key, value=value) for key, value in values.items()]


def place(session: Session, spec: VmSpec) -> dict[str, Any]:
    """Where DRS places, the pool is the target and the host is vCenter's choice."""
    return {
        "host": session.object(vim.HostSystem, spec.host_ref) if spec.host_ref else None,
        "datastore": session.object(vim.Datastore, spec.datastore_ref),
        "pool": session.object(vim.ResourcePool, spec.pool_ref),
    }


def witness(spec: VmSpec) -> list[Any]:
    """What a VM carries from the very call that makes it."""
    return extra_config({KEY: str(spec.key)} | ({VERSION: spec.guest_version} if spec.guest_version else {}))


def clone_spec(session: Session, spec: VmSpec) -> Any:
    """The key travels in the very call that makes the VM. So does the size, which simulators may ignore: look after."""
    return vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(**place(session, spec)),
        powerOn=False,
        template=False,
        config=vim.vm.ConfigSpec(
            instanceUuid=str(spec.key),
            numCPUs=spec.vcpu,
            memoryMB=spec.memory_mib,
            extraConfig=witness(spec),
        ),
    )


def built(machine: Machine, spec: VmSpec) -> bool:
    """The metadata is written with the last edit: where it is right, the VM was made as asked, once."""
    return machine.metadata is not None and machine.metadata == with_macs(spec.metadata, machine.macs)


def relocation(session: Session, machine: Machine, spec: VmSpec) -> Any:
    """To the chosen host and datastore, where the clone did not land there; None where it did."""
    wrong_host = machine.host != spec.host_ref and spec.host_ref != ""
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
    cards = card_changes(machine.cards, around.wiring(spec))
    disk = grown_disk(machine, spec.disk_gib)
    if cards or disk is not None:
        made.deviceChange, right = [*cards, *([] if disk is None else [disk])], False
    if not (built(machine, spec) or (cards and names_cards(spec.metadata))):
        text = with_macs(spec.metadata, machine.macs)
        if text is None:
            raise NotReady(f"The network cards of {spec.name} have no MAC yet.")
        made.extraConfig, right = extra_config(packed(METADATA, text)), False
    if right:
        return None
    if machine.change_version:
        made.changeVersion = machine.change_version  # another's edit in between is a fault, not a second card
    return made


def detachment(disks: tuple[Any, ...]) -> Any:
    """Takes disks off a VM and leaves their files where they are."""
    return vim.vm.ConfigSpec(deviceChange=removals(disks))


def removals(disks: tuple[Any, ...]) -> list[Any]:
    return [_change("remove", disk) for disk in disks]


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


def card_changes(cards: Sequence[Any], wiring: Sequence[Any]) -> list[Any]:
    """What makes a VM's cards lead to just these, in order; those that it has are used. No wiring: they are left."""
    if not wiring:
        return []
    changes = [
        _change("edit", _wired(card, backing))
        for card, backing in zip(cards, wiring, strict=False)
        if _leads_to(card.backing) != _leads_to(backing)
    ]
    changes += [_change("add", _new_card(-1 - at, backing)) for at, backing in enumerate(wiring[len(cards) :])]
    return changes + [_change("remove", card) for card in cards[len(wiring) :]]


def _change(operation: str, card: Any) -> Any:
    return vim.vm.device.VirtualDeviceSpec(operation=operation, device=card)


def _wired(card: Any, backing: Any) -> Any:
    card.backing = backing
    return card


def _new_card(key: int, backing: Any) -> Any:
    made = vim.vm.device.VirtualVmxnet3(key=key, backing=backing, addressType="generated")
    made.connectable = vim.vm.device.VirtualDevice.ConnectInfo(
        startConnected=True, connected=True, allowGuestControl=True
    )
    return made


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
