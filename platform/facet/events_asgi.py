"""The events process: `text/event-stream` over a small ASGI application, without Django's handler, which would open a
database connection for each request. Few threads with lasting connections read for all streams.

    GET /api/v1/stream/events            what the caller may see of events, from now, or after Last-Event-ID or ?cursor=
    GET /api/v1/stream/operations/{id}   the operation as it stands, whenever it has moved; ends with it

Both also without /api/v1. A message's `event` is the event's verb, or `operation`; its data is what GET shows. A stream
ends with `event: end` when there is nothing more to come, with `event: problem` when its caller may no longer read it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import django
import structlog
import uvicorn

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")
django.setup()

from django.conf import settings  # noqa: E402  Django must be set up before what follows is imported
from django.core.exceptions import DisallowedHost  # noqa: E402
from django.core.handlers.asgi import ASGIRequest  # noqa: E402
from django.db import Error as DatabaseError  # noqa: E402
from django.db import close_old_connections  # noqa: E402
from django.urls import path, resolvers  # noqa: E402

from facet.middleware import GIVEN_ID, source_ip  # noqa: E402
from facet.operations import streams  # noqa: E402
from facet.rest.ids import uuid7  # noqa: E402
from facet.rest.problems import CONTENT_TYPE, Forbidden, NotFound, Problem  # noqa: E402
from facet.stream_readers import ENDED, HEARTBEAT, Chunk, Events, OneOperation, Stream  # noqa: E402
from tenants import isolation  # noqa: E402

log = structlog.get_logger(__name__)

HEARTBEAT_S = 15.0
SLOW_READER_S = 20.0  # who takes nothing for so long is cut off
MOST_STREAMS = 1000
MOST_OF_ONE_CALLER = 100
READERS = 4
WARN_AGAIN_S = 5.0
WITHOUT_PORT = re.compile(r":\d+$")
RETRY = b"retry: 2000\n\n"  # after so many milliseconds a browser whose stream has broken comes again

T = TypeVar("T")
Send = Callable[[dict[str, Any]], Any]
Receive = Callable[[], Any]


ROUTES = resolvers.URLResolver(
    resolvers.RegexPattern(r"^/"),
    [
        path(f"{prefix}stream/{rest}", stream)
        for prefix in ("api/v1/", "")
        for rest, stream in (("events", Events), ("operations/<uuid:id>", OneOperation))
    ],
)


class Application:
    """The ASGI application of one process."""

    def __init__(self) -> None:
        self.hub = streams.Hub(lambda: isolation.context(isolation.SYSTEM), self.in_thread)
        self.threads = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        self.open: dict[Stream, None] = {}
        self.warned_at = -WARN_AGAIN_S  # on the clock of the loop

    async def in_thread(self, work: Callable[[], T]) -> T:
        """`work` on a thread that keeps its database connection."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, _on_a_lasting_connection, work)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        hub = asyncio.create_task(self.hub.run())
        hub.add_done_callback(_end_with_the_hub)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        hub.cancel()
        with suppress(asyncio.CancelledError):
            await hub
        self.threads.shutdown(wait=False)
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        request: Any = ASGIRequest(dict(scope), io.BytesIO())
        given = request.headers.get("X-Request-Id", "")
        request.request_id = given if GIVEN_ID.match(given) else str(uuid7())
        request.source_ip = source_ip(request)
        headers = {"X-Request-Id": request.request_id, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        try:
            headers |= allowed_origin(request)
            await self._serve(request, headers, receive, send)
        except Problem as problem:
            body = problem.document() | {"instance": request.path, "request_id": request.request_id}
            if problem.status == 401:
                headers["WWW-Authenticate"] = 'Bearer realm="facet"'
            if problem.status == 429:
                headers["Retry-After"] = str(int(HEARTBEAT_S))
            await _whole(send, problem.status, headers | {"Content-Type": CONTENT_TYPE}, body)
        except DatabaseError as error:
            self._warn("a stream cannot begin", error)
            problem = Problem("The database did not answer in time. Try again.", code="unavailable", status=503)
            body = problem.document() | {"instance": request.path, "request_id": request.request_id}
            await _whole(send, 503, headers | {"Content-Type": CONTENT_TYPE}, body)

    async def _serve(self, request: Any, headers: dict[str, str], receive: Receive, send: Send) -> None:
        json_type = {"Content-Type": "application/json"}
        if request.path == "/healthz":
            return await _whole(send, 200, headers | json_type, {"status": "ok", "streams": len(self.open)})
        if request.path == "/readyz":
            up = self.hub.listening
            body = {"status": "ok" if up else "the database does not answer"}
            return await _whole(send, 200 if up else 503, headers | json_type, body)
        try:
            match = ROUTES.resolve(request.path)
        except resolvers.Resolver404:
            raise NotFound("There is no such path here. Streams: /api/v1/stream/events.") from None
        if request.method == "OPTIONS":
            return await _whole(send, 204, headers)
        if request.method != "GET":
            raise Problem("A stream is read by GET.", code="method_not_allowed", status=405)
        if request.headers.get("Last-Event-ID") == ENDED:
            return await _whole(send, 204, headers)  # a browser that is told so does not come again
        return await self._stream(match.func(request, **match.kwargs), headers, receive, send)

    async def _stream(self, stream: Stream, headers: dict[str, str], receive: Receive, send: Send) -> None:
        with self.hub.following(stream.follower):
            chunk = await self.in_thread(stream.look)
            self._admit(stream)
            self.open[stream] = None
            gone = asyncio.create_task(_gone(receive, stream.follower))
            try:
                kind = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
                await send(_start(200, headers | kind))
                await _say(send, RETRY)
                await self._follow(stream, chunk, gone, send)
                await send({"type": "http.response.body", "body": b""})
            except TimeoutError:
                log.warning("a reader that takes nothing is cut off", request=stream.request.request_id)
            finally:
                gone.cancel()
                del self.open[stream]

    async def _follow(self, stream: Stream, chunk: Chunk, gone: asyncio.Task[None], send: Send) -> None:
        """Say what each look finds until the stream, its reader or this process ends."""
        now = asyncio.get_running_loop().time
        said_at = now()
        while True:
            if not chunk.text and now() >= said_at + HEARTBEAT_S:  # also where bells ring and nothing is for this one
                chunk.text = stream.heartbeat()
            if chunk.text:
                await _say(send, chunk.text)
                said_at = now()
            if not chunk.more and not chunk.over and not self.hub.closing:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(said_at + HEARTBEAT_S):
                        await stream.follower.bell.wait()
            if chunk.over or gone.done() or self.hub.closing:
                return
            stream.follower.bell.clear()
            chunk = await self._look(stream)

    async def _look(self, stream: Stream) -> Chunk:
        try:
            return await self.in_thread(stream.look)
        except Problem as problem:  # logged out, or no longer theirs: said in the stream, which ends
            return Chunk(b"event: problem\ndata: " + json.dumps(problem.document()).encode() + b"\n\n", over=True)
        except DatabaseError as error:
            self._warn("streams cannot look", error)
            await asyncio.sleep(streams.RETRY_S)
            return Chunk(HEARTBEAT, more=True)  # the bells that rang meanwhile are spent

    def _warn(self, what: str, error: DatabaseError) -> None:
        """One line for all streams that the same outage meets."""
        now = asyncio.get_running_loop().time()
        if now >= self.warned_at + WARN_AGAIN_S:
            self.warned_at = now
            log.warning(what, error=str(error).strip())

    def _admit(self, stream: Stream) -> None:
        of_one = sum(other.caller_id == stream.caller_id for other in self.open)
        if len(self.open) >= MOST_STREAMS or of_one >= MOST_OF_ONE_CALLER:
            raise Problem("Too many streams are open. Close some.", code="throttled", status=429)


def allowed_origin(request: Any) -> dict[str, str]:
    """CORS for exactly the console's origin, and our own. Raises Forbidden for any other, Problem for a bad host."""
    try:
        host = request.get_host()
    except DisallowedHost:
        raise Problem("FACET_ALLOWED_HOSTS does not name this host.", code="bad_host", status=400) from None
    origin = request.headers.get("Origin")
    if origin is None or urlsplit(origin).netloc == host:
        return {"Vary": "Origin"}
    scheme = "https" if settings.FACET_TLS_CERT else "http"
    web = settings.FACET_WEB_URL or f"{scheme}://{WITHOUT_PORT.sub('', host)}:{settings.FACET_PORT}"
    if origin != web.rstrip("/"):
        raise Forbidden(f"Pages of {origin[:100]} may not read here; FACET_WEB_URL names the console's address.")
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Allow-Headers": "Authorization, Last-Event-ID",
        "Access-Control-Max-Age": "600",
    }


