"""Storage classes: kinds of storage that a zone offers by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import resolve
from ..client import Document
from ..faults import Usage
from ..options import Name, NameOrId, Output, Yes, examples, noun
from ..output import Column, Format
from ..session import Session

app = noun("Storage classes: kinds of storage that a zone offers by name.")
COLUMNS = [Column(key, key) for key in ("name", "zone", "policy", "datastores")]
Zone = Annotated[str, typer.Option("--zone", metavar="NAME", help="The zone.", show_default=False)]
ZoneOfName = Annotated[
    str, typer.Option("--zone", metavar="NAME", help="The zone, unless an id is said.", show_default=False)
]
Datastores = Annotated[
    list[str] | None,
    typer.Option("--datastore", metavar="NAME", help="One of the zone's; may be said again.", show_default=False),
]
Policy = Annotated[
    str,
    typer.Option(
        "--policy", metavar="NAME", help="Or: the zone's datastores that satisfy this policy.", show_default=False
    ),
]


def find(session: Session, name: str, zone: str) -> Document:
    """The storage class of this name in the zone, or of this id."""
    within = "" if resolve.is_id(name) else f"zones/{resolve.one(session.api, 'zone', zone)['id']}/storage-classes"
    return resolve.one(
        session.api, "storage-class", name, within=within, single="storage-classes", where=f"zone {zone}"
    )


def _meant(datastore: list[str] | None, policy: str) -> dict[str, Any]:
    if bool(datastore) == bool(policy):
        raise Usage("What shall it mean? Say either --datastore or --policy.")
    return {"policy": policy} if policy else {"datastores": datastore}


@app.command(
    epilog=examples(
        "facet storage-class create fast --zone az1 --datastore ssd-1 --datastore ssd-2",
        "facet storage-class create gold --zone az1 --policy gold",
    )
)
def create(
    ctx: typer.Context,
    name: Name,
    zone: Zone,
    datastore: Datastores = None,
    policy: Policy = "",
    output: Output = Format.TABLE,
) -> None:
    """Offer storage by a name that teams ask for."""
    session, meant = Session(ctx, output), _meant(datastore, policy)
    where = resolve.one(session.api, "zone", zone)
    made = session.api.post(f"zones/{where['id']}/storage-classes", {"name": name} | meant)
    session.created(made, COLUMNS, "storage class")


@app.command("list", epilog=examples("facet storage-class list --zone az1"))
def list_(ctx: typer.Context, zone: Zone, output: Output = Format.TABLE) -> None:
    """What a zone offers."""
    session = Session(ctx, output)
    where = resolve.one(session.api, "zone", zone)
    rows = session.api.items(f"zones/{where['id']}/storage-classes")
    session.printer.rows(rows, COLUMNS, nothing="No storage classes yet.")


@app.command(epilog=examples("facet storage-class show fast --zone az1"))
def show(ctx: typer.Context, name: NameOrId, zone: ZoneOfName = "", output: Output = Format.TABLE) -> None:
    """One storage class."""
    session = Session(ctx, output)
    session.printer.one(find(session, name, zone), [*COLUMNS, Column("id", "id")])


@app.command(epilog=examples("facet storage-class update fast --zone az1 --datastore ssd-3"))
def update(
    ctx: typer.Context,
    name: NameOrId,
    datastore: Datastores = None,
    policy: Policy = "",
    zone: ZoneOfName = "",
    output: Output = Format.TABLE,
) -> None:
    """Other datastores, or another policy, for disks to come; what lies on a datastore stays there."""
    session, meant = Session(ctx, output), _meant(datastore, policy)
    found = find(session, name, zone)
    changed = session.api.patch(f"storage-classes/{found['id']}", meant)
    session.printer.one(changed, COLUMNS)


@app.command(epilog=examples("facet storage-class delete fast --zone az1 --yes"))
def delete(ctx: typer.Context, name: NameOrId, zone: ZoneOfName = "", yes: Yes = False) -> None:
    """Offer it no more. Refused while something that stands was asked for with it."""
    session = Session(ctx)
    found = find(session, name, zone)
    session.confirm(f"Delete storage class {found['name']}?", yes=yes)
    session.api.delete(f"storage-classes/{found['id']}")
    session.printer.done(f"storage class {found['name']} deleted")
