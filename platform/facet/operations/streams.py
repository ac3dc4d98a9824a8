"""What the streams have in common: one doorbell for a process, and who is to look when it rings.

The Hub listens on one connection. When the bell rings it reads once what has settled since, and wakes the followers
whom it may concern; each of them then reads for itself, in its own caller's database context. What has committed but
not settled (an older transaction still runs) rings no more, so the Hub looks again until nothing is left of it.
A bell can be lost: every few seconds the Hub looks without one, in one read for all events and one for all operations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import psycopg2
import structlog
from django.db import Error as DatabaseError
from django.db import connection, connections

from .events import CHANNEL, Cursor, end, settled
from .models import Event, Operation

log = structlog.get_logger(__name__)

PAGE = 1000
TOGETHER_S = 0.05  # bells that ring within this time are answered together
FIRST_LOOK_S, LONGEST_LOOK_S = 0.05, 1.0  # between looks while something has not settled
SAFETY_S = 2.0  # a look without a bell
RETRY_S = 1.0
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}

T = TypeVar("T")
Owner = tuple[UUID | None, UUID | None]  # the tenant and the project of an event
InThread = Callable[[Callable[[], T]], Awaitable[T]]


@dataclass(eq=False)
class Follower:
    """One open stream: what it may hear of (everything, whole tenants, projects), or the operation that it follows."""

    everything: bool = False
    tenants: frozenset[UUID | None] = frozenset()
    projects: frozenset[UUID | None] = frozenset()
    operation_id: UUID | None = None
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def concerned(self, owner: Owner) -> bool:
        tenant_id, project_id = owner
        return self.everything or tenant_id in self.tenants or project_id in self.projects


@dataclass(frozen=True, slots=True)
class News:
    """What one look found: whose events, up to where, and whether there is something that has not settled."""

    owners: frozenset[Owner]
    cursor: Cursor
    more: bool
    unsettled: bool


class Hub:
    """One per process. `system`: a database context that sees everything."""

    def __init__(self, system: Callable[[], AbstractContextManager[None]], in_thread: InThread[Any]) -> None:
        self.followers: set[Follower] = set()
        self.listening = False
        self.closing = False
        self._system = system
        self._in_thread = in_thread
        self._doorbell = asyncio.Event()
        self._cursor: Cursor | None = None

    @contextmanager
    def following(self, follower: Follower) -> Iterator[Follower]:
        """Register before reading: whatever comes after that read rings."""
        if not self.followers:
            self._cursor = None  # nobody has looked for a while: begin where the events end now
        self.followers.add(follower)
        self._doorbell.set()
        try:
            yield follower
        finally:
            self.followers.discard(follower)

    def close(self) -> None:
        """Every stream ends as soon as it hears of it."""
        self.closing = True
        self._ring_all()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._look())
            group.create_task(self._look_at_operations())

    # --- the doorbell ----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_once()
            except psycopg2.Error as error:
                log.warning("the doorbell of the streams is out of order", error=str(error).strip())
            finally:
                self.listening = False
            await asyncio.sleep(RETRY_S)

    async def _listen_once(self) -> None:
        """Hear the doorbell on a connection of its own until that breaks."""
        line = await asyncio.to_thread(_open)
        loop, broken, number = asyncio.get_running_loop(), asyncio.Event(), line.fileno()

        def heard() -> None:
            try:
                line.poll()
            except psycopg2.Error:
                loop.remove_reader(number)
                broken.set()
                return
            for note in line.notifies:
                self._heard(note.payload)
            line.notifies.clear()

        try:
            loop.add_reader(number, heard)
            self.listening = True
            self._ring_all()  # what rang before we listened is looked for
            await broken.wait()
        finally:
            loop.remove_reader(number)
            line.close()

    def _heard(self, payload: str) -> None:
        if not payload:
            self._doorbell.set()
            return
        for follower in self.followers:
            if str(follower.operation_id) == payload:
                follower.bell.set()

    def _ring_all(self) -> None:
        self._doorbell.set()
        for follower in self.followers:
            follower.bell.set()

    # --- the look --------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        pause_s = SAFETY_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._doorbell.wait()
            await asyncio.sleep(TOGETHER_S)
            self._doorbell.clear()
            if not self.followers:
                pause_s = SAFETY_S
                continue
            try:
                news = await self._in_thread(self._read)
            except DatabaseError as error:
                log.warning("the streams cannot look", error=str(error).strip())
                pause_s = RETRY_S
                continue
            if self._cursor is None:
                self._ring_all()
            for follower in self.followers:
                if any(follower.concerned(owner) for owner in news.owners):
                    follower.bell.set()
            self._cursor = news.cursor
            if news.more:
                self._doorbell.set()
            elif news.unsettled:
                pause_s = FIRST_LOOK_S if pause_s > LONGEST_LOOK_S else min(pause_s * 2, LONGEST_LOOK_S)
            else:
                pause_s = SAFETY_S

    def _read(self) -> News:
        with self._system():
            last = end()
            rows = []
            if self._cursor is not None:
                found = settled(Event.objects.all(), self._cursor)
                rows = list(found.values_list("tenant_id", "project_id", "xid", "seq")[:PAGE])
            waiting = Event.objects.extra(where=["xid >= pg_snapshot_xmin(pg_current_snapshot())"]).exists()
        more = len(rows) == PAGE
        cursor = (rows[-1][2], rows[-1][3]) if more else last
        return News(frozenset(row[:2] for row in rows), cursor, more, waiting)

    async def _look_at_operations(self) -> None:
        """For bells that were lost: wake who follows an operation whose row is another than at the last look."""
        seen: Mapping[UUID, int] = {}
        while True:
            await asyncio.sleep(SAFETY_S)
            ids = {follower.operation_id for follower in self.followers if follower.operation_id}
            try:
                found = await self._in_thread(partial(self._versions, ids)) if ids else {}
            except DatabaseError as error:
                log.warning("the streams cannot look at operations", error=str(error).strip())
                continue
            for follower in self.followers:
                id = follower.operation_id
                if id in ids and found.get(id) != seen.get(id):
                    follower.bell.set()
            seen = found

    def _versions(self, ids: set[UUID]) -> Mapping[UUID, int]:
        """For each of these operations, the transaction that wrote its row as it stands."""
        with self._system(), connection.cursor() as cursor:
            cursor.execute(
                f"select id, xmin::text::bigint from {Operation._meta.db_table} where id = any(%s)",  # noqa: S608
                [list(ids)],
            )
            return dict(cursor.fetchall())


def _open() -> psycopg2.extensions.connection:
    parameters = connections["default"].get_connection_params()
    parameters.pop("cursor_factory", None)
    line = psycopg2.connect(**{**parameters, **KEEPALIVE, "application_name": "facet-events"})
    line.autocommit = True
    with line.cursor() as cursor:
        cursor.execute(f"listen {CHANNEL}")
    return line
