"""HTTP/1.1 over an established TLS connection: kept alive, one request after the other, watches as chunked streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import h11

from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.message import Request, Response, answer

log = logging.getLogger(__name__)
LONGEST_BODY = 3 * 1024 * 1024
Handler = Callable[[Request, Mapping[str, Any] | None], Response]


class HttpProtocol(asyncio.Protocol):
    """One connection. `handler` answers at once, or with a stream."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._http = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport | None = None
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        if self._task is None:
            self._read()

    def eof_received(self) -> bool:
        return False

    def _read(self) -> None:
        """Take what has come, until a request is whole."""
        try:
            while self._task is None:
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    if self._http.they_are_waiting_for_100_continue:
                        self._send(h11.InformationalResponse(status_code=100, headers=[]))
                    return
                if isinstance(event, h11.Request):
                    self._head, self._body = event, bytearray()
                elif isinstance(event, h11.Data):
                    self._body += event.data
                    if len(self._body) > LONGEST_BODY:
                        self._answer(answer(ApiError(413, "the request is too large").status(), 413))
                        self._close()
                        return
                elif isinstance(event, h11.EndOfMessage):
                    self._whole()
                else:  # ConnectionClosed
                    self._close()
                    return
        except h11.RemoteProtocolError as error:
            log.debug("A client does not speak HTTP: %s", error)
            self._close()

    def _whole(self) -> None:
        head = self._head
        assert head is not None
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        request = Request.of(head.method.decode(), head.target.decode("latin-1"), headers, bytes(self._body))
        peer = self._transport.get_extra_info("peercert") if self._transport else None
        try:
            response = self._handler(request, peer)
        except Exception:  # a fault of ours: logged, and told to this caller alone
            log.exception("%s %s failed", request.method, request.path)
            response = answer(ApiError(500, "the simulated API server failed; its log says why").status(), 500)
        if response.stream is None:
            self._answer(response)
            self._next()
        else:
            self._task = asyncio.get_running_loop().create_task(self._stream(response, response.stream))

    def _answer(self, response: Response) -> None:
        headers = [("content-type", response.content_type), ("content-length", str(len(response.body)))]
        self._send(h11.Response(status_code=response.status, headers=headers))
        if self._head is not None and self._head.method != b"HEAD":
            self._send(h11.Data(data=response.body))
        self._send(h11.EndOfMessage())

    async def _stream(self, response: Response, lines: AsyncIterator[bytes]) -> None:
        headers = [("content-type", response.content_type), ("transfer-encoding", "chunked")]
        self._send(h11.Response(status_code=response.status, headers=headers))
        try:
            async for line in lines:
                await self._writable.wait()
                self._send(h11.Data(data=line))
        finally:
            self._task = None
            await lines.aclose()  # type: ignore[attr-defined]  # every stream here is an async generator
        self._send(h11.EndOfMessage())
        self._next()

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data and self._transport is not None:
            self._transport.write(data)

    def _next(self) -> None:
        """Ready for the next request of this connection, or its end."""
        if self._transport is None:
            return
        if self._http.our_state is h11.MUST_CLOSE or self._http.their_state is h11.MUST_CLOSE:
            self._close()
        elif self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            asyncio.get_running_loop().call_soon(self._again)
        else:
            self._close()

    def _again(self) -> None:
        if self._task is None and self._transport is not None:
            self._read()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
