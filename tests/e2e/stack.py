"""The embedded stack as a person runs it: its own processes, home and free ports; and a hand on each part."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psycopg2
import redis

from facet import settings
from facet.embedded import child, supervision, valkey
from facet.embedded.home import Home

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
STOP_S = 60.0
T = TypeVar("T")


def until(true: Callable[[], T], *, patience_s: float, what: Callable[[], Any] | None = None) -> T:
    """Wait for a condition of other processes; fails with `what()` when patience ends."""
    end, pause = time.monotonic() + patience_s, threading.Event()
    while not (found := true()):
        assert time.monotonic() < end, what() if what else f"it never came: {found!r}"
        pause.wait(0.05)
    return found


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def environment(home: Path, **more: str) -> dict[str, str]:
    """What a newcomer's shell has, with this home and ports that nobody uses."""
    web, events, simulator = free_ports(3)
    drop = ("FACET_", "DJANGO_", "XDG_", "KUBECONFIG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    own = {
        "FACET_HOME": str(home), "FACET_PORT": str(web), "FACET_EVENTS_PORT": str(events),
        "FACET_SIMULATOR_PORT": str(simulator), "HOME": str(home.parent),
    }  # fmt: skip
    return {**kept, **own, **more}


def left_running(home: Path) -> list[int]:
    """Processes of the stack of this home, databases included."""
    everything = set(child.left_behind(str(home)))
    return sorted(everything | set(child.left_behind(str(home), "postgres")))


@dataclass
class Stack:
    """A running stack."""

    home: Home
    environ: dict[str, str]
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return self.home.url

    def facet(
        self, *words: str, stdin: str = "", token: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """The real command, as one person with a token."""
        program = str(Path(sys.executable).with_name("facet"))
        environ = {**self.environ, "FACET_URL": self.url, "XDG_CONFIG_HOME": str(self.home.path / "config")}
        if token:
            environ["FACET_TOKEN"] = token
        done = subprocess.run(
            [program, *words], input=stdin, env=environ, capture_output=True, text=True, check=False, timeout=240
        )
        assert not check or done.returncode == 0, (
            f"facet {' '.join(words)}: {done.returncode}\n{done.stderr}{self.tails()}"
        )
        return done

    def login(self, user: str, password: str) -> str:
        answer = httpx.post(f"{self.url}/api/v1/login", json={"username": user, "password": password}, timeout=30)
        assert answer.status_code == 201, answer.text
        token: str = answer.json()["token"]
        return token

    def admin(self) -> str:
        return self.login("admin", self.home.admin_password.read_text().strip())

    def api(self, token: str) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """As the owner, whom no policy hides anything from."""
        way = settings.database(self.home.owner_url())
        with (
            psycopg2.connect(host=way["HOST"], user=way["USER"], dbname=way["NAME"]) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query, values)
            return list(cursor.fetchall()) if cursor.description else []

    def flush_redis(self) -> None:
        with redis.Redis(unix_socket_path=str(valkey.Server.at(self.home.path).socket)) as client:
            client.flushall()

    def pids(self, name: str) -> list[int]:
        """The program and the processes that it has made."""
        return sorted(child.left_behind(str(self.home.path), name))

    def kill(self, name: str, number: int = signal.SIGKILL) -> list[int]:
        found = self.pids(name)
        for pid in found:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        return found

    def tails(self) -> str:
        """The end of every log, for a failure's message."""
        return "".join(f"\n--- {log.name}\n{supervision.tail(log, 12)}" for log in sorted(self.home.logs.glob("*.log")))


@contextmanager
def running(folder: Path, **more: str) -> Iterator[Stack]:
    """`make run`, until the end of the block; then Ctrl-C. Fails when something is left running."""
    home = folder / "home"
    environ = environment(home, **more)
    log = folder / "run.log"
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "facet.embedded", "run"], env=environ, cwd=ROOT, stdout=out, stderr=out, text=True
        )
    stack = Stack(Home.of(environ), environ, process)
    try:
        until(lambda: _up(stack, log), patience_s=START_S, what=lambda: log.read_text() + stack.tails())
        yield stack
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(STOP_S)
    assert not left_running(home), left_running(home)


def _up(stack: Stack, log: Path) -> bool:
    assert stack.process.poll() is None, log.read_text() + stack.tails()
    return "Ctrl-C stops everything" in log.read_text()


def documents(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)
