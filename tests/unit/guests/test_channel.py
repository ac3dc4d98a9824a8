"""TLS as guests speak it: a refused client hears why, and a guest that loses power cuts every line."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import asynccontextmanager

import pytest

from infra.simulator.guests import addresses, pki, tls
from infra.simulator.guests.tls import Listener
from tests.unit.guests.userdata import Authority

LARGE = b"x" * 3_000_000
SOON_S = 10


class Echo(asyncio.Protocol):
    """Says back what it hears; `bye` ends it."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)
        if data.endswith(b"bye"):
            self.transport.close()
            self.transport.write(b"never said")


@pytest.fixture
def authority():
    return Authority("kubernetes")


def server_context(authority: Authority) -> ssl.SSLContext:
    key = pki.new_key()
    ca = pki.Authority(authority.certificate, authority.key)
    leaf = pki.issue(ca, key.public_key(), "kube-apiserver", time.time(), sans=["127.0.0.1"], server=True)
    return tls.context(pki.certificate_pem(leaf), pki.key_pem(key), authority.crt.encode(), required=False)


def client_context(authority: Authority, folder=None, pair=()) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=authority.crt)
    if pair:
        file = folder / "pair.pem"
        file.write_text("".join(pair))
        made.load_cert_chain(file)
    return made


@asynccontextmanager
async def listening(authority: Authority, made=None):
    bound = addresses.bind("127.0.0.1", 0)
    listener = Listener(bound, made or (lambda: server_context(authority)), Echo)
    try:
        yield bound.getsockname()[1], listener
    finally:
        listener.close()


def soon(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, SOON_S))


def test_bytes_arrive_whole_both_ways_and_a_goodbye_ends_the_line(authority):
    async def trial():
        async with listening(authority) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(authority))
            for sent in (b"a", LARGE, b"bye"):
                writer.write(sent)
                assert await reader.readexactly(len(sent)) == sent
            assert await reader.read() == b""
            writer.close()

    soon(trial())


@pytest.mark.parametrize("which", ["expired", "foreign"])
def test_a_refused_client_hears_why(authority, tmp_path, which):
    signer, hours = (authority, -1) if which == "expired" else (Authority("another"), 1)
    said = {"expired": "CERTIFICATE_EXPIRED", "foreign": "UNKNOWN_CA"}[which]

    async def trial():
        async with listening(authority) as (port, _):
            context = client_context(authority, tmp_path, signer.client("ada", hours=hours))
            with pytest.raises(ssl.SSLError, match=said):
                await ask(port, context)

    soon(trial())


async def ask(port, context):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(LARGE)  # more than the line holds: closed with this unread it would be reset
    await reader.readexactly(1)


def test_what_is_no_tls_is_cut_and_never_answered(authority):
    async def trial():
        async with listening(authority) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
            assert await reader.read() == b""
            writer.close()

    soon(trial())


def test_a_guest_that_loses_power_cuts_lines_in_every_state(authority):
    async def trial():
        async with listening(authority) as (port, listener):
            silent, _ = await asyncio.open_connection("127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(authority))
            writer.write(b"up")
            assert await reader.readexactly(2) == b"up"
            listener.close()
            for one in (silent, reader):
                with pytest.raises((ConnectionResetError, ssl.SSLError, asyncio.IncompleteReadError)):
                    await one.readexactly(1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)

    soon(trial())


def test_files_that_are_no_certificate_end_the_connection_and_not_the_listener(authority):
    tries = []

    def context():
        tries.append(1)
        return tls.context(b"nonsense", b"nonsense", b"nonsense", required=False) if len(tries) == 1 else good

    good = server_context(authority)

    async def trial():
        async with listening(authority, context) as (port, _):
            with pytest.raises((ConnectionResetError, ssl.SSLError, OSError)):
                await asyncio.open_connection("127.0.0.1", port, ssl=client_context(authority))
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(authority))
            writer.close()

    soon(trial())
