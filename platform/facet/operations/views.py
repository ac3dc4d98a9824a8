from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from facet.rest.fields import TRUTHS
from facet.rest.problems import Invalid

from . import engine, events, services
from .models import Event, Operation
from .serializers import EventSerializer, OperationSerializer


class OperationEndpoint(Endpoint):
    """What is under way, and how it ended."""

    queryset = Operation.objects.all()
    serializer_class = OperationSerializer
    verbs = {"list": "operation.read", "retrieve": "operation.read", "cancel": "operation.write"}
    filter_fields = ("phase", "verb", "target_id", "project_id", "tenant_id")
    answers = {"cancel": (202, OperationSerializer)}

    def cancel(self, request: Any, **kwargs: Any) -> Response:
        """Take back what an open operation asked for."""

        def work() -> tuple[int, Any]:
            operation = self.get_object()
            services.cancel(operation, by=self.access.actor, cancellers=engine.wiring().CANCELLERS)
            operation.refresh_from_db()
            return 202, self.get_serializer(operation).data

        return self.once(work)


class EventEndpoint(Endpoint):
    """The audit trail, in an order without gaps. `next` is the cursor to follow it with; it is never null."""

    queryset = Event.objects.all()
    serializer_class = EventSerializer
    verbs = {"list": "event.read"}
    filter_fields = ("verb", "target_id", "project_id", "tenant_id")

    @extend_schema(parameters=[OpenApiParameter("newest", bool, description="the newest page instead of the oldest")])
    def list(self, request: Any, **kwargs: Any) -> Response:
        given = request.query_params.get("cursor")
        newest = TRUTHS.get(request.query_params.get("newest", "false"))
        if newest is None:
            raise Invalid({"newest": "true or false."})
        size = self.paginator.get_page_size(request)
        after = events.read_cursor(given) if given else None
        end = events.end()
        found = events.settled(self.filter_queryset(self.get_queryset()), after)
        if after is None and newest:
            rows = list(reversed(found.order_by("-xid", "-seq")[:size]))
        else:
            rows = list(found[:size])
        following = events.show_cursor(rows[-1]) if rows else given or events.show_cursor(end)
        return Response({"items": self.get_serializer(rows, many=True).data, "next": following})
