"""Addresses of a project's network: who has which, and those that are kept."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import typer

from .. import resolve
from ..client import Document
from ..faults import NotFound
from ..options import Name, Output, Project, Yes, examples, noun
from ..output import Column, Format, age
from ..session import Session

app = noun("Addresses: what a project's network has given out.")


COLUMNS = [
    Column("address", "address"),
    Column("name", "name"),
    Column("vm", "vm"),
    Column("network", "network"),
    Column("age", lambda row: age(row.get("created_at"))),
]
Network = Annotated[str, typer.Option("--network", metavar="NAME", help="The network, or its id.", show_default=False)]
NetworkOfName = Annotated[
    str, typer.Option("--network", metavar="NAME", help="The network, unless an id is said.", show_default=False)
]
Wanted = Annotated[
    str,
    typer.Option("--address", metavar="ADDRESS", help="This one; else the lowest that is free.", show_default=False),
]
Which = Annotated[str, typer.Argument(metavar="ADDRESS", help="Itself, its name or its id.", show_default=False)]


def _place(session: Session, network: str, project: str) -> str:
    return f"networks/{session.in_project('network', 'networks', network, project)['id']}/addresses"


def find(session: Session, which: str, network: str, project: str) -> Document:
    """The address, by itself or by the name that it is kept under, of this network; or of this id."""
    if resolve.is_id(which):
        return session.api.get(f"addresses/{which}")
    rows = session.api.items(_place(session, network, project))
    found = next((row for row in rows if row.get("name") == which or _same(str(row.get("address")), which)), None)
    if found is None:
        raise NotFound(f"Network {network} has given out no address {which}, or it is not yours.")
    return found


def _same(one: str, other: str) -> bool:
    """However they are written."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False


@app.command("list", epilog=examples("facet address list --network lan --project acme/web"))
def list_(ctx: typer.Context, network: Network, project: Project = "", output: Output = Format.TABLE) -> None:
    """What a network has given out, to cards of VMs and under names."""
    session = Session(ctx, output)
    rows = session.api.items(_place(session, network, project))
    session.printer.rows(rows, COLUMNS, nothing="No addresses yet.")


@app.command(
    epilog=examples(
        "facet address keep api --network lan --project acme/web",
        "facet address keep api --network lan --project acme/web --address 10.0.0.200",
    )
)
def keep(
    ctx: typer.Context,
    name: Name,
    network: Network,
    project: Project = "",
    address: Wanted = "",
    output: Output = Format.TABLE,
) -> None:
    """Keep an address, as a VIP say: no VM is given it."""
    session = Session(ctx, output)
    body = {"name": name} | ({"address": address} if address else {})
    made = session.api.post(_place(session, network, project), body)
    session.created(made, COLUMNS, "address")


@app.command(epilog=examples("facet address drop api --network lan --project acme/web --yes"))
def drop(
    ctx: typer.Context, which: Which, network: NetworkOfName = "", project: Project = "", yes: Yes = False
) -> None:
    """Give back an address that was kept. Refused while the card of a VM has it."""
    session = Session(ctx)
    found = find(session, which, network, project)
    session.confirm(f"Give back {found['address']}, kept as {found['name']}?", yes=yes)
    session.api.delete(f"addresses/{found['id']}")
    session.printer.done(f"address {found['address']} given back")
