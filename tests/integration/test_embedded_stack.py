"""The embedded stack as a whole: it ends with its starter, whatever its folder is called, and it is not greedy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import stack

pytestmark = pytest.mark.slow
ALL = {"postgres", "valkey", "simulator", "web", "events", "worker", "beat", "watch"}


def test_an_interrupt_stops_every_process(tmp_path):
    with stack.running(tmp_path) as world:
        stack.until(
            lambda: not [name for name in ALL if not world.pids(name)],
            patience_s=15,
            what=lambda: [name for name in ALL if not world.pids(name)],
        )
        everything = stack.left_running(world.home.path)
        world.process.send_signal(signal.SIGINT)
        assert world.process.wait(60) == 0
    assert not [pid for pid in everything if os.path.exists(f"/proc/{pid}") and _ours(pid, world.home.path)]


def _ours(pid, home):
    return pid in stack.left_running(home)


def test_nothing_outlives_a_starter_that_is_killed(tmp_path):
    with stack.running(tmp_path) as world:
        assert stack.left_running(world.home.path)
        world.process.kill()
        world.process.wait(10)
        stack.until(lambda: not stack.left_running(world.home.path), patience_s=30)


def test_a_home_with_spaces_works(tmp_path):
    folder = tmp_path / "a folder 'with' spaces"
    folder.mkdir()
    with stack.running(folder) as world:
        states = subprocess.run(
            [sys.executable, "-m", "facet.embedded", "status"], env=world.environ, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert states.returncode == 0, states.stdout
        assert {line.split()[0] for line in states.stdout.splitlines()[1:]} == ALL
        assert world.api(world.admin()).get("me").json()["name"] == "admin"
        for secret in ("admin-password", "simulator-password", "secret-key", "keys.json"):
            assert (world.home.path / secret).stat().st_mode & 0o777 == 0o600


def test_an_idle_stack_is_not_greedy(tmp_path, capsys):
    """The issue's aim: under 900 MiB of resident memory in sum, shared pages counted once for each process."""
    with stack.running(tmp_path) as world:
        mib = {name: sum(resident_mib(pid) for pid in family(world.pids(name))) for name in sorted(ALL)}
        mib["postgres"] = sum(resident_mib(pid) for pid in family([postmaster(world.home.path)]))
    total = sum(mib.values())
    with capsys.disabled():
        each = ", ".join(f"{name} {size:.0f}" for name, size in mib.items())
        print(f"\nidle stack: {total:.0f} MiB resident, aim < 900 ({each})")
    assert total < 1200  # far beyond the aim is a fault; the aim itself is printed


def postmaster(home):
    return int((home / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def family(pids):
    """Processes, and all that they have started: those of PostgreSQL carry no environment that could be read."""
    found, parents = set(pids), {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def resident_mib(pid):
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
