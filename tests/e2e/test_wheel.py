"""The wheel, built and run away from this tree: plain it is the command line, with [server] it is everything."""

from __future__ import annotations

import ast
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from facet.embedded import postgres
from tests.e2e import wheel as made
from tests.e2e.wheel import ROOT, done, run

PACKAGES = ("facet", "tenants", "scheduler", "infra")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tree() -> set[str]:
    """Every file of the packages, by its name in the wheel."""
    folders = (ROOT / "platform" / "facet", ROOT / "tenants", ROOT / "scheduler", ROOT / "infra")
    found = [(file, folder.parent) for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(parent)) for file, parent in found if "__pycache__" not in file.parts}


@pytest.fixture(scope="module")
def wheel(tree: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.built(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    with postgres.running(tmp_path_factory.mktemp("pg"), fsync=False) as running:
        yield running


def test_the_plain_wheel_is_the_command_line(wheel, tmp_path):
    bin_ = made.plain(wheel, tmp_path)
    said = done(bin_ / "facet", "--help", cwd=tmp_path)
    assert "cluster" in said
    done(bin_ / "facet", "cluster", "create", "--help", cwd=tmp_path)
    refused = run(bin_ / "facet", "whoami", cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path), HOME=str(tmp_path))
    assert refused.returncode == 4, refused.stderr
    assert "Traceback" not in refused.stderr
    for heavy in ("django", "numpy", "pyVmomi", "celery"):
        missing = run(bin_ / "python", "-c", f"import {heavy}", cwd=tmp_path)
        assert "ModuleNotFoundError" in missing.stderr, heavy


def test_the_server_wheel_runs_the_management_command(wheel, database, tmp_path):
    (tmp_path / "static").mkdir()
    environ = {
        "FACET_HOME": str(tmp_path),
        "FACET_SECRET_KEY": "only for this test, and long enough to be taken for a key",
        "FACET_DATABASE_URL": database.url("facet_app"),
        "FACET_OWNER_DATABASE_URL": database.url("facet_owner"),
        "FACET_ALLOWED_HOSTS": "facet.example",
    }
    server = made.server(wheel, tmp_path)
    manage = server / "facet-manage"
    where = done(server / "python", "-c", "import facet, infra; print(facet.__file__, infra.__file__)", cwd=tmp_path)
    assert str(ROOT) not in where
    assert "no issues" in done(manage, "check", cwd=tmp_path, **environ)
    assert run(manage, "migrate", "--check", "--database", "owner", cwd=tmp_path, **environ).returncode == 1
    done(manage, "migrate", "--database", "owner", cwd=tmp_path, **environ)
    done(manage, "migrate", "--check", "--database", "owner", cwd=tmp_path, **environ)
    for kept in ("console/facet.css", "django_htmx/htmx-2.min.js"):
        done(manage, "findstatic", kept, cwd=tmp_path, **environ)


def test_the_wheel_holds_every_file_of_its_packages(wheel, tree):
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert tree <= inside, sorted(tree - inside)
    assert not [name for name in inside if name.split("/")[0] not in PACKAGES and ".dist-info" not in name]


def test_what_the_code_imports_is_what_the_wheel_asks_for(wheel):
    """The command line's imports stand in the plain requirements, everyone else's in [server]; all are in the lock."""
    asked = requirements(wheel)
    plain = {canonicalize_name(one.name) for one in asked if one.marker is None}
    server = plain | {
        canonicalize_name(one.name) for one in asked if one.marker and one.marker.evaluate({"extra": "server"})
    }
    for one in asked:
        assert version(one.name) in one.specifier, f"{one} is not what is installed: {version(one.name)}"
    assert third_parties(ROOT / "platform/facet/cli") <= plain
    for folder in (ROOT / "platform/facet", ROOT / "tenants", ROOT / "scheduler", ROOT / "infra"):
        assert third_parties(folder) <= server


def requirements(wheel: Path) -> list[Requirement]:
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        lines = files.read(name).decode().splitlines()
    found = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines if line.startswith("Requires-Dist: ")]
    return [one for one in found if one.marker is None or one.marker.evaluate({"extra": "server"})]


def third_parties(folder: Path) -> set[str]:
    """The distributions that the modules of a folder import."""
    known = packages_distributions()
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
    foreign = found - set(sys.stdlib_module_names) - set(PACKAGES)
    return {canonicalize_name(known[name][0]) for name in foreign}
