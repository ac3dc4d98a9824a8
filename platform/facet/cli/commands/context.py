"""Contexts: servers that one has logged in to, and defaults."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Annotated

import typer

from .. import config
from ..faults import Usage
from ..options import Name, Output, Yes, examples, noun
from ..output import Column, Format
from ..session import Session

app = noun("Servers and defaults, kept in XDG_CONFIG_HOME/facet/config.yaml.")
COLUMNS = [
    Column("current", lambda row: "*" if row["current"] else " "),
    *(Column(key, key) for key in ("name", "server", "user", "tenant", "project")),
]


@app.command("list", epilog=examples("facet context list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All contexts; the current one is marked."""
    session = Session(ctx, output)
    rows = [
        {
            "name": name, "current": name == session.config.current, "server": found.server, "user": found.user,
            "tenant": found.tenant, "project": found.project, "ca_file": found.ca_file,
        }
        for name, found in sorted(session.config.contexts.items())
    ]  # fmt: skip
    session.printer.rows(rows, COLUMNS, nothing="No contexts yet. Log in: facet login --server URL")


@app.command("use", epilog=examples("facet context use production"))
def use(ctx: typer.Context, name: Name) -> None:
    """Make a context the current one."""
    session = Session(ctx)
    config.write(session.config.having(session.config.named(name), current=True), os.environ)
    session.printer.done(f"context {name} is the current one")


@app.command("set", epilog=examples("facet context set --project acme/web", 'facet context set --project ""'))
def set_(
    ctx: typer.Context,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="The default tenant.", show_default=False)
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="TENANT/PROJECT", help="The default project.", show_default=False)
    ] = None,
) -> None:
    """Keep a default tenant or project in the context; an empty text takes it out."""
    session = Session(ctx)
    name = session.named or session.config.current
    if not name:
        raise Usage("There is no context yet.", hint="Log in: facet login --server URL")
    if tenant is None and project is None:
        raise Usage("Say --tenant NAME or --project tenant/project.")
    found = session.config.named(name)
    found = replace(
        found, tenant=found.tenant if tenant is None else tenant, project=found.project if project is None else project
    )
    config.write(session.config.having(found, current=False), os.environ)
    session.printer.done(f"context {name}: tenant {found.tenant or '-'}, project {found.project or '-'}")


@app.command("delete", epilog=examples("facet context delete old --yes"))
def delete(ctx: typer.Context, name: Name, yes: Yes = False) -> None:
    """Forget a context. Its token lives on until it expires; `facet logout` ends it."""
    session = Session(ctx)
    session.config.named(name)
    session.confirm(f"Forget context {name}?", yes=yes)
    config.write(session.config.without(name), os.environ)
    session.printer.done(f"context {name} forgotten")
