"""One TLS connection over a bare one: what lies between a socket and the protocol that speaks HTTP on it.

asyncio's own drops the alert in which a failed handshake says why. A client that hears nothing takes it for a broken
line and tries again for a minute; one that hears `expired certificate` ends at once, as it does with a real API server.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)
HANDSHAKE_S = 15.0
LAST_WORDS_S = 2.0  # how long a refused client has to read why
READ_BYTES = 65536


class Channel(asyncio.Protocol):
    """Shakes hands as the server, then hands plain bytes to the protocol that `make_protocol` makes, and back.

    It is in `open_ones` as long as its line stands.
    """

    def __init__(
        self, context: ssl.SSLContext, make_protocol: Callable[[], asyncio.Protocol], open_ones: set[Channel]
    ) -> None:
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._arrived, self._leaving, server_side=True)
        self._make_protocol = make_protocol
        self._open_ones = open_ones
        self._inner: asyncio.Protocol | None = None
        self._line: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._ended = False  # what still comes is read and thrown away

    # what the line says
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._line = transport
        self._open_ones.add(self)
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._arrived.write(data)
        if self._inner is None and not self._shake_hands():
            return
        self._read()

    def eof_received(self) -> bool:
        return bool(self._inner.eof_received()) if self._inner is not None else False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        self._open_ones.discard(self)
        self._line = None
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    # what the protocol within says
    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self.tls.write(left) :]
        self._flush()

    def close(self) -> None:
        """Say goodbye, and close when that has left."""
        if self._line is None or self._ended:
            return
        self._ended = True
        with suppress(ssl.SSLError):  # the other side has not said goodbye yet, and need not
            self.tls.unwrap()
        self._flush()
        self._line.close()

    def abort(self) -> None:
        self._ended = True
        if self._line is not None:
            self._line.abort()

    # between them
    def _shake_hands(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except (ssl.SSLError, ValueError) as error:
            self._refuse(error)
            return False
        self._end_deadline()
        self._inner = self._make_protocol()
        self._inner.connection_made(_Secure(self))
        return True

    def _refuse(self, error: Exception) -> None:
        """Say why and wait until that is read: a line that is closed with bytes unread is reset, words and all."""
        log.debug("No TLS connection came about: %s", error)
        self._ended = True
        self._flush()
        self._end_deadline()
        if self._line is not None:
            self._line.write_eof()
            self._deadline = asyncio.get_running_loop().call_later(LAST_WORDS_S, self._line.abort)

    def _read(self) -> None:
        assert self._inner is not None
        while not self._ended:
            try:
                plain = self.tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:  # a goodbye, or bytes that are no TLS
                log.debug("A TLS connection ends: %s", error)
                self.close()
                return
            if not plain:
                self.close()
                return
            self._inner.data_received(plain)
        self._flush()

    def _flush(self) -> None:
        data = self._leaving.read()
        if data and self._line is not None:
            self._line.write(data)

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def line_info(self, name: str, default: Any = None) -> Any:
        return self._line.get_extra_info(name, default) if self._line is not None else default


class _Secure(asyncio.Transport):
    """A channel as its inner protocol sees it."""

    def __init__(self, channel: Channel) -> None:
        super().__init__({"peercert": channel.tls.getpeercert()})
        self._channel = channel
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        own = super().get_extra_info(name)
        return own if own is not None else self._channel.line_info(name, default)

    def is_closing(self) -> bool:
        return self._closing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._closing:
            self._channel.write(bytes(data))

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._channel.close()

    def abort(self) -> None:
        self._closing = True
        self._channel.abort()
