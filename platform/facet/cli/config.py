"""Contexts: which server, as whom, with which defaults. Kept as kubectl keeps them, in one file of mode 0600."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from .faults import Fault, NotFound, NotLoggedIn


@dataclass(frozen=True)
class Context:
    """One way to a server. Empty text stands for nothing said."""

    name: str = ""
    server: str = ""
    token: str = field(default="", repr=False)
    user: str = ""
    ca_file: str = ""
    tenant: str = ""
    project: str = ""


@dataclass(frozen=True)
class Config:
    """The file's content."""

    current: str = ""
    contexts: Mapping[str, Context] = field(default_factory=dict)

    def having(self, context: Context, *, current: bool) -> Config:
        chosen = context.name if current or not self.current else self.current
        return replace(self, contexts={**self.contexts, context.name: context}, current=chosen)

    def without(self, name: str) -> Config:
        kept = {key: context for key, context in self.contexts.items() if key != name}
        return replace(self, contexts=kept, current="" if self.current == name else self.current)

    def named(self, name: str) -> Context:
        """The context of this name. Raises NotFound."""
        if name not in self.contexts:
            known = ", ".join(sorted(self.contexts)) or "none yet"
            raise NotFound(f"There is no context {name}.", hint=f"Contexts: {known}.")
        return self.contexts[name]


def path(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CONFIG_HOME") or ""
    root = Path(base) if os.path.isabs(base) else Path.home() / ".config"
    return root / "facet" / "config.yaml"


def read(environment: Mapping[str, str]) -> Config:
    """What the file says; nothing when there is none. Raises Fault for a file that cannot be understood."""
    where = path(environment)
    try:
        document = yaml.safe_load(where.read_text(encoding="utf-8")) or {}
        rows = {str(name): dict(row or {}) for name, row in (document.get("contexts") or {}).items()}
        contexts = {name: _context(name, row) for name, row in rows.items()}
        return Config(current=str(document.get("current_context") or ""), contexts=contexts)
    except FileNotFoundError:
        return Config()
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise Fault(f"{where} cannot be read: {error}", hint="Put it right, or remove it and log in again.") from None


def write(config: Config, environment: Mapping[str, str]) -> Path:
    """Keep it for the owner's eyes only; a reader sees the old file or the new one, never a half."""
    contexts = {
        name: {key: value for key, value in asdict(context).items() if value and key != "name"}
        for name, context in sorted(config.contexts.items())
    }
    where = path(environment)
    text = yaml.safe_dump(
        {"current_context": config.current, "contexts": contexts}, sort_keys=False, allow_unicode=True
    )
    replace_file(where, text)
    return where


def replace_file(where: Path, text: str) -> None:
    """Put `text` at `where` at once, mode 0600; missing folders are made for the owner alone. Raises Fault."""
    target = where.resolve()  # a link stays a link
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")  # born with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Fault(f"{where} cannot be written: {error.strerror or error}") from None


def chosen(config: Config, environment: Mapping[str, str], name: str = "") -> Context:
    """The context to use: `name`, else the current one; FACET_URL, FACET_TOKEN, FACET_CA_FILE win over what it says.

    A context's token and CA are for its own server: FACET_URL naming another one leaves them behind.
    Raises NotLoggedIn.
    """
    wanted = name or config.current
    context = config.named(wanted) if wanted else Context()
    url = (environment.get("FACET_URL") or "").rstrip("/")
    if url and not name and url != context.server:
        context = Context(server=url, tenant=context.tenant, project=context.project)
    if not name:
        context = replace(
            context,
            token=environment.get("FACET_TOKEN") or context.token,
            ca_file=environment.get("FACET_CA_FILE") or context.ca_file,
        )
    if not context.server:
        raise NotLoggedIn(
            "No server is chosen.", hint="Log in: facet login --server URL, or set FACET_URL and FACET_TOKEN."
        )
    return context


def _context(name: str, row: Mapping[str, Any]) -> Context:
    known = {key: str(row[key]) for key in ("server", "token", "user", "ca_file", "tenant", "project") if row.get(key)}
    return Context(name=name, **known)
