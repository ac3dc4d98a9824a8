"""What a stream reads, and as whom: each look judges its caller anew and sees what GET shows the same caller."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any
from uuid import UUID

from django.conf import settings
from rest_framework.renderers import JSONRenderer

from facet.middleware import WhoAsks
from facet.operations import events, streams
from facet.operations.models import OPEN_PHASES, Event, Operation
from facet.operations.serializers import EventSerializer, OperationSerializer
from facet.operations.views import EventEndpoint
from facet.rest.problems import Forbidden, NotFound, Problem
from tenants.access import Caller

BATCH = 100
HEARTBEAT = b": still here\n\n"
ENDED = "ended"  # the Last-Event-ID of a stream that is over: its reader need not come again


class NotLoggedIn(Problem):
    status = 401
    code = "not_authenticated"


@dataclass(slots=True)
class Chunk:
    """What one look gave a stream: text to send, whether there is more at once, whether that was the end."""

    text: bytes = b""
    more: bool = False
    over: bool = False


class Stream:
    """A stream's place, and how it looks. `look` runs in a thread."""

    def __init__(self, request: Any, **of: Any) -> None:
        self.request = request
        self.follower = streams.Follower()
        self.caller_id: UUID | None = None

    def caller(self) -> Caller:
        """Who asks, judged anew at each look: a revoked token hears nothing more. Raises NotLoggedIn."""
        engine = import_module(settings.SESSION_ENGINE)
        self.request.session = engine.SessionStore(self.request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        found = WhoAsks.caller(self.request)
        if found is None:
            raise NotLoggedIn("Log in, or send a token that is alive: Authorization: Bearer <token>.")
        self.caller_id = found.actor.id
        return found

    def look(self) -> Chunk:
        raise NotImplementedError

    def heartbeat(self) -> bytes:
        """What says that a silent stream lives."""
        return HEARTBEAT


class Events(Stream):
    """The events that GET events shows the same caller with the same filters, in the same order."""

    def __init__(self, request: Any, **of: Any) -> None:
        super().__init__(request)
        given = request.headers.get("Last-Event-ID") or request.GET.get("cursor")
        self.cursor = events.read_cursor(given) if given else None
        self.begun = False

    def look(self) -> Chunk:
        caller = self.caller()
        self.follower.everything = caller.platform
        self.follower.tenants = frozenset(grant.tenant_id for grant in caller.grants if grant.project_id is None)
        self.follower.projects = frozenset(grant.project_id for grant in caller.grants if grant.project_id is not None)
        if not caller.may("event.read"):
            raise Forbidden("Your roles do not include event.read here.")
        with caller.context():
            end = events.end()
            if self.cursor is None:
                self.cursor = end
            found = events.settled(self._filtered(caller), self.cursor)
            rows = list(found[:BATCH])
            text = b"".join(_frame(row.verb, EventSerializer(row).data, events.show_cursor(row)) for row in rows)
        more = len(rows) == BATCH
        last = (rows[-1].xid, rows[-1].seq) if rows else self.cursor
        self.cursor = last if more else max(end, last)  # the rows may have settled after we asked for the end
        if not self.begun:
            self.begun = True
            text = text or self._place()
        return Chunk(text, more)

    def heartbeat(self) -> bytes:
        """Takes the reader's place along: who sees few of many events does not come back to an old one."""
        return HEARTBEAT + self._place()

    def _place(self) -> bytes:
        """The cursor without a message."""
        return f"id: {events.show_cursor(self.cursor)}\n\n".encode() if self.cursor else b""

    def _filtered(self, caller: Caller) -> Any:
        found = caller.scope(Event.objects.all())
        for name in EventEndpoint.filter_fields:
            if name in self.request.GET:
                found = found.filter(**{name: EventEndpoint._filter_value(Event, name, self.request.GET[name])})
        return found


class OneOperation(Stream):
    """One operation as GET operations/{id} shows it, each time that it has moved."""

    def __init__(self, request: Any, id: UUID) -> None:
        super().__init__(request)
        self.follower.operation_id = self.id = id
        self.last = b""

    def look(self) -> Chunk:
        caller = self.caller()
        with caller.context():
            found = caller.scope(Operation.objects.all()).filter(pk=self.id).first()
            if found is None:
                raise NotFound("There is no such object, or it is not yours.")
            place = {"tenant_id": found.owner_tenant_id, "project_id": found.owner_project_id}
            if not caller.may("operation.read", **place):
                raise Forbidden("Your roles do not include operation.read here.")
            over = found.phase not in OPEN_PHASES
            text = _frame("operation", OperationSerializer(found).data, ENDED if over else "")
        if text == self.last:
            return Chunk(over=over)
        self.last = text
        return Chunk(text + (b"event: end\ndata: {}\n\n" if over else b""), over=over)


def _frame(event: str, data: Any, id: str = "") -> bytes:
    """One message of an event-stream. JSON has no line breaks outside strings, and inside they are escaped."""
    head = f"id: {id}\nevent: {event}\n" if id else f"event: {event}\n"
    return head.encode() + b"data: " + JSONRenderer().render(data) + b"\n\n"
