"""The frame of every measurement: which suites there are, the shape of a row, the table, and the file.

A suite is a module of this folder with `rows() -> list[dict]`. A row says what was measured and, where somebody else
did the same work in the same call, how much faster or slower that was; an `aim` is judged by the suite (`met`), and
nothing here fails because a machine is slow.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 200  # where no terminal says how wide it is
SUITES = ("vsphere", "ledger", "engine", "clusters", "console")
REQUIRED: dict[str, tuple[type, ...]] = {"name": (str,), "value": (int, float), "unit": (str,)}
OPTIONAL: dict[str, tuple[type, ...]] = {
    "peer": (str,),
    "peer_value": (int, float),
    "ratio": (int, float),
    "aim": (str,),
    "met": (bool,),
}
TOGETHER = (("peer", "peer_value", "ratio"), ("aim", "met"))

Row = dict[str, Any]


def available(folder: Path = Path(__file__).parent) -> list[str]:
    """The suites whose module is here, in their order."""
    return [name for name in SUITES if (folder / f"{name}.py").exists()]


def suite(name: str) -> Callable[[], list[Row]]:
    """The `rows` of one suite."""
    rows: Callable[[], list[Row]] = importlib.import_module(f"tests.bench.{name}").rows
    return rows


def checked(row: Row, suite: str) -> Row:
    """The row, if it has the agreed shape. Raises ValueError naming what is wrong."""
    for key, kinds in REQUIRED.items():
        if key not in row:
            raise ValueError(f"{suite}: a row without {key}: {row}")
        _check(row, key, kinds)
    for key in row.keys() - REQUIRED.keys():
        if key not in OPTIONAL:
            raise ValueError(f"{row['name']}: {key} is no part of a row")
        _check(row, key, OPTIONAL[key])
    if not row["name"].startswith(f"{suite}."):
        raise ValueError(f"{row['name']}: the name begins with the suite's, {suite}")
    for group in TOGETHER:
        there = [key for key in group if key in row]
        if there and len(there) < len(group):
            raise ValueError(f"{row['name']}: {', '.join(group)} stand together")
    return row


def _check(row: Row, key: str, kinds: tuple[type, ...]) -> None:
    value = row[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError(f"{row.get('name')}: {key} is {value!r}")


def run(names: Sequence[str], load: Callable[[str], Callable[[], list[Row]]] = suite) -> list[Row]:
    """The rows of these suites, one suite after the other."""
    return [checked(row, name) for name in names for row in load(name)()]


def shown(rows: Iterable[Row], console: Console | None = None) -> None:
    table = Table("measure", "value", "unit", "peer", "peer's", "ratio", "aim", "met", box=None, pad_edge=False)
    for column in (1, 4, 5):
        table.columns[column].justify = "right"
    for row in rows:
        met = {True: "yes", False: "NO", None: ""}[row.get("met")]
        numbers = [_number(row.get(key)) for key in ("value", "peer_value", "ratio")]
        table.add_row(
            row["name"], numbers[0], row["unit"], row.get("peer", ""), numbers[1], numbers[2], row.get("aim", ""), met
        )
    (console or Console(width=None if sys.stdout.isatty() else WIDTH)).print(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def write(rows: Sequence[Row], home: Path) -> Path:
    """bench/latest.json below `home`, whole or not at all."""
    folder = home / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"latest.json.{os.getpid()}"
    draft.write_text(json.dumps(rows, indent=1) + "\n")
    return draft.replace(folder / "latest.json")
