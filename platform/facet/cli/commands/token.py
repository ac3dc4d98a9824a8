"""Tokens: one's own, and service accounts'."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import quantities, resolve
from ..faults import NotFound, Usage
from ..options import Output, Yes, examples, noun
from ..output import Column, Format, age, local_time
from ..session import Session

app = noun("Tokens: what programs log in with.")
COLUMNS = [
    Column("name", "name"),
    Column("expires", lambda row: local_time(row.get("expires_at") or "")),
    Column("last used", lambda row: age(row.get("last_used_at"))),
    Column("age", lambda row: age(row.get("created_at"))),
    Column("id", "id"),
]
Account = Annotated[
    str,
    typer.Option(
        "--service-account",
        metavar="TENANT/PROJECT/NAME",
        help="Of this service account; else your own.",
        show_default=False,
    ),
]


@app.command(
    epilog=examples(
        "facet token create --service-account acme/web/ci",
        "FACET_TOKEN=$(facet token create --service-account acme/web/ci) facet whoami",
        "facet token create --name laptop --expires-in 7d",
    )
)
def create(
    ctx: typer.Context,
    service_account: Account = "",
    name: Annotated[str, typer.Option("--name", help="What it is for.", show_default=False)] = "",
    expires_in: Annotated[
        str, typer.Option("--expires-in", metavar="TIME", help="How long it lives (12h, 30d).", show_default=False)
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Make a token. It is shown this once, alone on stdout."""
    body: dict[str, Any] = {}
    if name:
        body["name"] = name
    if expires_in:
        body["expires_in_s"] = quantities.duration_s(expires_in, option="--expires-in")
    session = Session(ctx, output)
    token = session.api.post(_path(session, service_account), body)
    if session.printer.for_people:
        session.printer.say(f"Expires {local_time(token.get('expires_at'))}. It is not shown again.", style="dim")
        session.printer.raw(f"{token['token']}\n")
    else:
        session.printer.document(token)


@app.command("list", epilog=examples("facet token list", "facet token list --service-account acme/web/ci"))
def list_(ctx: typer.Context, service_account: Account = "", output: Output = Format.TABLE) -> None:
    """Your tokens, or a service account's; never the secrets."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items(_path(session, service_account)), COLUMNS, nothing="No tokens.")


@app.command(
    epilog=examples("facet token delete 0190a0de-0000-7000-8000-000000000001 --yes", "facet token delete laptop --yes")
)
def delete(
    ctx: typer.Context,
    token: Annotated[str, typer.Argument(metavar="NAME", help="Its name or id.", show_default=False)],
    service_account: Account = "",
    yes: Yes = False,
) -> None:
    """End a token at once."""
    session = Session(ctx)
    id = token
    if not resolve.is_id(token):
        found = [row for row in session.api.items(_path(session, service_account)) if row.get("name") == token]
        if not found:
            raise NotFound(f"There is no token {token}.")
        if len(found) > 1:
            raise Usage(f"{len(found)} tokens are called {token}.", hint="Say the id: facet token list")
        id = str(found[0]["id"])
    session.confirm(f"End token {token}?", yes=yes)
    session.api.delete(f"tokens/{id}")
    session.printer.done(f"token {token} ended")


def _path(session: Session, account: str) -> str:
    if not account:
        return "tokens"
    return f"service-accounts/{resolve.service_account(session.api, account, session.context)['id']}/tokens"
