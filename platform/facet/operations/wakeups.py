"""The durable queue: wake, lease, renew, finish. Each is one statement; Celery only rings.

A row is due when `due_at` has come and nobody leases it. A lease takes a new `turn` from one sequence, so that a worker
which slept through its lease never has the current turn again, even if the row was deleted and made anew in between.

`attempts` counts the passes that failed one after another. A wake brings a look at once but does not forget them: only
a pass that ends well does, so that a noisy waker cannot undo the back-off.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from facet.rest.ids import uuid7

from . import bell

FAIR_LOCK = 7_303_001  # advisory lock under which leases are counted and taken: one taker at a time
WOKEN_AFTER_A_FAILURE_S = (
    2.0  # a pass that fails and is woken meanwhile looks again this soon, and never in a tight loop
)


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
values
    (%(id)s, %(kind)s, %(key)s, %(tenant_id)s, %(site_id)s, now() + make_interval(secs => %(after_s)s), 1, 0, 0, 0, '')
on conflict (kind, key) do update set
    wakes = operations_wakeup.wakes + 1,
    due_at = least(operations_wakeup.due_at, excluded.due_at),
    site_id = coalesce(excluded.site_id, operations_wakeup.site_id),
    rung_at = null
"""

# Half the slots for one site; one for a site that is being tried again; none while its circuit is open. One of a site's
# slots, and one of all, is left by a tenant to the others, so that whoever comes next need not wait for a pass to end.
# Among what may be taken, the tenant with the fewest leases comes first; the platform's objects count as one tenant.
_TAKE = """
with busy as (
    select distinct turn, site_id, tenant_id from operations_wakeup where lease_until > now()
), at_site as (
    select site_id, count(*) as leases from busy where site_id is not null group by site_id
), of_tenant as (
    select tenant_id, count(*) as leases from busy group by tenant_id
), of_tenant_at_site as (
    select tenant_id, site_id, count(*) as leases from busy where site_id is not null group by tenant_id, site_id
), due as (
    select w.id from operations_wakeup w
    left join at_site s on s.site_id = w.site_id
    left join of_tenant t on t.tenant_id is not distinct from w.tenant_id
    left join of_tenant_at_site h on h.tenant_id is not distinct from w.tenant_id and h.site_id = w.site_id
    left join operations_circuit c on c.site_id = w.site_id
    where w.due_at <= now() and (w.lease_until is null or w.lease_until <= now())
      and (c.open_until is null or c.open_until <= now())
      and coalesce(t.leases, 0) < greatest(1, %(slots)s - 1)
      and coalesce(h.leases, 0) < greatest(1, %(slots)s / 2 - 1)
      and coalesce(s.leases, 0) < case when c.site_id is null then greatest(1, %(slots)s / 2) else 1 end
    order by coalesce(t.leases, 0), w.due_at
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

    A wake that comes while someone looks is due as soon as that look ends, whatever `after_s` says.
    Must be the last hot lock that the transaction takes (see the lock order in ARCHITECTURE.md).
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _WAKE,
            {"id": uuid7(), "kind": kind, "key": key, "tenant_id": tenant_id, "site_id": site_id, "after_s": after_s},
        )
    rung = sum(known is bell.ring for _, known, _ in connection.run_on_commit)
    if after_s == 0 and rung < settings.FACET_WORKER_SLOTS:  # who hears one goes on until nothing is due
        transaction.on_commit(bell.ring, robust=True)


def take() -> Lease | None:
    """The next due object, leased to us; None when nothing is due or fairness says wait."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s)", [FAIR_LOCK])
        slots = settings.FACET_WORKERS * settings.FACET_WORKER_SLOTS
        cursor.execute(_TAKE, {"slots": slots, "lease_s": settings.FACET_LEASE_S})
        row = cursor.fetchone()
    return Lease(*row) if row else None


