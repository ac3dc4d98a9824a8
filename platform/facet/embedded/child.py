"""Becomes one program of the stack: `python -m facet.embedded.child NAME`, started by the supervisor.

The kernel is asked to signal it when the supervisor dies, so that nothing outlives the stack even after `kill -9`; and
what a killed forerunner of the same name left behind (a web server's worker process) is ended before it starts.
Standard library only: this runs before every program.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
TABLE = "programs.json"
NAME = "FACET_PROGRAM"


def die_with_parent(number: int, parent: int) -> None:
    """Ask for signal `number` at the parent's death; exits at once when `parent` is gone already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def dying_with_this_process(number: int = signal.SIGTERM) -> Callable[[], None]:
    """For Popen's preexec_fn: the child gets `number` when this process dies."""
    parent = os.getpid()
    return lambda: die_with_parent(number, parent)


def left_behind(home: str, name: str | None = None) -> Iterator[int]:
    """Processes of the stack of `home` (of one program, or of all but the databases), without this one."""
    wanted = f"FACET_HOME={home}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended, or is someone else's
            continue
        marks = [line.partition(b"=")[2].decode() for line in environment if line.startswith(f"{NAME}=".encode())]
        if wanted in environment and marks and (marks[0] == name if name else marks[0] != "postgres"):
            yield int(entry.name)


def end_left_behind(home: str, name: str | None = None) -> None:
    for pid in left_behind(home, name):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def become(argv: list[str], stop: int, parent: int) -> None:
    die_with_parent(stop, parent)
    os.execvp(argv[0], argv)  # noqa: S606  a list of arguments, no shell


def main(arguments: list[str]) -> None:
    """`NAME`: look it up and become it. `--within STOP PARENT argv...`: the same, inside a user namespace."""
    if arguments[0] == "--within":
        become(arguments[3:], int(arguments[1]), int(arguments[2]))
    name, home = arguments[0], os.environ["FACET_HOME"]
    program = json.loads((Path(home) / TABLE).read_text())[name]
    parent = os.getppid()
    supervisor = Path(home) / "supervisord.pid"
    if supervisor.exists() and supervisor.read_text().strip() not in ("", str(parent)):
        os._exit(1)
    if name != "postgres":  # its own processes see to it, and may still be ending
        end_left_behind(home, name)
    os.environ[NAME] = name
    argv, stop = program["argv"], int(program["stop"])
    if program["prefix"]:  # what changes credentials clears the request to the kernel, so it is made inside
        argv = [*program["prefix"], sys.executable, __file__, "--within", str(stop), str(parent), *argv]
    become(argv, stop, parent)


if __name__ == "__main__":
    main(sys.argv[1:])
