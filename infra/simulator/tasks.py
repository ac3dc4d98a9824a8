"""Tasks of a simulated datacenter: what takes its time, and ends also when the process was killed meanwhile.

A task without latency is over with the call that began it, and has no row.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from infra.drivers.base import DriverError, NotReady

from .admission import fits_host, goes_together, grows, reaches
from .faults import Faults
from .guesthouse import Guesthouse
from .moments import forget, go_back, take
from .records import Task, Vm
from .state import State

log = logging.getLogger(__name__)
KEPT_S = 300.0


class Tasks:
    def __init__(self, state: State, faults: Faults, guests: Guesthouse, kept_s: float = KEPT_S) -> None:
        self._state = state
        self._faults = faults
        self._guests = guests
        self._kept_s = kept_s
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._running: set[asyncio.Task[None]] = set()
        ended = sorted((one for one in state.tasks.values() if one.state != "running"), key=lambda one: one.ends)
        self._ended: deque[Task] = deque(ended)

    def start(self) -> None:
        """Go on with what was under way when the last process ended."""
        for task in self._state.tasks.values():
            if task.state == "running":
                self._end_later(task)

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    def begin(self, doing: str, vm: Vm, changes: Mapping[str, Any] | None = None) -> Task | None:
        """Start a task on a VM; None when it is over already. Inside a `writing`. Raises what makes it fail at once."""
        if vm.task:
            raise NotReady(f"{vm.name} is busy: another task is at work on it.")
        now = time.time()
        length_s = self._faults.latency_of(doing)
        task = Task("", doing, vm.ref, now, now + length_s, dict(changes or {}))
        failure = self._faults.of_item(doing, "task", vm.name)
        if failure is not None:
            task.error_code, task.error_reason = failure.code, failure.reason  # it fails when it ends
        if not length_s:
            if failure is not None:
                raise failure
            self._do(task, vm)
            return None
        task.ref = self._state.new_ref("task")
        self._state.put(task)
        vm.task = task.ref
        self._state.put(vm)
        self._end_later(task)
        return task

    def look(self, ref: str) -> Task | None:
        self._forget(time.time() - self._kept_s)
        return self._state.tasks.get(ref)

    def forget(self) -> int:
        """Finished tasks vanish now; how many."""
        before = len(self._ended)
        self._forget(float("inf"))
        return before

    def _forget(self, ended_before: float) -> None:
        with self._state.writing():
            while self._ended and self._ended[0].ends < ended_before:
                self._state.remove(self._ended.popleft())

    def _end_later(self, task: Task) -> None:
        loop = asyncio.get_running_loop()
        wait_s = max(0.0, task.ends - time.time())
        self._timers[task.ref] = loop.call_later(wait_s, self._end, task)

    def _end(self, task: Task) -> None:
        self._timers.pop(task.ref, None)
        with self._state.writing():
            self._finish(task)
        ending = asyncio.get_running_loop().create_task(self._guests.carry_out())
        self._running.add(ending)
        ending.add_done_callback(self._running.discard)

    def _finish(self, task: Task) -> None:
        task.ends = time.time()
        vm = self._state.vms.get(task.vm)
        if vm is not None:
            vm.task = ""
        try:
            if vm is None:
                raise NotReady("The VM went away while the task was at work on it.")
            if task.error_code:
                raise DriverError(task.error_reason, code=task.error_code)
            self._do(task, vm)
            task.state = "succeeded"
        except DriverError as error:
            task.state, task.error_code, task.error_reason = "failed", error.code, error.reason
            if vm is not None:
                self._undo(task, vm)
        self._state.put(task)
        self._ended.append(task)
        self._forget(task.ends - self._kept_s)

    # --- what a task does when it ends -----------------------------------------------------------------------------

    def _do(self, task: Task, vm: Vm) -> None:
        if task.doing == "destroy":
            self._state.remove(vm)
            self._guests.order("destroy", vm)
            return
        if task.doing == "clone":
            goes_together(self._state, vm)  # its pool may have gone meanwhile
            vm.making = False
        elif task.doing in ("reconfigure", "resize"):
            _change(self._state, vm, task.changes)
        elif task.doing == "power_on":
            fits_host(self._state, vm)
            vm.power, vm.has_been_on = "on", True
            self._guests.order("on", vm)
        elif task.doing in ("power_off", "suspend", "shut_down"):
            vm.power, vm.address, vm.more_addresses = "suspended" if task.doing == "suspend" else "off", "", []
            self._guests.order("off", vm)
        elif task.doing == "move":
            _arrive(self._state, vm, task.changes)
        elif task.doing == "snapshot":
            take(vm, task.changes)
        elif task.doing == "no_snapshot":
            forget(vm, task.changes["description"])
        elif task.doing == "revert":
            self._go_back(task, vm)
        self._state.put(vm)

    def _go_back(self, task: Task, vm: Vm) -> None:
        go_back(vm, task.changes["description"])
        self._guests.order("off", vm)
        if vm.power == "on":
            self._guests.order("on", vm)

    def _undo(self, task: Task, vm: Vm) -> None:
        if task.doing == "clone":
            self._state.remove(vm)
        else:
            self._state.put(vm)


def _arrive(state: State, vm: Vm, changes: Mapping[str, Any]) -> None:
    """The room there has been held since the move began; who sees whom may have changed meanwhile."""
    place = {name: str(changes[name]) for name in ("host", "datastore", "pool")}
    reaches(state, vm, replace(vm, **place))
    vm.host, vm.datastore, vm.pool = place["host"], place["datastore"], place["pool"]


def _change(state: State, vm: Vm, changes: Mapping[str, Any]) -> None:
    grows(state, vm, changes)
    for name in ("vcpu", "memory_mib", "disk_gib"):
        setattr(vm, name, int(changes.get(name, getattr(vm, name))))
    if changes.get("networks"):
        vm.network, *vm.more_networks = changes["networks"]
    vm.extra |= changes.get("extra", {})
