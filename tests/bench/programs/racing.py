"""Clients that claim as fast as they are answered, and what one block of it came to."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.programs import accounts


@dataclass(frozen=True)
class Answer:
    """How one claim ended, and how often it was told to look again before."""

    accepted: bool
    conflicts: int = 0


class Client:
    """One caller with one lasting connection."""

    headers: Mapping[str, str] = {}

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def say(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request; a connection that the server closed between two requests is made anew."""
        sent = None if body is None else json.dumps(body)
        try:
            return self._said(method, path, sent)
        except (http.client.RemoteDisconnected, ConnectionResetError):
            self._connection.close()
            return self._said(method, path, sent)

    def _said(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        self._connection.request(method, path, body, dict(self.headers))
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def claim(self) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        self._connection.close()


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
