"""JSON, strictly: UTF-8, of bounded size and depth, without what no field of ours can hold."""

from __future__ import annotations

import json
import math
from typing import Any

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser

from .problems import Invalid, Problem

DEEPEST = 32


class StrictJSONParser(JSONParser):
    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        raw = stream.read(most + 1)
        if len(raw) > most:
            raise Problem(f"The body is longer than {most} bytes.", code="too_large", status=413)
        try:
            data = json.loads(raw.decode(), parse_constant=_refuse)
        except RecursionError:
            raise ParseError("Nested too deeply.") from None
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}") from None
        check(data)
        return data


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def check(data: Any, path: str = "", depth: int = 0) -> None:
    """Raises ParseError for too deep a nesting, and Invalid naming the field for what PostgreSQL holds in none:
    NUL, half of a surrogate pair, a number beyond all bounds."""
    if depth > DEEPEST:
        raise ParseError("Nested too deeply.")
    if isinstance(data, str):
        _check_text(data, path)
    elif isinstance(data, float) and not math.isfinite(data):
        raise Invalid({path or "non_field_errors": "This is no number."})
    elif isinstance(data, dict):
        for key, value in data.items():
            _check_text(key, f"{path}.{key}" if path else key)
            check(value, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            check(value, f"{path}.{index}" if path else str(index), depth + 1)


def _check_text(text: str, path: str) -> None:
    sentence = ""
    if "\x00" in text:
        sentence = "Holds a NUL character."
    else:
        try:
            text.encode()
        except UnicodeEncodeError:
            sentence = "Holds half of a surrogate pair."
    if sentence:
        shown = path.encode(errors="backslashreplace").decode().replace("\x00", "\\u0000")
        raise Invalid({shown or "non_field_errors": sentence})
