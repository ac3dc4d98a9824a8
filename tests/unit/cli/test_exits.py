"""What goes wrong, and the exit code and words that follow. A traceback is never among them."""

from __future__ import annotations

import ssl
import subprocess

import pytest

from facet.cli import client

from .server import ACME, OP, SHOP, WEB, items, operation, problem

CREATE = ("cluster", "create", "shop", "--project", "acme/web", "--zone", "az1")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "malformed", 2), (401, "not_authenticated", 4), (403, "forbidden", 5), (404, "not_found", 3),
        (409, "conflict", 6), (409, "quota_exceeded", 6), (409, "no_room", 6), (409, "no_pool", 6),
        (409, "name_taken", 6), (409, "not_ready", 6), (412, "precondition_failed", 6), (422, "invalid", 2),
        (429, "throttled", 1), (500, "fault", 1),
    ],
)  # fmt: skip
def test_each_problem_has_its_exit_code(status: int, code: str, expected: int, facet, server) -> None:
    server.answers["POST", "tenants"] = problem(status, code, "Because it is so.")

    ran = facet("tenant", "create", "acme")

    assert ran.code == expected
    assert ran.out == ""
    assert "error: Because it is so." in ran.err


def test_a_quota_refusal_shows_the_limits(facet, server) -> None:
    limits = [
        {"scope": "project", "resource": "memory_mib", "zone": None, "limit": 131072, "used": 65536, "asked": 98304}
    ]
    server.answers["POST", f"projects/{WEB}/clusters"] = problem(409, "quota_exceeded", "Over quota.", limits=limits)

    ran = facet(*CREATE)

    assert ran.code == 6
    line = next(line for line in ran.err.splitlines() if "memory" in line)
    assert line.split() == ["project", "memory", "-", "128", "GiB", "64", "GiB", "96", "GiB"]


def test_a_refusal_for_room_shows_what_each_filter_removed_and_what_would_fit(facet, server) -> None:
    filters = [{"name": "memory", "reason": "too little memory left", "removed": 7}]
    nearest = [{"kind": "fewer", "sentence": "4 workers would fit", "change": {"workers": 4}}]
    server.answers["POST", f"projects/{WEB}/clusters"] = problem(
        409, "no_room", "No room.", filters=filters, nearest=nearest
    )

    ran = facet(*CREATE)

    assert ran.code == 6
    assert "7  too little memory left" in ran.err
    assert "4 workers would fit" in ran.err


def test_fields_at_fault_are_named(facet, server) -> None:
    errors = {"name": ["Too long."], "zones": ["There is no zone az9."]}
    server.answers["POST", f"projects/{WEB}/clusters"] = problem(422, "invalid", "name: Too long.", errors=errors)

    ran = facet(*CREATE)

    assert ran.err.count("Too long.") == 1
    assert "zones: There is no zone az9." in ran.err


def test_a_failed_operation_is_7_with_its_first_cause(facet, server) -> None:
    cause = {"code": "disk_full", "detail": "The datastore is full."}
    server.answers["POST", f"projects/{WEB}/clusters"] = (
        202,
        {"operation": operation(phase="running"), "cluster": {"id": SHOP}},
    )
    server.answers["GET", f"operations/{OP}"] = (200, operation(phase="failed", problem=cause))

    ran = facet(*CREATE, "--wait")

    assert ran.code == 7
    assert "The datastore is full." in ran.err


def test_a_wait_that_times_out_is_8_and_names_the_operation(facet, server) -> None:
    server.answers["GET", f"operations/{OP}"] = (200, operation(phase="running"))

    ran = facet("operation", "watch", OP, "--timeout", "1s")

    assert ran.code == 8
    assert f"facet operation watch {OP}" in ran.err


def test_what_is_not_there_is_3(facet) -> None:
    assert facet("cluster", "show", "nothing", "--project", "acme/web").code == 3
    assert facet("project", "show", "acme/nothing").code == 3
    assert facet("tenant", "show", "nobody").code == 3


def test_no_server_is_4(facet, monkeypatch) -> None:
    monkeypatch.delenv("FACET_URL")

    ran = facet("whoami")

    assert ran.code == 4
    assert "facet login" in ran.err


@pytest.mark.parametrize(
    "form",
    [
        ("tenant", "create", "acme", "--quota", "memory=12"),
        ("tenant", "create", "acme", "--quota", "cpu=1"),
        ("tenant", "create", "acme", "--quota", "vcpu=-1"),
        ("pool", "create", "--tenant", "acme", "--zone", "az1", "--model", "flex", "--limit", "storage=1GiB"),
        ("pool", "create", "--zone", "az1", "--model", "flex"),
        ("pool", "update", "az1", "--tenant", "acme"),
        ("pool", "transfer", "az1", "--tenant", "acme", "--to-tenant", "acme"),
        ("pool", "transfer", "az1", "--tenant", "acme", "--vcpu", "8"),
        ("pool", "transfer", "az1", "--tenant", "acme", "--to-tenant", "acme", "--vcpu", "1.5"),
        ("zone", "create", "az1", "--site", "dc1"),
        ("cluster", "delete", "shop", "--project", "acme/web"),
        ("cluster", "list", "--project", "a/b/c"),
        ("addon", "import", "x", "--kind", "cni", "--version", "v1", "--file", "missing.yaml"),
        ("user", "create", "ada"),
        ("nonsense",),
    ],
    ids=" ".join,
)
def test_wrong_use_is_2_and_changes_nothing(form: tuple[str, ...], facet, server) -> None:
    ran = facet(*form)

    assert ran.code == 2
    assert server.writes() == []


