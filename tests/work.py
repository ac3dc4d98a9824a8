"""Doing the workers' work inside the test process: passes of the real engine, until a condition holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from facet.operations import engine
from facet.operations.models import Wakeup
from tests.client import Answer, Api
from tests.factories import as_system

PATIENCE_S = 40.0
T = TypeVar("T")


def until(true: Callable[[], T], *, patience_s: float = PATIENCE_S, what: Callable[[], Any] | None = None) -> T:
    """Run whatever is due until `true()` is; fails with `what()` when patience ends."""
    end, pause = time.monotonic() + patience_s, threading.Event()
    while True:
        ran = engine.take_next()
        found = true()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"it never came: {what() if what else found!r}; queue: {queue()}")
        if not ran:
            pause.wait(0.02)  # until the next wakeup is due


def queue() -> list[tuple[Any, ...]]:
    with as_system():
        return list(Wakeup.objects.values_list("kind", "due_at", "attempts", "last_error"))


def done(api: Api, answer: Answer, *, patience_s: float = PATIENCE_S) -> Any:
    """Work until the operation of a 202 has ended; answers it. Fails unless it was accepted."""
    assert answer.status == 202, answer
    id = answer["operation"]["id"]
    return until(lambda: ended(api, id), patience_s=patience_s, what=lambda: api.get(f"operations/{id}").body)


def ended(api: Api, id: str) -> Any:
    operation = api.get(f"operations/{id}").body
    return operation if operation["ended_at"] else None


def succeed(api: Api, answer: Answer, *, patience_s: float = PATIENCE_S) -> Any:
    """`done`, and well."""
    operation = done(api, answer, patience_s=patience_s)
    assert operation["phase"] == "succeeded", operation
    return operation
