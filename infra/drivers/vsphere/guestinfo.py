"""What a stand-in for guests needs of a vCenter: who is on, what cloud-init would read, and where to tell an address.

Only VMs that bear their own key as facet.key are shown: what Facet did not make is nobody's simulated guest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pyVmomi import VmomiSupport, vim

from ..base import Connection, DriverError, Power
from ..extraconfig import GUESTINFO, VERSION
from . import properties, shape, tasks
from .machine import TOOLS_RUN, VM_PROPERTIES, Machine
from .session import Session
from .watch import Watch

ADDRESS = "SET.guest.ipAddress"  # how govmomi's simulator is told what a guest's tools would say
CARDS = "SET.guest.net"
TOOLS = "SET.guest.toolsRunningStatus"
WRITE_S = 10.0
_ALL_CARDS = VmomiSupport.GetVmodlType("vim.vm.GuestInfo.NicInfo[]")


@dataclass(frozen=True)
class Guest:
    """A VM of Facet's. `guestinfo` holds the values without their prefix, still encoded."""

    ref: str
    key: UUID
    name: str
    vcpu: int
    memory_mib: int
    version: str
    power: Power
    addresses: tuple[str, ...]
    macs: tuple[str, ...]
    guestinfo: Mapping[str, str]


@dataclass(frozen=True)
class GuestChanges:
    """`refs`, of a look: every VM there is, also those that are no guests or cannot be read just now."""

    cursor: str
    guests: tuple[Guest, ...] = ()
    gone_refs: tuple[str, ...] = ()
    resync: bool = False
    refs: frozenset[str] = frozenset()


class GuestSite:
    """One vCenter, seen from below. One caller at a time looks and waits; any may report meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._session = Session(connection)
        self._watch = Watch(self._session)

    @property
    def endpoint(self) -> str:
        return self._session.connection.endpoint

    def look(self) -> GuestChanges:
        """All guests, and a cursor that goes on from here."""
        cursor = self._watch.open()
        found = properties.read_all(self._session, {vim.VirtualMachine: VM_PROPERTIES})
        guests = [_guest(Machine.of(one)) for one in found]
        refs = frozenset(one.id for one in found)
        return GuestChanges(cursor, tuple(guest for guest in guests if guest is not None), refs=refs)

    def changes(self, cursor: str, wait_s: float) -> GuestChanges:
        """Guests that moved since the cursor, read in full; waits up to `wait_s` for something to say."""
        moved = self._watch.changes(cursor, wait_s)
        objects = [self._session.object(vim.VirtualMachine, vm.ref) for vm in moved.vms if vm.witness]
        found = properties.read(self._session, objects, VM_PROPERTIES)
        guests = [_guest(Machine.of(one)) for one in found.values()]
        return GuestChanges(
            moved.cursor, tuple(guest for guest in guests if guest is not None), moved.gone_refs, moved.resync
        )

    def report(self, guest: Guest, addresses: Sequence[str]) -> DriverError | None:
        """Let the vCenter show these addresses for the guest, the first one first; there is one at least."""
        vm = self._session.object(vim.VirtualMachine, guest.ref)
        told = shape.extra_config({ADDRESS: addresses[0], TOOLS: TOOLS_RUN})
        if len(addresses) > 1:
            cards = [vim.vm.GuestInfo.NicInfo(ipAddress=list(addresses), connected=True, deviceConfigId=-1)]
            told.append(vim.option.OptionValue(key=CARDS, value=_ALL_CARDS(cards)))
        edit = vim.vm.ConfigSpec(extraConfig=told)
        try:
            task = self._session.call(vm.ReconfigVM_Task, spec=edit)
        except DriverError as error:
            return error
        return tasks.wait(self._session, [task._moId], WRITE_S)[task._moId]

    def cancel(self) -> None:
        """End a wait in another thread; it answers resync."""
        self._watch.cancel()

    def close(self) -> None:
        self._watch.close()
        self._session.close()


def _guest(machine: Machine | None) -> Guest | None:
    if machine is None or not machine.witness:
        return None
    return Guest(
        ref=machine.id,
        key=machine.key,
        name=machine.name,
        vcpu=machine.vcpu,
        memory_mib=machine.memory_mib,
        version=machine.extra.get(VERSION, ""),
        power=machine.power,
        addresses=machine.addresses,
        macs=machine.macs,
        guestinfo={
            key.removeprefix(GUESTINFO): value for key, value in machine.extra.items() if key.startswith(GUESTINFO)
        },
    )
