"""The file of a simulated datacenter: SQLite in WAL mode, so what was committed is there after kill -9."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

from .records import KINDS

T = TypeVar("T")
SQL_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL", "str": "TEXT"}


class _Table:
    """One kind of record as a table; what is not a plain value is kept as JSON."""

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.name = f"{kind.__name__.lower()}s"
        self._fields: tuple[Field[Any], ...] = fields(kind)
        columns = [f"{one.name} {SQL_TYPES.get(str(one.type), 'TEXT')} NOT NULL" for one in self._fields]
        self.create = f"CREATE TABLE IF NOT EXISTS {self.name} ({', '.join(columns)}, PRIMARY KEY (ref)) WITHOUT ROWID"
        names = ", ".join(one.name for one in self._fields)
        self.save = f"INSERT OR REPLACE INTO {self.name} ({names}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 our names
        self.remove = f"DELETE FROM {self.name} WHERE ref = ?"  # noqa: S608 our names
        self.load = f"SELECT {', '.join(one.name for one in self._fields)} FROM {self.name}"  # noqa: S608 our names

    def add_columns(self, known: set[str]) -> list[str]:
        """What brings a file of an older simulator to these columns: each with its record's own default."""
        new = [one for one in self._fields if one.name not in known]
        return [
            f"ALTER TABLE {self.name} ADD COLUMN {one.name} {SQL_TYPES.get(str(one.type), 'TEXT')} NOT NULL "
            f"DEFAULT {_literal(one)}"
            for one in new
        ]

    def row(self, record: Any) -> tuple[Any, ...]:
        return tuple(
            getattr(record, one.name) if one.type in SQL_TYPES else json.dumps(getattr(record, one.name))
            for one in self._fields
        )

    def record(self, row: tuple[Any, ...]) -> Any:
        values = [
            value if one.type in ("int", "float", "str") else bool(value) if one.type == "bool" else json.loads(value)
            for one, value in zip(self._fields, row, strict=True)
        ]
        return self.kind(*values)


def _literal(one: Field[Any]) -> str:
    value = one.default_factory() if one.default_factory is not MISSING else one.default
    if one.type in ("int", "float", "bool"):
        return str(float(value) if one.type == "float" else int(value))
    text = value if one.type == "str" else json.dumps(value)
    return "'" + str(text).replace("'", "''") + "'"


TABLES: dict[type[Any], _Table] = {kind: _Table(kind) for kind in KINDS}


class Store:
    """All rows of one datacenter. One connection, used by one event loop."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA secure_delete=ON")  # wiped boot data held keys
        self._db.execute("CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        for table in TABLES.values():
            self._db.execute(table.create)
            known = {row[1] for row in self._db.execute(f"PRAGMA table_info({table.name})")}
            for change in table.add_columns(known):
                self._db.execute(change)

    def close(self) -> None:
        self._db.close()

    def load(self, kind: type[T]) -> list[T]:
        table = TABLES[kind]
        return [table.record(row) for row in self._db.execute(table.load)]

    def notes(self) -> dict[str, str]:
        return dict(self._db.execute("SELECT name, value FROM notes"))

    def commit(self, saved: Iterable[Any], removed: Iterable[Any], notes: Mapping[str, str]) -> None:
        """Everything or, on a kill, nothing."""
        self._db.execute("BEGIN")
        for record in saved:
            table = TABLES[type(record)]
            self._db.execute(table.save, table.row(record))
        for record in removed:
            self._db.execute(TABLES[type(record)].remove, (record.ref,))
        self._db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes.items())
        self._db.execute("COMMIT")
