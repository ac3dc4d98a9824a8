"""What is asked of a VM that stands: its power, its size, its console."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import quantities
from ..client import Document
from ..faults import Usage
from ..options import NameOrId, Output, Project, Timeout, Wait, examples
from ..output import Format
from ..session import Session
from .vm import COLUMNS, find

SIZE = ("vcpu", "memory", "storage")

Within = Annotated[
    str,
    typer.Option("--within", metavar="TIME", help="How long its guest may take; 2m by default.", show_default=False),
]
Hard = Annotated[bool, typer.Option("--hard", help="Power it off at once; its guest is not asked.")]
Flavor = Annotated[str, typer.Option("--flavor", help="The shape that it shall have.", show_default=False)]
Size = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="AMOUNTS",
        help="What shall differ, as in vcpu=4,memory=8GiB,storage=40GiB.",
        show_default=False,
    ),
]
MayStop = Annotated[bool, typer.Option("--may-stop", help="It may be stopped where this size needs it off.")]


def register(app: typer.Typer) -> None:
    """The commands of the noun `vm` that change one."""
    app.command(epilog=examples("facet vm start db --project acme/web --wait"))(start)
    app.command(epilog=examples("facet vm stop db --project acme/web --within 5m --wait", "facet vm stop db --hard"))(
        stop
    )
    app.command(epilog=examples("facet vm restart db --project acme/web --wait"))(restart)
    app.command(
        epilog=examples(
            "facet vm resize db --project acme/web --flavor medium --wait",
            "facet vm resize db --size vcpu=4,memory=8GiB --may-stop --wait",
        )
    )(resize)
    app.command(epilog=examples("facet vm console db --project acme/web"))(console)


def start(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Power a VM on."""
    _act(Session(ctx, output), "start", name, project, {}, wait, timeout)


def stop(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    within: Within = "",
    hard: Hard = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Ask a VM's guest to shut down, and power it off where that takes too long."""
    _act(Session(ctx, output), "stop", name, project, _patience(within, hard), wait, timeout)


def restart(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    within: Within = "",
    hard: Hard = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Stop a VM, its guest first, and power it on again."""
    _act(Session(ctx, output), "restart", name, project, _patience(within, hard), wait, timeout)


def resize(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    flavor: Flavor = "",
    size: Size = "",
    may_stop: MayStop = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Give a VM another size. A disk grows only; what does not fit is refused at once."""
    if bool(flavor) == bool(size):
        raise Usage("Say either --flavor NAME or --size AMOUNTS.")
    body: dict[str, Any] = {"flavor": flavor} if flavor else _size(size)
    _act(Session(ctx, output), "resize", name, project, body | {"may_stop": may_stop}, wait, timeout)


def console(ctx: typer.Context, name: NameOrId, project: Project = "") -> None:
    """What a VM's guest has written onto its console, where its layer keeps that."""
    session = Session(ctx)
    vm = find(session, name, project)
    typer.echo(session.api.get(f"vms/{vm['id']}/console")["text"], nl=False)


def _act(session: Session, verb: str, name: str, project: str, body: Document, wait: bool, timeout: str) -> None:
    vm = find(session, name, project)
    session.act(verb, "vm", "vms", vm, body, waiting=wait, timeout=timeout, columns=COLUMNS)


def _patience(within: str, hard: bool) -> dict[str, int]:
    if within and hard:
        raise Usage("Say either --within TIME or --hard.")
    if hard:
        return {"within_s": 0}
    return {"within_s": quantities.duration_s(within, option="--within")} if within else {}


def _size(text: str) -> dict[str, int]:
    found = quantities.amounts(text, option="--size", allowed=SIZE)
    unlimited = [key for key, value in found.items() if value is None]
    if unlimited:
        raise Usage("--size: every part of a size is an amount.")
    return {"disk_gib" if key == "storage_gib" else key: value for key, value in found.items() if value is not None}
