"""What can go wrong for a user of the command line, and the exit code that a script sees."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    """The exit codes, as docs/cli.md prints them."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_LOGGED_IN = 4
    FORBIDDEN = 5
    REFUSED = 6
    OPERATION_FAILED = 7
    TIMED_OUT = 8
    DETACHED = 130


EXIT_SENTENCES: dict[Exit, str] = {
    Exit.DONE: "done",
    Exit.FAILED: "failed: no answer, a broken answer, a fault of the server",
    Exit.USAGE: "the command was used wrongly, or the API names a field that cannot be",
    Exit.NOT_FOUND: "there is no such object, or it is not yours",
    Exit.NOT_LOGGED_IN: "not logged in, or the token has expired",
    Exit.FORBIDDEN: "your roles do not include it",
    Exit.REFUSED: "refused: a conflict, a quota, no room",
    Exit.OPERATION_FAILED: "the operation failed or was cancelled",
    Exit.TIMED_OUT: "the wait timed out; the work goes on",
    Exit.DETACHED: "Ctrl-C: the command detached; the work goes on",
}

_EXITS = {
    400: Exit.USAGE,
    401: Exit.NOT_LOGGED_IN,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    409: Exit.REFUSED,
    412: Exit.REFUSED,
    422: Exit.USAGE,
}


class Fault(Exception):
    """An expected fault: one sentence for people, and an exit code. `hint` says what to do next."""

    exit = Exit.FAILED

    def __init__(self, sentence: str, *, hint: str = "", exit: Exit | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
        self.exit = exit or self.exit


class Usage(Fault):
    exit = Exit.USAGE


class NotFound(Fault):
    exit = Exit.NOT_FOUND


class NotLoggedIn(Fault):
    exit = Exit.NOT_LOGGED_IN


class Unreachable(Fault):
    """The server gave no answer. Whoever waits may ask again."""


class OperationFailed(Fault):
    exit = Exit.OPERATION_FAILED


class TimedOut(Fault):
    exit = Exit.TIMED_OUT


class Detached(Fault):
    exit = Exit.DETACHED


class ApiProblem(Fault):
    """A problem+json answer. `document` is the whole of it."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        sentence = str(document.get("detail") or document.get("title") or f"The server answered {status}.")
        super().__init__(sentence, exit=_EXITS.get(status, Exit.FAILED))
        self.status = status
        self.document = document
        self.code = str(document.get("code", ""))
        if self.exit == Exit.NOT_LOGGED_IN and self.code != "wrong_password":
            self.hint = "Log in: facet login --server URL"
