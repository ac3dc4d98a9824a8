"""Cursor paging: `?page_size=&cursor=` -> `{"items": [...], "next": "<cursor>" | null}`, ordered by creation."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.response import Response

from .problems import Invalid


class Pages(CursorPagination):
    page_size = 50
    max_page_size = 500
    page_size_query_param = "page_size"
    cursor_query_param = "cursor"
    ordering = ("created_at", "id")

    def decode_cursor(self, request: Any) -> Cursor | None:
        given = request.query_params.get(self.cursor_query_param)
        if given is None:
            return None
        try:
            base64.b64decode(given.encode("ascii"), validate=True).decode("ascii")
        except (UnicodeError, binascii.Error):
            raise Invalid({"cursor": "This is not a cursor that a list gave out."}) from None
        return super().decode_cursor(request)

    def get_page_size(self, request: Any) -> int:
        given = request.query_params.get(self.page_size_query_param)
        if given is None:
            return self.page_size
        if not given.isascii() or not given.isdigit() or not 1 <= int(given[:6]) <= self.max_page_size:
            raise Invalid({"page_size": f"A whole number from 1 to {self.max_page_size}."})
        return int(given)

    def get_paginated_response(self, data: Any) -> Response:
        link = self.get_next_link()
        cursor = parse_qs(urlsplit(link).query)[self.cursor_query_param][0] if link else None
        return Response({"items": data, "next": cursor})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": schema,
                "next": {"type": ["string", "null"], "description": "the next page's cursor"},
            },
        }
