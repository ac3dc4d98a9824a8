"""The durable queue: wake, lease, renew, finish. Each is one statement; Celery only rings.

A row is due when `due_at` has come and nobody leases it. A lease takes a new `turn` from one sequence, so that a worker
which slept through its lease never has the current turn again, even if the row was deleted and made anew in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from facet.rest.ids import uuid7

from . import bell

FAIR_LOCK = 7_303_001  # advisory lock under which leases are counted and taken: one taker at a time


@dataclass(frozen=True, slots=True)
class Lease:
    """One look at one object, allowed until `lease_until` and only while `turn` is the row's."""

    id: UUID
    kind: str
    key: UUID
    tenant_id: UUID | None
    site_id: UUID | None
    turn: int
    attempts: int


_WAKE = """
insert into operations_wakeup
    (id, kind, key, tenant_id, site_id, due_at, wakes, seen, turn, attempts, last_error)
values (%(id)s, %(kind)s, %(key)s, %(tenant_id)s, %(site_id)s, now() + make_interval(secs => %(after_s)s), 1, 0, 0, 0, '')
on conflict (kind, key) do update set
    wakes = operations_wakeup.wakes + 1,
    due_at = least(operations_wakeup.due_at, excluded.due_at),
    site_id = coalesce(excluded.site_id, operations_wakeup.site_id),
    rung_at = null, attempts = 0
"""

_TAKE = """
with busy as (
    select site_id, tenant_id from operations_wakeup where lease_until > now()
), due as (
    select w.id from operations_wakeup w
    left join operations_circuit c on c.site_id = w.site_id and c.open_until > now()
    where w.due_at <= now() and (w.lease_until is null or w.lease_until <= now())
      and c.site_id is null
      and (w.site_id is null
           or (select count(*) from busy b where b.site_id = w.site_id) < greatest(1, %(slots)s / 2))
    order by (select count(*) from busy b where b.tenant_id = w.tenant_id), w.due_at
    limit 1 for update of w skip locked
)
update operations_wakeup w set
    lease_until = now() + make_interval(secs => %(lease_s)s), turn = nextval('operations_turn'), seen = w.wakes,
    rung_at = null
from due where w.id = due.id
returning w.id, w.kind, w.key, w.tenant_id, w.site_id, w.turn, w.attempts
"""


def wake(
    kind: str, key: UUID, *, tenant_id: UUID | None = None, site_id: UUID | None = None, after_s: float = 0.0
) -> None:
    """Ask for a look at (kind, key), in the caller's transaction; rings when that commits.

    Must be the last hot lock that the transaction takes (see the lock order in ARCHITECTURE.md).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _WAKE,
            {"id": uuid7(), "kind": kind, "key": key, "tenant_id": tenant_id, "site_id": site_id, "after_s": after_s},
        )
    if after_s == 0:
        transaction.on_commit(bell.ring)


def take() -> Lease | None:
    """The next due object, leased to us; None when nothing is due or fairness says wait."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", [FAIR_LOCK])
        cursor.execute(_TAKE, {"slots": settings.FACET_WORKER_SLOTS, "lease_s": settings.FACET_LEASE_S})
        row = cursor.fetchone()
    return Lease(*row) if row else None


def renew(lease: Lease) -> bool:
    """Push the lease out again; False when the turn is no longer ours."""
    return _one(
        """update operations_wakeup set lease_until = now() + make_interval(secs => %s)
           where id = %s and turn = %s and lease_until > now()""",
        [settings.FACET_LEASE_S, lease.id, lease.turn],
    )


def still_ours(lease: Lease) -> bool:
    """The fence: locks the row if the turn is ours. The LAST statement of a worker's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select 1 from operations_wakeup where id = %s and turn = %s for no key update", [lease.id, lease.turn]
        )
        return cursor.fetchone() is not None


def finish(lease: Lease) -> None:
    """Nothing more to do: delete the row, unless someone woke it meanwhile; then it is due at once."""
    if not _one("delete from operations_wakeup where id = %s and turn = %s and wakes = seen", [lease.id, lease.turn]):
        _due_at_once(lease)


def sleep(lease: Lease, after_s: float, *, error: str = "", failed: bool = False) -> None:
    """Come again after `after_s`, unless someone woke it meanwhile; then it is due at once."""
    if not _one(
        """update operations_wakeup set lease_until = null, rung_at = null, last_error = %s,
               attempts = case when %s then attempts + 1 else 0 end,
               due_at = now() + make_interval(secs => %s)
           where id = %s and turn = %s and wakes = seen""",
        [error[:2000], failed, after_s, lease.id, lease.turn],
    ):
        _due_at_once(lease)


def _due_at_once(lease: Lease) -> None:
    _one(
        """update operations_wakeup set lease_until = null, rung_at = null, due_at = now()
           where id = %s and turn = %s""",
        [lease.id, lease.turn],
    )


def sweep(limit: int) -> int:
    """Mark as rung, and count, what is due and not leased: each row at most once in 30 s."""
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_wakeup set rung_at = now() where id in (
                   select id from operations_wakeup
                   where due_at <= now() and (lease_until is null or lease_until <= now())
                     and (rung_at is null or rung_at < now() - interval '30 seconds')
                   order by due_at limit %s for update skip locked)""",
            [limit],
        )
        return cursor.rowcount


def _one(sql: str, values: list[Any]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount == 1
