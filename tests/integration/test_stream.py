"""Events and operations as streams: in commit order without gaps, only one's own, and cut off rather than piled up."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import httpx
import psycopg2
import pytest
from django.db import connection
from django.test import Client

from facet import events_asgi
from facet.operations import events, services, streams
from facet.operations.models import Event
from facet.rest.access import SYSTEM
from facet.rest.ids import uuid7
from tenants import credentials
from tenants.models import Member, Role
from tests import factories
from tests.integration.listening import (
    BAD_CURSORS,
    PATIENCE_S,
    Listener,
    connections_of_their_own,
    held_open,
    note,
    open_streams,
    ready,
    serving,
    token,
    until,
    write,
)


@pytest.fixture
def own_connection():
    with connections_of_their_own() as run:
        yield run


@pytest.fixture
def address():
    with serving() as found:
        yield found


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


@pytest.mark.parametrize("cursor", BAD_CURSORS)
def test_a_bad_cursor_is_named(admin, address, cursor):
    with Listener(address, token=token(admin), query=f"?cursor={cursor}") as stream:
        assert stream.status == 422
        assert "cursor" in stream.problem["errors"]


def test_a_message_is_named_by_its_verb_and_is_what_the_page_shows(admin, acme, address):
    with Listener(address, token=token(admin)) as stream:
        write("named", tenant=acme.tenant, project=acme.project)
        until(lambda: stream.verbs() == ["named"])
        shown = admin.get("events?verb=named")["items"]
        assert stream.messages == [(shown[0]["cursor"], "named", shown[0])]
        assert stream.retry_ms == "2000"
        assert stream.headers["content-type"].startswith("text/event-stream")


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


def test_a_revoked_token_ends_a_silent_stream(admin, address, monkeypatch):
    monkeypatch.setattr(events_asgi, "HEARTBEAT_S", 0.2)
    person = factories.user("leaver")
    with factories.as_system():
        Member.objects.create(user=person, role=Role.AUDITOR)
        kept, text = credentials.issue(user=person)
    with Listener(address, token=text) as stream:
        until(lambda: stream.heartbeats > 1)
        assert not stream.ended.is_set()
        with factories.as_system():
            kept.delete()
        assert stream.ended.wait(5)
        assert [(event, data["code"]) for _, event, data in stream.messages] == [("problem", "not_authenticated")]


def test_who_leaves_a_project_hears_nothing_more_of_it(acme, address):
    with Listener(address, token=token(acme.viewer)) as stream:
        write("first", tenant=acme.tenant, project=acme.project)
        until(lambda: "first" in stream.verbs())
        with factories.as_system():
            assert Member.objects.filter(user__name="acme-viewer").delete()[0] == 1
        write("second", tenant=acme.tenant, project=acme.project)
        assert stream.ended.wait(PATIENCE_S)
        assert stream.verbs() == ["first"]
        assert [(event, data["code"]) for _, event, data in stream.messages[-1:]] == [("problem", "forbidden")]


def test_streams_are_there_without_the_prefix_too(acme, address):
    operation = begin(acme)
    mine = {"Authorization": f"Bearer {token(acme.viewer)}"}
    for path in ("/stream/events", f"/stream/operations/{operation.id}"):
        with httpx.stream("GET", f"{address}{path}", headers=mine) as answer:
            assert (answer.status_code, next(answer.iter_lines())) == (200, "retry: 2000")


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
        assert [event for _, event, _ in stream.messages] == ["operation", "operation"]
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
            assert third.headers["retry-after"] == "15"
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
        until(lambda: ready(address))
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


def test_a_lost_doorbell_delays_an_event_but_loses_nothing(admin, address):
    with Listener(address, token=token(admin)) as stream:
        write("heard")
        until(lambda: stream.verbs() == ["heard"])
        for n in range(3):
            with without_a_bell():
                note(f"lost{n}")
            until(lambda n=n: f"lost{n}" in stream.verbs(), patience_s=3 * streams.SAFETY_S)
        assert stream.verbs() == ["heard", "lost0", "lost1", "lost2"]


def test_a_lost_doorbell_delays_an_operation_but_loses_nothing(acme, address):
    operation = begin(acme)
    with Listener(address, f"operations/{operation.id}", token=token(acme.viewer)) as stream:
        until(lambda: stream.messages)
        for done in (1, 2):  # the first may still be found by the looks that opening a stream causes
            with without_a_bell():
                services.report("thing", operation.target_id, [services.Step("a", "A", "running", done, 3)])
            until(lambda done=done: len(stream.messages) == 1 + done, patience_s=3 * streams.SAFETY_S)
        with without_a_bell():
            services.succeed("thing", operation.target_id, generation=1)
        assert stream.ended.wait(3 * streams.SAFETY_S)
        assert stream.messages[-2][2]["phase"] == "succeeded"


@contextmanager
def without_a_bell():
    """A transaction whose process dies after the commit, before it has rung."""
    with factories.as_system():
        yield
        connection.run_on_commit.clear()


def test_a_silent_stream_shows_that_it_lives_and_moves_its_place_on(acme, address, monkeypatch):
    """The bell rings faster than heartbeats are due, and the reader wants nothing of what it rings for."""
    monkeypatch.setattr(events_asgi, "HEARTBEAT_S", 0.5)
    with Listener(address, token=token(acme.viewer), query="?verb=wanted") as stream:
        until(lambda: stream.last_id)
        place, deadline = stream.last_id, time.monotonic() + PATIENCE_S
        while stream.heartbeats < 3:
            write("noise", tenant=acme.tenant, project=acme.project)
            assert time.monotonic() < deadline
        until(lambda: events.read_cursor(stream.last_id) > events.read_cursor(place))
        assert stream.messages == []


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
        until(lambda: ready(address))
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
