"""Volumes: disks of a project that outlive the VMs that have them."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import quantities
from ..client import Document
from ..faults import Usage
from ..options import Name, NameOrId, Output, Project, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, age
from ..session import Session

app = noun("Volumes: disks that outlive the VMs that have them.")


COLUMNS = [
    Column("name", "name"),
    Column("phase", "phase", state=True),
    Column("size", lambda row: quantities.shown("storage_gib", row.get("size_gib"))),
    Column("vm", "vm"),
    Column("zone", "zone"),
    Column("class", "storage_class"),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("reason", "reason"),
]
SNAPSHOT_COLUMNS = [
    Column("name", "name"),
    Column("phase", "phase", state=True),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("reason", "reason"),
]
Zone = Annotated[str, typer.Option("--zone", metavar="NAME", help="Where it lies.", show_default=False)]
Size = Annotated[str, typer.Option("--size", metavar="SIZE", help="As in 20GiB.", show_default=False)]
Class = Annotated[
    str, typer.Option("--storage-class", metavar="NAME", help="Of the zone; any by default.", show_default=False)
]
OfVm = Annotated[str, typer.Option("--vm", metavar="NAME", help="The VM, or its id.", show_default=False)]


def find(session: Session, name: str, project: str) -> Document:
    """The volume of this name in the project, or of this id."""
    return session.in_project("volume", "volumes", name, project)


def _gib(size: str) -> int:
    gib = quantities.amounts(f"storage={size}", option="--size", allowed=("storage",))["storage_gib"]
    if gib is None:
        raise Usage("--size: a volume has a size, as in 20GiB.")
    return gib


@app.command(
    epilog=examples(
        "facet volume create data --project acme/web --zone az1 --size 20GiB --wait",
        "facet volume create data --project acme/web --zone az1 --size 20GiB --storage-class fast",
    )
)
def create(
    ctx: typer.Context,
    name: Name,
    zone: Zone,
    size: Size,
    project: Project = "",
    storage_class: Class = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Ask for a volume."""
    session = Session(ctx, output)
    body = {"name": name, "zone": zone, "size_gib": _gib(size), "storage_class": storage_class}
    answer = session.api.post(f"projects/{session.project(project)['id']}/volumes", body)
    session.finish(answer, "volume", waiting=wait, timeout=timeout, path="volumes", columns=COLUMNS)


@app.command("list", epilog=examples("facet volume list --project acme/web"))
def list_(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """A project's volumes."""
    session = Session(ctx, output)
    owner = session.project(project)
    session.printer.rows(session.api.items(f"projects/{owner['id']}/volumes"), COLUMNS, nothing="No volumes yet.")


@app.command(epilog=examples("facet volume show data --project acme/web"))
def show(ctx: typer.Context, name: NameOrId, project: Project = "", output: Output = Format.TABLE) -> None:
    """One volume."""
    session = Session(ctx, output)
    session.printer.one(find(session, name, project), COLUMNS)


@app.command(epilog=examples("facet volume attach data --vm db --project acme/web --wait"))
def attach(
    ctx: typer.Context,
    name: NameOrId,
    vm: OfVm,
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give a volume to a VM, running or not. Refused while another has it."""
    _act(Session(ctx, output), "attach", name, project, {"vm": vm}, wait, timeout)


@app.command(epilog=examples("facet volume detach data --project acme/web --wait"))
def detach(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Take a volume from its VM. Its guest should have let go of it first."""
    _act(Session(ctx, output), "detach", name, project, {}, wait, timeout)


def _act(session: Session, verb: str, name: str, project: str, body: Document, wait: bool, timeout: str) -> None:
    volume = find(session, name, project)
    session.act(verb, "volume", "volumes", volume, body, waiting=wait, timeout=timeout, columns=COLUMNS)


@app.command(epilog=examples("facet volume grow data --size 40GiB --project acme/web --wait"))
def grow(
    ctx: typer.Context,
    name: NameOrId,
    size: Size,
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give a volume a larger size, attached or not."""
    session = Session(ctx, output)
    volume = find(session, name, project)
    answer = session.api.patch(f"volumes/{volume['id']}", {"size_gib": _gib(size)})
    session.finish(answer, "volume", waiting=wait, timeout=timeout, path="volumes", columns=COLUMNS)


@app.command(epilog=examples("facet volume snapshot data before-upgrade --project acme/web --wait"))
def snapshot(
    ctx: typer.Context,
    volume: Annotated[str, typer.Argument(metavar="VOLUME", help="Its name or id.", show_default=False)],
    name: Name,
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Take a snapshot of a volume, where its layer takes any."""
    session = Session(ctx, output)
    answer = session.api.post(f"volumes/{find(session, volume, project)['id']}/snapshots", {"name": name})
    session.finish(
        answer, "volume_snapshot", waiting=wait, timeout=timeout, path="volume-snapshots", columns=SNAPSHOT_COLUMNS
    )


@app.command(epilog=examples("facet volume delete data --project acme/web --yes"))
def delete(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Delete a volume with all that is on it. Refused while a VM has it."""
    session = Session(ctx, output)
    session.delete("volume", "volumes", find(session, name, project), yes=yes, waiting=wait, timeout=timeout)
