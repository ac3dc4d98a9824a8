"""Tasks that a site has accepted and not yet ended: their refs, which also count against the site's budget (governor).

The pass that starts a task records its ref as soon as the call returns. The watch process asks after all refs of a site
in one read, marks those that ended and wakes their owners; the owner's next pass `settle`s them. A pass asks after its
own refs too, so that a watch that is away costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.utils import timezone

from . import governor
from .models import Inflight
from .wakeups import Lease, wake


@dataclass(frozen=True, slots=True)
class Started:
    """A task as its starter knows it. `about`: the key of the object that it makes or changes.

    `owner`: whose wakeup it is of, where that is not the pass's own: an object that was taken along.
    """

    ref: str
    about: UUID
    doing: str
    owner: UUID | None = None


def record(lease: Lease, started: Iterable[Started]) -> None:
    """Keep the refs of what this pass has started, in place of the room that it took for them. Known ones stay."""
    Inflight.objects.bulk_create(
        [
            Inflight(
                site_id=lease.site_id,
                tenant_id=lease.tenant_id,
                kind=lease.kind,
                key=one.owner or lease.key,
                ref=one.ref,
                about=one.about,
                doing=one.doing,
            )
            for one in started
        ],
        ignore_conflicts=True,
    )
    governor.give_back(lease)


def of(lease: Lease) -> list[Inflight]:
    """Everything that this object's passes have started and not settled."""
    return list(Inflight.objects.filter(kind=lease.kind, key=lease.key).order_by("started_at", "id"))


def open_at(site_id: UUID) -> list[Inflight]:
    """What nobody has seen the end of, at one site."""
    return list(Inflight.objects.filter(site_id=site_id, ended_at=None).order_by("id"))


def end(row: Inflight, *, error_code: str = "", error: str = "") -> None:
    """The task has ended, well or not: write it down and wake its owner, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_inflight set ended_at = %s, error_code = %s, error = %s
               where id = %s and ended_at is null""",
            [timezone.now(), error_code, error[:2000], row.id],
        )
        if cursor.rowcount:
            wake(row.kind, row.key, tenant_id=row.tenant_id, site_id=row.site_id)


def settle(rows: Iterable[Inflight]) -> None:
    """Their owner has looked at what they left: forget them."""
    Inflight.objects.filter(pk__in=[row.pk for row in rows]).delete()
