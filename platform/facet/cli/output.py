"""Data on stdout, as a table, JSON or YAML; everything said to people on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, TextIO

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]
WIDE = 100_000  # a pipe has no edge: nothing is cut or wrapped

_STYLES = {
    "ready": "green",
    "active": "green",
    "succeeded": "green",
    "running": "cyan",
    "up": "green",
    "yes": "green",
    "failed": "bold red",
    "down": "red",
    "no": "red",
    "cancelled": "dim",
    "disabled": "dim",
    "deleted": "dim",
}
_MOVING = "yellow"  # pending, building, deleting, draining ...


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


@dataclass(frozen=True)
class Column:
    """`look` is a dotted path into the row, or a function of it."""

    title: str
    look: str | Callable[[Row], Any]
    state: bool = False
    right: bool = False

    def of(self, row: Row) -> Text:
        found = self.look(row) if callable(self.look) else dig(row, self.look)
        text = plain(found)
        style = _STYLES.get(text, _MOVING if text not in ("", "-") else "") if self.state else ""
        return Text(text or "-", style=style or ("dim" if not text else ""))


def dig(row: Any, path: str) -> Any:
    """`dig({"a": {"b": 1}}, "a.b")` is 1; None where the way ends."""
    for step in path.split("."):
        if not isinstance(row, Mapping):
            return None
        row = row.get(step)
    return row


def plain(value: Any) -> str:
    """A value as one cell of a table, free of control characters (what others named must not move our cursor)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        text = str(value.get("name") or value.get("sentence") or ",".join(f"{k}={plain(v)}" for k, v in value.items()))
    elif isinstance(value, list | tuple):
        text = ",".join(plain(item) for item in value)
    else:
        text = str(value)
    return "".join(letter if letter.isprintable() else " " for letter in text)


def age(stamp: Any) -> str:
    """An ISO time as how long ago it was: 42s, 7m, 3h, 12d."""
    try:
        then = datetime.fromisoformat(str(stamp))
    except ValueError:
        return ""
    seconds = int((datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length or (unit == "d" and seconds >= length):
            return f"{seconds // length}{unit}"
    return f"{max(seconds, 0)}s"


def local_time(stamp: Any) -> str:
    """An ISO time on this machine's clock, to the second."""
    try:
        return datetime.fromisoformat(str(stamp)).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return plain(stamp)


class Printer:
    """What a command says, and where."""

    def __init__(self, format: Format = Format.TABLE) -> None:
        self.format = format
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    @property
    def for_people(self) -> bool:
        return self.format is Format.TABLE

    def rows(self, rows: Iterable[Row], columns: Sequence[Column], *, nothing: str) -> None:
        """A list: a table, or the API's own form `{"items": [...]}`."""
        found = list(rows)
        if not self.for_people:
            self.document({"items": found})
        elif not found:
            self.say(nothing, style="dim")
        else:
            self.out.print(table(found, columns))

    def one(self, row: Row, columns: Sequence[Column]) -> None:
        """One object: its fields below each other."""
        if not self.for_people:
            self.document(row)
            return
        grid = Table.grid(padding=(0, 3))
        for column in columns:
            grid.add_row(Text(column.title.capitalize(), style="dim"), column.of(row))
        self.out.print(grid)

    def document(self, document: Any) -> None:
        if self.format is Format.YAML:
            text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        else:
            text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        self.raw(text)

    def raw(self, text: str) -> None:
        """Exactly this on stdout."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def say(self, text: str, *, style: str = "") -> None:
        """A sentence to the person, on stderr."""
        self.err.print(Text(text, style=style))

    def done(self, text: str) -> None:
        self.err.print(Text.assemble(("✓ ", "green"), text))

    def warn(self, text: str) -> None:
        self.err.print(Text.assemble(("warning: ", "yellow"), text))


def table(rows: Iterable[Row], columns: Sequence[Column]) -> Table:
    """Columns under bold titles, no lines: as kubectl's, with colour for states alone."""
    made = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold", show_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.right else "left"
        made.add_column(column.title.upper(), justify=justify, overflow="fold")
    for row in rows:
        made.add_row(*(column.of(row) for column in columns))
    return made


def _console(file: TextIO) -> Console:
    """Colour for terminals alone; NO_COLOR is honoured by rich. Encodings that cannot say a letter replace it."""
    if hasattr(file, "reconfigure"):
        file.reconfigure(errors="replace")
    on_terminal = file.isatty()
    width = None if on_terminal else int(os.environ.get("COLUMNS") or 0) or WIDE
    return Console(
        file=file, width=width, highlight=False, soft_wrap=False, markup=False, emoji=False,
        force_terminal=on_terminal, no_color=None if on_terminal else True,
    )  # fmt: skip
