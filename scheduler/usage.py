"""Showback: what a tenant's projects held, replayed from the rows of allocations and volumes, never deleted.

Seconds are whole: every moment counts from the beginning of its second, so that the seconds of an interval are those of
its parts, however it is cut. Amounts times seconds are whole numbers of any size.

An allocation is dated by the beginning of the transaction that wrote it. A transaction that is still open may yet write
rows from its beginning on, so an interval ends before the oldest one that is open (`known_until`): what is told once is
told the same for ever. A transaction may also release what a younger one made meanwhile: that was held for no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from facet.rest.problems import Invalid

# A transaction has its beginning a moment before others can see it. Two seconds are far more than that takes.
MARGIN = timedelta(seconds=2)
LONGEST = timedelta(days=366 * 5)
RESOURCES = ("vcpu", "memory_mib", "storage_gib")

_SECOND_MOMENT = datetime.min.replace(tzinfo=UTC) + timedelta(seconds=1)
_OLDEST = """
select least(now(), min(xact_start)) from pg_stat_activity
where datname = current_database() and xact_start is not null
"""
_HELD = """
select p.name, a.project_id, z.name, a.zone_id, count(distinct a.holder) filter (where a.is_vm),
    sum(a.vcpu::numeric * s.seconds), sum(a.memory_mib::numeric * s.seconds), sum(a.storage_gib::numeric * s.seconds)
from (
    select holder, project_id, zone_id, tenant_id, vcpu, memory_mib, storage_gib, created, released, true as is_vm
    from scheduler_allocation
    union all
    select holder, project_id, zone_id, tenant_id, 0, 0, storage_gib, created, released, false
    from scheduler_volumeclaim
) a
join tenants_project p on p.id = a.project_id
join infra_zone z on z.id = a.zone_id
cross join lateral (select extract(epoch from date_trunc('second', least(a.released, %(end)s))
    - date_trunc('second', greatest(a.created, %(start)s))) as seconds) s
where a.tenant_id = %(tenant)s and (%(project)s::uuid is null or a.project_id = %(project)s)
  and a.created < %(end)s and (a.released is null or a.released > greatest(a.created, %(start)s))
group by 1, 2, 3, 4 order by p.name, a.project_id, z.name, a.zone_id
"""


@dataclass(frozen=True)
class Interval:
    """`[start, end)`, whole seconds, in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Held:
    """What one project held in one zone: amounts times seconds, and how many VMs held it."""

    project: str
    project_id: UUID
    zone: str
    zone_id: UUID
    holders: int
    vcpu_seconds: int
    memory_mib_seconds: int
    storage_gib_seconds: int


def known_until() -> datetime:
    """The moment up to which nothing is written any more. Call it as the role that writes, outside any context:
    PostgreSQL shows a session's beginnings to its own role alone."""
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        oldest: datetime = cursor.fetchone()[0]
    return (oldest - MARGIN).replace(microsecond=0).astimezone(UTC)


def interval(start: datetime | None, end: datetime | None, known: datetime) -> Interval:
    """What was asked for: by default this month, as far as it is known. Raises Invalid naming the field."""
    wanted = known if end is None else end.astimezone(UTC)
    since = _month_of(wanted) if start is None else start.astimezone(UTC)
    for name, moment in (("from", since), ("to", wanted)):
        if moment.microsecond:
            raise Invalid({name: "Whole seconds."})
    if wanted > known:
        raise Invalid({"to": f"Usage is known until {known.isoformat()}: an older transaction may still write."})
    if since >= wanted and (start is not None or end is not None):
        raise Invalid({"from": "It lies before `to`."})
    if wanted - since > LONGEST:
        raise Invalid({"from": f"At most {LONGEST.days} days at once."})
    return Interval(since, wanted)


def _month_of(end: datetime) -> datetime:
    """The beginning of the month of the last moment before `end`."""
    last = max(end, _SECOND_MOMENT) - timedelta(seconds=1)
    return last.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def held(tenant_id: UUID, project_id: UUID | None, within: Interval) -> list[Held]:
    """Each project's part in each zone. Needs the tenant's context."""
    values = {"tenant": tenant_id, "project": project_id, "start": within.start, "end": within.end}
    with connection.cursor() as cursor:
        cursor.execute(_HELD, values)
        return [Held(*row[:5], *(int(amount) for amount in row[5:])) for row in cursor.fetchall()]


def hours(seconds: int, unit: int = 1) -> float:
    """Amount times seconds as hours, for people: six digits behind the point."""
    return round(seconds / 3600 / unit, 6)


def amounts(rows: Sequence[Held]) -> dict[str, Any]:
    """The sum of some rows: seconds exact, hours for reading."""
    vcpu = sum(row.vcpu_seconds for row in rows)
    memory = sum(row.memory_mib_seconds for row in rows)
    storage = sum(row.storage_gib_seconds for row in rows)
    return {
        "vcpu_seconds": vcpu,
        "memory_mib_seconds": memory,
        "storage_gib_seconds": storage,
        "vcpu_hours": hours(vcpu),
        "memory_gib_hours": hours(memory, 1024),
        "storage_gib_hours": hours(storage),
    }
