"""Firewalls: a project's rules, on all of its networks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..faults import Usage
from ..options import Output, Project, Timeout, Wait, Yes, examples, noun
from ..output import Column, Format, Row
from ..session import Session

app = noun("Firewalls: a project's rules, on all of its networks.")
FORM = 'ACTION DIRECTION [PROTOCOL[:FIRST[-LAST]]] [REMOTE], as in "allow in tcp:22 10.0.0.0/8"'


def _ports(row: Row) -> str:
    first_and_last = row.get("ports") or []
    return "-".join(str(port) for port in dict.fromkeys(first_and_last))


COLUMNS = [
    Column("action", "action"),
    Column("direction", "direction"),
    Column("protocol", "protocol"),
    Column("ports", _ports),
    Column("remote", "remote"),
    Column("description", "description"),
]


def rule(text: str) -> dict[str, Any]:
    """`allow in tcp:22 10.0.0.0/8` as the API says it. Raises Usage."""
    words = text.split()
    if len(words) not in (2, 3, 4) or words[0] not in ("allow", "deny") or words[1] not in ("in", "out"):
        raise Usage(f"--rule: {text!r} is not of the form {FORM}.")
    found: dict[str, Any] = {"action": words[0], "direction": words[1]}
    more = words[2:]
    if more and "/" not in more[0]:
        protocol, colon, ports = more.pop(0).partition(":")
        found["protocol"] = protocol
        if colon:
            first, _, last = ports.partition("-")
            if not (first.isdecimal() and (last or first).isdecimal()):
                raise Usage(f"--rule: {text!r}: ports are like 22 or 8000-8999.")
            found["ports"] = [int(first), int(last or first)]
    if len(more) > 1:
        raise Usage(f"--rule: {text!r} is not of the form {FORM}.")
    return found | ({"remote": more[0]} if more else {})


@app.command(epilog=examples("facet firewall show --project acme/web"))
def show(ctx: typer.Context, project: Project = "", output: Output = Format.TABLE) -> None:
    """A project's rules, in order: the first that matches counts, and what none matches passes."""
    session = Session(ctx, output)
    found = session.api.get(f"projects/{session.project(project)['id']}/firewall")
    if session.printer.for_people:
        session.printer.rows(found["rules"], COLUMNS, nothing="No rules: everything passes.")
    else:
        session.printer.document(found)


@app.command(
    "set",
    epilog=examples(
        'facet firewall set --project acme/web --rule "allow in tcp:22 10.0.0.0/8" --rule "deny in" --wait',
        'facet firewall set --project acme/web --rule "deny out udp:53 192.0.2.0/24"',
    ),
)
def set_(
    ctx: typer.Context,
    rules: Annotated[list[str], typer.Option("--rule", metavar="RULE", help=f"{FORM}.", show_default=False)],
    project: Project = "",
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Replace all rules, in this order. Where isolation is stateless-acl, answers must be allowed too."""
    _put(Session(ctx, output), [rule(text) for text in rules], project, wait, timeout)


@app.command(epilog=examples("facet firewall clear --project acme/web --yes --wait"))
def clear(
    ctx: typer.Context,
    project: Project = "",
    yes: Yes = False,
    wait: Wait = False,
    timeout: Timeout = "",
    output: Output = Format.TABLE,
) -> None:
    """Take all rules away: everything passes."""
    session = Session(ctx, output)
    session.confirm("Let everything pass?", yes=yes)
    _put(session, [], project, wait, timeout)


def _put(session: Session, rules: list[dict[str, Any]], project: str, waiting: bool, timeout: str) -> None:
    answer = session.api.put(f"projects/{session.project(project)['id']}/firewall", {"rules": rules})
    session.finish(answer, "firewall", waiting=waiting, timeout=timeout)
