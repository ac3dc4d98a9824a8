"""Allocations: who has room where, and why there."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import quantities, resolve
from ..faults import Usage
from ..options import Output, Project, examples, noun
from ..output import Column, Format, Row, age
from ..session import Session

app = noun("Allocations: which VM has room on which host, and why there.")
COLUMNS = [
    Column("vm", "name"),
    Column("zone", "zone"),
    Column("host", "host"),
    Column("datastore", "datastore"),
    Column("pool", "pool"),
    Column("vcpu", "vcpu", right=True),
    Column("memory", lambda row: quantities.shown("memory_mib", row["memory_mib"]), right=True),
    Column("age", lambda row: age(row["created"])),
    Column("id", "id"),
]
FILTERS = [Column("filter", "filter"), Column("hosts left", "left", right=True)]


def _living(session: Session, project: str) -> list[Row]:
    path, scope = "allocations", session.project(project)["id"]
    return [row for row in session.api.items(path, project_id=scope) if row["released"] is None]


@app.command("list", epilog=examples("facet allocation list --project acme/web"))
def list_(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """What a project's VMs hold now."""
    session = Session(ctx, output)
    session.printer.rows(_living(session, project), COLUMNS, nothing="Nothing is held.")


@app.command(epilog=examples("facet allocation why shop-workers-7f2q9 --project acme/web"))
def why(
    ctx: typer.Context,
    vm: Annotated[str, typer.Argument(metavar="VM", help="The VM's name, or the allocation's id.", show_default=False)],
    project: Project = "",
    output: Output = Format.TABLE,
) -> None:
    """Say why a VM stands where it does."""
    session = Session(ctx, output)
    id = vm
    if not resolve.is_id(vm):
        found = [row for row in _living(session, project) if row["name"] == vm]
        if not found:
            raise Usage(f"No VM {vm} holds anything in this project.", hint="facet allocation list says who does.")
        id = found[0]["id"]
    answer = session.api.get(f"allocations/{id}/why")
    if not session.printer.for_people:
        session.printer.document(answer)
        return
    session.printer.out.print(answer["sentence"])
    session.printer.rows(answer["why"].get("filters") or [], FILTERS, nothing="")
