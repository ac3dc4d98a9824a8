"""Boots simulated guests for the VMs that are powered on in a vCenter.

The guests are the simulator's own (infra.simulator.guests); what powers them is the vCenter's word instead of the
simulator's. It is heard by one long poll. The guests' disks lie in a file here, so that a wipe of guestinfo or a
restart of this process loses nothing; which VMs have a guest is kept beside it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infra.drivers.base import DriverError, Power
from infra.drivers.vsphere.guestinfo import Guest, GuestChanges, GuestSite

from .guests import cloudconfig

log = logging.getLogger(__name__)
POLL_S = 20.0
RETRY_S = 2.0
CANCEL_AGAIN_S = 0.5


@dataclass(frozen=True)
class Machine:
    """A VM as a house takes it: the fields of infra.simulator.guests.house.Machine."""

    key: str
    name: str
    vcpu: int
    memory_mib: int
    version: str


class House(Protocol):
    """What this module asks of infra.simulator.guests.house.House. Each may be said twice."""

    async def power_on(self, machine: Machine, guestinfo: Mapping[str, str]) -> str: ...

    async def power_off(self, key: str) -> None: ...

    async def destroy(self, key: str) -> None: ...


class VcenterGuests:
    """Makes the guests of a house follow the VMs of a vCenter, until `stop` is set."""

    def __init__(self, site: GuestSite, house: House, known: Path) -> None:
        self._site = site
        self._house = house
        self._file = known
        self._known: dict[str, str] = json.loads(known.read_text()) if known.exists() else {}  # ref -> key
        self._on: dict[str, list[str]] = {}  # key -> addresses, of what this process has found on
        self.stop = asyncio.Event()

    def end(self) -> None:
        """Stop following, at once: what is on stays on at the vCenter, and its disk in our file."""
        self.stop.set()

    async def run(self) -> None:
        while not self.stop.is_set():
            try:
                await self._follow()
            except DriverError as error:
                log.warning("The vCenter cannot be followed: %s", error.reason)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), RETRY_S)

    async def _follow(self) -> None:
        """One session's worth: everything once, then what moves."""
        seen = await asyncio.to_thread(self._site.look)
        keys = {guest.ref: str(guest.key) for guest in seen.guests}
        # A ref that names another VM now: the vCenter began anew, and counts from the start again.
        await self._remove(
            [ref for ref, key in self._known.items() if ref not in seen.refs or keys.get(ref, key) != key]
        )
        while not self.stop.is_set():
            self._learn(seen.guests)
            await asyncio.gather(*(self._heed(guest) for guest in seen.guests))
            await self._remove(seen.gone_refs)
            seen = await self._next(seen.cursor)
            if seen.resync:
                return

    async def _next(self, cursor: str) -> GuestChanges:
        """What moved; or resync at once when the end is asked for."""
        waiting = asyncio.ensure_future(asyncio.to_thread(self._site.changes, cursor, POLL_S))
        ending = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        while ending.done() and not waiting.done():
            await asyncio.to_thread(self._site.cancel)
            await asyncio.wait({waiting}, timeout=CANCEL_AGAIN_S)  # it may not have begun to wait when it was cancelled
        ending.cancel()
        return await waiting

    async def _heed(self, guest: Guest) -> None:
        key = str(guest.key)
        if guest.power is not Power.ON:
            if self._known.get(guest.ref) == key:
                await self._house.power_off(key)
                self._on.pop(key, None)
            return
        if key not in self._on:
            machine = Machine(key, guest.name, guest.vcpu, guest.memory_mib, guest.version)
            leased = await self._house.power_on(machine, guest.guestinfo)
            self._on[key] = cloudconfig.addresses(guest.guestinfo, guest.macs, leased)
            log.info("%s runs at %s", guest.name, ", ".join(self._on[key]))
        if self._on[key] and set(guest.addresses) != set(self._on[key]):
            error = await asyncio.to_thread(self._site.report, guest, self._on[key])
            if error is not None:
                log.warning("The address of %s could not be told: %s", guest.name, error.reason)

    def _learn(self, guests: tuple[Guest, ...]) -> None:
        """Written down before they boot: what a killed process does not remember it could never remove."""
        self._known |= {guest.ref: str(guest.key) for guest in guests if guest.power is Power.ON}
        self._save()

    async def _remove(self, refs: list[str] | tuple[str, ...]) -> None:
        for ref in refs:
            key = self._known.pop(ref, None)
            if key is not None:
                self._on.pop(key, None)
                await self._house.destroy(key)
        self._save()

    def _save(self) -> None:
        text = json.dumps(self._known)
        if not self._file.exists() or self._file.read_text() != text:
            new = self._file.with_suffix(".new")
            new.write_text(text)
            new.replace(self._file)
