"""The wheel of this tree, and clean environments to run it in."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command with nothing of this tree or of the tests in its environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("FACET_", "PYTHON", "DJANGO_"))}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=clean | environ, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def done(*command: object, cwd: Path, **environ: str) -> str:
    ended = run(*command, cwd=cwd, **environ)
    assert ended.returncode == 0, f"{' '.join(map(str, command))}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def built(folder: Path) -> Path:
    done(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("facet_platform-*.whl")
    return wheel


def plain(wheel: Path, folder: Path) -> Path:
    """The wheel and what it asks for, from the reader's registry; the environment's bin."""
    venv.create(folder / "venv", with_pip=True)
    done(folder / "venv/bin/pip", "install", "--quiet", wheel, cwd=folder)
    return folder / "venv/bin"


def server(wheel: Path, folder: Path) -> Path:
    """The wheel; the locked packages are lent to it, our tree is not. The environment's bin."""
    venv.create(folder / "venv", with_pip=True)
    done(folder / "venv/bin/pip", "install", "--quiet", "--no-deps", wheel, cwd=folder)
    own = next((folder / "venv/lib").glob("python*/site-packages"))
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")  # a path in a .pth brings no editable install
    return folder / "venv/bin"
