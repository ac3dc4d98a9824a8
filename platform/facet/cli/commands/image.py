"""Images: templates published for a framework and version."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import resolve
from ..options import Name, NameOrId, Output, Yes, examples, noun
from ..output import Column, Format, plain
from ..session import Session

app = noun("Images: a site's templates, published for a framework and a version.")
COLUMNS = [Column(key, key) for key in ("name", "site", "template", "framework", "version")]


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


@app.command(epilog=examples("facet image delete kube-v1.33 --yes"))
def delete(ctx: typer.Context, name: NameOrId, yes: Yes = False) -> None:
    """Take an image out of the catalogue. Clusters made of it live on."""
    session = Session(ctx)
    image = resolve.one(session.api, "image", name)
    session.confirm(f"Delete image {image['name']}?", yes=yes)
    session.api.delete(f"images/{image['id']}")
    session.printer.done(f"image {image['name']} deleted")
