"""FACET_HOME: the folder of one embedded stack, its secrets, its ports, and the lock that only one starter holds."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from . import postgres, valkey
from .postgres import CannotStart

LOOPBACK = "127.0.0.1"
DEFAULT_PORT = 8800
GUEST_NETWORKS = range(32, 224)  # second octets; the simulator holds one of these 127.B.0.0/16 while it runs
GUARD_PORT = 6443


@dataclass(frozen=True)
class Home:
    """Where one stack keeps everything, and where it listens. Two homes with two ports run side by side."""

    path: Path
    port: int = DEFAULT_PORT
    events_port: int = DEFAULT_PORT + 1
    simulator_port: int = DEFAULT_PORT + 2

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Home:
        """From FACET_HOME (default `.facet`), FACET_PORT and its two followers. Raises CannotStart for a bad port."""
        port = _port(environ, "FACET_PORT", DEFAULT_PORT)
        return cls(
            Path(environ.get("FACET_HOME") or ".facet").absolute(),
            port,
            _port(environ, "FACET_EVENTS_PORT", port + 1),
            _port(environ, "FACET_SIMULATOR_PORT", port + 2),
        )

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def ports(self) -> dict[str, int]:
        return {
            "FACET_PORT": self.port,
            "FACET_EVENTS_PORT": self.events_port,
            "FACET_SIMULATOR_PORT": self.simulator_port,
        }

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def sockets(self) -> Path:
        return postgres.socket_folder(self.path)

    @property
    def admin_password(self) -> Path:
        return self.path / "admin-password"

    @property
    def simulator_password(self) -> Path:
        return self.path / "simulator-password"

    def prepare(self) -> None:
        """Make the folder (0700) and, once, its secrets (0600) and the simulator's network."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        (self.path / "static").mkdir(mode=0o700, exist_ok=True)  # the web server looks for it
        write_once(self.path / "secret-key", secrets.token_urlsafe(50))
        key = base64.b64encode(os.urandom(32)).decode()
        write_once(self.path / "keys.json", json.dumps({"current": "k1", "keys": {"k1": key}}))
        write_once(self.simulator_password, secrets.token_urlsafe(18))
        write_once(self.admin_password, secrets.token_urlsafe(18))
        if not (self.path / "guest-network").exists():
            write_once(self.path / "guest-network", free_guest_network())

    def guest_network(self) -> str:
        """127.B.0.0/16: where the simulator's guests answer."""
        return (self.path / "guest-network").read_text().strip()

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What every process of the stack gets on top of `base`. Migrations add the owner's database."""
        own = {
            "FACET_HOME": str(self.path),
            "FACET_DATABASE_URL": postgres.Server.at(self.path).url("facet_app"),
            "FACET_REDIS_URL": valkey.Server.at(self.path).url,
            "FACET_SECRET_KEY_FILE": str(self.path / "secret-key"),
            "FACET_KEYS_FILE": str(self.path / "keys.json"),
            "PYTHONUNBUFFERED": "1",
        }
        return {**base, **own, **{name: str(port) for name, port in self.ports.items()}}

    def owner_url(self) -> str:
        return postgres.Server.at(self.path).url("facet_owner")

    def check_ports(self) -> None:
        """Raises CannotStart with the port that someone else holds, and what to do."""
        for name, port in self.ports.items():
            with closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError as error:
                    raise CannotStart(
                        f"Port {port} ({name}) is taken by another program. Choose another: FACET_PORT={port + 100}"
                    ) from error


@dataclass
class Lock:
    """Held by the process that runs the stack of a home; its file says which process and where it answers."""

    home: Home
    _descriptor: int = -1

    @property
    def path(self) -> Path:
        return self.home.path / "stack.lock"

    def take(self) -> None:
        """Raises CannotStart when the stack of this home runs already."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            found = self.holder()
            where = f" at {found['url']} (process {found['pid']})" if found else ""
            raise CannotStart(
                f"Facet already runs from {self.home.path}{where}. `python -m facet.embedded stop` stops it."
            ) from None
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid(), "url": self.home.url}).encode())
        self._descriptor = descriptor

    def give(self) -> None:
        if self._descriptor >= 0:
            os.truncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def holder(self) -> dict[str, object] | None:
        """Who holds the lock: pid and url; None when no one does."""
        try:
            descriptor = os.open(self.path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            return dict(json.loads(self.path.read_text() or "{}"))
        finally:
            os.close(descriptor)

    def wait_free(self, timeout_s: float) -> bool:
        """Until no one holds it; False when the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.holder() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)  # a lock of another process gives no other sign that can be waited for with a limit
        return True


def write_once(path: Path, text: str) -> None:
    """Write a 0600 file, whole or not at all, unless it is there."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    draft.rename(path)


def free_guest_network() -> str:
    """A 127.B.0.0/16 that no simulator holds now. Chance decides, so that two homes made together seldom meet."""
    for second in random.sample(GUEST_NETWORKS, len(GUEST_NETWORKS)):
        with closing(socket.socket()) as probe:
            try:
                probe.bind((f"127.{second}.255.254", GUARD_PORT))
            except OSError:
                continue
        return f"127.{second}.0.0/16"
    raise CannotStart("No loopback network 127.B.0.0/16 is free for the simulated guests.")


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdigit() or not 0 < int(text) <= 65535:
        raise CannotStart(f"{name}={text} is not a port.")
    return int(text)
