"""The audit trail: written in the transaction of the act, read in an order without gaps.

Neither ids nor sequences come in commit order, so readers follow the pair (xid, seq) and are served only what lies
below the oldest transaction still running: whatever commits later sorts after what was served.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import QuerySet
from psycopg2.extras import Json

from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Invalid

from .models import Event

CHANNEL = "facet_events"
Cursor = tuple[int, int]
LAST_SEQ = 10**18 - 1  # sorts after every event of its transaction

_INSERT = """
insert into operations_event (id, at, verb, actor_kind, actor_id, actor_name, source_ip, request_id, target_kind,
    target_id, target_name, tenant_id, project_id, message, before, after)
values (%(id)s, now(), %(verb)s, %(actor_kind)s, %(actor_id)s, %(actor_name)s, %(source_ip)s, %(request_id)s, %(kind)s,
    %(target)s, %(name)s, %(tenant)s, %(project)s, %(message)s, %(before)s, %(after)s)
"""


# A transaction of its own, with nothing in it that must outlive a crash: nobody waits for the disk a second time.
_NOTIFY = "select set_config('synchronous_commit', 'off', true), pg_notify(%s, %s)"


def record(
    verb: str,
    *,
    by: Actor,
    kind: str,
    id: UUID | None,
    name: str,
    tenant_id: UUID | None = None,
    project_id: UUID | None = None,
    message: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append one event in the caller's transaction, and ring for the streams. Never pass a secret."""
    with connection.cursor() as cursor:  # plain SQL: a tenant may write what it may not read back (RETURNING would)
        cursor.execute(
            _INSERT,
            {
                "id": uuid7(),
                "verb": verb,
                "actor_kind": by.kind,
                "actor_id": by.id,
                "actor_name": by.name,
                "source_ip": by.source_ip,
                "request_id": by.request_id,
                "kind": kind,
                "target": id,
                "name": name,
                "tenant": tenant_id,
                "project": project_id,
                "message": message,
                "before": None if before is None else Json(before, dumps=_dumps),
                "after": None if after is None else Json(after, dumps=_dumps),
            },
        )
    _ring(Doorbell())


def ring(operation_id: UUID) -> None:
    """Tell the streams, after the commit, that this operation has moved."""
    _ring(Doorbell(str(operation_id)))


@dataclass(frozen=True, slots=True)
class Doorbell:
    """Rings for the streams: '' for events, else the id of an operation."""

    payload: str = ""

    def __call__(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(_NOTIFY, [CHANNEL, self.payload])


def _ring(doorbell: Doorbell) -> None:
    """Once for a transaction, and after it: a NOTIFY inside it would make all commits wait for each other's disk write.

    Who dies in between costs the streams the seconds to their next look.
    """
    if not any(known == doorbell for _, known, _ in connection.run_on_commit):
        transaction.on_commit(doorbell, robust=True)


def _dumps(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)


def settled(events: QuerySet[Event], after: Cursor | None = None) -> QuerySet[Event]:
    """Events that no later commit can sort before, from `after` on, in their order."""
    events = events.extra(where=["operations_event.xid < pg_snapshot_xmin(pg_current_snapshot())"])
    if after is not None:
        events = events.extra(
            where=["(operations_event.xid, operations_event.seq) > (%s::text::xid8, %s)"],
            params=[str(after[0]), after[1]],
        )
    return events.order_by("xid", "seq")


def end() -> Cursor:
    """The place after everything that is settled now. Ask before reading, or what settles in between is passed over."""
    with connection.cursor() as cursor:
        cursor.execute("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1")
        return cursor.fetchone()[0], LAST_SEQ


def show_cursor(cursor: Event | Cursor) -> str:
    xid, seq = cursor if isinstance(cursor, tuple) else (cursor.xid, cursor.seq)
    return f"{xid}-{seq}"


def read_cursor(text: str) -> Cursor:
    """The pair behind a cursor. Raises Invalid."""
    xid, _, seq = text.partition("-")
    if not (xid.isascii() and xid.isdigit() and seq.isascii() and seq.isdigit() and len(xid) < 20 and len(seq) < 19):
        raise Invalid({"cursor": "This is not a cursor that the events gave out."})
    return int(xid), int(seq)
