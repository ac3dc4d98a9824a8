"""The people of the demo: each runs the real `facet` command with a token and a configuration of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from .home import Home, write_once

REFUSED = 6  # the exit code of `facet` for a conflict: after an interrupted run, "this name is taken"


class DemoFailed(Exception):
    """A step did not do what the demo promises; the message says which."""


def facet_command() -> list[str]:
    """The console script beside this Python, or the module where only the sources are on the path."""
    script = Path(sys.executable).with_name("facet")
    return [str(script)] if script.exists() else [sys.executable, "-m", "facet.cli.main"]


@dataclass
class Journal:
    """Which steps have begun and which are done, so that a second demo goes on where the first one ended."""

    path: Path
    steps: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Home) -> Journal:
        path = home.path / "demo.json"
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def note(self, step: str, state: str) -> None:
        self.steps[step] = state
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(self.steps, indent=1))
        draft.replace(self.path)


@dataclass
class Person:
    """One of them: `do` runs a step once for ever, `run` runs a command each time."""

    name: str
    home: Home
    journal: Journal
    token: str = ""

    @property
    def folder(self) -> Path:
        return self.home.path / "people" / self.name

    def secret_file(self, kind: str, text: str | None = None) -> Path:
        """A 0600 file of this person; written once with `text`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if text is not None:
            write_once(self.folder / kind, text)
        return self.folder / kind

    def environment(self) -> dict[str, str]:
        """The configuration lies in the home of the stack: the user's own is never touched."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        drop = ("FACET_URL", "FACET_TOKEN", "FACET_SECRET_KEY_FILE", "FACET_KEYS_FILE")
        own = {
            "XDG_CONFIG_HOME": str(self.folder),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "KUBECACHEDIR": str(self.folder / "kube-cache"),
        }
        if self.token:
            own |= {"FACET_URL": self.home.url, "FACET_TOKEN": self.token}
        return {name: value for name, value in os.environ.items() if name not in drop} | own

    def do(self, *words: str, stdin: Path | None = None, then: str = "") -> None:
        """`facet WORDS`, unless an earlier run has done it. Raises DemoFailed."""
        step = f"{self.name}: {' '.join(words)}"
        state = self.journal.steps.get(step)
        if state == "done":
            print(f"  (done before) facet {_line(words)}", flush=True)
            return
        self.journal.note(step, "begun")
        code = self.run([*facet_command(), *words], show=["facet", *words], stdin=stdin)
        if code == REFUSED and state == "begun":
            print("  It was there already: an earlier run was interrupted here.", flush=True)
        elif code:
            raise DemoFailed(f"`facet {_line(words)}` ended with exit code {code}.")
        self.journal.note(step, "done")

    def run(self, argv: Sequence[str], *, show: Sequence[str], stdin: Path | None = None) -> int:
        """Print the command and run it with its output on this terminal; its exit code."""
        print(f"$ {_line(show)}{f' < {quote(self._shown(stdin))}' if stdin else ''}", flush=True)
        with (stdin or Path(os.devnull)).open("rb") as lines:
            return subprocess.run(argv, env=self.environment(), stdin=lines, check=False).returncode

    def read(self, argv: Sequence[str], *, show: Sequence[str] | None = None, into: Path | None = None) -> str:
        """Print the command (if `show`) and give back what it writes to stdout. Raises DemoFailed."""
        if show:
            print(f"$ {_line(show)}{f' > {quote(self._shown(into))}' if into else ''}", flush=True)
        done = subprocess.run(
            argv, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise DemoFailed(f"`{_line(show or argv)}` ended with exit code {done.returncode}.")
        return done.stdout

    def _shown(self, path: Path | None) -> str:
        """A path as one would type it here."""
        return os.path.relpath(path) if path else ""


def _line(words: Sequence[str] | Mapping[str, str]) -> str:
    return " ".join(quote(word) for word in words)
