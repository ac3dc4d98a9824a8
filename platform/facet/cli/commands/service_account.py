"""Service accounts: processes of a project."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .. import resolve
from ..options import Name, NameOrId, Output, Project, Yes, examples, noun
from ..output import Column, Format, age
from ..session import Session

app = noun("Service accounts: processes of a project that act on their own.")
COLUMNS = [
    Column("name", "name"),
    Column(
        "project",
        lambda row: f"{(row.get('tenant') or {}).get('name', '')}/{(row.get('project') or {}).get('name', '')}",
    ),
    Column("roles", lambda row: row.get("roles") or row.get("role")),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("id", "id"),
]


class Role(StrEnum):
    EDITOR = "project-editor"
    VIEWER = "project-viewer"


@app.command(epilog=examples("facet service-account create ci --project acme/web --role project-editor"))
def create(
    ctx: typer.Context,
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="What it may do in its project.", show_default=False)],
    project: Project = "",
    output: Output = Format.TABLE,
) -> None:
    """Make a service account. `facet token create --service-account` gives it a token."""
    session = Session(ctx, output)
    owner = session.project(project)
    account = session.api.post(f"projects/{owner['id']}/service-accounts", {"name": name, "role": role.value})
    session.created(account, COLUMNS, "service account")


@app.command("list", epilog=examples("facet service-account list --project acme/web"))
def list_(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """A project's service accounts."""
    session = Session(ctx, output)
    owner = session.project(project)
    session.printer.rows(
        session.api.items(f"projects/{owner['id']}/service-accounts"), COLUMNS, nothing="No service accounts."
    )


@app.command(
    epilog=examples(
        "facet service-account delete ci --project acme/web --yes", "facet service-account delete acme/web/ci --yes"
    )
)
def delete(ctx: typer.Context, name: NameOrId, project: Project = "", yes: Yes = False) -> None:
    """Delete a service account, its tokens with it."""
    session = Session(ctx)
    if "/" in name or resolve.is_id(name):
        account = resolve.service_account(session.api, name, session.context)
    else:
        owner = session.project(project)
        account = resolve.one(session.api, "service-account", name, within=f"projects/{owner['id']}/service-accounts")
    session.confirm(f"Delete service account {account['name']} and its tokens?", yes=yes)
    session.api.delete(f"service-accounts/{account['id']}")
    session.printer.done(f"service account {account['name']} deleted")
