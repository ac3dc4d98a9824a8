"""Cursor paging: `?page_size=&cursor=` -> `{"items": [...], "next": "<cursor>" | null}`, ordered by creation.

A cursor is the last row's (created_at, id), so rows made in one instant are neither skipped nor said twice.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from rest_framework.pagination import BasePagination
from rest_framework.response import Response

from .problems import Invalid

Position = tuple[datetime, UUID]


class Pages(BasePagination):
    """Keyset paging over (created_at, id): every listed model has both."""

    page_size = 50
    max_page_size = 500
    following: str | None = None

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> list[Any]:
        size = self.get_page_size(request)
        given = request.query_params.get("cursor")
        if given is not None:
            at, id = read_cursor(given)
            queryset = queryset.filter(Q(created_at__gt=at) | Q(id__gt=id), created_at__gte=at)
        rows = list(queryset.order_by("created_at", "id")[: size + 1])
        self.following = show_cursor((rows[size - 1].created_at, rows[size - 1].id)) if len(rows) > size else None
        return rows[:size]

    def get_page_size(self, request: Any) -> int:
        given = request.query_params.get("page_size")
        if given is None:
            return self.page_size
        if not given.isascii() or not given.isdigit() or len(given) > 6 or not 1 <= int(given) <= self.max_page_size:
            raise Invalid({"page_size": f"A whole number from 1 to {self.max_page_size}."})
        return int(given)

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"items": data, "next": self.following})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": schema,
                "next": {"type": ["string", "null"], "description": "the next page's cursor"},
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [
            {
                "name": "cursor",
                "in": "query",
                "description": "`next` of the page before.",
                "schema": {"type": "string"},
            },
            {"name": "page_size", "in": "query", "description": "Rows in a page.", "schema": size},
        ]


def show_cursor(position: Position) -> str:
    at, id = position
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> Position:
    """The position behind a cursor. Raises Invalid."""
    try:
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        at, _, id = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").partition("|")
        found = datetime.fromisoformat(at)
        if found.tzinfo is None:
            raise ValueError("a time without a zone")
        return found, UUID(id)
    except (ValueError, binascii.Error):
        raise Invalid({"cursor": "This is not a cursor that a list gave out."}) from None
