"""`make demo` and `make run` as a newcomer runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from facet.embedded.home import Home

from . import stack

DEMO = [sys.executable, "-m", "facet.embedded", "demo"]
PATIENCE_S = 120


def _demo(environ, *more):
    return subprocess.run(
        [*DEMO, *more], env=environ, cwd=stack.ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def test_the_demo_does_the_main_job_and_leaves_nothing_running(tmp_path):
    home = tmp_path / "a home with spaces"
    done = _demo(stack.environment(home), "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = [line for line in done.stdout.splitlines() if line.startswith("shop-")]
    assert len(nodes) == 4, done.stdout
    assert all(" Ready " in line and "v1.34.2" in line for line in nodes), nodes
    assert "$ facet cluster create shop --project acme/web" in done.stdout
    assert "kubectl --kubeconfig" in done.stdout
    assert "admin-password" in done.stdout
    assert (home / "admin-password").stat().st_mode & 0o777 == 0o600
    assert stack.left_running(home) == []


def test_a_second_start_finds_its_data_again(tmp_path):
    environ = stack.environment(tmp_path / "home")
    first = _demo(environ, "--once")
    assert first.returncode == 0, first.stdout + first.stderr
    again = _demo(environ, "--once")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "(done before) facet cluster create shop" in again.stdout
    names = {line.split()[0] for line in first.stdout.splitlines() if line.startswith("shop-")}
    assert {line.split()[0] for line in again.stdout.splitlines() if line.startswith("shop-")} == names


def test_two_stacks_run_side_by_side(tmp_path):
    runs = []
    for name in ("one", "two"):
        environ = stack.environment(tmp_path / name)
        with (tmp_path / f"{name}.log").open("w") as out:
            runs.append((environ, subprocess.Popen(DEMO, env=environ, cwd=stack.ROOT, stdout=out, stderr=out)))
    try:
        for environ, process in runs:
            home = Home.of(environ)
            log = tmp_path / f"{home.path.name}.log"
            stack.until(
                lambda log=log, process=process: "Ctrl-C stops everything" in log.read_text() or process.poll(),
                patience_s=PATIENCE_S,
                what=log.read_text,
            )
            assert process.poll() is None, log.read_text()
        for environ, _ in runs:  # both are up now: each kubeconfig reaches its own cluster
            config = Home.of(environ).path / "shop.kubeconfig"
            shown = subprocess.run(
                [os.path.join(os.path.dirname(sys.executable), "kubectl"), "--kubeconfig", str(config), "get", "nodes"],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert shown.stdout.count(" Ready ") == 4, shown.stdout + shown.stderr
    finally:
        for _, process in runs:
            process.send_signal(signal.SIGINT)
        for _, process in runs:
            process.wait(60)
    assert stack.left_running(tmp_path / "one") == []
    assert stack.left_running(tmp_path / "two") == []
