"""What the site has moved by itself: the allocation follows. See migrations/0018_moved_by_the_site.py."""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.ids import uuid7

from .models import Allocation

WHY = {"moved": "by the site"}


def follow(
    *, tenant_id: UUID, project_id: UUID, holder: UUID, host_id: UUID, datastore_id: UUID | None = None,
    seen_on: UUID | None = None,
) -> bool:  # fmt: skip
    """A holder was seen on this host (and datastore): its allocation is closed, and opened anew there at one moment.

    Where `host_id` is a bin, `seen_on` is the host of it, which is only recorded: within a bin nothing is claimed anew.
    Never refused for want of room: that is written as overdrawn. Whether it has moved; not while a move of ours is
    open for it, nor to a host of another zone. The caller has locked the holder's row.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_follow(%s, %s, %s, %s, %s, %s, %s)",
            [tenant_id, project_id, holder, uuid7(), host_id, datastore_id, Json(WHY)],
        )
        moved: bool = cursor.fetchone()[0]
    held = Allocation.objects.filter(holder=holder, released=None, host_id=host_id)
    return bool(held.exclude(seen_on=seen_on).update(seen_on=seen_on)) or moved
