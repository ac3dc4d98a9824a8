"""JSON, strictly: no NaN, no duplicate surprises from deep nesting, no NUL in any string (PostgreSQL holds none)."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

DEEPEST = 32


class StrictJSONParser(JSONParser):
    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            data = super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("Nested too deeply.") from None
        check(data)
        return data


def check(data: Any, depth: int = 0) -> None:
    """Raises ParseError for what no field of ours can hold."""
    if depth > DEEPEST:
        raise ParseError("Nested too deeply.")
    if isinstance(data, str):
        if "\x00" in data:
            raise ParseError("A string holds a NUL character.")
        try:
            data.encode()
        except UnicodeEncodeError:
            raise ParseError("A string holds half of a surrogate pair.") from None
    elif isinstance(data, dict):
        for key, value in data.items():
            check(key, depth + 1)
            check(value, depth + 1)
    elif isinstance(data, list):
        for value in data:
            check(value, depth + 1)
