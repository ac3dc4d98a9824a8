from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from facet.cli.main import run

from .server import Server

ROOT = Path(__file__).parents[3]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home with a space in its path, and no word of Facet in the environment."""
    made = tmp_path / "a home"
    made.mkdir()
    for name in [name for name in os.environ if name.startswith("FACET_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(made / "config"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    return made


@pytest.fixture
def facet(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Run a command line in this process, as someone with a token."""
    monkeypatch.setenv("FACET_URL", server.url)
    monkeypatch.setenv("FACET_TOKEN", "t0ken")

    def call(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = run(arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture
def spawn(server: Server, home: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start the command as a process of its own, as a terminal would: a test run in the background ignores Ctrl-C."""

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        known = {
            **os.environ, "PYTHONPATH": str(ROOT / "platform"), "FACET_URL": server.url, "FACET_TOKEN": "t0ken",
            **environment,
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-m", "facet.cli.main", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=known,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip

    return start
