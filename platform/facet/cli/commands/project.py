"""Projects: a tenant's teams."""

from __future__ import annotations

from typing import Any

import typer

from .. import quantities
from ..faults import Usage
from ..options import Name, Output, Quota, Tenant, Yes, examples, noun
from ..output import Column, Format, Row, age
from ..session import Session

app = noun("Projects: parts of a tenant, for one team each.")


def path(row: Row) -> str:
    return f"{(row.get('tenant') or {}).get('name', '')}/{row.get('name', '')}"


COLUMNS = [
    Column("project", path),
    Column("description", "description"),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("id", "id"),
]


@app.command(
    epilog=examples(
        "facet project create web --tenant acme"
        " --quota vcpu=32,memory=128GiB,storage=1TiB,vms=20,clusters=2,volumes=5,networks=2"
    )
)
def create(
    ctx: typer.Context, name: Name, tenant: Tenant = "", quota: Quota = "", output: Output = Format.TABLE
) -> None:
    """Make a project. Its quota is cut from the tenant's; what is not named is zero."""
    body: dict[str, Any] = {"name": name}
    if quota:
        body["quota"] = quantities.amounts(quota, option="--quota")
    session = Session(ctx, output)
    if "/" in name:
        raise Usage(f"{name!r} is no name: say `facet project create NAME --tenant TENANT`.")
    owner = session.tenant(tenant)
    session.created(session.api.post(f"tenants/{owner['id']}/projects", body), COLUMNS, "project")


@app.command("list", epilog=examples("facet project list", "facet project list --tenant acme"))
def list_(ctx: typer.Context, tenant: Tenant = "", output: Output = Format.TABLE) -> None:
    """The projects that you may see."""
    session = Session(ctx, output)
    source = f"tenants/{session.tenant(tenant)['id']}/projects" if tenant else "projects"
    session.printer.rows(session.api.items(source), COLUMNS, nothing="No projects yet.")


@app.command(epilog=examples("facet project show acme/web"))
def show(ctx: typer.Context, name: Name, output: Output = Format.TABLE) -> None:
    """One project."""
    session = Session(ctx, output)
    session.printer.one(session.project(name), COLUMNS)


@app.command(epilog=examples("facet project delete acme/web --yes"))
def delete(ctx: typer.Context, name: Name, yes: Yes = False) -> None:
    """Delete a project that has nothing left."""
    session = Session(ctx)
    project = session.project(name)
    session.confirm(f"Delete project {path(project)}?", yes=yes)
    session.api.delete(f"projects/{project['id']}")
    session.printer.done(f"project {path(project)} deleted")
