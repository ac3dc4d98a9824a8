from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time

from .conftest import ROOT
from .server import OP, STAMP, operation


def step(name: str, phase: str, done: int = 0, total: int = 1) -> dict[str, object]:
    return {
        "name": name, "title": f"The {name}", "phase": phase, "started_at": STAMP, "ended_at": None,
        "done": done, "total": total,
    }  # fmt: skip


def test_each_change_is_one_line_in_a_pipe(facet, server) -> None:
    server.answers["GET", f"operations/{OP}"] = [
        (200, operation(phase="running", steps=[step("network", "running"), step("machines", "waiting", 0, 4)])),
        (200, operation(phase="running", steps=[step("network", "done", 1), step("machines", "running", 2, 4)])),
        (200, operation(phase="running", steps=[step("network", "done", 1), step("machines", "running", 2, 4)])),
        (200, operation(steps=[step("network", "done", 1), step("machines", "done", 4, 4)])),
    ]

    ran = facet("operation", "watch", OP)

    assert ran.code == 0
    assert ran.out == ""
    told = [" ".join(line.split()[1:]) for line in ran.err.splitlines()[1:]]
    assert told == [
        "running The network", "done The network", "running 2/4 The machines", "done 4/4 The machines", "succeeded",
    ]  # fmt: skip


def test_a_server_that_restarts_does_not_end_the_wait(facet, server, monkeypatch) -> None:
    monkeypatch.setattr("facet.cli.client.PAUSES_S", (0.0, 0.0))
    running = (200, operation(phase="running"))
    server.answers["GET", f"operations/{OP}"] = [
        running,
        (0, None),
        (0, None),
        (0, None),
        (503, b""),
        (200, operation()),
    ]

    assert facet("operation", "watch", OP).code == 0


def test_ctrl_c_detaches_and_says_how_to_come_back(spawn, server) -> None:
    server.answers["GET", f"operations/{OP}"] = (200, operation(phase="running"))
    process = spawn("operation", "watch", OP)
    first = process.stderr.readline()  # it is waiting now

    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert OP in first
    assert process.returncode == 130
    assert out == ""
    assert f"facet operation watch {OP}" in err
    assert "Traceback" not in err
    assert server.writes() == []


def test_on_a_terminal_the_steps_are_drawn_in_place(server, home) -> None:
    steps = [step("network", "done", 1), step("machines", "running", 2, 4)]
    running = (200, operation(phase="running", steps=steps))
    server.answers["GET", f"operations/{OP}"] = [running, running, running, (200, operation(steps=steps))]

    code, seen = on_terminal(["operation", "watch", OP], FACET_URL=server.url)

    assert code == 0
    assert "cluster.create" in seen
    assert "2/4" in seen
    assert "\x1b[" in seen
    assert "\x1b[?25h" in seen  # the cursor is back


def on_terminal(arguments: list[str], **environment: str) -> tuple[int, str]:
    """Run the command with a terminal of 100 columns as its stderr and stdout."""
    ours, theirs = pty.openpty()
    known = {
        **os.environ, "PYTHONPATH": str(ROOT / "platform"), "TERM": "xterm-256color", "COLUMNS": "100",
        "FACET_TOKEN": "t0ken", **environment,
    }  # fmt: skip
    command = [sys.executable, "-m", "facet.cli.main", *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=known)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([ours], [], [], 1)
        if not ready:
            continue
        try:
            more = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end has closed
            break
        if not more:
            break
        seen += more
    os.close(ours)
    return process.wait(timeout=60), seen.decode()
