"""Each service of docker-compose.yml, command and environment as they stand, does the main job: from the wheel, as
processes in namespaces of their own, where the services' names are loopback. See compose_trial.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import wheel as made
from tests.e2e.wheel import ROOT

pytestmark = pytest.mark.slow
TIMEOUT_S = 400


def namespaces() -> list[str]:
    """What makes the namespaces, as root or as a plain user; empty where the kernel refuses."""
    own = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    for command in (own, [*own, "--user", "--map-root-user"]):
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


def test_the_compose_services_do_the_main_job(tmp_path):
    within = namespaces()
    if not within:
        pytest.skip("the kernel lets nobody here make namespaces: unshare --user --map-root-user --mount --net")
    bin_ = made.server(made.built(tmp_path), tmp_path)
    config = tmp_path / "compose.json"
    variables = {"FACET_SECRETS_DIR": str(tmp_path / "secrets"), "FACET_ALLOWED_HOSTS": "localhost"}
    compose = [Path(sys.executable).with_name("docker-compose"), "--env-file", os.devnull, "--profile", "simulator"]
    config.write_text(made.done(*compose, "config", "--format", "json", cwd=ROOT, **variables))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FACET_", "DJANGO_"))}
    done = subprocess.run(
        [*within, sys.executable, "-m", "tests.e2e.compose_trial", config, tmp_path, bin_],
        cwd=ROOT, env=clean, capture_output=True, text=True, check=False, timeout=TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "kubectl: 4 nodes are Ready" in done.stdout
    assert "every service ended when it was asked to" in done.stdout
    for log in tmp_path.glob("*.log"):
        assert "DEBUG = True" not in log.read_text(errors="replace"), log
