"""What goes wrong at a simulated datacenter because somebody asked for it, and how long everything takes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from infra.drivers.base import DriverError, NotReady, Refused, Unreachable

READS = ("about", "inventory", "changes", "poll", "find", "console", "volumes", "policies", "privileges", "rules")
OF_SNAPSHOTS = ("snapshot", "no_snapshot", "revert")
OF_VMS = ("clone", "reconfigure", "power_on", "power_off", "suspend", "shut_down", "resize", "move", "destroy")
TASKS = (*OF_VMS, *OF_SNAPSHOTS)
WRITES = ("image", "no_image", "folder", "no_folder", "pool", "no_pool", "guestinfo", "power", "rule", "no_rule")
OF_NETWORKS = ("network", "no_network", "firewall")
OF_VOLUMES = ("volume", "no_volume", "attach", "detach", "release", "volume_snapshot", "no_volume_snapshot")
VERBS = (*READS, "switches", "firewall_of", *WRITES, *OF_NETWORKS, *OF_VOLUMES, *TASKS)
CALLS = (
    *READS,
    "switches",
    "firewall_of",
    *WRITES,
    *OF_NETWORKS,
    *OF_VOLUMES,
    "clone",
    "reconfigure",
    "shut_down",
    "resize",
    "move",
    "destroy",
    *OF_SNAPSHOTS,
)  # what a client calls; `power` begins the other tasks
KINDS = ("error", "task", "down", "hang", "kill")
WHOLE = ("down", "hang", "kill")
FOREVER_S = 3600.0


@dataclass
class Fault:
    """What befalls the next `times` calls of a verb (-1: always).

    error: refused at once, for the VMs whose name holds `match` ("" for all). task: the task fails at its end.
    down: the whole call is answered with 503. hang: it is answered after `seconds`, or when the faults are cleared.
    kill: this process dies by SIGKILL. hang and kill come `after` the act where that is asked for: done, and not told.
    """

    verb: str
    kind: str
    times: int = 1
    match: str = ""
    code: str = "fault"
    reason: str = "a fault that somebody asked for"
    seconds: float = FOREVER_S
    after: bool = False

    def __post_init__(self) -> None:
        if self.verb not in VERBS:
            raise Refused(f"No verb {self.verb!r}; there are {', '.join(VERBS)}.", code="invalid")
        if self.kind not in KINDS:
            raise Refused(f"No kind {self.kind!r}; there are {', '.join(KINDS)}.", code="invalid")
        if self.kind == "task" and self.verb not in TASKS:
            raise Refused(f"{self.verb} is no task; tasks are {', '.join(TASKS)}.", code="invalid")
        if self.kind in WHOLE and self.verb not in CALLS:
            raise Refused(f"{self.verb} is not called by itself; calls are {', '.join(CALLS)}.", code="invalid")

    def error(self) -> DriverError:
        return NotReady(self.reason) if self.code == "not_ready" else Refused(self.reason, code=self.code)


class Faults:
    """Faults that wait for their call, and the latency of each verb. Neither outlives the process."""

    def __init__(self, latency: Mapping[str, float] | None = None) -> None:
        self._faults: list[Fault] = []
        self._latency: dict[str, float] = defaultdict(float)
        self._cleared = asyncio.Event()
        self.set_latency(latency or {})

    def set_latency(self, latency: Mapping[str, float]) -> None:
        for verb, seconds in latency.items():
            if verb not in VERBS:
                raise Refused(f"No verb {verb!r}; there are {', '.join(VERBS)}.", code="invalid")
            self._latency[verb] = max(0.0, float(seconds))

    @property
    def latency(self) -> Mapping[str, float]:
        return {verb: self._latency[verb] for verb in VERBS if self._latency[verb]}

    def latency_of(self, verb: str) -> float:
        return self._latency[verb]

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()
        cleared, self._cleared = self._cleared, asyncio.Event()
        cleared.set()

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    async def before(self, verb: str) -> None:
        """What befalls a whole call before it acts. Raises Unreachable for `down`."""
        if verb not in TASKS and self._latency[verb]:
            await asyncio.sleep(self._latency[verb])
        await self._befall(verb, after=False)
        error = self.of_item(verb, "error", "") if verb in READS else None
        if error is not None:
            raise error

    async def after(self, verb: str) -> None:
        """What befalls a call whose act is done and written down."""
        await self._befall(verb, after=True)

    def of_item(self, verb: str, kind: str, name: str) -> DriverError | None:
        """The error, or the failed task, that befalls this verb for the thing of this name."""
        fault = self._take(lambda one: one.verb == verb and one.kind == kind and one.match in name)
        return fault.error() if fault else None

    async def _befall(self, verb: str, *, after: bool) -> None:
        fault = self._take(lambda one: one.verb == verb and one.kind in WHOLE and one.after is after)
        if fault is None:
            return
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault.kind == "down":
            raise Unreachable(fault.reason)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), fault.seconds)

    def _take(self, fits: Callable[[Fault], bool]) -> Fault | None:
        for fault in self._faults:
            if fits(fault):
                if fault.times > 0:
                    fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                return fault
        return None
