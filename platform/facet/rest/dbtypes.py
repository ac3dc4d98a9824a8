"""PostgreSQL's transaction ids as a column: the only order in which a reader can follow commits without a gap."""

from __future__ import annotations

from typing import Any

from django.db import models


class CurrentXid(models.Func):
    """The id of the transaction that writes the row."""

    function = "pg_current_xact_id"
    arity = 0

    def __init__(self, **extra: Any) -> None:
        super().__init__(output_field=Xid8Field(), **extra)


class Xid8Field(models.Field):  # type: ignore[type-arg]  # Django's fields take no arguments when they run
    """A 64-bit transaction id (xid8), in Python an int."""

    def db_type(self, connection: Any) -> str:
        return "xid8"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> int | None:
        return None if value is None else int(value)

    def get_prep_value(self, value: Any) -> Any:
        return value if value is None or hasattr(value, "resolve_expression") else str(value)
