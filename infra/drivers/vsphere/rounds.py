"""Many VMs, each at its own step: look at all in one read, take one act for each, ask after all tasks in one read.

A round ends when every VM has had its act. Those whose task is over at once go into the next round; the others are
InFlight, and the caller comes again when they have ended. No step trusts the last one: each looks at the VM again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pyVmomi import vim

from ..base import DriverError, InFlight, NotReady, Refused, TaskState, Unreachable
from . import tasks
from .finding import Finder
from .machine import Machine

ROUNDS = 8
T = TypeVar("T")


@dataclass(frozen=True)
class Started:
    """A task of vCenter is at work on the VM."""

    task: Any
    doing: str


@dataclass(frozen=True)
class LookAgain:
    """The VM is there after all: decide anew."""


@dataclass(frozen=True)
class Settled:
    """Nothing is left to do; `outcome` is the verb's answer for this VM."""

    outcome: Any


Decision = Started | LookAgain | Settled
Decide = Callable[[UUID, Machine | None], Decision]


def missing(key: UUID) -> Refused:
    return Refused(f"There is no VM with the key {key}.", code="not_found")


def carry(finder: Finder, keys: Collection[UUID], decide: Decide, fresh: Collection[UUID] = ()) -> dict[UUID, Any]:
    """The outcome for every key. One VM's error is its outcome; only a first look that fails is raised.

    `fresh`: keys that cannot be there yet, and are not looked for in the first round.
    """
    outcomes: dict[UUID, Any] = {}
    pending = list(dict.fromkeys(keys))
    for number in range(ROUNDS):
        if not pending:
            break
        try:
            seen = look(finder, [key for key in pending if number > 0 or key not in fresh])
        except DriverError as error:
            if number == 0:
                raise
            return outcomes | dict.fromkeys(pending, error)
        acts = finder.together(_Attempt(decide, seen), pending)
        outcomes |= {key: act.outcome for key, act in zip(pending, acts, strict=True) if isinstance(act, Settled)}
        started = {key: act for key, act in zip(pending, acts, strict=True) if isinstance(act, Started)}
        again = [key for key, act in zip(pending, acts, strict=True) if isinstance(act, LookAgain)]
        pending = again + _ended(finder, started, outcomes)
    return outcomes | {key: NotReady("The VM changes under our hands: look again.") for key in pending}


def look(finder: Finder, keys: Collection[UUID]) -> dict[UUID, Machine | NotReady]:
    """All VMs in one read. Where one of them cannot be read yet, each by itself, so that it alone is not ready."""
    try:
        return dict(finder.find(keys))
    except NotReady as error:
        if len(keys) == 1:
            return dict.fromkeys(keys, error)
    seen: dict[UUID, Machine | NotReady] = {}
    for key in keys:
        seen |= look(finder, [key])
    return seen


class _Attempt:
    """One act for each VM. Once the vCenter is out of reach, the rest of the round does not wait for it again."""

    def __init__(self, decide: Decide, seen: Mapping[UUID, Machine | NotReady]) -> None:
        self._decide = decide
        self._seen = seen
        self._down: Unreachable | None = None

    def __call__(self, key: UUID) -> Decision:
        machine = self._seen.get(key)
        if isinstance(machine, NotReady):
            return Settled(machine)
        if self._down is not None:
            return Settled(self._down)
        try:
            return self._decide(key, machine)
        except Unreachable as error:
            self._down = error
            return Settled(error)
        except DriverError as error:
            return Settled(error)


def _ended(finder: Finder, started: dict[UUID, Started], outcomes: dict[UUID, Any]) -> list[UUID]:
    """Keys whose task is over and well; what is still at work or failed becomes an outcome."""
    if not started:
        return []
    refs = {key: str(act.task._moId) for key, act in started.items()}
    try:
        states = tasks.look(finder.session, list(refs.values()))
    except DriverError:  # the work goes on all the same, and its refs must not be lost
        outcomes.update({key: InFlight(refs[key], act.doing) for key, act in started.items()})
        return []
    well: list[UUID] = []
    for key, act in started.items():
        ended = states[refs[key]]
        if ended.facts.state is TaskState.RUNNING:
            outcomes[key] = InFlight(refs[key], act.doing)
        elif ended.facts.error is not None:
            outcomes[key] = ended.facts.error
        else:
            if isinstance(ended.result, vim.VirtualMachine):
                finder.learn(key, ended.result._moId)
            well.append(key)
    return well
