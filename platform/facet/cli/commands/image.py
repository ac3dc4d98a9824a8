"""Images: templates published for a framework and version."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import resolve
from ..options import Name, NameOrId, Output, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, plain
from ..session import Session

app = noun("Images: a site's templates, published for a framework and a version.")
COLUMNS = [Column(key, key) for key in ("name", "site", "template", "framework", "version")]
REPLICA_COLUMNS = [
    Column("zone", "zone"),
    Column("phase", "phase", state=True),
    Column("datastore", "datastore"),
    Column("reason", "reason"),
]


@app.command(
    epilog=examples(
        "facet image add kube-v1.34 --site dc1 --template ubuntu-kube --framework kubernetes --version v1.34.2"
    )
)
def add(
    ctx: typer.Context,
    name: Name,
    site: Annotated[
        str, typer.Option("--site", metavar="NAME", help="The site that has the template.", show_default=False)
    ],
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help="The template's name there.", show_default=False)
    ],
    version: Annotated[
        str, typer.Option("--version", help="The framework's version in it, as in v1.34.2.", show_default=False)
    ],
    framework: Annotated[str, typer.Option("--framework", help="What it is made for.")] = "kubernetes",
    output: Output = Format.TABLE,
) -> None:
    """Publish a template."""
    session = Session(ctx, output)
    body = {"name": name, "site": site, "template": template, "framework": framework, "version": version}
    image = session.api.post("images", body)
    for warning in image.get("warnings") or []:
        session.printer.warn(plain(warning))
    session.created(image, COLUMNS, "image")


@app.command("list", epilog=examples("facet image list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All images."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("images"), COLUMNS, nothing="No images yet.")


@app.command(epilog=examples("facet image replicate kube-v1.34 --zone az2 --wait"))
def replicate(
    ctx: typer.Context,
    name: NameOrId,
    zone: Annotated[str, typer.Option("--zone", metavar="NAME", help="The zone that lacks it.", show_default=False)],
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Copy an image to a zone whose hosts do not reach its template; one that failed is tried again."""
    session = Session(ctx, output)
    image = resolve.one(session.api, "image", name)
    answer = session.api.post(f"images/{image['id']}/replicas", {"zone": zone})
    session.finish(answer, "replica", waiting=wait, timeout=timeout, path="image-replicas", columns=REPLICA_COLUMNS)


@app.command(epilog=examples("facet image replicas kube-v1.34"))
def replicas(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """The copies of an image; Facet makes one for every zone that lacks it."""
    session = Session(ctx, output)
    image = resolve.one(session.api, "image", name)
    session.printer.rows(session.api.items(f"images/{image['id']}/replicas"), REPLICA_COLUMNS, nothing="No copies.")


@app.command(epilog=examples("facet image delete kube-v1.33 --yes"))
def delete(ctx: typer.Context, name: NameOrId, yes: Yes = False) -> None:
    """Take an image out of the catalogue. Clusters made of it live on."""
    session = Session(ctx)
    image = resolve.one(session.api, "image", name)
    session.confirm(f"Delete image {image['name']}?", yes=yes)
    session.api.delete(f"images/{image['id']}")
    session.printer.done(f"image {image['name']} deleted")
