"""cluster kubeconfig and cluster token: how kubectl gets in."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from .. import kubeconfig as files
from .. import quantities
from ..client import Document
from ..faults import Usage
from ..options import NameOrId, Project, examples
from ..output import local_time
from ..session import Session
from .cluster import find

ExpiresIn = Annotated[
    str,
    typer.Option("--expires-in", metavar="TIME", help="How long the credential lives, at most 24h.", show_default="1h"),
]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "facet cluster kubeconfig shop --project acme/web > shop.yaml",
            "facet cluster kubeconfig shop --project acme/web --expires-in 8h > shop.yaml",
            "facet cluster kubeconfig shop --project acme/web --merge && kubectl get nodes",
        )
    )(kubeconfig)
    app.command(epilog=examples("facet cluster token shop --project acme/web"))(token)


def kubeconfig(
    ctx: typer.Context,
    name: NameOrId,
    project: Project = "",
    expires_in: ExpiresIn = "",
    exec_: Annotated[
        bool, typer.Option("--exec", help="Write one that renews itself by `facet cluster token`.")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Put that into your own kubeconfig and make it current.")
    ] = False,
) -> None:
    """Print a kubeconfig: YAML on stdout, nothing else."""
    session = Session(ctx)
    cluster, answer = _credential(session, name, project, expires_in)
    if not exec_ and not merge:
        session.printer.say(f"Expires {local_time(answer.get('expires_at'))}.", style="dim")
        session.printer.raw(answer["kubeconfig"].rstrip("\n") + "\n")
        return
    command = files.token_command(str(cluster["id"]), session.context.name, expires_in)
    document = files.renewing(answer, command)
    if merge:
        where = files.merge(document, os.environ)
        session.printer.done(f"context {document['current-context']} in {where}")
    else:
        session.printer.raw(files.text(document))


def token(ctx: typer.Context, name: NameOrId, project: Project = "", expires_in: ExpiresIn = "") -> None:
    """Answer kubectl as its credential plugin (client.authentication.k8s.io/v1)."""
    session = Session(ctx)
    _, answer = _credential(session, name, project, expires_in)
    session.printer.document(files.exec_credential(answer))


def _credential(session: Session, name: str, project: str, expires_in: str) -> tuple[Document, Document]:
    body: dict[str, Any] = {}
    if expires_in:
        body["expires_in_s"] = quantities.duration_s(expires_in, option="--expires-in")
        if body["expires_in_s"] > 24 * 3600:
            raise Usage("--expires-in: at most 24h.")
    cluster = find(session, name, project)
    return cluster, session.api.post(f"clusters/{cluster['id']}/kubeconfig", body)
