"""Waiting for an operation: its steps live on a terminal, plain lines elsewhere. Ctrl-C detaches, the work goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .client import Client
from .faults import ApiProblem, Detached, OperationFailed, TimedOut, Unreachable
from .output import Printer, plain
from .problems import details, first_cause

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
SILENCE_S = 60.0  # how long a server may be away while someone waits
ENDED = ("succeeded", "failed", "cancelled")
_MARKS = {"waiting": ("·", "dim"), "running": ("▸", "cyan"), "done": ("✓", "green"), "failed": ("✗", "bold red")}

Operation = Mapping[str, Any]


class Display(Protocol):
    def show(self, operation: Operation) -> None: ...
    def __enter__(self) -> Display: ...
    def __exit__(self, *_: object) -> None: ...


def until_done(api: Client, printer: Printer, operation: Operation, *, timeout_s: int | None) -> Operation:
    """The operation as it succeeded. Raises OperationFailed, TimedOut or (Ctrl-C) Detached."""
    id = str(operation["id"])
    display: Display = LiveSteps(printer) if printer.err.is_terminal else PlainSteps(printer)
    try:
        with display:
            ended = _follow(api, operation, display, timeout_s)
    except KeyboardInterrupt:
        raise Detached(f"Detached: operation {id} goes on.", hint=f"Follow it: facet operation watch {id}") from None
    if ended["phase"] == "succeeded":
        return ended
    problem = ended.get("problem")
    if isinstance(problem, Mapping):
        details(printer, problem)
    cause = first_cause(problem) or "no cause was given"
    raise OperationFailed(f"{label(ended)} {ended['phase']}: {cause}", hint=f"More: facet operation show {id}")


def label(operation: Operation) -> str:
    """`cluster.create shop`."""
    target = operation.get("target") or {}
    return f"{plain(operation.get('verb'))} {plain(target.get('name') or target.get('id'))}".strip()


def _follow(api: Client, operation: Operation, display: Display, timeout_s: int | None) -> Operation:
    started = last_heard = time.monotonic()
    pause_s = FIRST_PAUSE_S
    while True:
        display.show(operation)
        if operation.get("phase") in ENDED:
            return operation
        left_s = None if timeout_s is None else started + timeout_s - time.monotonic()
        if left_s is not None and left_s <= 0:
            id = operation["id"]
            raise TimedOut(
                f"{label(operation)} is not done after {timeout_s} s; it goes on.",
                hint=f"Follow it: facet operation watch {id}",
            )
        time.sleep(pause_s if left_s is None else min(pause_s, left_s))  # nobody can call us, so we ask
        pause_s = min(pause_s * 1.25, LONGEST_PAUSE_S)
        try:
            operation = api.get(f"operations/{operation['id']}")
            last_heard = time.monotonic()
        except (Unreachable, ApiProblem) as error:
            asleep = isinstance(error, Unreachable) or error.status >= 500 or error.status == 429
            if not asleep or time.monotonic() - last_heard > SILENCE_S:
                raise


class PlainSteps:
    """One line for each change: for logs and pipes."""

    def __init__(self, printer: Printer) -> None:
        self._printer = printer
        self._seen: dict[str, str] = {}
        self._started = time.monotonic()
        self._titled = False

    def __enter__(self) -> PlainSteps:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, operation: Operation) -> None:
        if not self._titled:
            self._printer.say(f"{label(operation)} (operation {operation['id']})")
            self._titled = True
        for step in operation.get("steps") or []:
            state = f"{step.get('phase', '')}{_count(step)}"
            if self._seen.get(step["name"], "waiting") != state and step.get("phase") != "waiting":
                self._line(f"{state:<16} {plain(step.get('title') or step['name'])}")
            self._seen[step["name"]] = state
        if operation.get("phase") in ENDED:
            self._line(str(operation["phase"]))

    def _line(self, text: str) -> None:
        self._printer.say(f"{time.monotonic() - self._started:7.1f}s  {text}")


class LiveSteps:
    """The steps drawn in place, on stderr."""

    def __init__(self, printer: Printer) -> None:
        self._started = time.monotonic()
        self._operation: Operation = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(get_renderable=self._draw, console=printer.err, refresh_per_second=10)

    def __enter__(self) -> LiveSteps:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, operation: Operation) -> None:
        self._operation = operation

    def _draw(self) -> RenderableType:
        operation = self._operation
        phase = str(operation.get("phase") or "pending")
        elapsed = f"{time.monotonic() - self._started:.1f}s"
        mark = {"succeeded": ("✓", "green"), "failed": ("✗", "bold red"), "cancelled": ("✗", "dim")}.get(phase)
        head = Table.grid(padding=(0, 1))
        head.add_row(
            Text(*mark) if mark else self._spinner,
            Text(label(operation) or "operation", style="bold"),
            Text(phase, style="dim"),
            Text(elapsed, style="dim"),
        )
        steps = operation.get("steps") or []
        return Group(head, _steps(steps)) if steps else head


def _steps(steps: list[Mapping[str, Any]]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for step in steps:
        phase = str(step.get("phase") or "waiting")
        letter, style = _MARKS.get(phase, _MARKS["waiting"])
        total, done = int(step.get("total") or 0), int(step.get("done") or 0)
        bar = ProgressBar(total=total, completed=done, width=24) if total > 1 and phase == "running" else Text()
        grid.add_row(
            Text(f"  {letter}", style=style),
            Text(plain(step.get("title") or step.get("name")), style="dim" if phase == "waiting" else ""),
            Text(_count(step).strip() if total > 1 else "", style="dim"),
            Text(_took(step), style="dim"),
            bar,
        )
    return grid


def _count(step: Mapping[str, Any]) -> str:
    total = int(step.get("total") or 0)
    return f" {int(step.get('done') or 0)}/{total}" if total > 1 else ""


def _took(step: Mapping[str, Any]) -> str:
    """How long a step has taken by the server's clock; nothing before its start."""
    if step.get("phase") == "waiting":
        return ""
    try:
        start = datetime.fromisoformat(str(step.get("started_at")))
        end = datetime.fromisoformat(str(step["ended_at"])) if step.get("ended_at") else datetime.now(UTC)
        return f"{max((end - start).total_seconds(), 0):.1f}s"
    except (ValueError, TypeError):
        return ""
