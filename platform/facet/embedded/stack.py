"""Start the whole stack of one home, wait until it answers, and stop it again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from . import child, postgres, programs, supervision, valkey
from .home import LOOPBACK, Home, Lock
from .postgres import CannotStart
from .programs import Program
from .supervision import Supervisor

READY_TIMEOUT_S = 60.0
FORERUNNER_TIMEOUT_S = 20.0
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Someone asked the stack to end: Ctrl-C, SIGTERM, or its terminal closed."""


@contextmanager
def running(home: Home, *, say: bool = True) -> Iterator[Supervisor]:
    """The stack of `home` for the length of the block, ready to be used. Raises CannotStart, Interrupted."""
    home.prepare()
    lock = Lock(home)
    lock.take()
    supervisor = Supervisor(home, [*programs.databases(home), programs.simulator(home), *programs.services(home)])
    before = {number: signal.signal(number, _interrupt) for number in ENDING}
    try:
        _wait_for_forerunner(supervisor)
        home.check_ports()
        _start(home, supervisor, say)
        yield supervisor
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        supervisor.stop()
        lock.give()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(signal.Signals(number).name)


def _wait_for_forerunner(supervisor: Supervisor) -> None:
    """After a `kill -9` of its starter the last stack is still ending itself."""
    deadline = time.monotonic() + FORERUNNER_TIMEOUT_S
    while supervision.answers(supervisor.socket):
        if time.monotonic() > deadline:
            raise CannotStart(f"An older stack of {supervisor.home.path} does not end.")
        time.sleep(0.1)  # another's process: it tells no one when it is gone
    child.end_left_behind(str(supervisor.home.path))


def _start(home: Home, supervisor: Supervisor, say: bool) -> None:
    environ = home.environment(os.environ)
    server = postgres.Server.at(home.path)
    server.initialise()
    supervisor.start(environ)
    supervisor.run("postgres", "valkey", "simulator")
    server.wait()
    server.provision()
    _manage(home, environ | {"FACET_OWNER_DATABASE_URL": home.owner_url()}, "init_embedded")
    names = [one.name for one in programs.services(home)]
    valkey.Server.at(home.path).wait()
    supervisor.run(*names)
    wait_ready(home, supervisor, ["simulator", *names])
    if say:
        print(f"Facet answers at {home.url}", flush=True)


def _manage(home: Home, environ: dict[str, str], *arguments: str) -> None:
    """A management command to its end, its output in logs/. Raises CannotStart with what it said."""
    log = home.logs / f"{arguments[0]}.log"
    with log.open("wb") as out:
        done = subprocess.run(
            programs.manage(*arguments), env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode:
        raise CannotStart(f"{arguments[0]} failed. The end of {log}:\n{supervision.tail(log)}")


def wait_ready(home: Home, supervisor: Supervisor, names: Sequence[str]) -> None:
    """Until web says ready and events and simulator listen. Raises CannotStart naming what does not."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    waiting = {"web": home.port, "events": home.events_port, "simulator": home.simulator_port}
    while waiting:
        supervisor.check(names)
        waiting = {name: port for name, port in waiting.items() if not _listens(port)}
        if not waiting and not _ready(home):
            waiting = {"web": home.port}
        if waiting and time.monotonic() > deadline:
            raise CannotStart(f"Not ready in {READY_TIMEOUT_S:.0f} s: {', '.join(waiting)}. See {home.logs}.")
        if waiting:
            time.sleep(0.05)  # three servers in three processes: asked in turn until each has answered


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
        return True
    except OSError:
        return False


def _ready(home: Home) -> bool:
    try:
        with urllib.request.urlopen(f"{home.url}/readyz", timeout=5) as answer:  # noqa: S310  our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for_the_end(supervisor: Supervisor) -> None:
    """Until someone interrupts, or supervisord ends by itself (then CannotStart)."""
    if supervisor.process is None:
        return
    supervisor.process.wait()
    raise CannotStart(f"supervisord ended by itself; see {supervisor.home.logs / 'supervisord.log'}")


__all__ = ["CannotStart", "Interrupted", "Program", "running", "wait_for_the_end", "wait_ready"]
