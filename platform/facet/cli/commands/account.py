"""login, logout, whoami."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from .. import config
from ..client import LOOPBACK, Client, address_of
from ..config import Context
from ..faults import ApiProblem, Exit, Usage
from ..options import Output, PasswordStdin, examples
from ..output import Column, Format, Printer, Row, plain
from ..session import Session

ROLES = [
    Column("role", "role"),
    Column("tenant", "tenant.name"),
    Column("project", "project.name"),
]


def register(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "facet login --server https://facet.example.org --user ada",
            "facet login --server http://127.0.0.1:8800 --user admin --password-stdin < .facet/admin-password",
            "facet login --server https://facet.example.org --context ci --token-stdin < token",
        )
    )(login)
    app.command(epilog=examples("facet logout"))(logout)
    app.command(epilog=examples("facet whoami", "facet whoami -o json"))(whoami)


def login(
    ctx: typer.Context,
    server: Annotated[
        str, typer.Option("--server", metavar="URL", help="The server's address.", show_default=False)
    ] = "",
    user: Annotated[str, typer.Option("--user", help="Your name; asked for when not said.", show_default=False)] = "",
    password_stdin: PasswordStdin = False,
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Keep the token on stdin instead of a password's.")
    ] = False,
    ca_file: Annotated[
        str, typer.Option("--ca-file", metavar="FILE", help="The CA that signed the server.", show_default=False)
    ] = "",
    context: Annotated[
        str, typer.Option("--context", metavar="NAME", help="Keep it under this name.", show_default=False)
    ] = "",
) -> None:
    """Log in, and keep the token in a context that becomes the current one."""
    session = Session(ctx)
    name = context or session.named or session.config.current or "default"
    old = session.config.contexts.get(name, Context(name=name))
    made = _context(old, server or os.environ.get("FACET_URL", ""), ca_file or os.environ.get("FACET_CA_FILE", ""))
    _warn_of_plain_text(session.printer, made.server)
    if token_stdin:
        made = _with_token(made, sys.stdin.readline().strip())
    else:
        made = _with_password(session, made, user, password_stdin)
    where = config.write(session.config.having(made, current=True), os.environ)
    session.printer.done(f"logged in to {made.server} as {made.user}; context {name} in {where}")


def logout(ctx: typer.Context) -> None:
    """End the current context's token, there and here."""
    session = Session(ctx)
    name = session.named or session.config.current
    kept = session.config.named(name) if name else Context()
    if not kept.token:
        session.printer.say("You are not logged in.", style="dim")
        return
    try:
        with Client(kept) as api:
            api.post("logout")
    except ApiProblem as problem:
        if problem.exit is not Exit.NOT_LOGGED_IN:  # a token that has ended already is what was asked for
            raise
    config.write(session.config.having(replace(kept, token=""), current=False), os.environ)
    session.printer.done(f"logged out of {kept.server}")


def whoami(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """Who you are to the server, and your roles."""
    session = Session(ctx, output)
    me = session.api.get("me")
    if not session.printer.for_people:
        session.printer.document(me)
        return
    row: Row = {**me, "server": session.context.server, "context": session.context.name}
    session.printer.one(row, [Column(key, key) for key in ("name", "kind", "server", "context", "id")])
    if me.get("roles"):
        session.printer.raw("\n")
    session.printer.rows(me.get("roles") or [], ROLES, nothing="No roles yet.")


def _context(old: Context, server: str, ca_file: str) -> Context:
    server = (server or old.server).rstrip("/")
    if not server:
        raise Usage("Which server? Say --server URL.")
    if server != old.server:
        old = replace(old, server=server, token="", ca_file="", tenant="", project="")
    if not ca_file:
        return old
    path = Path(ca_file).expanduser().absolute()
    if not path.is_file():
        raise Usage(f"--ca-file: there is no file {ca_file}.")
    return replace(old, ca_file=str(path))


def _with_password(session: Session, made: Context, user: str, from_stdin: bool) -> Context:
    if not user:
        if from_stdin or not sys.stdin.isatty():
            raise Usage("As whom? Say --user NAME.")
        user = str(typer.prompt("User", err=True))
    password = session.password(from_stdin=from_stdin, label=f"Password of {user}")
    with Client(replace(made, token="")) as api:
        answer = api.post("login", {"username": user, "password": password})
    return replace(made, token=str(answer["token"]), user=plain(answer["user"]))


def _with_token(made: Context, token: str) -> Context:
    if not token:
        raise Usage("--token-stdin: there is nothing on stdin.")
    with Client(replace(made, token=token)) as api:
        return replace(made, token=token, user=plain(api.get("me")))


def _warn_of_plain_text(printer: Printer, server: str) -> None:
    address = address_of(server)
    if address.scheme == "http" and address.hostname not in LOOPBACK:
        printer.warn(f"{server} has no TLS: whoever is on the way reads the password and the token.")
