"""docker-compose.yml, read by Compose itself: valid, wanting its secrets, with nothing secret in an environment."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facet.embedded.postgres import PROVISION

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
VARIABLES = {"FACET_SECRETS_DIR": "/run/secrets-of-facet", "FACET_ALLOWED_HOSTS": "facet.example"}
SERVICES = {"db", "redis", "migrate", "web", "events", "worker", "beat", "watch", "simulator"}


def compose(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FACET_", "COMPOSE_"))}
    return subprocess.run(
        [str(BIN / "docker-compose"), "--env-file", os.devnull, *arguments],
        cwd=ROOT, env=clean | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def services() -> dict:
    done = compose("--profile", "simulator", "config", "--format", "json", **VARIABLES)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["services"]


def test_the_compose_file_is_valid_and_wants_its_secrets():
    done = compose("config", "-q", **VARIABLES)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name in VARIABLES:
        left = {other: value for other, value in VARIABLES.items() if other != name}
        refused = compose("config", "-q", **left)
        assert refused.returncode != 0
        assert f"required variable {name} is missing a value" in refused.stderr
        empty = compose("config", "-q", **left, **{name: ""})
        assert empty.returncode != 0, f"{name} may be empty"


def test_the_services_are_those_of_the_design(services):
    assert set(services) == SERVICES
    ours = {name: one for name, one in services.items() if name not in ("db", "redis")}
    for name, one in ours.items():
        assert one["command"][0] == "facet-manage", name
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        assert "FACET_DEBUG" not in one["environment"]
    for name in ("db", "redis"):
        assert set(services[name]["networks"]) == {"data"}
        assert not services[name].get("ports")


def test_secrets_are_files(services):
    for name, one in services.items():
        given = {secret["source"] for secret in one.get("secrets", [])}
        for key, value in (one.get("environment") or {}).items():
            assert not re.search("PASSWORD$|SECRET_KEY$|TOKEN$", key), f"{name}: {key} is a secret in the environment"
            if str(value).startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in given, f"{name}: {key} names a secret it is not given"
            assert not re.search(r"://[^/@]*:[^/@]+@", str(value)), f"{name}: {key} carries a password"


def test_what_answers_beyond_loopback_has_tls(services):
    for name in ("web", "events"):
        environment = services[name]["environment"]
        assert environment["FACET_BIND"] == "0.0.0.0"
        assert environment["FACET_TLS_CERT"] == "/run/secrets/tls_cert"
        assert environment["FACET_TLS_KEY"] == "/run/secrets/tls_key"


def test_nothing_starts_before_the_migration(services):
    for name in ("web", "events", "worker", "beat", "watch"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["depends_on"]["db"]["condition"] == "service_healthy"
    owners = [name for name, one in services.items() if "FACET_OWNER_DATABASE_URL" in (one.get("environment") or {})]
    assert owners == ["migrate"]


def test_the_roles_are_those_of_the_embedded_stack():
    script = (ROOT / "deploy" / "postgres-init.sh").read_text()
    for line in PROVISION.strip().splitlines():
        if line.startswith(("grant", "alter")):
            assert line in script, line
    made = set(re.findall(r"create role (\w+) (\w+)", PROVISION))
    assert set(re.findall(r"create role (\w+) (\w+)", script)) == made
    assert subprocess.run(["bash", "-n", "deploy/postgres-init.sh"], cwd=ROOT, check=False).returncode == 0


def test_the_image_is_built_as_hadolint_likes_it():
    done = subprocess.run([str(BIN / "hadolint"), "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_image_has_what_the_wheel_is_made_of():
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = re.findall(r"^COPY ([^-\n]+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    names = [name for line in copied for name in line.split()[:-1]]
    assert {"requirements.lock", "pyproject.toml", "platform", "tenants", "scheduler", "infra"} <= set(names)
    for name in names:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, f"{name} is kept out of the build by .dockerignore"
