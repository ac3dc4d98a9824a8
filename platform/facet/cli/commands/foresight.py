"""zone capacity and zone what-if: what there is, what would fit, and what would happen."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import quantities, resolve
from ..client import Document
from ..faults import Exit, Fault, Usage
from ..options import NameOrId, Output, examples
from ..output import Column, Format, Row, plain
from ..session import Session


def _amount(key: str) -> Column:
    return Column(key.replace("_", " "), lambda row: quantities.shown(row["resource"], row.get(key)), right=True)


RESOURCES = [
    Column("resource", lambda row: quantities.name_of(row["resource"])),
    *(_amount(key) for key in ("capacity", "limit", "guaranteed", "claimed", "unmanaged", "free")),
]
FLAVORS = [Column("flavor", "flavor"), Column("how many fit", lambda row: f"{row['count']:,}", right=True)]
MOVES = [Column(key, key) for key in ("vm", "project", "from", "to", "zone")]
UNPLACED = [Column("vm", "vm"), Column("project", "project"), Column("from", "from"), Column("why", "sentence")]


def register(app: typer.Typer) -> None:
    app.command(epilog=examples("facet zone capacity az1", "facet zone capacity az1 -o json"))(capacity)
    app.command(
        "what-if",
        epilog=examples(
            "facet zone what-if az1 --drain-host esx-07 --drain-host esx-08",
            "facet zone what-if az1 --lose",
            "facet zone what-if az1 --add-hosts 4 --like esx-01",
            "facet zone what-if az1 --replay-days 30 --add-hosts 4 --like esx-01",
        ),
    )(what_if)


def capacity(ctx: typer.Context, name: NameOrId, output: Output = Format.TABLE) -> None:
    """Say what a zone has, promises and could still take, and when it will be full."""
    session = Session(ctx, output)
    zone = resolve.one(session.api, "zone", name)
    found = session.api.get(f"zones/{zone['id']}/capacity")
    if not session.printer.for_people:
        session.printer.document(found)
        return
    session.printer.rows(found["items"], RESOURCES, nothing="")
    session.printer.out.print("")
    session.printer.rows(found["flavors"], FLAVORS, nothing="There are no flavors.")
    shares = ", ".join(f"{quantities.name_of(key)} {share:.0%}" for key, share in found["fragmentation"].items())
    session.printer.say(f"Of the free room the largest that fits could not use: {shares}.")
    for row in found["forecast"]:
        session.printer.say(_forecast(row))


def _forecast(row: Row) -> str:
    what = quantities.name_of(row["resource"])
    when = "does not grow" if row["days_to_full"] is None else f"full in {row['days_to_full']:g} days"
    missed = row["back_test"]["error_share"]
    return f"{what}: {when} (by {row['history_days']:g} days of history; the rule has missed by {missed or 0:.1%})."


def what_if(
    ctx: typer.Context,
    name: NameOrId,
    drain_host: Annotated[
        list[str] | None,
        typer.Option("--drain-host", metavar="NAME", help="Empty this host; may be said again.", show_default=False),
    ] = None,
    drain: Annotated[bool, typer.Option("--drain", help="Empty the zone into the others.")] = False,
    lose: Annotated[bool, typer.Option("--lose", help="Lose the zone at once.")] = False,
    replay_days: Annotated[
        int, typer.Option("--replay-days", min=0, max=366, help="Let the last so many days come again.")
    ] = 0,
    add_hosts: Annotated[int, typer.Option("--add-hosts", min=0, max=1000, help="With so many more hosts.")] = 0,
    like: Annotated[
        str, typer.Option("--like", metavar="HOST", help="They are as this one is.", show_default=False)
    ] = "",
    output: Output = Format.TABLE,
) -> None:
    """Say what would happen, touching nothing; exit code 6 when not all would fit."""
    session = Session(ctx, output)
    body = _asked(drain_host or [], drain, lose, replay_days, add_hosts, like)
    zone = resolve.one(session.api, "zone", name)
    found = session.api.post(f"zones/{zone['id']}/what-if", body)
    if session.printer.for_people:
        _show(session, found)
    else:
        session.printer.document(found)
    if not found["fits"]:
        raise Fault("Not all would fit.", exit=Exit.REFUSED)


def _asked(hosts: list[str], drain: bool, lose: bool, days: int, count: int, like: str) -> Document:
    """The request's body. Raises Usage unless one thing is asked."""
    more: Document = {"count": count, "like": like} if count else {}
    asked: list[Document] = []
    if hosts:
        asked.append({"kind": "drain_hosts", "hosts": hosts})
    if drain:
        asked.append({"kind": "drain_zone"})
    if lose:
        asked.append({"kind": "lose_zone"})
    if days:
        asked.append({"kind": "replay", "days": days, **more})
    elif count:
        asked.append({"kind": "add_hosts", **more})
    if len(asked) != 1:
        raise Usage("What if? Say one of --drain-host, --drain, --lose, --add-hosts and --replay-days.")
    if count and not like:
        raise Usage("Hosts of which shape? Say --like HOST.")
    return asked[0]


def _show(session: Session, found: Document) -> None:
    printer = session.printer
    printer.out.print(plain(found["sentence"]))
    if found["moves"]:
        printer.rows(found["moves"], MOVES, nothing="")
    if found["unplaced"]:
        printer.say("These would find no room:")
        printer.rows(found["unplaced"], UNPLACED, nothing="")
    for row in found["guarantees"]:
        lacking = ", ".join(f"{quantities.name_of(key)} {quantities.shown(key, row[key])}" for key in _LACKING)
        printer.say(f"The guarantee of pool {plain(row['pool'])} of {plain(row['tenant'])} would lack {lacking}.")
    before = {row["flavor"]: row["count"] for row in found["before"]["flavors"]}
    rows: list[dict[str, Any]] = [row | {"before": before[row["flavor"]]} for row in found["after"]["flavors"]]
    printer.rows(
        rows, [FLAVORS[0], Column("before", "before", right=True), Column("after", "count", right=True)], nothing=""
    )


_LACKING = ("vcpu", "memory_mib")
