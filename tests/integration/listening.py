"""Writers of events, and listeners to their streams, for the tests of both."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import httpx
import uvicorn
from django.db import connection

from facet import events_asgi
from facet.operations import events
from facet.rest.access import SYSTEM
from facet.rest.ids import uuid7
from tests import factories

PATIENCE_S = 20.0
BAD_CURSORS = ["x", "1", "1-", "-1-2", "1-2-3", "٣-١", "9" * 40 + "-1", "%00"]


@contextmanager
def connections_of_their_own():
    """`run(work)`: run `work` on a thread with a database connection of its own."""

    def closing(work):
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=8) as pool:
        yield lambda work: pool.submit(closing, work)


@contextmanager
def serving():
    """The events process in a thread of ours; its base address."""
    application = events_asgi.Application()
    config = uvicorn.Config(application, host="127.0.0.1", port=0, log_config=None, proxy_headers=False)
    listener = config.bind_socket()
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        until(lambda: ready(address))
        yield address
    finally:
        application.hub.close()
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def ready(address):
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def until(true, patience_s=PATIENCE_S):
    deadline, pause = time.monotonic() + patience_s, threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        pause.wait(0.02)


def open_streams(address):
    return httpx.get(f"{address}/healthz").json()["streams"]


class Listener:
    """One open stream, read by a thread: the messages so far, as (id, event, data)."""

    def __init__(self, address, path="events", token="", query="", **headers):
        self.messages, self.ended, self.status, self.problem = [], threading.Event(), None, None
        self.last_id = ""
        self.heartbeats, self.retry_ms = 0, None
        self._socket = None
        self._begun = threading.Event()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._headers = named | ({"Authorization": f"Bearer {token}"} if token else {})
        self._url = f"{address}/api/v1/stream/{path}{query}"
        self._client = httpx.Client(timeout=httpx.Timeout(PATIENCE_S, read=60))
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self._begun.wait(PATIENCE_S)

    def _read(self):
        try:
            with self._client.stream("GET", self._url, headers=self._headers) as answer:
                self.status, self.headers = answer.status_code, answer.headers
                self._socket = answer.extensions["network_stream"].get_extra_info("socket")
                if answer.headers["content-type"] == "application/problem+json":
                    self.problem = json.loads(answer.read())
                    return
                message = {}
                for line in answer.iter_lines():
                    self.heartbeats += line == ": still here"
                    if line:
                        name, _, value = line.partition(": ")
                        message[name] = value
                        continue
                    self.last_id = message.get("id", self.last_id)
                    self.retry_ms = message.get("retry", self.retry_ms)
                    if "data" in message:
                        self.messages.append((self.last_id, message.get("event"), json.loads(message["data"])))
                    message = {}
                    self._begun.set()
        except httpx.TransportError:
            return
        finally:
            self._begun.set()
            self.ended.set()

    def verbs(self):
        return [data["verb"] for _, event, data in list(self.messages) if event == data.get("verb")]

    def close(self):
        if self._socket is not None and not self.ended.is_set():
            with suppress(OSError):  # it has just ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)
        assert self.ended.wait(PATIENCE_S)
        self._client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def note(verb, tenant_id=None, project_id=None):
    events.record(verb, by=SYSTEM, kind="thing", id=uuid7(), name="x", tenant_id=tenant_id, project_id=project_id)


def write(*verbs, tenant=None, project=None):
    """Each verb in a transaction of its own."""
    for verb in verbs:
        with factories.as_system():
            note(verb, tenant and tenant.id, project and project.id)


def token(api):
    return api.headers["Authorization"].removeprefix("Bearer ")


@contextmanager
def held_open(own_connection, verb, tenant=None):
    """A transaction of another connection that has written `verb` and commits at the end of the block."""
    written, commit = threading.Event(), threading.Event()

    def work():
        with factories.as_system():
            note(verb, tenant and tenant.id)
            written.set()
            assert commit.wait(PATIENCE_S)

    late = own_connection(work)
    assert written.wait(PATIENCE_S)
    try:
        yield
    finally:
        commit.set()
        late.result()
