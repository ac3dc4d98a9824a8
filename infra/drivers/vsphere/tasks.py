"""vCenter's tasks: many asked after in one read, a short one waited for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from ..base import DriverError, NotReady, TaskFacts, TaskState
from . import properties
from .faults import driver_error
from .properties import Collector
from .session import Session

STATES = {"success": TaskState.SUCCEEDED, "error": TaskState.FAILED}
PROPERTIES = ("info.state", "info.progress", "info.error", "info.result")


@dataclass(frozen=True)
class Ended:
    """A task's facts, and the object that it made, if any."""

    facts: TaskFacts
    result: Any = None


def look(session: Session, refs: Sequence[str]) -> dict[str, Ended]:
    """Every ref's state. vCenter forgets a task some minutes after its end: it has vanished then."""
    found = properties.read(session, [session.object(vim.Task, ref) for ref in dict.fromkeys(refs)], PROPERTIES)
    answer = {}
    for ref in refs:
        task = found.get(ref)
        if task is None:
            answer[ref] = Ended(TaskFacts(TaskState.VANISHED))
            continue
        state = STATES.get(str(task.get("info.state")), TaskState.RUNNING)
        error = _error(task.get("info.error")) if state is TaskState.FAILED else None
        answer[ref] = Ended(TaskFacts(state, task.get("info.progress"), error), task.get("info.result"))
    return answer


def poll(session: Session, refs: Sequence[str]) -> Mapping[str, TaskFacts]:
    return {ref: ended.facts for ref, ended in look(session, refs).items()}


def wait(session: Session, refs: Sequence[str], wait_s: float) -> dict[str, DriverError | None]:
    """Wait for tasks that take moments. None: done; NotReady: still at it when `wait_s` was over."""
    end = time.monotonic() + wait_s
    states = look(session, refs)
    running = [ref for ref in refs if states[ref].facts.state is TaskState.RUNNING]
    while running and time.monotonic() < end:
        _until_something_moves(session, running, end - time.monotonic())
        states |= look(session, running)
        running = [ref for ref in running if states[ref].facts.state is TaskState.RUNNING]
    return {ref: _outcome(states[ref].facts) for ref in refs}


def _outcome(facts: TaskFacts) -> DriverError | None:
    if facts.state is TaskState.RUNNING:
        return NotReady("The vCenter is still at it.")
    return facts.error


def _error(fault: Any) -> DriverError:
    if isinstance(fault, vim.fault.DuplicateName):
        return NotReady(f"A VM named {fault.name!r} appeared meanwhile: look again.")
    return driver_error(fault)


def _until_something_moves(session: Session, refs: Sequence[str], wait_s: float) -> None:
    """Return when one of the tasks changed since a moment ago, or when the time is over."""
    made = session.call(session.content.propertyCollector.CreatePropertyCollector)
    collector = session.waiting(made)
    try:
        session.call(
            made.CreateFilter,
            spec=Collector.FilterSpec(
                propSet=[Collector.PropertySpec(type=vim.Task, pathSet=["info.state"], all=False)],
                objectSet=[Collector.ObjectSpec(obj=session.object(vim.Task, ref)) for ref in refs],
            ),
            partialUpdates=False,
        )
        first = session.call(collector.WaitForUpdatesEx, version="", options=None)
        if any(_moved(change) for part in first.filterSet for change in part.objectSet):
            return
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=max(1, int(wait_s)))
        session.call(collector.WaitForUpdatesEx, version=first.version, options=options)
    finally:
        session.call(made.DestroyPropertyCollector)


def _moved(update: Any) -> bool:
    return any(change.name == "info.state" and str(change.val) in STATES for change in update.changeSet)
