"""The audit trail: written in the transaction of the act, read in an order without gaps.

Neither ids nor sequences come in commit order, so readers follow the pair (xid, seq) and are served only what lies below
the oldest transaction still running: whatever commits later sorts after what was served.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from facet.rest.access import Actor
from facet.rest.problems import Invalid

from .models import Event

CHANNEL = "facet_events"
Cursor = tuple[int, int]


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
    Event.objects.create(
        verb=verb,
        actor_kind=by.kind,
        actor_id=by.id,
        actor_name=by.name,
        source_ip=by.source_ip,
        request_id=by.request_id,
        target_kind=kind,
        target_id=id,
        target_name=name,
        tenant_id=tenant_id,
        project_id=project_id,
        message=message,
        before=before,
        after=after,
    )
    with connection.cursor() as cursor:
        cursor.execute("select pg_notify(%s, '')", [CHANNEL])


def settled(events: QuerySet[Event], after: Cursor | None = None) -> QuerySet[Event]:
    """Events that no later commit can sort before, from `after` on, in their order."""
    events = events.extra(where=["operations_event.xid < pg_snapshot_xmin(pg_current_snapshot())"])
    if after is not None:
        events = events.extra(
            where=["(operations_event.xid, operations_event.seq) > (%s::text::xid8, %s)"], params=[str(after[0]), after[1]]
        )
    return events.order_by("xid", "seq")


def show_cursor(event: Event) -> str:
    return f"{event.xid}-{event.seq}"


def read_cursor(text: str) -> Cursor:
    """The pair behind a cursor. Raises Invalid."""
    xid, _, seq = text.partition("-")
    if not (xid.isascii() and xid.isdigit() and seq.isascii() and seq.isdigit() and len(xid) < 20 and len(seq) < 19):
        raise Invalid({"cursor": "This is not a cursor that the events gave out."})
    return int(xid), int(seq)
