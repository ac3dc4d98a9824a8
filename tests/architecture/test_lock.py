"""requirements.lock: what everyone installs, checked by hash, from whatever registry the reader's pip knows."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"


def entries() -> dict[str, str]:
    """Name -> its whole entry: the pinned line and what follows it."""
    text = re.sub(r"^\s*#.*\n", "", LOCK.read_text(), flags=re.MULTILINE)
    found = re.split(r"(?m)^(?=\S)", text)
    return {re.split(r"[=\s\[;]", entry, maxsplit=1)[0].lower(): entry for entry in found if entry.strip()}


def test_the_lock_is_hashed_and_names_no_registry():
    packages = entries()
    assert len(packages) > 50
    for name, entry in packages.items():
        assert re.match(r"^[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s;]+", entry), f"{name} is not pinned: {entry[:80]}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), f"{name} has no hash"
    assert not re.search(r"https?:|--index|--extra-index|--find-links|--trusted-host|file:|git\+", LOCK.read_text())


def test_what_the_project_pins_is_what_the_lock_has():
    packages = entries()
    wanted = re.findall(
        r'^  "([A-Za-z0-9-]+)(?:\[[a-z]+\])?==([^"]+)",$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert len(wanted) > 15
    for name, version in wanted:
        assert f"=={version}" in packages[name.lower()].split("\n")[0], f"{name} {version}"


def test_psycopg_3_stays_out():
    """Django takes psycopg 3 whenever it is installed; we stay on psycopg2."""
    assert not {"psycopg", "psycopg-binary", "psycopg-c"} & set(entries())
