"""Operations: the receipts for what takes time."""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from .. import quantities, resolve, wait
from ..faults import Usage
from ..options import Limit, Output, Timeout, examples, noun
from ..output import Column, Format, Row, age, local_time
from ..problems import details, first_cause
from ..session import Session

app = noun("Operations: what is under way, and how it ended.")


def _progress(row: Row) -> str:
    return f"{row.get('done') or 0}/{row['total']}" if row.get("total") else ""


COLUMNS = [
    Column("id", "id"),
    Column("verb", "verb"),
    Column("target", lambda row: (row.get("target") or {}).get("name")),
    Column("phase", "phase", state=True),
    Column("done", _progress, right=True),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("by", "actor.name"),
    Column("problem", lambda row: first_cause(row.get("problem"))),
]
STEPS = [
    Column("step", lambda row: row.get("title") or row.get("name")),
    Column("phase", "phase", state=True),
    Column("done", _progress, right=True),
    Column("ended", lambda row: local_time(row.get("ended_at") or "")),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id.", show_default=False)]


def _id(text: str) -> str:
    if not resolve.is_id(text):
        raise Usage(f"{text!r} is no operation's id.", hint="Ids: facet operation list")
    return text


class Phase(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@app.command(
    "list",
    epilog=examples("facet operation list", "facet operation list --phase running", "facet operation list -o json"),
)
def list_(
    ctx: typer.Context,
    phase: Annotated[Phase | None, typer.Option("--phase", help="In this phase.", show_default=False)] = None,
    project: Annotated[
        str, typer.Option("--project", metavar="TENANT/PROJECT", help="Of this project.", show_default=False)
    ] = "",
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", help="Of this tenant.", show_default=False)] = "",
    target: Annotated[str, typer.Option("--target", metavar="ID", help="On this object.", show_default=False)] = "",
    limit: Limit = 100,
    output: Output = Format.TABLE,
) -> None:
    """Operations, newest first."""
    session = Session(ctx, output)
    query = {
        "phase": phase.value if phase else None,
        "project_id": session.project(project)["id"] if project else None,
        "tenant_id": session.tenant(tenant)["id"] if tenant else None,
        "target_id": target or None,
    }
    session.printer.rows(islice(session.api.items("operations", **query), limit), COLUMNS, nothing="No operations.")


@app.command(epilog=examples("facet operation show 0190a0de-0000-7000-8000-000000000001"))
def show(ctx: typer.Context, operation: Id, output: Output = Format.TABLE) -> None:
    """One operation: its steps, and the first cause if it failed."""
    session = Session(ctx, output)
    found = session.api.get(f"operations/{_id(operation)}")
    session.printer.one(found, COLUMNS)
    if session.printer.for_people:
        if found.get("steps"):
            session.printer.raw("\n")
        session.printer.rows(found.get("steps") or [], STEPS, nothing="No steps.")
        if isinstance(found.get("problem"), dict):
            details(session.printer, found["problem"])


@app.command(epilog=examples("facet operation watch 0190a0de-0000-7000-8000-000000000001 --timeout 10m"))
def watch(ctx: typer.Context, operation: Id, timeout: Timeout = "", output: Output = Format.TABLE) -> None:
    """Follow an operation to its end; exit code 7 when it failed."""
    session = Session(ctx, output)
    timeout_s = quantities.duration_s(timeout, option="--timeout") if timeout else None
    found = session.api.get(f"operations/{_id(operation)}")
    ended = wait.until_done(session.api, session.printer, found, timeout_s=timeout_s)
    if not session.printer.for_people:
        session.printer.document(ended)


@app.command(epilog=examples("facet operation cancel 0190a0de-0000-7000-8000-000000000001"))
def cancel(ctx: typer.Context, operation: Id, output: Output = Format.TABLE) -> None:
    """Take back what an open operation asked for."""
    session = Session(ctx, output)
    answer = session.api.post(f"operations/{_id(operation)}/cancel")
    if session.printer.for_people:
        session.printer.done(f"{wait.label(answer.get('operation', answer))}: cancelling was asked for")
    else:
        session.printer.document(answer)
