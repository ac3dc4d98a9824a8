"""The command line against the real API, over HTTP: people, tenants, projects, quotas and tokens."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from facet.cli.main import run
from facet.wsgi import application
from tests import factories

QUOTA = "vcpu=64,memory=256GiB,storage=2TiB,vms=50,clusters=5,volumes=20,networks=5"


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def url(database) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application, Threads, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def facet(url: str, tmp_path: Path, monkeypatch, capsys) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FACET_URL", raising=False)
    monkeypatch.delenv("FACET_TOKEN", raising=False)

    def call(line: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = run(line.split())
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_three_people_do_their_part_by_the_command_line(facet, url, monkeypatch) -> None:
    factories.person("admin", "platform-admin")

    def done(line: str, stdin: str = "") -> str:
        code, out, err = facet(line, stdin)
        assert code == 0, f"{line}: {err}"
        return out

    done(f"login --server {url} --user admin --password-stdin --context it", f"{factories.PASSWORD}\n")
    done(f"tenant create acme --quota {QUOTA}")
    done("user create ada --password-stdin", "battery staple\n")
    done("member add ada --tenant acme --role tenant-admin")
    done(f"login --server {url} --user ada --password-stdin --context ada", "battery staple\n")
    done("project create web --tenant acme --quota vcpu=32,memory=128GiB,storage=1TiB,vms=20,clusters=2")
    done("service-account create ci --project acme/web --role project-editor")
    token = done("token create --service-account acme/web/ci").strip()

    quota = {row["resource"]: row for row in json.loads(done("quota show --tenant acme -o json"))["items"]}
    assert quota["memory_mib"]["limit"] == 256 * 1024
    assert facet("tenant create mine")[0] == 5
    assert facet("project create more --tenant acme --quota vcpu=1000")[0] == 6
    assert facet("project create web --tenant acme")[0] == 6
    assert facet("project create Web --tenant acme")[0] == 2
    assert any(row["verb"] == "project.create" for row in json.loads(done("event list -o json"))["items"])
    assert json.loads(done("operation list -o json")) == {"items": []}
    assert "ada" in done("member list --tenant acme")

    monkeypatch.setenv("FACET_URL", url)
    monkeypatch.setenv("FACET_TOKEN", token)
    assert json.loads(done("whoami -o json"))["kind"] == "service-account"
    assert facet("project delete acme/web --yes")[0] == 5
    monkeypatch.setenv("FACET_TOKEN", "nonsense")
    assert facet("whoami")[0] == 4
