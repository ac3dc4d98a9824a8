"""The rooms: what may import what, where they come from, and how large a file may grow."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = [
    "facet", "facet.cli", "facet.clusters", "facet.console", "facet.embedded", "facet.operations", "facet.rest",
    "facet.workloads", "infra", "infra.drivers", "infra.simulator", "scheduler", "scheduler.core", "tenants",
]  # fmt: skip
SOURCES = ("platform", "tenants", "scheduler", "infra")
LONGEST_FILE = 400
LONG_WITH_A_REASON: dict[str, str] = {}
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FACET_", "PYTHON", "DJANGO_"))}
    return subprocess.run(command, cwd=ROOT, env=clean | environ, capture_output=True, text=True, check=False)


def sources() -> list[Path]:
    return [
        file for folder in SOURCES for file in sorted((ROOT / folder).rglob("*.py")) if "migrations" not in file.parts
    ]


def test_import_contracts_are_kept():
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_platform_does_not_shadow_the_standard_library():
    assert not (ROOT / "platform" / "__init__.py").exists()
    said = run(sys.executable, "-c", "import platform; print(platform.machine(), platform.__file__)")
    assert said.returncode == 0, said.stderr
    assert str(ROOT) not in said.stdout
    checked = run(sys.executable, "-W", "ignore::RuntimeWarning", "manage.py", "check", FACET_ALLOW_EPHEMERAL_KEY="1")
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_comes_from_this_repository(room):
    module = importlib.import_module(room)
    found = Path(module.__file__ or next(iter(module.__path__))).resolve()
    assert found.is_relative_to(ROOT), f"{room} is imported from {found}"


def test_no_room_is_left_out_of_this_page():
    folders = {
        ".".join(folder.relative_to(ROOT / "platform").parts) for folder in (ROOT / "platform" / "facet").iterdir()
        if (folder / "apps.py").exists()
    }  # fmt: skip
    assert folders <= set(ROOMS)


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "facet"])
def test_a_room_says_in_five_lines_what_it_knows(room):
    text = (importlib.import_module(room).__doc__ or "").strip()
    assert text, f"{room} has no docstring"
    assert len(text.splitlines()) <= 5


def test_no_file_grows_beyond_reading():
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in sources()}
    long = {name: lines for name, lines in long.items() if lines > LONGEST_FILE}
    assert set(long) <= set(LONG_WITH_A_REASON), long


def test_nothing_is_marked_as_unfinished():
    for file in sources():
        with tokenize.open(file) as text:
            for token in tokenize.generate_tokens(text.readline):
                if token.type == tokenize.COMMENT:
                    assert not any(mark in token.string for mark in UNFINISHED), f"{file}:{token.start[0]}"


def test_settings_are_read_in_one_place():
    """Our own variables are read in settings.py; the command line and the embedded stack are programs of their own."""
    for file in sources():
        name = str(file.relative_to(ROOT / "platform")) if file.is_relative_to(ROOT / "platform") else str(file)
        if name.startswith(("facet/settings.py", "facet/cli/", "facet/embedded/")):
            continue
        assert 'environ.get("FACET' not in file.read_text(), name
        assert 'environ["FACET' not in file.read_text(), name
