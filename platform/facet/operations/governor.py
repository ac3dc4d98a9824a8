"""How a site's budget of tasks in flight is shared: what an owner may begin now, so that whoever comes next may too.

An owner's pass takes room before its call and gives it back as it records what the call began, so that passes at the
same moment never begin more than the budget together. Between tenants the rule is max-min: whoever wants may use what
nobody else needs; while a tenant waits below its equal share, nobody goes beyond their own; and an eighth is left for
those who have little, so that the first task of a newcomer waits for nobody's end.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from django.conf import settings
from django.db import connection

from facet.rest.ids import uuid7

from .wakeups import Lease

SITE_LOCK = 7_303_002  # advisory lock, with a site: room is counted and taken by one pass at a time
WAITS_S = 5.0  # whoever got less than it wanted and has not asked again for so long waits no more
FORGOTTEN_S = 3600.0
LEFT_FOR_OTHERS = 8  # one in so many

_HELD = """
select tenant_id, sum(tasks)::int, bool_or(waits) from (
    select tenant_id, 1 as tasks, false as waits from operations_inflight
    where site_id = %(site)s and ended_at is null
    union all
    select tenant_id, case when held_until > now() then held else 0 end, waits_until is not null and waits_until > now()
    from operations_share where site_id = %(site)s and not (kind = %(kind)s and key = %(key)s)
) busy group by tenant_id
"""
_TAKE = """
insert into operations_share (id, kind, key, site_id, tenant_id, held, held_until, waits_until)
values (%(id)s, %(kind)s, %(key)s, %(site)s, %(tenant)s, %(held)s, now() + make_interval(secs => %(lease_s)s),
        case when %(waits)s then now() + make_interval(secs => %(waits_s)s) end)
on conflict (kind, key) do update set
    site_id = excluded.site_id, held = excluded.held, held_until = excluded.held_until,
    waits_until = excluded.waits_until
"""


def grant(
    *, want: int, budget: int, mine: int, others: Mapping[UUID | None, int], waiting: Collection[UUID | None]
) -> int:
    """How many more tasks a tenant may begin.

    `mine` and `others`: tasks in flight of this tenant and of each other one. `waiting`: others that want more.
    """
    free = budget - mine - sum(others.values())
    active = 1 + len({tenant for tenant, tasks in others.items() if tasks} | set(waiting))
    share = max(1, budget // active)
    left = min(budget - 1, max(1, budget // LEFT_FOR_OTHERS))
    most = max(max(1, budget // (active + 1)) - mine, free - left)
    if any(others.get(tenant, 0) < share for tenant in waiting):
        most = min(most, share - mine)
    return max(0, min(want, free, most))


def take(lease: Lease, want: int, *, budget: int) -> int:
    """Take room for at most `want` tasks, until they are recorded or this lease ends; answers how many may begin.

    In the caller's transaction, which should be over before the site is called, and locks nothing hot after this.
    """
    if want <= 0:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("select pg_advisory_xact_lock(%s, hashtext(%s))", [SITE_LOCK, str(lease.site_id)])
    got = free_for(lease, want, budget=budget)
    values = {
        "id": uuid7(), "kind": lease.kind, "key": lease.key, "site": lease.site_id, "tenant": lease.tenant_id,
        "held": got, "lease_s": settings.FACET_LEASE_S, "waits": got < want, "waits_s": WAITS_S,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
    return got


def free_for(lease: Lease, want: int, *, budget: int) -> int:
    """How many this owner could take at this moment; nothing is taken."""
    mine, others, waiting = 0, dict[UUID | None, int](), set[UUID | None]()
    with connection.cursor() as cursor:
        cursor.execute(_HELD, {"site": lease.site_id, "kind": lease.kind, "key": lease.key})
        for tenant_id, tasks, waits in cursor.fetchall():
            if tenant_id == lease.tenant_id:
                mine = tasks
                continue
            others[tenant_id] = tasks
            if waits:
                waiting.add(tenant_id)
    return grant(want=want, budget=budget, mine=mine, others=others, waiting=waiting)


def give_back(lease: Lease) -> None:
    """What was taken is begun and recorded, or is not needed: it is free. That the owner waits for more, stays said."""
    with connection.cursor() as cursor:
        cursor.execute(
            """update operations_share set held = 0 where kind = %s and key = %s and waits_until > now()""",
            [lease.kind, lease.key],
        )
        if not cursor.rowcount:
            cursor.execute("delete from operations_share where kind = %s and key = %s", [lease.kind, lease.key])


def tidy() -> None:
    """Forget what owners left behind that did not live to give it back."""
    with connection.cursor() as cursor:
        cursor.execute(
            "delete from operations_share where held_until < now() - make_interval(secs => %s)", [FORGOTTEN_S]
        )
