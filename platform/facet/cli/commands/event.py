"""Events: the audit trail."""

from __future__ import annotations

from typing import Annotated

import typer

from ..options import Output, examples, noun
from ..output import Column, Format, Row, local_time, plain
from ..session import Session

app = noun("Events: who did what to what.")


def _target(row: Row) -> str:
    target = row.get("target") or {}
    return f"{plain(target.get('kind'))} {plain(target.get('name') or target.get('id'))}".strip()


COLUMNS = [
    Column("time", lambda row: local_time(row.get("at") or "")),
    Column("verb", "verb"),
    Column("target", _target),
    Column("by", "actor.name"),
    Column("from", "source_ip"),
    Column("message", "message"),
]


@app.command("list", epilog=examples("facet event list", "facet event list --project acme/web -o json"))
def list_(
    ctx: typer.Context,
    project: Annotated[
        str, typer.Option("--project", metavar="TENANT/PROJECT", help="Of this project.", show_default=False)
    ] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="Of this tenant.", show_default=False)] = "",
    target: Annotated[str, typer.Option("--target", metavar="ID", help="On this object.", show_default=False)] = "",
    verb: Annotated[str, typer.Option("--verb", help="Of this verb, as in cluster.create.", show_default=False)] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="The newest so many.")] = 100,
    output: Output = Format.TABLE,
) -> None:
    """The newest events that you may see, the oldest of them first."""
    session = Session(ctx, output)
    page = session.api.get(
        "events",
        newest="true",
        page_size=limit,
        verb=verb or None,
        target_id=target or None,
        project_id=session.project(project)["id"] if project else None,
        tenant_id=session.tenant(tenant)["id"] if tenant else None,
    )
    session.printer.rows(page.get("items") or [], COLUMNS, nothing="No events.")
