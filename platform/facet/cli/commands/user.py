"""Users and groups."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import resolve
from ..options import Name, NameOrId, Output, PasswordStdin, Yes, examples, noun
from ..output import Column, Format, local_time
from ..session import Session

app = noun("Users: people.")
groups = noun("Groups: users who get roles together.")
COLUMNS = [
    Column("name", "name"),
    Column("email", "email"),
    Column("state", lambda row: "disabled" if row.get("disabled") else "active", state=True),
    Column("last login", lambda row: local_time(row.get("last_login") or "")),
    Column("id", "id"),
]
GROUPS = [Column("name", "name"), Column("users", "users"), Column("id", "id")]


@app.command(epilog=examples("facet user create ada", "facet user create ada --password-stdin < password"))
def create(
    ctx: typer.Context,
    name: Name,
    password_stdin: PasswordStdin = False,
    email: Annotated[str, typer.Option("--email", help="Where to write to.", show_default=False)] = "",
    output: Output = Format.TABLE,
) -> None:
    """Make a user. A role is given by `facet member add`."""
    session = Session(ctx, output)
    password = session.password(from_stdin=password_stdin, label=f"Password for {name}", twice=True)
    body: dict[str, Any] = {"name": name, "password": password}
    if email:
        body["email"] = email
    session.created(session.api.post("users", body), COLUMNS, "user")


@app.command("list", epilog=examples("facet user list"))
def list_(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All users."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("users"), COLUMNS, nothing="No users.")


@app.command(epilog=examples("facet user disable ada --yes"))
def disable(ctx: typer.Context, name: NameOrId, yes: Yes = False, output: Output = Format.TABLE) -> None:
    """Lock a user out, tokens included."""
    session = Session(ctx, output)
    user = resolve.one(session.api, "user", name)
    session.confirm(f"Disable user {user['name']}?", yes=yes)
    _change(session, user["id"], {"disabled": True}, f"user {user['name']} disabled")


@app.command(epilog=examples("facet user enable ada"))
def enable(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """Let a disabled user in again."""
    session = Session(ctx, output)
    user = resolve.one(session.api, "user", name)
    _change(session, user["id"], {"disabled": False}, f"user {user['name']} enabled")


def _change(session: Session, id: str, changes: dict[str, Any], sentence: str) -> None:
    changed = session.api.patch(f"users/{id}", changes)
    session.printer.done(sentence)
    if not session.printer.for_people:
        session.printer.document(changed)


@groups.command("create", epilog=examples("facet group create devs --user ada --user grace"))
def create_group(
    ctx: typer.Context,
    name: Name,
    user: Annotated[
        list[str] | None, typer.Option("--user", help="A member; may be said again.", show_default=False)
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Make a group."""
    session = Session(ctx, output)
    session.created(session.api.post("groups", {"name": name, "users": user or []}), GROUPS, "group")


@groups.command("list", epilog=examples("facet group list"))
def list_groups(ctx: typer.Context, output: Output = Format.TABLE) -> None:
    """All groups."""
    session = Session(ctx, output)
    session.printer.rows(session.api.items("groups"), GROUPS, nothing="No groups yet.")


@groups.command("delete", epilog=examples("facet group delete devs --yes"))
def delete_group(ctx: typer.Context, name: NameOrId, yes: Yes = False) -> None:
    """Delete a group, and with it the roles that its users had by it."""
    session = Session(ctx)
    group = resolve.one(session.api, "group", name)
    session.confirm(f"Delete group {group['name']}?", yes=yes)
    session.api.delete(f"groups/{group['id']}")
    session.printer.done(f"group {group['name']} deleted")
