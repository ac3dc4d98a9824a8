"""What the site has moved by itself: the allocation follows. See migrations/0018_moved_by_the_site.py."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.ids import uuid7

WHY = {"moved": "by the site"}


def follow(*, tenant_id: UUID, project_id: UUID, holder: UUID, host_id: UUID, datastore_id: UUID | None = None) -> bool:
    """A holder was seen on this host (and datastore): its allocation is closed, and opened anew there at one moment.

    Never refused for want of room: that is written as overdrawn. Whether it has moved; not while a move of ours is
    open for it, nor to a host of another zone. The caller has locked the holder's row.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_follow(%s, %s, %s, %s, %s, %s, %s)",
            [tenant_id, project_id, holder, uuid7(), host_id, datastore_id, Json(WHY)],
        )
        moved: bool = cursor.fetchone()[0]
    return moved