def take_along(lease: Lease, keys: Iterable[UUID]) -> list[Lease]:
    """Those of these objects of the same kind, tenant and site that nobody looks at, leased within the same turn.

    They take no slot of their own. Whoever has failed before is left to a pass of its own.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_wakeup set
                   lease_until = now() + make_interval(secs => %s), turn = %s, seen = wakes, rung_at = null
               where id in (
                   select id from operations_wakeup
                   where kind = %s and key = any(%s::uuid[]) and tenant_id is not distinct from %s and site_id = %s
                     and attempts = 0 and (lease_until is null or lease_until <= now())
                   order by kind, key for update skip locked)
               returning id, kind, key, tenant_id, site_id, turn, attempts""",
            [settings.FACET_LEASE_S, lease.turn, lease.kind, list(keys), lease.tenant_id, lease.site_id],
        )
        return [Lease(*row) for row in cursor.fetchall()]


def let_go(lease: Lease, keys: Iterable[UUID], after_s: float = 0.0) -> int:
    """These were taken along in this turn and are let go: due again after `after_s`, at once if someone woke them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_wakeup set lease_until = null, rung_at = null,
                   due_at = now() + make_interval(secs => case when wakes = seen then %s else 0 end)
               where id in (
                   select id from operations_wakeup where kind = %s and key = any(%s::uuid[]) and turn = %s
                   order by kind, key for update)""",
            [after_s, lease.kind, list(keys), lease.turn],
        )
        return cursor.rowcount


def renew(*leases: Lease) -> bool:
    """Push the leases of a turn out again; False when it is no longer ours, for one of them."""
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_wakeup set lease_until = now() + make_interval(secs => %s)
               where id in (
                   select id from operations_wakeup where id = any(%s::uuid[]) and turn = %s and lease_until > now()
                   order by kind, key for update)""",
            [settings.FACET_LEASE_S, [lease.id for lease in leases], leases[0].turn],
        )
        return cursor.rowcount == len(leases)


def still_ours(*leases: Lease) -> bool:
    """The fence: locks the rows if the turn is ours, for all of them. The LAST statement of a worker's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            """select 1 from operations_wakeup where id = any(%s::uuid[]) and turn = %s
               order by kind, key for no key update""",
            [[lease.id for lease in leases], leases[0].turn],
        )
        return cursor.rowcount == len(leases)


def finish(lease: Lease) -> None:
    """Nothing more to do: delete the row, unless someone woke it meanwhile; then it is due at once."""
    if not _one("delete from operations_wakeup where id = %s and turn = %s and wakes = seen", [lease.id, lease.turn]):
        sleep(lease, 0.0)


def sleep(lease: Lease, after_s: float) -> None:
    """Come again after `after_s`, unless someone woke it meanwhile; then it is due at once."""
    _one(
        """update operations_wakeup set lease_until = null, rung_at = null, last_error = '', attempts = 0,
               due_at = now() + make_interval(secs => case when wakes = seen then %s else 0 end)
           where id = %s and turn = %s""",
        [after_s, lease.id, lease.turn],
    )


def fail(lease: Lease, after_s: float, *, error: str) -> None:
    """The pass failed: counted, and tried again after `after_s`; soon, if someone woke it meanwhile."""
    _one(
        """update operations_wakeup set lease_until = null, rung_at = null, last_error = %s, attempts = attempts + 1,
               due_at = now() + make_interval(secs => case when wakes = seen then %s else least(%s, %s) end)
           where id = %s and turn = %s""",
        [error[:2000], after_s, after_s, WOKEN_AFTER_A_FAILURE_S, lease.id, lease.turn],
    )


def put_off(lease: Lease, after_s: float, *, error: str) -> None:
    """The site does not answer: again after `after_s`, once its circuit lets it; no attempt of its own is counted."""
    _one(
        """update operations_wakeup set lease_until = null, rung_at = null, last_error = %s,
               due_at = now() + make_interval(secs => %s)
           where id = %s and turn = %s""",
        [error[:2000], after_s, lease.id, lease.turn],
    )


def sweep(limit: int) -> int:
    """Mark as rung, and count, what could be taken and is not: each row at most once in 30 s."""
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_wakeup set rung_at = now() where id in (
                   select w.id from operations_wakeup w
                   left join operations_circuit c on c.site_id = w.site_id
                   where w.due_at <= now() and (w.lease_until is null or w.lease_until <= now())
                     and (w.rung_at is null or w.rung_at < now() - interval '30 seconds')
                     and (c.open_until is null or c.open_until <= now())
                   order by w.due_at limit %s for update of w skip locked)""",
            [limit],
        )
        return cursor.rowcount


def _one(sql: str, values: list[Any]) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount == 1
