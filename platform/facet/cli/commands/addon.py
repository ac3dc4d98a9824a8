"""Add-ons: manifests that Facet applies to clusters."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import resolve
from ..faults import Usage
from ..options import Name, NameOrId, Output, Yes, examples, noun
from ..output import Column, Format
from ..session import Session

app = noun("Add-ons: manifests for clusters, imported by IT; a cluster needs one of kind cni.")
COLUMNS = [
    Column("name", "name"),
    Column("kind", "kind"),
    Column("version", "version"),
    Column("sha256", lambda row: str(row.get("sha256") or "")[:12]),
    Column("images", "images"),
]


class Kind(StrEnum):
    CNI = "cni"
    CPI = "cpi"
    CSI = "csi"
    OTHER = "other"


@app.command("import", epilog=examples("facet addon import calico --kind cni --version v3.30 --file calico.yaml"))
def import_(
    ctx: typer.Context,
    name: Name,
    kind: Annotated[Kind, typer.Option("--kind", help="What it is for.", show_default=False)],
    version: Annotated[str, typer.Option("--version", help="Its version.", show_default=False)],
    file: Annotated[
        str, typer.Option("--file", metavar="FILE", help="The manifest; - reads stdin.", show_default=False)
    ],
    image: Annotated[
        list[str] | None, typer.Option("--image", help="An image that it pulls; may be said again.", show_default=False)
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Import a manifest from a file."""
    try:
        manifest = sys.stdin.read() if file == "-" else Path(file).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Usage(f"--file: {file} cannot be read: {error}") from None
    session = Session(ctx, output)
    body: dict[str, Any] = {"name": name, "kind": kind.value, "version": version, "manifest": manifest}
    if image:
        body["images"] = image
    session.created(session.api.post("addons", body), COLUMNS, "add-on")


@app.command("list", epilog=examples("facet addon list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All add-ons."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("addons"), COLUMNS, nothing="No add-ons yet.")


@app.command(epilog=examples("facet addon delete calico --yes"))
def delete(ctx: typer.Context, name: NameOrId, yes: Yes = False) -> None:
    """Take an add-on out of the catalogue. Clusters that have it keep it."""
    session = Session(ctx)
    addon = resolve.one(session.api, "addon", name)
    session.confirm(f"Delete add-on {addon['name']} {addon.get('version', '')}?", yes=yes)
    session.api.delete(f"addons/{addon['id']}")
    session.printer.done(f"add-on {addon['name']} deleted")
