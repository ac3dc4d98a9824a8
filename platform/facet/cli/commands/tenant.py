"""Tenants."""

from __future__ import annotations

from typing import Any

import typer

from .. import quantities, resolve
from ..options import Name, NameOrId, Output, Quota, Yes, examples, noun
from ..output import Column, Format, age
from ..session import Session

app = noun("Tenants: who gets a part of the infrastructure.")
COLUMNS = [
    Column("name", "name"),
    Column("description", "description"),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("id", "id"),
]


@app.command(
    epilog=examples(
        "facet tenant create acme --quota vcpu=64,memory=256GiB,storage=2TiB,vms=50,clusters=5,volumes=20,networks=5"
    )
)
def create(ctx: typer.Context, name: Name, quota: Quota = "", output: Output = Format.TABLE) -> None:
    """Make a tenant. What its quota does not name is zero."""
    body: dict[str, Any] = {"name": name}
    if quota:
        body["quota"] = quantities.amounts(quota, option="--quota")
    session = Session(ctx, output)
    session.created(session.api.post("tenants", body), COLUMNS, "tenant")


@app.command("list", epilog=examples("facet tenant list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """The tenants that you may see."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("tenants"), COLUMNS, nothing="No tenants yet.")


@app.command(epilog=examples("facet tenant show acme"))
def show(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """One tenant."""
    session = Session(ctx, output)
    session.printer.one(resolve.tenant(session.api, name), COLUMNS)


@app.command(epilog=examples("facet tenant delete acme --yes"))
def delete(ctx: typer.Context, name: NameOrId, yes: Yes = False) -> None:
    """Delete a tenant that has nothing left."""
    session = Session(ctx)
    tenant = resolve.tenant(session.api, name)
    session.confirm(f"Delete tenant {tenant['name']}?", yes=yes)
    session.api.delete(f"tenants/{tenant['id']}")
    session.printer.done(f"tenant {tenant['name']} deleted")
