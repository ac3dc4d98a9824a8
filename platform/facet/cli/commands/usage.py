"""usage: what a tenant or a project held, from when to when."""

from __future__ import annotations

import csv
import io
from enum import StrEnum
from typing import Annotated, Any

import typer

from ..options import ProjectScope, TenantScope, examples
from ..output import Column, Format, Row, local_time
from ..session import Session

AMOUNTS = ("vcpu_hours", "memory_gib_hours", "storage_gib_hours")
EXACT = ("vcpu_seconds", "memory_mib_seconds", "storage_gib_seconds")


class UsageFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


def _number(name: str) -> Column:
    return Column(name.replace("_", " "), lambda row: f"{row[name]:,.3f}", right=True)


COLUMNS = [Column("project", "project"), Column("zone", "zone"), Column("vms", "vms", right=True)]
COLUMNS += [_number(name) for name in AMOUNTS]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "facet usage --tenant acme --from 2026-10-01 --to 2026-11-01",
            "facet usage --project acme/web -o csv > usage.csv",
        )
    )(usage)


def usage(
    ctx: typer.Context,
    tenant: TenantScope = "",
    project: ProjectScope = "",
    since: Annotated[
        str,
        typer.Option(
            "--from", metavar="TIME", help="As in 2026-11-01 or 2026-11-01T08:00:00Z.", show_default="this month"
        ),
    ] = "",
    until: Annotated[
        str, typer.Option("--to", metavar="TIME", help="Left out of the interval.", show_default="all that is known")
    ] = "",
    output: Annotated[UsageFormat, typer.Option("--output", "-o", help="How to print.")] = UsageFormat.TABLE,
) -> None:
    """Say what was held, in hours; exact to the second in the other forms."""
    session = Session(ctx, Format.TABLE if output is UsageFormat.CSV else Format(output.value))
    path = f"{session.scope(tenant, project)}/usage"
    answer = session.api.get(path, **{"from": _moment(since), "to": _moment(until)})
    if output is UsageFormat.CSV:
        session.printer.raw(_csv(answer))
    elif not session.printer.for_people:
        session.printer.document(answer)
    else:
        total: Row = {**answer["total"], "project": "total", "vms": ""}
        session.printer.say(f"From {local_time(answer['from'])} to {local_time(answer['to'])}.", style="dim")
        rows = answer["items"]
        session.printer.rows([*rows, total] if rows else [], COLUMNS, nothing="Nothing was held.")


def _moment(said: str) -> str | None:
    """A day alone is its beginning, in UTC."""
    return f"{said}T00:00:00Z" if len(said) == len("2026-11-01") else said or None


def _csv(answer: dict[str, Any]) -> str:
    lines = io.StringIO()
    columns = ("from", "to", "project", "zone", "vms", *EXACT, *AMOUNTS)
    writer = csv.DictWriter(lines, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**row, "from": answer["from"], "to": answer["to"]} for row in answer["items"])
    return lines.getvalue()
