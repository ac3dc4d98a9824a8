"""A simulated datacenter over HTTP: `POST /v1/<verb>` for clients, `POST /hand/<act>` for people and tests.

Requests and answers are JSON. Every call carries the user's name and password (HTTP basic). An error is
{"error": {"code", "reason"}}: 400 for a request that makes no sense, 401, 404, 409 for what the datacenter refuses, 425
for what is to be asked again later, 503 for an injected outage. Binds loopback addresses only.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn

from infra.drivers.base import DriverError, NotReady, Unreachable

from .datacenter import Datacenter, Document

log = logging.getLogger(__name__)
LARGEST_REQUEST = 64 * 1024 * 1024
GRACE_S = 1
GREETING = b"A simulated datacenter of Facet: nothing here is real. docs/simulator.md says what may be asked.\n"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """ASGI."""

    def __init__(self, datacenter: Datacenter, username: str, password: str) -> None:
        self._datacenter = datacenter
        self._expected = f"{username}:{password}".encode()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/" and scope["method"] == "GET":
            await _respond(send, 200, GREETING, b"text/plain; charset=utf-8")
            return
        body = await _body(receive)
        status, document = await self._answer(scope, body)
        await _respond(send, status, json.dumps(document).encode(), b"application/json")

    async def _answer(self, scope: MutableMapping[str, Any], body: bytes | None) -> tuple[int, Document]:
        if not self._knows(dict(scope["headers"]).get(b"authorization", b"")):
            return _error(401, "bad_credentials", "The simulator refused the user name or the password.")
        part, _, name = scope["path"].lstrip("/").partition("/")
        verbs = {"v1": self._datacenter.verbs, "hand": self._datacenter.hand}.get(part, {})
        if name not in verbs or scope["method"] != "POST":
            return _error(404, "not_found", f"There is no {scope['method']} {scope['path']} here.")
        if body is None:
            return _error(413, "invalid", "The request is too large.")
        try:
            request = json.loads(body or b"{}")
            if not isinstance(request, dict):
                raise TypeError("a request is a JSON object")
            ask = self._datacenter.ask if part == "v1" else self._datacenter.by_hand
            return 200, await ask(name, request)
        except Unreachable as error:
            return _error(503, error.code, error.reason)
        except NotReady as error:
            return _error(425, error.code, error.reason)
        except DriverError as error:
            return _error(409, error.code, error.reason)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            log.warning("A request for %s that makes no sense: %s", name, type(error).__name__)  # it may hold boot data
            return _error(400, "invalid", f"This request for {name} makes no sense: {type(error).__name__}.")

    def _knows(self, header: bytes) -> bool:
        scheme, _, text = header.partition(b" ")
        try:
            said = base64.b64decode(text, validate=True)
        except binascii.Error:
            return False
        return scheme.lower() == b"basic" and hmac.compare_digest(said, self._expected)


class _Server(uvicorn.Server):
    """Signals are the caller's to hear."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(port: int) -> socket.socket:
    """A listening socket on this machine's loopback; port 0 takes a free one. Raises OSError."""
    return socket.create_server(("127.0.0.1", port), backlog=512)


async def serve(
    datacenter: Datacenter, listener: socket.socket, username: str, password: str, ready: Callable[[], None]
) -> None:
    """Start the datacenter and answer until SIGTERM or SIGINT. Raises AddressesTaken."""
    await datacenter.start()
    config = uvicorn.Config(
        Application(datacenter, username, password),
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,  # longer than clients keep a connection: they leave first
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.should_exit = True
        datacenter.state.feed.end()
        datacenter.faults.clear()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        ready()
        await server.serve(sockets=[listener])
    finally:
        await datacenter.stop()


async def _body(receive: Receive) -> bytes | None:
    """The whole request; None where it is too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= LARGEST_REQUEST:
            parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts) if size <= LARGEST_REQUEST else None


def _error(status: int, code: str, reason: str) -> tuple[int, Document]:
    return status, {"error": {"code": code, "reason": reason}}


async def _respond(send: Send, status: int, body: bytes, kind: bytes) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="simulator"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
