"""Shutting guests down, and changing the size of what stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import DriverError, NotReady, Power, Refused, SizeSpec, VmOutcome
from . import properties, shape
from .machine import Machine
from .parts import Parts
from .properties import Found
from .rounds import Decision, Settled, Started, carry, look, missing
from .session import Session

GOING_DOWN = "shuttingDown"
HOT = (
    "config.cpuHotAddEnabled",
    "config.cpuHotRemoveEnabled",
    "config.memoryHotAddEnabled",
    "config.hotPlugMemoryLimit",
    "config.hotPlugMemoryIncrementSize",
)


class Lifecycle(Parts):
    """See infra.drivers.base."""

    def shut_down(self, keys: Iterable[UUID]) -> Mapping[UUID, VmOutcome]:
        """A guest that says that it is going down is not asked again."""
        wanted = list(dict.fromkeys(keys))
        machines = look(self._finder, wanted)
        on = [one.obj for one in machines.values() if isinstance(one, Machine) and one.power is Power.ON]
        states = properties.read(self._session, on, ("guest.guestState",))

        def ask(key: UUID) -> VmOutcome:
            machine = machines.get(key)
            try:
                return machine if isinstance(machine, NotReady) else self._ask(key, machine, states)
            except DriverError as error:
                return error

        return dict(zip(wanted, self._finder.together(ask, wanted), strict=True))

    def _ask(self, key: UUID, machine: Machine | None, states: Mapping[str, Found]) -> VmOutcome:
        if machine is None:
            raise missing(key)
        if machine.power is Power.OFF:
            return machine.facts()
        if not machine.tools:
            raise Refused(f"VMware Tools do not run in the guest of {machine.name}.", code="no_guest_tools")
        state = states[machine.id].get("guest.guestState") if machine.id in states else None
        if state != GOING_DOWN:
            self._session.call(machine.obj.ShutdownGuest)
        return NotReady(f"The guest of {machine.name} has been asked to shut down.")

    def ensure_size(self, sizes: Mapping[UUID, SizeSpec]) -> Mapping[UUID, VmOutcome]:
        """vCenter is asked first what a running VM takes: its simulator changes any, a real one may refuse late."""
        session = self._session

        def decide(key: UUID, machine: Machine | None) -> Decision:
            if machine is None:
                raise missing(key)
            if machine.template:
                raise Refused(f"{machine.name} is a template.", code="invalid")
            edit = _edit(machine, sizes[key])
            if edit is None:
                return Settled(machine.facts())
            if machine.power is not Power.OFF:
                _refuse_cold(session, machine, sizes[key])
            return Started(session.call(machine.obj.ReconfigVM_Task, spec=edit), "resize")

        return carry(self._finder, sizes, decide)

    def ensure_names(self, names: Mapping[UUID, str]) -> Mapping[UUID, VmOutcome]:
        def decide(key: UUID, machine: Machine | None) -> Decision:
            if machine is None:
                raise missing(key)
            if machine.name == names[key]:
                return Settled(machine.facts())
            return Started(self._session.call(machine.obj.Rename_Task, newName=names[key]), "rename")

        return carry(self._finder, names, decide)


def _edit(machine: Machine, size: SizeSpec) -> Any:
    """The ConfigSpec that gives a VM its size; None where it has it. Raises Refused(disk_shrinks)."""
    if machine.disk_gib > size.disk_gib:
        raise Refused(f"The disk of {machine.name} has {machine.disk_gib} GiB, and cannot shrink.", code="disk_shrinks")
    made = vim.vm.ConfigSpec()
    if machine.vcpu != size.vcpu:
        made.numCPUs = size.vcpu
    if machine.memory_mib != size.memory_mib:
        made.memoryMB = size.memory_mib
    disk = shape.grown_disk(machine, size.disk_gib)
    if disk is not None:
        made.deviceChange = [disk]
    if made.numCPUs is None and made.memoryMB is None and disk is None:
        return None
    if machine.change_version:
        made.changeVersion = machine.change_version
    return made


def _refuse_cold(session: Session, machine: Machine, size: SizeSpec) -> None:
    """Raises Refused(needs_power_off) for what this VM takes only while it is off."""
    found = properties.read(session, [machine.obj], HOT).get(machine.id)
    if found is None:
        raise missing(machine.key)
    cold = (
        machine.power is Power.SUSPENDED
        or (size.vcpu > machine.vcpu and not found.get("config.cpuHotAddEnabled"))
        or (size.vcpu < machine.vcpu and not found.get("config.cpuHotRemoveEnabled"))
        or (size.memory_mib != machine.memory_mib and not _takes_memory(found, machine, size.memory_mib))
        or (size.disk_gib > machine.disk_gib and _on_ide(machine))
    )
    if cold:
        raise Refused(f"{machine.name} is {machine.power}: this size needs it off.", code="needs_power_off")


def _takes_memory(found: Found, machine: Machine, memory_mib: int) -> bool:
    """Memory never shrinks hot; it grows in steps, up to a limit that was set when the VM was powered on."""
    limit, step = found.get("config.hotPlugMemoryLimit"), found.get("config.hotPlugMemoryIncrementSize")
    more = memory_mib - machine.memory_mib
    allowed = more > 0 and bool(found.get("config.memoryHotAddEnabled"))
    return allowed and (not limit or memory_mib <= limit) and (not step or more % step == 0)


def _on_ide(machine: Machine) -> bool:
    """A disk on an IDE controller grows only while its VM is off."""
    disk = shape.first_disk(machine)
    controllers = [one for one in machine.devices if isinstance(one, vim.vm.device.VirtualIDEController)]
    return disk is not None and any(one.key == disk.controllerKey for one in controllers)
