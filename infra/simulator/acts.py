"""What the verbs about VMs share: one outcome for each, {vm}, {task, doing}, {gone} or {error}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infra.drivers.base import DriverError, Refused

from . import documents
from .faults import Faults
from .records import Task, Vm
from .state import State
from .tasks import Tasks

Document = dict[str, Any]


class Acts:
    """A group of verbs about VMs."""

    def __init__(self, state: State, faults: Faults, tasks: Tasks) -> None:
        self._state = state
        self._faults = faults
        self._tasks = tasks

    def _each(self, asked: Mapping[str, Any], act: Callable[[str, Any], Document]) -> Document:
        answer: Document = {}
        with self._state.writing(by_call=True):
            for key, one in asked.items():
                try:
                    answer[key] = act(key, one)
                except DriverError as error:
                    answer[key] = documents.error(error)
        return answer

    def _found(self, key: str) -> Vm:
        vm = self._state.vm(key)
        if vm is None:
            raise Refused(f"There is no VM with the key {key}.", code="not_found")
        return vm

    def _refuse(self, verb: str, name: str) -> None:
        error = self._faults.of_item(verb, "error", name)
        if error is not None:
            raise error

    @staticmethod
    def _answer(vm: Vm, task: Task | None) -> Document:
        return {"vm": documents.vm(vm)} if task is None else {"task": task.ref, "doing": task.doing}
