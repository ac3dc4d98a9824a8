"""Flavors: shapes of VMs."""

from __future__ import annotations

import typer

from ..options import Output, examples, noun
from ..output import Column, Format
from ..quantities import size
from ..session import Session

app = noun("Flavors: shapes of VMs that teams ask for by name.")
COLUMNS = [
    Column("name", "name"),
    Column("vcpu", "vcpu", right=True),
    Column("memory", lambda row: size(row["memory_mib"], "MiB"), right=True),
    Column("disk", lambda row: size(row["disk_gib"], "GiB"), right=True),
]


@app.command("list", epilog=examples("facet flavor list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All flavors."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("flavors"), COLUMNS, nothing="No flavors.")
