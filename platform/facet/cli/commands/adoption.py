"""VMs of a site that become a project's, and are given back; and what is done about VMs that were changed by hand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import resolve
from ..options import NameOrId, Output, Project, Timeout, Wait, Yes, examples
from ..output import Column, Format
from ..session import Session
from .vm import COLUMNS, find

CLAIMS = [
    Column("pool", "pool"),
    Column("vcpu", "vcpu"),
    Column("memory", "memory_mib"),
    Column("disk", "storage_gib"),
    Column("zone", "zone"),
    Column("host", "host"),
    Column("datastore", "datastore"),
]


def register(app: typer.Typer) -> None:
    """Put these beside the other commands of VMs."""
    app.command(
        epilog=examples(
            "facet vm adopt legacy --zone az1 --project acme/web --dry-run",
            "facet vm adopt vm-1042 --zone az1 --project acme/web --name db",
        )
    )(adopt)
    app.command(epilog=examples("facet vm release db --project acme/web --yes"))(release)
    app.command(epilog=examples("facet vm repair db --project acme/web --wait"))(repair)
    app.command("accept-drift", epilog=examples("facet vm accept-drift db --project acme/web"))(accept_drift)


def adopt(
    ctx: typer.Context,
    vm: Annotated[str, typer.Argument(metavar="VM", help="Its name at the site, its ref or its instanceUuid.")],
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help="Where it stands.", show_default=False)],
    project: Project = "",
    name: Annotated[
        str, typer.Option("--name", help="Its name in the project; by default that at the site.", show_default=False)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be claimed, and claim nothing.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Manage a VM that Facet did not make, as it stands. Nothing on it is changed. facet zone unmanaged lists them."""
    session = Session(ctx, output)
    body: dict[str, Any] = {"vm": vm, "project": session.project(project)["id"], "dry_run": dry_run}
    where = resolve.one(session.api, "zone", zone)
    answer = session.api.post(f"zones/{where['id']}/adopt", body | ({"name": name} if name else {}))
    if not session.printer.for_people:
        session.printer.document(answer)
        return
    session.printer.one(answer["claims"], CLAIMS)
    session.printer.done("nothing was claimed" if dry_run else f"vm {answer['vm']['name']} is managed from now on")


def release(
    ctx: typer.Context, name: NameOrId, project: Project = "", yes: Yes = False, output: Output = Format.TABLE
) -> None:
    """Give an adopted VM back: Facet manages it no more. Nothing on it is changed."""
    session = Session(ctx, output)
    vm = find(session, name, project)
    session.confirm(f"Give VM {vm['name']} back? It stays as it is, and Facet manages it no more.", yes=yes)
    answer = session.api.post(f"vms/{vm['id']}/release")
    if session.printer.for_people:
        session.printer.done(f"vm {answer['name']} is managed no more")
    else:
        session.printer.document(answer)


def repair(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Bring a VM's power, size and name back to what was asked for."""
    session = Session(ctx, output)
    vm = find(session, name, project)
    session.act("repair", "vm", "vms", vm, waiting=wait, timeout=timeout, columns=COLUMNS)


def accept_drift(ctx: typer.Context, name: NameOrId, project: Project = "", output: Output = Format.TABLE) -> None:
    """Take over how a VM stands at its site: that is what was asked for from now on."""
    session = Session(ctx, output)
    answer = session.api.post(f"vms/{find(session, name, project)['id']}/accept-drift")
    session.printer.one(answer, COLUMNS)
