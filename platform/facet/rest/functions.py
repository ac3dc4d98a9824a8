"""Other texts in a SQL function that stands, as a migration operation.

`create or replace` with a whole new text loses what later migrations have set on a function (the plans that it keeps);
this changes the text that the database has, and leaves the rest.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations


def patched(function: str, *changes: tuple[str, str]) -> migrations.RunPython:
    """In `function`, given with the types of its arguments, each first text becomes the second; and back again.

    Raises RuntimeError when a text is not there exactly once: then it is another function than the migration knows.
    """

    def forwards(apps: Any, schema: Any) -> None:
        _patch(schema.connection, function, changes)

    def backwards(apps: Any, schema: Any) -> None:
        _patch(schema.connection, function, [(after, before) for before, after in reversed(changes)])

    return migrations.RunPython(forwards, backwards)


def _patch(connection: Any, function: str, changes: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("select pg_get_functiondef(%s::regprocedure)", [function])
        text = cursor.fetchone()[0]
        for before, after in changes:
            if text.count(before) != 1:
                raise RuntimeError(f"{function} is not the function that this migration knows")
            text = text.replace(before, after)
        cursor.execute(text)
