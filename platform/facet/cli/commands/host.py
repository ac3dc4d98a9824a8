"""Hosts: closed to new work, opened, emptied."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import quantities, resolve
from ..client import Document
from ..faults import Usage
from ..options import NameOrId, Output, Timeout, Wait, examples, noun
from ..output import Column, Format, Row
from ..session import Session

app = noun("Hosts: which take new work, and which are emptied for maintenance.")


def _claimed(row: Row) -> str:
    return f"{row.get('vcpu_claimed') or 0}/{row.get('vcpu_limit') or 0}"


COLUMNS = [
    Column("name", "name"),
    Column("state", "state", state=True),
    Column("cordoned", "cordoned"),
    Column("zone", "zone"),
    Column("vcpu claimed", _claimed, right=True),
    Column("memory claimed", lambda row: quantities.shown("memory_mib", row["memory_claimed_mib"]), right=True),
]
DRAIN = [
    Column("zone", "zone"),
    Column("host", lambda row: row.get("host") or "all"),
    Column("phase", "phase", state=True),
    Column("left", "left", right=True),
    Column("of", "total", right=True),
    Column("reason", "reason"),
]
SiteName = Annotated[
    str, typer.Option("--site", metavar="NAME", help="Its site; not needed where there is one.", show_default=False)
]


def _site(session: Session, name: str) -> Document:
    if name:
        return resolve.one(session.api, "site", name)
    found = list(session.api.items("sites"))
    if len(found) != 1:
        raise Usage("Which site? Say --site NAME.")
    return found[0]


def _host(session: Session, name: str, site: str) -> Document:
    if resolve.is_id(name):
        return session.api.get(f"hosts/{name}")
    at = _site(session, site)
    return resolve.one(session.api, "host", name, within=f"sites/{at['id']}/hosts", where=at["name"])


@app.command("list", epilog=examples("facet host list --site dc1", "facet host list --site dc1 --zone az1"))
def list_(
    ctx: typer.Context,
    site: SiteName = "",
    zone: Annotated[str, typer.Option("--zone", help="Of this zone alone.", show_default=False)] = "",
    output: Output = Format.TABLE,
) -> None:
    """A site's hosts, and which of them take new work."""
    session = Session(ctx, output)
    rows = session.api.items(f"sites/{_site(session, site)['id']}/hosts", zone=zone or None)
    session.printer.rows(rows, COLUMNS, nothing="No hosts.")


@app.command(epilog=examples("facet host cordon host-1.example.org --site dc1"))
def cordon(ctx: typer.Context, name: NameOrId, site: SiteName = "", output: Output = Format.TABLE) -> None:
    """Close a host to new work. What stands there stays."""
    _set(Session(ctx, output), name, site, "cordon")


@app.command(epilog=examples("facet host uncordon host-1.example.org --site dc1"))
def uncordon(ctx: typer.Context, name: NameOrId, site: SiteName = "", output: Output = Format.TABLE) -> None:
    """Let a host take new work again."""
    _set(Session(ctx, output), name, site, "uncordon")


def _set(session: Session, name: str, site: str, verb: str) -> None:
    answer = session.api.post(f"hosts/{_host(session, name, site)['id']}/{verb}")
    if not session.printer.for_people:
        session.printer.document(answer)
        return
    session.printer.done(f"host {answer['name']} {verb}ed")


@app.command(epilog=examples("facet host drain host-1.example.org --site dc1 --wait"))
def drain(
    ctx: typer.Context,
    name: NameOrId,
    site: SiteName = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Close a host and move all of its VMs live; refused, naming who, unless all of them fit elsewhere."""
    session = Session(ctx, output)
    answer = session.api.post(f"hosts/{_host(session, name, site)['id']}/drain")
    session.finish(answer, "drain", waiting=wait, timeout=timeout, path="drains", columns=DRAIN)
