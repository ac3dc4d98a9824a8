"""The process manager under the stack: nothing that it started outlives it, however it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from facet.embedded import child, postgres, supervision
from facet.embedded.home import Home, Lock
from facet.embedded.postgres import CannotStart
from facet.embedded.programs import Program

ROOT = Path(__file__).resolve().parents[2]
ODD = "a home; with, # odd %(names)s 'and' spaces"
LONG = "deep-" * 18


def until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)  # processes of others: nothing to wait on


def alive_below(home):
    """Processes that have this home in their environment: the whole stack, databases included."""
    wanted = f"FACET_HOME={home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@contextmanager
def trial(home):
    environment = {
        **os.environ,
        "FACET_HOME": str(home),
        "PYTHONPATH": os.pathsep.join([str(ROOT / "platform"), str(ROOT)]),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.embedded_trial"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        line = process.stdout.readline()
        assert line, "the small stack did not start"
        yield process, json.loads(line)
    finally:
        process.kill()
        process.wait()
        until(lambda: not alive_below(home))


@pytest.mark.parametrize("name", ["plain", ODD, LONG], ids=["plain", "odd", "long"])
def test_it_starts_in_any_folder_and_ends_in_order(tmp_path, name):
    home = tmp_path / name
    with trial(home) as (process, _):
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(30) == 0
    assert "was not properly shut down" not in (home / "logs" / "postgres.log").read_text()
    assert home.stat().st_mode & 0o777 == 0o700
    for secret in ("secret-key", "keys.json", "admin-password", "simulator-password"):
        assert (home / secret).stat().st_mode & 0o777 == 0o600


def test_nothing_outlives_a_starter_that_is_killed(tmp_path):
    with trial(tmp_path / "home") as (process, _):
        process.kill()
        process.wait()
        until(lambda: not alive_below(tmp_path / "home"))


def test_nothing_outlives_a_supervisor_that_is_killed_and_the_data_is_there_at_the_next_start(tmp_path):
    home = tmp_path / "home"
    with trial(home) as (process, found):
        with closing(postgres.Server.at(home).connect()) as connection, connection.cursor() as cursor:
            cursor.execute("create table kept (value int); insert into kept values (42)")
        os.kill(found["supervisor"], signal.SIGKILL)
        until(lambda: alive_below(home) == [process.pid])
    with trial(home), closing(postgres.Server.at(home).connect()) as connection, connection.cursor() as cursor:
        cursor.execute("select value from kept")
        assert cursor.fetchall() == [(42,)]


def test_a_killed_program_comes_back_and_so_does_postgres_with_its_rows(tmp_path):
    home = tmp_path / "home"
    with trial(home) as (_, found):
        os.kill(found["sleepers"][0], signal.SIGKILL)
        until(lambda: list(child.left_behind(str(home), "sleeper")) not in ([], found["sleepers"]))
        postmaster = int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(postmaster, signal.SIGKILL)
        until(lambda: not Path(f"/proc/{postmaster}").exists())
        postgres.Server.at(home).wait(timeout_s=30)


def test_a_program_that_cannot_start_is_named_with_its_log(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    words = "import sys; print('no such colour'); sys.exit(3)"
    supervisor = supervision.Supervisor(home, [Program("painter", (sys.executable, "-c", words))])
    paths = os.pathsep.join([str(ROOT / "platform"), str(ROOT)])
    supervisor.start(home.environment({**os.environ, "PYTHONPATH": paths}) | {"FACET_HOME": str(home.path)})
    try:
        supervisor.run("painter")
        until(lambda: supervisor.states()["painter"] in ("BACKOFF", "FATAL"))
        assert "no such colour" in supervision.tail(home.logs / "painter.log")
    finally:
        supervisor.stop()


def test_a_second_starter_is_refused_with_the_address_of_the_first(tmp_path):
    home = Home(tmp_path / "home", port=18800)
    home.prepare()
    first = Lock(home)
    first.take()
    try:
        with pytest.raises(CannotStart, match=r"already runs .*http://127\.0\.0\.1:18800"):
            Lock(home).take()
    finally:
        first.give()
    assert Lock(home).holder() is None


def test_a_port_that_someone_else_holds_is_named(tmp_path, held_port):
    with pytest.raises(CannotStart, match=f"Port {held_port} .FACET_PORT. is taken"):
        Home(tmp_path, held_port, held_port, held_port).check_ports()


@pytest.mark.parametrize("port", ["", "0", "70000", "eighty"])
def test_a_port_is_a_number_of_a_port(port):
    if not port:
        assert Home.of({"FACET_PORT": port}).port == 8800
        return
    with pytest.raises(CannotStart, match="is not a port"):
        Home.of({"FACET_PORT": port})


def test_secrets_are_made_once(tmp_path):
    home = Home(tmp_path / "home")
    home.prepare()
    before = {path: path.read_bytes() for path in home.path.iterdir() if path.is_file()}
    home.prepare()
    assert before == {path: path.read_bytes() for path in home.path.iterdir() if path.is_file()}
    assert len(before) == 5


@pytest.fixture
def held_port():
    """A port that is held, by this test."""
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]
