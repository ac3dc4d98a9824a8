"""The file of all guests' disks: machines, their files, and the etcd objects of their clusters.

SQLite in WAL mode: what was committed is there after kill -9. One connection, used by one event loop; whatever must be
true together is written inside one `transaction()`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

SCHEMA = """
CREATE TABLE IF NOT EXISTS house (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS machines (
  key TEXT PRIMARY KEY, name TEXT NOT NULL, vcpu INTEGER NOT NULL, memory_mib INTEGER NOT NULL, version TEXT NOT NULL,
  address TEXT NOT NULL UNIQUE, powered INTEGER NOT NULL, state TEXT NOT NULL, instance TEXT NOT NULL,
  step INTEGER NOT NULL, hostname TEXT NOT NULL, cluster TEXT NOT NULL, node TEXT NOT NULL, guestinfo TEXT NOT NULL,
  console TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS files (
  machine TEXT NOT NULL, path TEXT NOT NULL, mode INTEGER NOT NULL, owner TEXT NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (machine, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members (
  cluster TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, machine TEXT NOT NULL, PRIMARY KEY (cluster, id));
CREATE TABLE IF NOT EXISTS objects (
  cluster TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,
  body TEXT NOT NULL, PRIMARY KEY (cluster, resource, namespace, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revisions (cluster TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
"""


@dataclass
class Record:
    """One machine as its row holds it. state: booting | running | failed. step: how many of its commands have ended."""

    key: str
    name: str
    vcpu: int
    memory_mib: int
    version: str
    address: str
    powered: int = 0
    state: str = "booting"
    instance: str = ""  # the instance-id whose first-boot modules have begun to run
    step: int = -1  # -1: its files are not written yet
    hostname: str = ""
    cluster: str = ""
    node: str = ""
    guestinfo: str = "{}"  # JSON; kept until the first boot has ended, then emptied


@dataclass(frozen=True)
class Member:
    """One etcd member: `id` is etcd's (decimal), `machine` the guest that holds its data."""

    cluster: str
    id: str
    name: str
    machine: str


COLUMNS = tuple(field.name for field in fields(Record))
SAVE = (
    f"INSERT INTO machines ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) "  # noqa: S608 our names
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in COLUMNS[1:])}"
)


class Disk:
    """All rows of one house."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        self._depth = 0

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing on a kill. An exception commits too: what stands in memory is then what stands here."""
        self._depth += 1
        if self._depth == 1:
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def note(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM house WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def set_note(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO house VALUES (?, ?)", (name, value))

    # machines
    def records(self) -> list[Record]:
        rows = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM machines ORDER BY rowid")  # noqa: S608 our names
        return [Record(*row) for row in rows]

    def save(self, record: Record) -> None:
        self._db.execute(SAVE, tuple(getattr(record, name) for name in COLUMNS))

    def remove_machine(self, key: str) -> None:
        with self.transaction():
            self.clear_files(key)
            self._db.execute("DELETE FROM machines WHERE key = ?", (key,))

    def log(self, key: str, text: str) -> None:
        self._db.execute("UPDATE machines SET console = console || ? WHERE key = ?", (text + "\n", key))

    def console(self, key: str) -> str:
        row = self._db.execute("SELECT console FROM machines WHERE key = ?", (key,)).fetchone()
        return row[0] if row else ""

    # files
    def write(self, key: str, path: str, content: bytes, mode: int = 0o644, owner: str = "root:root") -> None:
        self._db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (key, path, mode, owner, content))

    def read(self, key: str, path: str) -> bytes | None:
        row = self._db.execute("SELECT content FROM files WHERE machine = ? AND path = ?", (key, path)).fetchone()
        return row[0] if row else None

    def files(self, key: str) -> dict[str, tuple[int, str, bytes]]:
        rows = self._db.execute("SELECT path, mode, owner, content FROM files WHERE machine = ?", (key,))
        return {path: (mode, owner, content) for path, mode, owner, content in rows}

    def clear_files(self, key: str) -> None:
        self._db.execute("DELETE FROM files WHERE machine = ?", (key,))

    # etcd
    def members(self) -> list[Member]:
        return [Member(*row) for row in self._db.execute("SELECT * FROM members ORDER BY rowid")]

    def add_member(self, member: Member) -> None:
        self._db.execute(
            "INSERT INTO members VALUES (?, ?, ?, ?)", (member.cluster, member.id, member.name, member.machine)
        )

    def remove_member(self, member: Member) -> None:
        self._db.execute("DELETE FROM members WHERE cluster = ? AND id = ?", (member.cluster, member.id))

    def remove_cluster(self, cluster: str) -> None:
        with self.transaction():
            for table in ("objects", "members", "revisions"):
                self._db.execute(f"DELETE FROM {table} WHERE cluster = ?", (cluster,))  # noqa: S608 our names

    def objects(self, cluster: str) -> Iterator[tuple[str, str, str, str]]:
        """(resource, namespace, name, body) of a cluster."""
        return self._db.execute("SELECT resource, namespace, name, body FROM objects WHERE cluster = ?", (cluster,))

    def revision(self, cluster: str) -> int:
        row = self._db.execute("SELECT revision FROM revisions WHERE cluster = ?", (cluster,)).fetchone()
        return row[0] if row else 0

    def put(self, cluster: str, resource: str, namespace: str, name: str, version: int, body: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
            (cluster, resource, namespace, name, version, body),
        )
        self._db.execute("INSERT OR REPLACE INTO revisions VALUES (?, ?)", (cluster, version))

    def drop(self, cluster: str, resource: str, namespace: str, name: str, version: int) -> None:
        self._db.execute(
            "DELETE FROM objects WHERE cluster = ? AND resource = ? AND namespace = ? AND name = ?",
            (cluster, resource, namespace, name),
        )
        self._db.execute("INSERT OR REPLACE INTO revisions VALUES (?, ?)", (cluster, version))
