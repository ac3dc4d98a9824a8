"""OpenStack Placement 16 beside us: its own virtual environment, PostgreSQL as ours has it, two web workers.

It is set up as somebody would who wants it fast and fair: candidates limited to 50 and in random order, no Keystone in
front (its own `noauth2`), the web server that serves us too, with as many workers and threads, logs of warnings only.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2.extras

from facet.embedded import postgres
from tests.bench.programs.racing import Answer, Client

NAME, MAJOR = "openstack-placement", 16
WORKERS, THREADS = 2, 4
CANDIDATES = 50
ATTEMPTS = 50
START_S = 60.0
CPU_OVERCOMMIT = 4.0
SETTINGS = """
[DEFAULT]
default_log_levels = placement=WARNING
log_options = false
[api]
auth_strategy = noauth2
[placement]
randomize_allocation_candidates = true
[placement_database]
connection = {url}
max_pool_size = {threads}
"""


class NotThere(Exception):
    """The peer cannot be installed on this machine; the message says why in one line."""


@dataclass(frozen=True)
class Environment:
    """Its virtual environment. `title`: name and version as they stand in the rows."""

    folder: Path
    title: str

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")


def environment(home: Path) -> Environment:
    """Make the virtual environment below `home`, once. Raises NotThere."""
    folder = home / "bench" / "placement-venv"
    version = _version(folder)
    if version is None:
        _install(folder)
        version = _version(folder)
    if version is None:
        raise NotThere(f"{NAME} {MAJOR} is installed and does not say its version.")
    return Environment(folder, f"{NAME} {version}")


def _version(folder: Path) -> str | None:
    ask = f"from importlib.metadata import version; print(version({NAME!r}))"
    try:
        done = subprocess.run([str(folder / "bin" / "python"), "-c", ask], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    found = done.stdout.strip()
    return found if found.startswith(f"{MAJOR}.") and _has_server(folder) else None


def _has_server(folder: Path) -> bool:
    return (folder / "bin" / "granian").exists()


def _install(folder: Path) -> None:
    ours = [f"{name}=={importlib.metadata.version(name)}" for name in ("granian", "psycopg2-binary")]
    steps = (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
         f"{NAME}=={MAJOR}.*", *ours],
    )  # fmt: skip
    for command in steps:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR")]
            raise NotThere(said[0] if said else f"{' '.join(command[:3])} ended with {done.returncode}")


@dataclass(frozen=True)
class Peer:
    """A running Placement: `web` is the process of its web server, `server` its PostgreSQL."""

    server: postgres.Server
    web: int
    port: int

    @property
    def database(self) -> int:
        return int((self.server.data / "postmaster.pid").read_text().splitlines()[0])

    def client(self, shape: dict[str, int]) -> PeerClient:
        return PeerClient(self.port, shape)

    def grow(self, hosts: int) -> None:
        """As many hosts as ours have, of the same shape, written as its own API would leave them."""
        with self._cursor() as cursor:
            cursor.execute("select count(*) from resource_providers")
            there = cursor.fetchone()[0]
            names = [(str(uuid.uuid4()), f"host-{number}") for number in range(there, hosts)]
            psycopg2.extras.execute_values(
                cursor, "insert into resource_providers (uuid, name, generation) values %s", names, "(%s, %s, 0)"
            )
            cursor.execute("update resource_providers set root_provider_id = id where root_provider_id is null")
            _stock(cursor, {"VCPU": (16, CPU_OVERCOMMIT), "MEMORY_MB": (262_144, 1.0), "DISK_GB": (100_000, 1.0)})

    def hot(self, room: int) -> None:
        """One host with room for so many of one vCPU, and no other: what was there takes nothing more."""
        with self._cursor() as cursor:
            cursor.execute("delete from allocations")
            cursor.execute("delete from inventories")
            cursor.execute("delete from resource_providers")
            cursor.execute(
                "insert into resource_providers (uuid, name, generation) values (%s, 'hot', 0)", [str(uuid.uuid4())]
            )
            cursor.execute("update resource_providers set root_provider_id = id")
            _stock(cursor, {"VCPU": (room, 1.0), "MEMORY_MB": (1_000_000, 1.0), "DISK_GB": (100_000, 1.0)})

    def claimed(self) -> int:
        """Allocations of vCPU that stand."""
        with self._cursor() as cursor:
            cursor.execute(
                "select count(*) from allocations a join resource_classes c on c.id = a.resource_class_id "
                "where c.name = 'VCPU'"
            )
            found: int = cursor.fetchone()[0]
            return found

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[psycopg2.extensions.cursor]:
        with contextlib.closing(self.server.connect("placement")) as connection, connection.cursor() as cursor:
            yield cursor
            cursor.execute("analyze")


def _stock(cursor: psycopg2.extensions.cursor, amounts: dict[str, tuple[int, float]]) -> None:
    """Inventories for the providers that have none."""
    for resource, (total, ratio) in amounts.items():
        cursor.execute(
            """insert into inventories (resource_provider_id, resource_class_id, total, reserved, min_unit, max_unit,
                   step_size, allocation_ratio)
               select p.id, c.id, %(total)s, 0, 1, %(total)s, 1, %(ratio)s
               from resource_providers p, resource_classes c
               where c.name = %(resource)s and not exists (
                   select 1 from inventories i where i.resource_provider_id = p.id and i.resource_class_id = c.id)""",
            {"resource": resource, "total": total, "ratio": ratio},
        )


@contextlib.contextmanager
def running(found: Environment, folder: Path, port: int) -> Iterator[Peer]:
    """Its database made by its own `placement-manage db sync`, its web workers answering on loopback."""
    with postgres.running(folder) as server, (folder / "web.log").open("ab") as log:
        with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("create database placement")
        url = server.url(postgres.SUPERUSER, "placement").replace("postgresql:", "postgresql+psycopg2:", 1)
        (folder / "placement.conf").write_text(SETTINGS.format(url=url, threads=THREADS))
        environ = {"PATH": os.environ["PATH"], "OS_PLACEMENT_CONFIG_DIR": str(folder)}
        sync = [str(found.folder / "bin" / "placement-manage"), "--config-dir", str(folder), "db", "sync"]
        subprocess.run(sync, env=environ, stdout=log, stderr=log, check=True)
        size = ["--workers", str(WORKERS), "--blocking-threads", str(THREADS)]
        place = ["--host", "127.0.0.1", "--port", str(port), "--no-ws", "--log-level", "warning"]
        command = [
            found.python,
            "-m",
            "granian",
            "--interface",
            "wsgi",
            *place,
            *size,
            "placement.wsgi.api:application",
        ]
        web = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        try:
            _wait(web, port)
            yield Peer(server, web.pid, port)
        finally:
            web.terminate()
            web.wait(timeout=20)


def _wait(web: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", "/")
            if connection.getresponse().status == 200:
                return
        if web.poll() is not None or time.monotonic() > deadline:
            raise NotThere(f"Placement's web server does not answer ({web.poll()}).")
        time.sleep(0.05)  # nothing to wait on: a port that is not there yet


class PeerClient(Client):
    """A claim as Nova makes it: ask for candidates, take one of them; when it is refused as stale, ask again."""

    headers = {
        "X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39", "Content-Type": "application/json",
        "Accept": "application/json",
    }  # fmt: skip

    def __init__(self, port: int, shape: dict[str, int]) -> None:
        super().__init__(port)
        resources = ",".join(f"{name}:{amount}" for name, amount in shape.items())
        self._ask = f"/allocation_candidates?limit={CANDIDATES}&resources={resources}"

    def claim(self) -> Answer:
        for conflicts in range(ATTEMPTS):
            status, body = self.say("GET", self._ask)
            if status != 200:
                raise RuntimeError(f"candidates: {status} {body!r}")
            wanted = json.loads(body)["allocation_requests"]
            if not wanted:
                return Answer(False, conflicts)
            status, body = self.say("PUT", f"/allocations/{uuid.uuid4()}", self._taking(wanted[0]["allocations"]))
            if status == 204:
                return Answer(True, conflicts)
            if status != 409:
                raise RuntimeError(f"allocation: {status} {body!r}")
        return Answer(False, ATTEMPTS)

    @staticmethod
    def _taking(allocations: dict[str, object]) -> dict[str, object]:
        return {
            "allocations": allocations, "consumer_generation": None, "consumer_type": "INSTANCE",
            "project_id": "web", "user_id": "ci",
        }  # fmt: skip