@pytest.mark.parametrize("address", ["", "x", "ftp://x", "http://[bad", "http://x:99999", "http://", "http://a b:x"])
def test_what_is_no_address_is_wrong_use(address: str, facet, monkeypatch) -> None:
    monkeypatch.delenv("FACET_URL")

    assert facet("login", "--server", address, "--user", "ada", "--password-stdin", stdin="x\n").code == 2


@pytest.mark.parametrize("id", ["a\nb", "\x00", "\ud800", "../tenants", "é"])
def test_strange_ids_are_sentences(id: str, facet) -> None:
    assert facet("operation", "show", id).code == 2
    assert facet("tenant", "show", id).code in (2, 3)


def test_nobody_to_ask_is_refused(facet, server) -> None:
    assert "--yes" in facet("cluster", "delete", "shop", "--project", "acme/web").err


def test_two_of_a_name_are_told_apart(facet) -> None:
    ran = facet("project", "show", "web")

    assert ran.code == 2
    assert "acme/web, other/web" in ran.err


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"[1]"), (500, b"oops"), (302, b""), (404, b"not found")]
)
def test_an_answer_that_is_not_ours_is_told(status: int, body: bytes, facet, server) -> None:
    server.answers["GET", "me"] = (status, body)

    ran = facet("whoami")

    assert ran.code == 1
    assert "error: " in ran.err
    assert "Traceback" not in ran.err


def test_a_server_that_is_not_there_is_told(facet, server, monkeypatch) -> None:
    monkeypatch.setattr("facet.cli.client.PAUSES_S", (0.0, 0.0))
    server.stop()

    ran = facet("whoami")

    assert ran.code == 1
    assert "cannot be reached" in ran.err
    server.__init__()  # the fixture stops it


def test_a_server_without_tls_is_told(facet, server, monkeypatch) -> None:
    monkeypatch.setenv("FACET_URL", server.url.replace("http:", "https:"))

    ran = facet("whoami")

    assert ran.code == 1
    assert "is not trusted" in ran.err


def test_a_bad_ca_file_is_told(facet, server, monkeypatch, home) -> None:
    (home / "ca.pem").write_text("no certificate")
    monkeypatch.setenv("FACET_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("FACET_CA_FILE", str(home / "ca.pem"))

    assert facet("whoami").code == 2


def test_tls_is_always_verified() -> None:
    for scheme in ("http", "https"):
        context = client._trust(scheme, "")
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname


def test_a_lost_answer_is_asked_for_again_with_the_same_key(facet, server, monkeypatch) -> None:
    monkeypatch.setattr("facet.cli.client.PAUSES_S", (0.0, 0.0))
    server.answers["POST", "tenants"] = [(0, None), (503, b""), (201, {"id": ACME, "name": "acme"})]

    assert facet("tenant", "create", "acme").code == 0
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_change_without_a_key_is_not_said_twice(facet, server, monkeypatch) -> None:
    monkeypatch.setattr("facet.cli.client.PAUSES_S", (0.0, 0.0))
    server.answers["DELETE", f"tenants/{ACME}"] = (0, None)

    assert facet("tenant", "delete", "acme", "--yes").code == 1
    assert len(server.writes()) == 1


def test_lists_are_read_to_their_end(facet, server) -> None:
    server.answers["GET", "flavors"] = [(200, {"items": [flavor("a")], "next": "c1"}), items(flavor("b"))]

    ran = facet("flavor", "list")

    assert [line.split()[0] for line in ran.out.splitlines()] == ["NAME", "a", "b"]
    assert server.requests[1].query["cursor"] == "c1"


def flavor(name: str) -> dict[str, object]:
    return {"name": name, "vcpu": 2, "memory_mib": 2048, "disk_gib": 20}


def test_the_process_ends_with_the_code(spawn, server) -> None:
    server.answers["GET", "me"] = problem(403, "forbidden", "No.")
    process = spawn("whoami")
    out, err = process.communicate(timeout=60)

    assert (process.returncode, out) == (5, "")
    assert err == "error: No.\n"


def test_a_closed_pipe_is_no_traceback(spawn) -> None:
    process = spawn("event", "list", "-o", "json")
    process.stdout.close()
    process.wait(timeout=60)

    assert "Traceback" not in process.stderr.read()


def test_help_comes_without_a_server(spawn) -> None:
    process: subprocess.Popen[str] = spawn("cluster", "create", "--help", FACET_URL="")
    out, _ = process.communicate(timeout=60)

    assert process.returncode == 0
    assert "facet cluster create shop --project acme/web" in " ".join(out.split())
