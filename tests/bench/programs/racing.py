"""Clients that claim as fast as they are answered, and what one block of it came to."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tests.bench.programs import accounts


@dataclass(frozen=True)
class Answer:
    """How one claim ended, and how often it was told to look again before."""

    accepted: bool
    conflicts: int = 0


class Client:
    """One caller with one lasting connection. As small as it can be: it has the same two cores as those it measures."""

    headers: Mapping[str, str] = {}

    def __init__(self, port: int) -> None:
        self._port = port
        self._line: BinaryIO | None = None

    def say(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request; a connection that the server closed between two requests is made anew."""
        sent = b"" if body is None else json.dumps(body).encode()
        head = {**self.headers, "Host": "127.0.0.1", "Content-Length": str(len(sent))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        request = f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + sent
        answer = self._said(request)
        return answer if answer is not None else self._surely(request)

    def _surely(self, request: bytes) -> tuple[int, bytes]:
        self.close()
        answer = self._said(request)
        if answer is None:
            raise ConnectionError("the server closed the connection")
        return answer

    def _said(self, request: bytes) -> tuple[int, bytes] | None:
        """Status and body; None when the connection was closed before a word was answered."""
        if self._line is None:
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=60)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._line = connection.makefile("rwb", buffering=1 << 16)
            connection.close()  # the file keeps it
        try:
            self._line.write(request)
            self._line.flush()
            first = self._line.readline()
        except (BrokenPipeError, ConnectionResetError):
            return None
        return (int(first.split(None, 2)[1]), self._body(self._line)) if first else None

    @staticmethod
    def _body(line: BinaryIO) -> bytes:
        length = 0
        while (header := line.readline()) not in (b"\r\n", b""):
            name, _, value = header.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"transfer-encoding":
                raise ValueError("an answer in chunks is not expected")
        return line.read(length)

    def claim(self) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


@dataclass(frozen=True)
class Side:
    """One of those who race: how its clients are made, and the processes whose CPU is its web's and its database's."""

    name: str
    client: Callable[[], Client]
    web: Sequence[int]
    database: Sequence[int]


@dataclass
class Block:
    """What the clients of one side did in one block."""

    seconds: float = 0.0
    accepted: int = 0
    refused: int = 0
    conflicts: int = 0
    web_cpu_s: float = 0.0
    database_cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def claims_per_s(self) -> float:
        return self.accepted / self.seconds

    @property
    def web_ms(self) -> float:
        return self.web_cpu_s * 1000 / max(1, self.accepted)

    @property
    def database_ms(self) -> float:
        return self.database_cpu_s * 1000 / max(1, self.accepted)


def block(side: Side, *, clients: int, seconds: float, most: int | None = None) -> Block:
    """`clients` callers of one side at once, for `seconds`, or until `most` claims were asked for together."""
    callers = [side.client() for _ in range(clients)]
    said, failed, lock = Block(), [], threading.Lock()
    left = [most if most is not None else 1 << 40]
    gate = threading.Barrier(clients + 1)

    def run(caller: Client) -> None:
        gate.wait()
        end = time.perf_counter() + seconds
        try:
            while time.perf_counter() < end and not failed:
                with lock:
                    if not left[0]:
                        return
                    left[0] -= 1
                began = time.perf_counter()
                answer = caller.claim()
                took = time.perf_counter() - began
                with lock:
                    said.accepted += answer.accepted
                    said.refused += not answer.accepted
                    said.conflicts += answer.conflicts
                    said.latencies_s.append(took)
        except Exception as error:  # told by the thread that waits for all
            failed.append(error)

    threads = [threading.Thread(target=run, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    web, database = accounts.cpu_s(side.web), accounts.cpu_s(side.database)
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    said.seconds = time.perf_counter() - began
    said.web_cpu_s = accounts.cpu_s(side.web) - web
    said.database_cpu_s = accounts.cpu_s(side.database) - database
    for caller in callers:
        caller.close()
    if failed:
        raise failed[0]
    return said
