"""One serializer of each kind for the whole process: its fields are made once, not for every request.

A serializer that is not told of data or of an object keeps nothing of what passes through it. Only for shapes that need
no context.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from rest_framework.serializers import Serializer


@cache
def shape(kind: type[Serializer[Any]]) -> Serializer[Any]:
    return kind()


def document(kind: type[Serializer[Any]], found: Any) -> dict[str, Any]:
    """An object in this shape, as an answer shows it."""
    shown: dict[str, Any] = shape(kind).to_representation(found)
    return shown
