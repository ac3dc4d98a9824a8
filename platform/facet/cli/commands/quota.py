"""Quotas of tenants and projects."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import quantities
from ..options import Output, ProjectScope, TenantScope, examples, noun
from ..output import Column, Format
from ..session import Session

app = noun("Quotas: how much a tenant or a project may hold.")
COLUMNS = [
    Column("resource", lambda row: quantities.name_of(row["resource"])),
    Column("zone", "zone"),
    Column("limit", lambda row: quantities.shown(row["resource"], row.get("limit")), right=True),
    Column("used", lambda row: quantities.shown(row["resource"], row.get("used") or 0), right=True),
    Column("handed down", lambda row: quantities.shown(row["resource"], row.get("handed_down") or 0), right=True),
]


@app.command(epilog=examples("facet quota show --tenant acme", "facet quota show --project acme/web"))
def show(
    ctx: typer.Context, tenant: TenantScope = "", project: ProjectScope = "", output: Output = Format.TABLE
) -> None:
    """The limits, and what is held of them."""
    session = Session(ctx, output)
    found = session.api.get(f"{session.scope(tenant, project)}/quota")
    session.printer.rows(found.get("items") or [], COLUMNS, nothing="No quota: nothing may be held.")


@app.command(
    "set",
    epilog=examples(
        "facet quota set vcpu=64,memory=256GiB --tenant acme",
        "facet quota set vcpu=16 --project acme/web --zone az1",
        "facet quota set vms=unlimited --tenant acme",
    ),
)
def set_(
    ctx: typer.Context,
    limits: Annotated[str, typer.Argument(help="As in vcpu=64,memory=256GiB,vms=unlimited.", show_default=False)],
    tenant: TenantScope = "",
    project: ProjectScope = "",
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help="In this zone alone.", show_default=False)] = "",
    replace: Annotated[bool, typer.Option("--replace", help="What is not named goes to zero.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Set the named limits."""
    body: dict[str, Any] = {"limits": quantities.amounts(limits, option="limits")}
    if zone:
        body["zone"] = zone
    session = Session(ctx, output)
    path = f"{session.scope(tenant, project)}/quota"
    found = session.api.put(path, body) if replace else session.api.patch(path, body)
    session.printer.rows(found.get("items") or [], COLUMNS, nothing="No quota: nothing may be held.")
