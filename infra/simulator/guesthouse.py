"""Makes the guests of a house follow the VMs of a datacenter: power, disk, and the address that a guest reports."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

from infra.drivers.extraconfig import GUESTINFO, VERSION

from .guests import cloudconfig
from .guests.addresses import AddressesTaken
from .guests.house import House, Machine
from .records import Vm
from .state import State

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What a guest is to be told: `on` | `off` | `destroy`."""

    act: str
    vm: Vm


class Guesthouse:
    """Orders are given with the change that asks for them, and carried out in that order once it is written down.

    A kill in between loses nothing: at the next start every guest is made to be as its VM is.
    """

    def __init__(self, state: State, house: House) -> None:
        self._state = state
        self._house = house
        self._orders: deque[Order] = deque()
        self._turn = asyncio.Lock()
        self._reports: set[asyncio.TimerHandle] = set()

    @property
    def network(self) -> str:
        return self._house.network

    async def start(self) -> None:
        """The house has started; bring it to what the VMs are."""
        machines = {vm.machine: vm for vm in self._state.vms.values()}
        for record in self._house.disk.records():
            vm = machines.get(record.key)
            if vm is None:
                await self._house.destroy(record.key)
            elif record.powered and vm.power != "on":
                await self._house.power_off(record.key)
        for vm in machines.values():
            if vm.power == "on":
                self.order("on", vm)
        await self.carry_out()

    def stop(self) -> None:
        for report in self._reports:
            report.cancel()

    def order(self, act: str, vm: Vm) -> None:
        self._orders.append(Order(act, vm))

    async def carry_out(self) -> None:
        """All orders given so far, as one transaction of the house's file."""
        async with self._turn:
            with self._house.disk.transaction():  # no verb of the house really waits: none holds this open
                while self._orders:
                    await self._obey(self._orders.popleft())

    def console_log(self, vm: Vm) -> str:
        return self._house.console_log(vm.machine)

    async def _obey(self, order: Order) -> None:
        vm = order.vm
        if order.act == "destroy":
            await self._house.destroy(vm.machine)
        elif order.act == "off":
            await self._house.power_off(vm.machine)
        elif vm.power == "on" and not vm.bare:  # it may have gone off again meanwhile
            guestinfo = {name: value for name, value in vm.extra.items() if name.startswith(GUESTINFO)}
            version = vm.extra.get(VERSION) or vm.version
            try:
                address = await self._house.power_on(
                    Machine(vm.machine, vm.name, vm.vcpu, vm.memory_mib, version), guestinfo
                )
            except AddressesTaken as error:
                log.error("The guest of %s has no address: %s", vm.name, error)
                return
            self._report_later(vm, cloudconfig.addresses(guestinfo, vm.macs, address))

    def _report_later(self, vm: Vm, addresses: list[str]) -> None:
        """The guest's tools say its addresses once it has booted."""
        if not addresses or [vm.address, *vm.more_addresses] == addresses:
            return
        loop = asyncio.get_running_loop()
        handles: list[asyncio.TimerHandle] = []

        def report() -> None:
            self._reports.discard(handles[0])
            if vm.power == "on" and self._state.vms.get(vm.ref) is vm:
                with self._state.writing():
                    vm.address, *vm.more_addresses = addresses
                    self._state.put(vm)

        handles.append(loop.call_later(self._house.boot_s, report))
        self._reports.add(handles[0])
