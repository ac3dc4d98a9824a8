"""Events in pages and as a stream: in commit order without gaps, only one's own, and cut off rather than piled up."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import httpx
import psycopg2
import pytest
import uvicorn
from django.db import connection
from django.test import Client

from facet import events_asgi
from facet.operations import events, services, streams
from facet.operations.models import Event
from facet.rest.access import SYSTEM
from facet.rest.ids import uuid7
from tenants.models import Role
from tests import factories

PATIENCE_S = 20.0


@pytest.fixture
def own_connection():
    """`own_connection(work)`: run `work` on a thread with a database connection of its own."""

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
        until(lambda: _ready(address))
        yield address
    finally:
        application.hub.close()
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def _ready(address):
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def address():
    with serving() as found:
        yield found


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
                    if line:
                        name, _, value = line.partition(": ")
                        message[name] = value
                        continue
                    self.last_id = message.get("id", self.last_id)
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
        return [data["verb"] for _, event, data in list(self.messages) if event is None]

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


# --- pages -----------------------------------------------------------------------------------------------------------


def test_pages_have_no_gap_where_a_transaction_commits_late(admin, own_connection):
    write("one")
    start = admin.get("events?page_size=500")["next"]
    with held_open(own_connection, "early"):
        write("later")
        held = admin.get(f"events?cursor={start}")
        assert held["items"] == []
        assert held["next"] == start
    page = admin.get(f"events?cursor={start}")
    assert [one["verb"] for one in page["items"]] == ["early", "later"]
    assert admin.get(f"events?cursor={page['next']}")["items"] == []


def test_the_cursor_of_an_empty_trail_can_be_followed(admin):
    start = admin.get("events?verb=nothing")
    assert start["items"] == []
    write("nothing")
    assert [one["verb"] for one in admin.get(f"events?verb=nothing&cursor={start['next']}")["items"]] == ["nothing"]


def test_pages_are_the_same_whatever_their_size(admin):
    write(*[f"v{n}" for n in range(25)])
    whole = [one["id"] for one in admin.get("events?page_size=500")["items"]]
    paged, cursor = [], "0-0"
    while page := admin.get(f"events?page_size=7&cursor={cursor}")["items"]:
        paged += [one["id"] for one in page]
        cursor = page[-1]["cursor"]
    assert paged == whole
    newest = admin.get("events?newest=true&page_size=5")["items"]
    assert [one["id"] for one in newest] == whole[-5:]


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1-2", "1-2-3", "٣-١", "9" * 40 + "-1", "%00"])
def test_a_bad_cursor_is_named(admin, address, cursor):
    refused = admin.get(f"events?cursor={cursor}")
    assert refused.status == 422
    assert "cursor" in refused["errors"]
    with Listener(address, token=token(admin), query=f"?cursor={cursor}") as stream:
        assert stream.status == 422
        assert "cursor" in stream.problem["errors"]


# --- the stream: order -----------------------------------------------------------------------------------------------


def test_the_stream_has_no_gap_where_a_transaction_commits_late(admin, address, own_connection):
    with Listener(address, token=token(admin)) as stream:
        with held_open(own_connection, "early"):
            write("later")
            until(lambda: _committed("later"))
            assert stream.verbs() == []
        until(lambda: len(stream.verbs()) >= 2)
        assert stream.verbs() == ["early", "later"]


def test_what_is_held_back_by_a_transaction_without_events_comes_without_another_bell(admin, address, own_connection):
    """The older transaction writes no event, so that no bell rings when it ends."""
    begun, end = threading.Event(), threading.Event()

    def work():
        with factories.as_system(), connection.cursor() as cursor:
            cursor.execute("select pg_current_xact_id()")
            begun.set()
            assert end.wait(PATIENCE_S)

    with Listener(address, token=token(admin)) as stream:
        older = own_connection(work)
        assert begun.wait(PATIENCE_S)
        write("held")
        until(lambda: _committed("held"))
        threading.Event().wait(5 * streams.TOGETHER_S)  # the bell has been answered by now, with nothing
        assert stream.verbs() == []
        end.set()
        older.result()
        ended = time.monotonic()
        until(lambda: stream.verbs() == ["held"])
        assert time.monotonic() - ended < 3


def _committed(verb):
    with factories.as_system():
        return Event.objects.filter(verb=verb).exists()


def test_many_writers_are_heard_in_order_each_once(admin, address, own_connection):
    with Listener(address, token=token(admin)) as stream:
        writers = [own_connection(lambda n=n: write(*[f"w{n}-{i}" for i in range(40)])) for n in range(6)]
        for writer in writers:
            writer.result()
        until(lambda: len(stream.verbs()) >= 240)
        told = [id for id, *_ in stream.messages]
    page = admin.get("events?page_size=500")["items"]
    assert told == [one["cursor"] for one in page if one["verb"].startswith("w")]
    assert len(set(told)) == 240


def test_a_reader_resumes_after_the_last_event_that_it_has_seen(admin, address):
    with Listener(address, token=token(admin)) as stream:
        write("a", "b", "c")
        until(lambda: stream.verbs() == ["a", "b", "c"])
        seen = stream.messages[1][0]
        opened_at = stream.messages[0][0]
    write("d")
    with Listener(address, token=token(admin), Last_Event_ID=seen) as stream:
        until(lambda: len(stream.verbs()) >= 2)
        write("e")
        until(lambda: len(stream.verbs()) >= 3)
        assert stream.verbs() == ["c", "d", "e"]
    with Listener(address, token=token(admin), query=f"?cursor={opened_at}") as stream:
        until(lambda: len(stream.verbs()) >= 4)
        assert stream.verbs() == ["b", "c", "d", "e"]


def test_a_reader_that_has_seen_nothing_yet_can_resume_too(admin, address):
    write("before")
    with Listener(address, token=token(admin)) as stream:
        until(lambda: stream.last_id)
        place = stream.last_id
    write("between")
    with Listener(address, token=token(admin), Last_Event_ID=place) as stream:
        until(lambda: stream.verbs())
        assert stream.verbs() == ["between"]


def test_a_long_backlog_comes_whole(admin, address):
    with factories.as_system():
        for n in range(350):
            note(f"v{n}")
    with Listener(address, token=token(admin), query="?cursor=0-0") as stream:
        until(lambda: len([verb for verb in stream.verbs() if verb[0] == "v"]) >= 350)
        assert [verb for verb in stream.verbs() if verb[0] == "v"] == [f"v{n}" for n in range(350)]


# --- the stream: whose -----------------------------------------------------------------------------------------------


def test_nobody_hears_of_another_tenant_or_project(admin, acme, address):
    other = factories.office("other")
    second = factories.project(acme.tenant, "second", {"vcpu": 1})
    stranger = factories.person("stranger", Role.PROJECT_VIEWER, acme.tenant, second)
    auditor = factories.person("auditor", Role.AUDITOR)
    people = {"it": admin, "auditor": auditor, "admin": acme.tenant_admin, "viewer": acme.viewer,
              "stranger": stranger, "other": other.tenant_admin}  # fmt: skip
    with ExitStack() as stack:
        heard = {name: stack.enter_context(Listener(address, token=token(who))) for name, who in people.items()}
        write("platform")
        write("theirs", tenant=other.tenant)
        write("tenant", tenant=acme.tenant)
        write("web", tenant=acme.tenant, project=acme.project)
        write("second", tenant=acme.tenant, project=second)
        write("last", tenant=acme.tenant, project=acme.project)
        write("last", tenant=acme.tenant, project=second)
        write("last", tenant=other.tenant)
        until(lambda: all("last" in stream.verbs() for stream in heard.values()))
        everything = ["platform", "theirs", "tenant", "web", "second", "last", "last", "last"]
        until(lambda: len(heard["it"].verbs()) == len(heard["auditor"].verbs()) == 8)
        assert heard["it"].verbs() == heard["auditor"].verbs() == everything
        until(lambda: len(heard["admin"].verbs()) == 5)
        assert heard["admin"].verbs() == ["tenant", "web", "second", "last", "last"]
        assert heard["viewer"].verbs() == ["web", "last"]
        assert heard["stranger"].verbs() == ["second", "last"]
        assert heard["other"].verbs() == ["theirs", "last"]
        for name, who in people.items():
            shown = [one["verb"] for one in who.get("events?page_size=500")["items"]]
            assert [verb for verb in shown if verb in everything] == heard[name].verbs()


def test_filters_are_those_of_the_pages(admin, acme, address):
    query = f"?tenant_id={acme.tenant.id}&verb=wanted"
    with Listener(address, token=token(admin), query=query) as stream:
        write("wanted")
        write("other", "wanted", tenant=acme.tenant)
        until(lambda: stream.verbs())
        assert stream.messages[0][2]["tenant_id"] == str(acme.tenant.id)
        assert len(stream.messages) == 1
    with Listener(address, token=token(admin), query="?tenant_id=none") as stream:
        assert (stream.status, list(stream.problem["errors"])) == (422, ["tenant_id"])


def test_a_stream_wants_a_living_token(address, admin):
    for given in ({}, {"token": "facet_wrong"}, {"Authorization": "Basic YTpi"}, {"Cookie": "sessionid=made-up"}):
        with Listener(address, **given) as stream:
            assert (stream.status, stream.problem["code"]) == (401, "not_authenticated")
            assert stream.headers["www-authenticate"].startswith("Bearer")
            assert stream.problem["request_id"] == stream.headers["x-request-id"]


def test_a_console_session_is_as_good_as_a_token(address, admin):
    browser = Client()
    form = browser.post("/login", {"name": "root", "password": factories.PASSWORD})
    assert form.status_code == 302
    with Listener(address, Cookie=f"sessionid={browser.cookies['sessionid'].value}") as stream:
        write("seen")
        until(lambda: "seen" in stream.verbs())


def test_who_logs_out_hears_nothing_more(address):
    leaving = factories.person("leaving", Role.AUDITOR)
    with Listener(address, token=token(leaving)) as stream:
        write("first")
        until(lambda: "first" in stream.verbs())
        assert leaving.post("logout").status in (200, 204)
        write("second")
        assert stream.ended.wait(PATIENCE_S)
        assert "second" not in stream.verbs()
        assert [(event, data["code"]) for _, event, data in stream.messages[-1:]] == [("problem", "not_authenticated")]


def test_paths_and_methods_that_are_not_there_are_problems(address, admin):
    mine = {"Authorization": f"Bearer {token(admin)}"}
    for path in ("/", "/api/v1/events", "/api/v1/stream", "/api/v1/stream/operations/x", "/api/v1/stream/eventsx"):
        answer = httpx.get(f"{address}{path}", headers=mine)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json()["code"] == "not_found"
    assert httpx.post(f"{address}/api/v1/stream/events", headers=mine).status_code == 405
    assert httpx.get(f"{address}/healthz", headers={"Host": "evil.example"}).status_code == 400


def test_only_the_consoles_pages_may_read_across_origins(address, admin, settings):
    mine = {"Authorization": f"Bearer {token(admin)}"}
    console = f"http://127.0.0.1:{settings.FACET_PORT}"
    asked = httpx.options(f"{address}/api/v1/stream/events", headers={"Origin": console})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == console
    assert asked.headers["access-control-allow-credentials"] == "true"
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    for foreign in ("http://evil.example", "null", f"https://127.0.0.1:{settings.FACET_PORT}", "http://127.0.0.1:1"):
        refused = httpx.get(f"{address}/api/v1/stream/events", headers=mine | {"Origin": foreign})
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
    settings.FACET_WEB_URL = "https://facet.example"
    allowed = httpx.options(f"{address}/api/v1/stream/events", headers={"Origin": "https://facet.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://facet.example"


# --- one operation ---------------------------------------------------------------------------------------------------


def begin(office=None):
    target = services.Target(
        kind="thing", id=uuid7(), name="x",
        tenant_id=office and office.tenant.id, project_id=office and office.project.id,
    )  # fmt: skip
    with factories.as_system():
        return services.start("thing.create", target=target, by=SYSTEM)


def test_an_operation_is_told_whenever_it_moves_and_ends_its_stream(acme, address):
    operation = begin(acme)
    with Listener(address, f"operations/{operation.id}", token=token(acme.viewer)) as stream:
        until(lambda: stream.messages)
        assert stream.messages[0][2]["phase"] == "pending"
        with factories.as_system():
            services.report("thing", operation.target_id, [services.Step("a", "A", "running", 1, 2)])
        until(lambda: len(stream.messages) == 2, patience_s=3)
        assert stream.messages[1][2]["steps"][0]["done"] == 1
        with factories.as_system():
            services.fail("thing", operation.target_id, code="no_space", detail="full")
        assert stream.ended.wait(3)
    assert stream.messages[2][2]["problem"]["code"] == "no_space"
    assert stream.messages[2][2] == acme.viewer.get(f"operations/{operation.id}").body
    assert stream.messages[3][1] == "end"
    again = httpx.get(
        f"{address}/api/v1/stream/operations/{operation.id}",
        headers={"Authorization": f"Bearer {token(acme.viewer)}", "Last-Event-ID": stream.messages[2][0]},
    )
    assert again.status_code == 204  # a browser that comes again by itself is told that this is over


def test_an_operation_that_has_ended_is_told_once(acme, address):
    operation = begin(acme)
    with factories.as_system():
        services.succeed("thing", operation.target_id, generation=1)
    with Listener(address, f"operations/{operation.id}", token=token(acme.viewer)) as stream:
        assert stream.ended.wait(5)
        assert [data.get("phase") for *_, data in stream.messages] == ["succeeded", None]


def test_anothers_operation_is_not_found(acme, address):
    other = factories.office("other")
    operation = begin(acme)
    for path in (f"operations/{operation.id}", f"operations/{uuid7()}"):
        with Listener(address, path, token=token(other.tenant_admin)) as stream:
            assert (stream.status, stream.problem["code"]) == (404, "not_found")


# --- bad luck --------------------------------------------------------------------------------------------------------


def test_fifty_streams_at_once_hear_the_same(admin, acme, address):
    with ExitStack() as stack:
        whose = [token(admin), token(acme.viewer)] * 25
        heard = [stack.enter_context(Listener(address, token=one)) for one in whose]
        assert open_streams(address) == 50
        write(*[f"v{n}" for n in range(20)], tenant=acme.tenant, project=acme.project)
        until(lambda: all(len(stream.verbs()) >= 20 for stream in heard))
        assert all(stream.verbs() == [f"v{n}" for n in range(20)] for stream in heard)
    until(lambda: open_streams(address) == 0)


def test_one_caller_has_no_room_without_end(admin, acme, address, monkeypatch):
    monkeypatch.setattr(events_asgi, "MOST_OF_ONE_CALLER", 2)
    with Listener(address, token=token(admin)), Listener(address, token=token(admin)):
        with Listener(address, token=token(admin)) as third:
            assert (third.status, third.problem["code"]) == (429, "throttled")
        with Listener(address, token=token(acme.viewer)) as another:
            assert another.status == 200


def test_a_reader_that_takes_nothing_is_cut_off(admin, address, monkeypatch):
    monkeypatch.setattr(events_asgi, "SLOW_READER_S", 0.5)
    host, port = re.match(r"http://(.*):(\d+)", address).groups()
    with socket.socket() as lazy, Listener(address, token=token(admin)) as quick:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect((host, int(port)))
        lazy.sendall(
            f"GET /api/v1/stream/events HTTP/1.1\r\nHost: {host}\r\n"
            f"Authorization: Bearer {token(admin)}\r\n\r\n".encode()
        )
        until(lambda: open_streams(address) == 2)
        text = "x" * 200_000
        written = 0
        while open_streams(address) == 2:
            with factories.as_system():
                events.record("big", by=SYSTEM, kind="thing", id=None, name="x", message=text)
            written += 1
            assert written < 200
        write("after")
        until(lambda: "after" in quick.verbs())
        assert quick.verbs().count("big") == written


def test_a_broken_doorbell_is_mended_and_nothing_is_lost(admin, address):
    with Listener(address, token=token(admin)) as stream:
        write("a")
        until(lambda: "a" in stream.verbs())
        with connection.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'facet-events'"
            )
            assert cursor.rowcount == 1
        write("b")
        until(lambda: stream.verbs() == ["a", "b"])
        until(lambda: _ready(address))
        write("c")
        until(lambda: stream.verbs() == ["a", "b", "c"], patience_s=4)


def test_readers_whose_connections_break_go_on(admin, address, migrated):
    with Listener(address, token=token(admin)) as stream:
        write("a")
        until(lambda: "a" in stream.verbs())
        with (
            psycopg2.connect(host=str(migrated.socket), user="postgres", dbname="facet") as line,
            line.cursor() as cursor,
        ):
            cursor.execute(
                """select pg_terminate_backend(pid) from pg_stat_activity
                   where usename = 'facet_app' and pid <> pg_backend_pid()"""
            )
        connection.close()
        write("b")
        until(lambda: stream.verbs() == ["a", "b"])


def test_a_silent_stream_shows_that_it_lives(admin, address, monkeypatch):
    monkeypatch.setattr(events_asgi, "HEARTBEAT_S", 0.2)
    with httpx.stream("GET", f"{address}/api/v1/stream/events", headers=admin.headers, timeout=5) as answer:
        lines = answer.iter_lines()
        assert ": still here" in (next(lines) for _ in range(20))


def test_the_process_ends_at_once_with_streams_open(admin, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = os.environ | {
        "DJANGO_SETTINGS_MODULE": "facet.settings",
        "FACET_EVENTS_PORT": str(port),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "facet.manage", "events"], env=environ, stdout=log, stderr=log
        )
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: _ready(address))
        with Listener(address, token=token(admin)) as stream:
            write("a")
            until(lambda: "a" in stream.verbs())
            process.send_signal(signal.SIGTERM)
            process.wait(5)
            assert stream.ended.wait(5)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in (tmp_path / "log").read_text()
