"""TLS listeners: bare sockets at first, a context when the first caller comes; closing cuts the connections."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable

from infra.simulator.guests.channel import Channel

log = logging.getLogger(__name__)


def context(certificate: bytes, key: bytes, authority: bytes, *, required: bool) -> ssl.SSLContext:
    """A server's context. Clients' certificates must be `authority`'s; without `required` a client may show none."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.num_tickets = 0
    made.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    made.load_verify_locations(cadata=authority.decode())
    handle = os.memfd_create("pair")  # ssl loads keys only by a path; this one is memory
    try:
        os.write(handle, certificate + b"\n" + key)
        made.load_cert_chain(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
    return made


class Listener:
    """Accepts on a bound socket and speaks TLS with whoever comes."""

    def __init__(
        self,
        listening: socket.socket,
        make_context: Callable[[], ssl.SSLContext],
        make_protocol: Callable[[], asyncio.Protocol],
    ) -> None:
        self._socket = listening
        self._make_context = make_context
        self._make_protocol = make_protocol
        self._context: ssl.SSLContext | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[Channel] = set()  # kept by the channels themselves
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listening.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(64):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # out of file descriptors, or the caller has gone
                log.warning("A connection could not be accepted: %s", error)
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self._loop.create_task(self._open_channel(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_channel(self, connection: socket.socket) -> None:
        try:
            if self._context is None:
                self._context = self._make_context()
            made = Channel(self._context, self._make_protocol, self._open)
            await self._loop.connect_accepted_socket(lambda: made, connection)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: files that are no PEM
            log.debug("No TLS connection came about: %s", error)
            connection.close()

    def forget_context(self) -> None:
        """The files it was made from have changed."""
        self._context = None

    def close(self) -> None:
        """Stop listening and cut every connection, as a machine that loses power does."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        for task in list(self._tasks):
            task.cancel()
        for channel in list(self._open):
            channel.abort()
