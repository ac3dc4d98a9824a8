"""Resource pools: a tenant's or a project's part of a zone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from .. import quantities, resolve
from ..client import Document
from ..options import NameOrId, Output, ProjectScope, TenantScope, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format
from ..session import Session

app = noun("Resource pools: a tenant's or a project's part of a zone.")


def _pair(key: str) -> Column:
    def look(row: Any) -> str:
        amounts = row.get(key) or {}
        return ", ".join(f"{quantities.name_of(name)} {quantities.shown(name, amounts[name])}" for name in amounts)

    return Column(key, look)


COLUMNS = [
    Column("name", "name"),
    Column("zone", "zone"),
    Column("model", "model"),
    Column("phase", "phase", state=True),
    _pair("reserved"),
    _pair("limit"),
    _pair("used"),
    Column("reason", "reason"),
]


class Model(StrEnum):
    ON_DEMAND = "on-demand"
    RESERVED = "reserved"
    FLEX = "flex"


@app.command(
    epilog=examples(
        "facet pool create --tenant acme --zone az1 --model flex --reserved vcpu=8,memory=32GiB"
        " --limit vcpu=64,memory=256GiB --wait",
        "facet pool create --project acme/web --zone az1 --model on-demand --limit vcpu=32,memory=128GiB --wait",
    )
)
def create(
    ctx: typer.Context,
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help="The zone.", show_default=False)],
    model: Annotated[Model, typer.Option("--model", help="How its room is kept.", show_default=False)],
    tenant: TenantScope = "",
    project: ProjectScope = "",
    name: Annotated[
        str, typer.Option("--name", help="Its name; made from the zone's by default.", show_default=False)
    ] = "",
    reserved: Annotated[
        str,
        typer.Option(
            "--reserved", metavar="AMOUNTS", help="Guaranteed, as in vcpu=8,memory=32GiB.", show_default=False
        ),
    ] = "",
    limit: Annotated[
        str,
        typer.Option("--limit", metavar="AMOUNTS", help="Never more, as in vcpu=64,memory=256GiB.", show_default=False),
    ] = "",
    largest_shape: Annotated[
        str,
        typer.Option(
            "--largest-shape",
            metavar="FLAVOR",
            help="The largest flavor that the guarantee is kept for.",
            show_default=False,
        ),
    ] = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give a tenant (IT) or a project (tenant-admin) its part of a zone."""
    body: dict[str, Any] = {"zone": zone, "model": model.value}
    if name:
        body["name"] = name
    if reserved:
        body["reserved"] = quantities.wholes(reserved, option="--reserved")
    if limit:
        body["limit"] = quantities.wholes(limit, option="--limit")
    if largest_shape:
        body["largest_shape"] = largest_shape
    session = Session(ctx, output)
    answer = session.api.post(f"{session.scope(tenant, project)}/pools", body)
    session.finish(answer, "pool", waiting=wait, timeout=timeout, path="pools", columns=COLUMNS)


@app.command("list", epilog=examples("facet pool list --tenant acme", "facet pool list --project acme/web"))
def list_(
    ctx: typer.Context, tenant: TenantScope = "", project: ProjectScope = "", output: Output = Format.TABLE
) -> None:
    """A tenant's or a project's pools."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items(f"{session.scope(tenant, project)}/pools"), COLUMNS, nothing="No pools.")


@app.command(epilog=examples("facet pool show az1 --tenant acme"))
def show(
    ctx: typer.Context,
    name: NameOrId,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    output: Output = Format.TABLE,
) -> None:
    """One pool."""
    session = Session(ctx, output)
    session.printer.one(_pool(session, name, tenant, project), [*COLUMNS, Column("id", "id")])


@app.command(epilog=examples("facet pool delete az1 --tenant acme --yes --wait"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give a pool's room back. Nothing may run in it."""
    session = Session(ctx, output)
    pool = _pool(session, name, tenant, project)
    session.confirm(f"Delete pool {pool['name']}?", yes=yes)
    answer = session.api.delete(f"pools/{pool['id']}")
    session.finish(answer, "pool", waiting=wait, timeout=timeout)
    if wait or not answer:
        session.printer.done(f"pool {pool['name']} deleted")


def _pool(session: Session, name: str, tenant: str, project: str) -> Document:
    if resolve.is_id(name):
        return session.api.get(f"pools/{name}")
    return resolve.one(
        session.api, "pool", name, within=f"{session.scope(tenant, project)}/pools", where=tenant or project
    )
