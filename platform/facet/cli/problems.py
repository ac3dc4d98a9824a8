"""Refusals and faults as people read them, on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from . import quantities
from .faults import ApiProblem, Fault
from .output import Column, Printer, plain, table

LIMITS = [
    Column("scope", "scope"),
    Column("resource", lambda row: quantities.name_of(str(row.get("resource", "")))),
    Column("zone", "zone"),
    Column("limit", lambda row: _amount(row, "limit"), right=True),
    Column("used", lambda row: _amount(row, "used"), right=True),
    Column("asked", lambda row: _amount(row, "asked"), right=True),
]


RAISES = [
    *LIMITS[:2],
    Column("where", lambda row: row.get("pool") or row.get("zone") or ""),
    Column("more", lambda row: _amount(row, "by"), right=True),
    Column("to", lambda row: _amount(row, "to"), right=True),
]


def explain(printer: Printer, fault: Fault) -> None:
    """Print a fault: the sentence, what the API adds to it, and what to do next."""
    printer.err.print(Text.assemble(("error: ", "bold red"), fault.sentence))
    if isinstance(fault, ApiProblem):
        details(printer, fault.document, said=fault.sentence)
    if fault.hint:
        printer.say(fault.hint, style="dim")
    if isinstance(fault, ApiProblem) and fault.status >= 500 and fault.document.get("request_id"):
        printer.say(f"request {plain(fault.document['request_id'])}", style="dim")


def details(printer: Printer, document: Mapping[str, Any], *, said: str = "") -> None:
    """The limits, the filters' counts, what would fit, who holds it, the fields at fault: whatever is there."""
    _errors(printer, document.get("errors"), said)
    if rows := _rows(document, "limits"):
        printer.err.print(table(rows, LIMITS))
    if rows := _rows(document, "filters") or _rows(document, "reasons"):
        printer.say("Hosts that were ruled out:")
        for row in rows:
            count = row.get("removed", row.get("removed_hosts", ""))
            sentence = row.get("reason") or row.get("sentence") or row.get("name") or row.get("filter")
            printer.say(f"  {plain(count):>6}  {plain(sentence)}")
    if rows := _rows(document, "nearest"):
        printer.say("What would fit:")
        for row in rows:
            printer.say(f"  - {plain(row.get('sentence') or row)}")
            if raises := _rows(_change(row), "raise"):
                printer.err.print(table(raises, RAISES))
    if rows := _rows(document, "holders"):
        printer.say("Without other room:" if any("why" in row for row in rows) else "In use by:")
        for row in rows:
            why = f": {plain(row['why'])}" if row.get("why") else ""
            printer.say(f"  - {plain(row.get('kind'))} {plain(row.get('name') or row.get('id'))}{why}")


def first_cause(problem: Any) -> str:
    """The sentence of an operation's problem."""
    if isinstance(problem, Mapping):
        return plain(problem.get("detail") or problem.get("sentence") or problem.get("title") or problem.get("code"))
    return plain(problem)


def _errors(printer: Printer, errors: Any, said: str) -> None:
    if not isinstance(errors, Mapping):
        return
    for name, sentences in errors.items():
        for sentence in sentences if isinstance(sentences, list) else [sentences]:
            if said != f"{name}: {sentence}":
                printer.say(f"  {plain(name)}: {plain(sentence)}")


def _rows(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = document.get(key)
    rows = found if isinstance(found, list) else []
    return [row if isinstance(row, Mapping) else {"sentence": row} for row in rows]


def _change(row: Mapping[str, Any]) -> Mapping[str, Any]:
    found = row.get("change")
    return found if isinstance(found, Mapping) else {}


def _amount(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if value is None or isinstance(value, int):
        return quantities.shown(str(row.get("resource", "")), value)
    return plain(value)
