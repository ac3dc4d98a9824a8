"""What teams do with the power of their VMs: start, stop, restart. One verb, one transaction; passes do it.

A stop asks the guest, and powers off after `within_s`; 0 is at once. A guest that was asked cannot be unasked: who
takes a stop back, or starts meanwhile, has it go off and come again.
"""

from __future__ import annotations

from typing import Any

from facet.operations.models import Operation
from facet.rest.access import Actor
from facet.rest.problems import Conflict

from . import standing
from .models import VM
from .standing import Check

START, STOP, RESTART = "vm.start", "vm.stop", "vm.restart"
WITHIN_S = 120
ON, OFF = "on", "off"


def start_vm(*, vm: VM, by: Actor, check: Check | None = None) -> Operation:
    """Said twice, it is the same start. Raises what `standing` does."""
    vm = standing.locked(vm, check)
    standing.ready(vm)
    same = standing.under_way(vm, START)
    if same is not None:
        return same
    asked, undo = vm.stop_asked_at is not None, {"power_wanted": vm.power_wanted}
    return standing.begin(vm, START, by=by, undo=undo, power_wanted=ON, restart_wanted=asked)


def stop_vm(*, vm: VM, within_s: int, by: Actor, check: Check | None = None) -> Operation:
    """Said twice, it is the same stop; with another `within_s` it is a new one, counted from the first asking."""
    vm = standing.locked(vm, check)
    standing.ready(vm)
    same = standing.under_way(vm, STOP)
    if same is not None and vm.stop_within_s == within_s:
        return same
    before = ON if same is not None else vm.power_wanted
    return standing.begin(
        vm, STOP, by=by, undo={"power_wanted": before}, power_wanted=OFF, restart_wanted=False, stop_within_s=within_s
    )


def restart_vm(*, vm: VM, within_s: int, by: Actor, check: Check | None = None) -> Operation:
    """Off as by a stop, then on. Said twice while it is under way, it is the same restart."""
    vm = standing.locked(vm, check)
    standing.ready(vm)
    same = standing.under_way(vm, RESTART)
    if same is not None:
        return same
    return standing.begin(vm, RESTART, by=by, power_wanted=ON, restart_wanted=True, stop_within_s=within_s)


# --- taking back ---------------------------------------------------------------------------------------------------


def cancel(operation: Operation, by: Actor) -> None:
    """Of a start or a stop: back to the power that was wanted before."""
    before = str((operation.undo or {}).get("power_wanted", ON))

    def judge(vm: VM) -> dict[str, Any]:
        return {"power_wanted": before, "restart_wanted": before == ON and vm.stop_asked_at is not None}

    standing.take_back(operation, judge)


def cancel_restart(operation: Operation, by: Actor) -> None:
    """While its guest has not been asked yet. Raises Conflict."""

    def judge(vm: VM) -> dict[str, Any]:
        if not vm.restart_wanted or vm.stop_asked_at is not None:
            raise Conflict("Its guest has been asked to shut down: it comes again by itself.", code="not_cancellable")
        return {"restart_wanted": False}

    standing.take_back(operation, judge)
