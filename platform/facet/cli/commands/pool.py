"""Resource pools: a tenant's or a project's part of a zone."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from .. import quantities, resolve
from ..client import Document
from ..faults import Usage
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


SurvivesZoneLoss = Annotated[
    bool | None,
    typer.Option(
        "--survives-zone-loss/--no-survives-zone-loss",
        help="Keep its guarantee a second time, in the tenant's other such pools.",
        show_default=False,
    ),
]
WithZones = Annotated[
    list[str],
    typer.Option("--with-zone", metavar="NAME", help="The tenant's pool there too (repeatable).", show_default=False),
]
Reserved = Annotated[
    str,
    typer.Option("--reserved", metavar="AMOUNTS", help="Guaranteed, as in vcpu=8,memory=32GiB.", show_default=False),
]
LargestShape = Annotated[
    str,
    typer.Option(
        "--largest-shape",
        metavar="FLAVOR",
        help="The largest flavor that the guarantee is kept for.",
        show_default=False,
    ),
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
    reserved: Reserved = "",
    limit: Annotated[
        str,
        typer.Option("--limit", metavar="AMOUNTS", help="Never more, as in vcpu=64,memory=256GiB.", show_default=False),
    ] = "",
    largest_shape: LargestShape = "",
    survives_zone_loss: SurvivesZoneLoss = None,
    with_zone: WithZones = [],  # noqa: B006  typer makes a new one for each call
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
    body |= _survival(survives_zone_loss, with_zone)
    session = Session(ctx, output)
    answer = session.api.post(f"{session.scope(tenant, project)}/pools", body)
    session.finish(answer, "pool", waiting=wait, timeout=timeout, path="pools", columns=COLUMNS)


@app.command(
    epilog=examples(
        "facet pool update az1 --tenant acme --reserved vcpu=16,memory=64GiB --largest-shape large --wait",
        "facet pool update az1 --tenant acme --model on-demand --limit unlimited",
        "facet pool update az1 --tenant acme --survives-zone-loss --with-zone az2 --with-zone az3",
    )
)
def update(
    ctx: typer.Context,
    name: NameOrId,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    model: Annotated[Model | None, typer.Option("--model", help="How its room is kept.", show_default=False)] = None,
    reserved: Reserved = "",
    limit: Annotated[
        str,
        typer.Option(
            "--limit", metavar="AMOUNTS", help="As in vcpu=64,memory=unlimited; or unlimited.", show_default=False
        ),
    ] = "",
    largest_shape: LargestShape = "",
    survives_zone_loss: SurvivesZoneLoss = None,
    with_zone: WithZones = [],  # noqa: B006  typer makes a new one for each call
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Change what a pool may have or is guaranteed; what is left out stays. Never below what is in use."""
    body = _survival(survives_zone_loss, with_zone)
    if model is not None:
        body["model"] = model.value
    if reserved:
        body["reserved"] = quantities.wholes(reserved, option="--reserved")
    if limit == quantities.UNLIMITED:
        body["limit"] = None
    elif limit:
        body["limit"] = quantities.amounts(limit, option="--limit", allowed=quantities.POOL_RESOURCES)
    if largest_shape:
        body["largest_shape"] = largest_shape
    if not body:
        raise Usage("Say what shall change: see facet pool update --help.")
    session = Session(ctx, output)
    pool = _pool(session, name, tenant, project)
    answer = session.api.patch(f"pools/{pool['id']}", body)
    session.finish(answer, "pool", waiting=wait, timeout=timeout, path="pools", columns=COLUMNS)


@app.command(
    epilog=examples(
        "facet pool transfer az1 --tenant acme --to-tenant beta --vcpu 8 --memory 32GiB --wait",
        "facet pool transfer az1 --project acme/web --to-project acme/ci --vcpu 4",
    )
)
def transfer(
    ctx: typer.Context,
    name: NameOrId,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    to_tenant: Annotated[
        str, typer.Option("--to-tenant", metavar="NAME", help="Its pool in the same zone gets it.", show_default=False)
    ] = "",
    to_project: Annotated[
        str,
        typer.Option(
            "--to-project",
            metavar="TENANT/PROJECT",
            help="Its pool in the same zone gets it.",
            show_default=False,
        ),
    ] = "",
    vcpu: Annotated[str, typer.Option("--vcpu", metavar="COUNT", help="So many vCPUs.", show_default=False)] = "",
    memory: Annotated[
        str, typer.Option("--memory", metavar="SIZE", help="So much memory, as in 32GiB.", show_default=False)
    ] = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give guaranteed room that is not in use to another pool of the zone."""
    parts = [f"{key}={value}" for key, value in (("vcpu", vcpu), ("memory", memory)) if value]
    if not parts:
        raise Usage("Say --vcpu, --memory or both.")
    amounts = quantities.wholes(",".join(parts), option="--vcpu, --memory")
    session = Session(ctx, output)
    pool = _pool(session, name, tenant, project)
    there = session.api.items(f"{session.scope(to_tenant, to_project)}/pools")
    target = next((one for one in there if one["zone_id"] == pool["zone_id"]), None)
    if target is None:
        raise Usage(f"{to_tenant or to_project} has no pool in zone {pool['zone']}.")
    body = {"to": target["id"], **amounts}
    session.act("transfer", "pool", "pools", pool, body, waiting=wait, timeout=timeout, columns=COLUMNS)


@app.command("take-spare", epilog=examples("facet pool take-spare az2 --tenant acme --wait"))
def take_spare(
    ctx: typer.Context,
    name: NameOrId,
    tenant: TenantScope = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """After the loss of a zone: make the spare room that this pool keeps for it its guarantee."""
    session = Session(ctx, output)
    pool = _pool(session, name, tenant, "")
    session.act("take-spare", "pool", "pools", pool, waiting=wait, timeout=timeout, columns=COLUMNS)


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
    session.printer.one(_pool(session, name, tenant, project), [*COLUMNS, _pair("spare"), Column("id", "id")])


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
    session.delete("pool", "pools", pool, yes=yes, waiting=wait, timeout=timeout)


def _survival(survives: bool | None, zones: list[str]) -> dict[str, Any]:
    body: dict[str, Any] = {} if survives is None else {"survives_zone_loss": survives}
    return body | ({"with_zones": zones} if zones else {})


def _pool(session: Session, name: str, tenant: str, project: str) -> Document:
    if resolve.is_id(name):
        return session.api.get(f"pools/{name}")
    return resolve.one(
        session.api, "pool", name, within=f"{session.scope(tenant, project)}/pools", where=tenant or project
    )
