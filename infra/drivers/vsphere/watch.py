"""What moves at a vCenter, by one long poll.

A watch is a PropertyCollector with a filter over a view of everything that moves; it lives in one session, and its
cursor names both. The filter tells which objects moved; they are then read in full, all in one call.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pyVmomi import vim

from ..base import Changes, DriverError, NotReady, Refused, Unreachable
from . import inventory, properties
from .machine import VM_PROPERTIES, Machine
from .properties import Collector
from .session import LONGEST_WAIT_S, Session

# What moves and matters. Disks and extraConfig are read when something else of the VM moves, and with each inventory.
WATCHED: Mapping[Any, Sequence[str]] = {
    vim.HostSystem: (
        "name",
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "summary.hardware.numCpuCores",
        "summary.hardware.memorySize",
    ),
    vim.Datastore: ("summary.name", "summary.capacity", "summary.freeSpace", "summary.accessible"),
    vim.VirtualMachine: (
        "name",
        "config.hardware.numCPU",
        "config.hardware.memoryMB",
        "runtime.powerState",
        "runtime.host",
        "guest.ipAddress",
        "resourcePool",
        "parent",
        "datastore",
    ),
}


@dataclass(frozen=True)
class _Open:
    """A filter that lives in a session, and the state from which it goes on."""

    id: str
    generation: int
    collector: Any
    view: Any


class Watch:
    """The one watch of a driver: opening another ends the one before, and its cursors with it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._open: _Open | None = None

    def open(self) -> str:
        """A cursor that starts from this very moment."""
        with self._lock:
            self._end()
            session = self._session
            view = properties.make_view(session, WATCHED)
            made = session.call(session.content.propertyCollector.CreatePropertyCollector)
            opened = _Open(uuid4().hex, session.generation, made, view)
            for kind, names in WATCHED.items():  # a filter for each kind: govmomi's simulator dies of a common one
                spec = properties.view_filter(view, {kind: names})
                session.call(made.CreateFilter, spec=spec, partialUpdates=False)
            version = ""
            while True:
                state = session.call(session.waiting(made).WaitForUpdatesEx, version=version, options=None)
                version = state.version
                if not state.truncated:
                    break
            self._open = opened
            return f"{opened.id}:{version}"

    def changes(self, cursor: str, wait_s: float) -> Changes:
        id, _, version = cursor.partition(":")
        opened = self._open
        if opened is None or opened.id != id or opened.generation != self._session.login():
            return Changes(cursor, resync=True)
        options = Collector.WaitOptions(maxWaitSeconds=math.ceil(min(max(wait_s, 0), LONGEST_WAIT_S)))
        moved: set[tuple[Any, str]] = set()
        gone: set[str] = set()
        while True:
            try:
                wait = self._session.waiting(opened.collector).WaitForUpdatesEx
                state = self._session.call(wait, version=version, options=options)
            except NotReady:  # cancelled
                return Changes(cursor, resync=True)
            except (Refused, Unreachable) as error:
                if error.code in ("not_found", "session_lost", "fault", "invalid"):  # the collector died
                    return Changes(cursor, resync=True)
                raise
            if state is None:
                break
            version = state.version
            _gather(state, moved, gone)
            if not state.truncated:
                break
        return self._read(f"{id}:{version}", moved, gone)

    def cancel(self) -> None:
        """End a long poll that another thread waits in: its cursor is lost."""
        opened = self._open
        if opened is not None and opened.generation == self._session.generation:
            with suppress(DriverError):
                self._session.call(opened.collector.CancelWaitForUpdates)

    def close(self) -> None:
        self.cancel()
        with self._lock:
            self._end()

    def _end(self) -> None:
        opened, self._open = self._open, None
        if opened is None or opened.generation != self._session.generation:
            return
        with suppress(DriverError):  # they end with the session all the same
            self._session.call(opened.collector.DestroyPropertyCollector)
            self._session.call(opened.view.DestroyView)

    def _read(self, cursor: str, moved: set[tuple[Any, str]], gone: set[str]) -> Changes:
        session = self._session
        vms = [session.object(vim.VirtualMachine, id) for kind, id in moved if kind is vim.VirtualMachine]
        found = properties.read(session, vms, VM_PROPERTIES)
        machines = [Machine.of(one) for one in found.values()]
        return Changes(
            cursor=cursor,
            hosts=inventory.some_hosts(session, [id for kind, id in moved if kind is vim.HostSystem]),
            datastores=inventory.some_datastores(session, [id for kind, id in moved if kind is vim.Datastore]),
            vms=tuple(machine.facts() for machine in machines if machine is not None and not machine.template),
            gone_refs=tuple(sorted(gone)),
        )


def _gather(state: Any, moved: set[tuple[Any, str]], gone: set[str]) -> None:
    for part in state.filterSet:
        for update in part.objectSet:
            kind, id = type(update.obj), str(update.obj._moId)
            if str(update.kind) == "leave":
                moved.discard((kind, id))
                gone.add(id)
            else:
                moved.add((kind, id))
                gone.discard(id)
