"""Our side: PostgreSQL, Valkey and `facet-manage web` as they ship, with two web workers; no worker takes passes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facet.embedded import postgres, valkey
from facet.embedded.home import Home
from tests.bench.programs import held
from tests.bench.programs.racing import Answer, Client

ROOT = Path(__file__).resolve().parents[3]
WORKERS = 2
START_S = 60.0
ATTEMPTS = 50
ALL_ZONES, HOT = ("az1", "az2", "az3"), "hot"


@dataclass
class Stack:
    """A running stack: `web` is the process of its web server, the doorbell counts as web."""

    home: Home
    server: postgres.Server
    environ: dict[str, str]
    web: int
    bell: int
    people: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> int:
        return int((self.server.data / "postmaster.pid").read_text().splitlines()[0])

    def ground(self, *words: str) -> dict[str, Any]:
        return _program(self.environ, "tests.bench.programs.ground", *words)

    def hold(self, count: int) -> None:
        """So many allocations more, with every counter."""
        held.hold(self.server, count)

    def inside(self, *words: str) -> dict[str, Any]:
        """Measures taken in a process of their own, on this stack's database."""
        return _program(self.environ, "tests.bench.programs.inside", *words)

    def client(self, zones: Sequence[str] = ALL_ZONES) -> OurClient:
        return OurClient(self.home.port, self.people["token"], self.people["project"], zones)


def _program(environ: dict[str, str], module: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", module, *words], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(words)}:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def core(what: str, hosts: int, vms: int) -> dict[str, Any]:
    """The scheduler's core by itself, which needs no stack."""
    environ = {**os.environ, "FACET_ALLOW_EPHEMERAL_KEY": "1"}
    return _program(environ, "tests.bench.programs.inside", what, str(hosts), str(vms))


@contextlib.contextmanager
def running(folder: Path, port: int) -> Iterator[Stack]:
    """The stack with its people, and no host yet."""
    home = Home(folder.absolute(), port, port, port)
    home.prepare()
    drop = ("FACET_", "DJANGO_")
    base = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
    with postgres.running(home.path) as server, valkey.running(home.path) as bell:
        environ = home.environment(base) | {"FACET_WEB_WORKERS": str(WORKERS)}
        _manage(environ | {"FACET_OWNER_DATABASE_URL": home.owner_url()}, "init_embedded")
        with (home.logs / "web.log").open("ab") as log:
            web = subprocess.Popen(
                [sys.executable, "-m", "facet.manage", "web"], env=environ, cwd=ROOT, stdout=log, stderr=log
            )
        try:
            _wait(web, home)
            stack = Stack(home, server, environ, web.pid, _owner_of(bell))
            stack.people = stack.ground("people")
            yield stack
        finally:
            web.terminate()
            web.wait(timeout=20)


def _manage(environ: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "facet.manage", *words],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}:\n{done.stderr[-4000:]}")


def _owner_of(bell: valkey.Server) -> int:
    """The process that serves this socket: the one whose command names it."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if str(bell.socket) in (entry / "cmdline").read_text().split("\0"):
                    return int(entry.name)
    raise RuntimeError("Valkey is not there")


def _wait(web: subprocess.Popen[bytes], home: Home) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", home.port, timeout=10)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        if web.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the web server does not answer: {(home.logs / 'web.log').read_text()[-4000:]}")
        time.sleep(0.05)  # nothing to wait on: a port that is not there yet


class OurClient(Client):
    """A claim as a team makes it: one POST with its token; the answer is the VM with its operation, or why not."""

    def __init__(self, port: int, token: str, project: str, zones: Sequence[str]) -> None:
        super().__init__(port)
        self.headers = {
            "Authorization": f"Bearer {token}", "Content-Type": "application/json", "Accept": "application/json"
        }  # fmt: skip
        self._project = f"/api/v1/projects/{project}"
        self._zones = list(zones)

    def claim(self) -> Answer:
        body = {"name": f"vm-{uuid.uuid4().hex}", "zones": self._zones, "flavor": "tiny"}
        for conflicts in range(ATTEMPTS):
            status, answer = self.say("POST", f"{self._project}/vms", body)
            if status == 202:
                return Answer(True, conflicts)
            if status == 409 and json.loads(answer)["code"] == "no_room":
                return Answer(False, conflicts)
            if status != 503:
                raise RuntimeError(f"vms: {status} {answer!r}")
        return Answer(False, ATTEMPTS)

    def cluster(self, nodes: int) -> None:
        """A cluster of so many workers, answered with its receipt."""
        body = {
            "name": f"c-{uuid.uuid4().hex[:20]}", "zones": self._zones,
            "node_pools": [{"name": "workers", "size": nodes}], "network": {"pod_cidr": "10.128.0.0/10"},
        }  # fmt: skip
        status, answer = self.say("POST", f"{self._project}/clusters", body)
        if status != 202:
            raise RuntimeError(f"clusters: {status} {answer!r}")
