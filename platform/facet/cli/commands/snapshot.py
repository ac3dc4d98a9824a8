"""Snapshots of a VM: the noun `snapshot` below the noun `vm`."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import resolve
from ..client import Document
from ..options import Name, NameOrId, Output, Project, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, age
from ..session import Session
from .vm import COLUMNS as VM_COLUMNS
from .vm import find as find_vm

app = noun("A VM's snapshots: how it was at a moment.")
COLUMNS = [
    Column("name", "name"),
    Column("phase", "phase", state=True),
    Column("memory", "with_memory"),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("reason", "reason"),
]
OfVm = Annotated[str, typer.Argument(metavar="VM", help="The VM's name or id.", show_default=False)]
WithMemory = Annotated[bool, typer.Option("--with-memory", help="With the memory of a VM that runs.")]


def _find(session: Session, vm: Document, name: str) -> Document:
    return resolve.one(
        session.api, "snapshot", name, within=f"vms/{vm['id']}/snapshots", single="snapshots", where=f"VM {vm['name']}"
    )


@app.command(epilog=examples("facet vm snapshot create db before-upgrade --project acme/web --wait"))
def create(
    ctx: typer.Context,
    vm: OfVm,
    name: Name,
    project: Project = "",
    with_memory: WithMemory = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Take a snapshot of a VM."""
    session = Session(ctx, output)
    of = find_vm(session, vm, project)
    answer = session.api.post(f"vms/{of['id']}/snapshots", {"name": name, "with_memory": with_memory})
    session.finish(answer, "snapshot", waiting=wait, timeout=timeout, path="snapshots", columns=COLUMNS)


@app.command("list", epilog=examples("facet vm snapshot list db --project acme/web"))
def list_(ctx: typer.Context, vm: OfVm, project: Project = "", output: Output = Format.TABLE) -> None:
    """A VM's snapshots."""
    session = Session(ctx, output)
    of = find_vm(session, vm, project)
    session.printer.rows(session.api.items(f"vms/{of['id']}/snapshots"), COLUMNS, nothing="No snapshots yet.")


@app.command(epilog=examples("facet vm snapshot revert db before-upgrade --project acme/web --yes --wait"))
def revert(
    ctx: typer.Context,
    vm: OfVm,
    name: NameOrId,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Go back to a snapshot. What the VM has written since then is lost."""
    session = Session(ctx, output)
    of = find_vm(session, vm, project)
    snapshot = _find(session, of, name)
    session.confirm(f"Take VM {of['name']} back to {snapshot['name']}?", yes=yes)
    answer = session.api.post(f"snapshots/{snapshot['id']}/revert", {})
    session.finish(answer, "vm", waiting=wait, timeout=timeout, path="vms", columns=VM_COLUMNS)


@app.command(epilog=examples("facet vm snapshot delete db before-upgrade --project acme/web --yes"))
def delete(
    ctx: typer.Context,
    vm: OfVm,
    name: NameOrId,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Delete a snapshot. The VM stays as it is, and so do its other snapshots."""
    session = Session(ctx, output)
    snapshot = _find(session, find_vm(session, vm, project), name)
    session.delete("snapshot", "snapshots", snapshot, yes=yes, waiting=wait, timeout=timeout)