def _end_with_the_hub(hub: asyncio.Task[None]) -> None:
    """A process whose hub has failed serves nobody: whoever started it shall start it again."""
    if not hub.cancelled():
        log.critical("the hub of the streams failed", exc_info=hub.exception())
        os.kill(os.getpid(), signal.SIGTERM)


def _on_a_lasting_connection(work: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return work()
    finally:
        close_old_connections()


def _start(status: int, headers: Mapping[str, str]) -> dict[str, Any]:
    pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def _whole(send: Send, status: int, headers: Mapping[str, str], body: Any = None) -> None:
    """An answer that is no stream."""
    content = b"" if body is None else json.dumps(body).encode()
    length = {} if status == HTTPStatus.NO_CONTENT else {"Content-Length": str(len(content))}
    await send(_start(status, {**headers, **length}))
    await send({"type": "http.response.body", "body": content})


async def _say(send: Send, text: bytes) -> None:
    """Raises TimeoutError for a reader that takes nothing: the server's buffer is full, and nothing waits behind it."""
    async with asyncio.timeout(SLOW_READER_S):
        await send({"type": "http.response.body", "body": text, "more_body": True})


async def _gone(receive: Receive, follower: streams.Follower) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    follower.bell.set()


application = Application()


class Server(uvicorn.Server):
    """Tells the streams first when it is to end, so that none has to be broken off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        application.hub.close()
        await super().shutdown(sockets)


def main() -> None:
    config = uvicorn.Config(
        application,
        host=settings.FACET_BIND,
        port=settings.FACET_EVENTS_PORT,
        ssl_certfile=settings.FACET_TLS_CERT or None,
        ssl_keyfile=settings.FACET_TLS_KEY or None,
        proxy_headers=False,  # middleware.source_ip judges them
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    listener = config.bind_socket()
    # The kernel drops a connection whose other end takes nothing, also after we have given it up.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(2 * SLOW_READER_S * 1000))
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
