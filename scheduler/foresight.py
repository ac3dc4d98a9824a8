"""When a zone will be full: what was claimed of it until now, replayed from its allocations, and the forecast of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from .core.forecast import Forecast, forecast

POINTS = 60
LONGEST = timedelta(days=60)
SHORTEST = timedelta(days=1)
FURTHEST = timedelta(days=36500)  # beyond this a date says nothing
RESOURCES = ("vcpu", "memory_mib", "storage_gib")

# Amounts that came and went in each of POINTS equal parts; part 0 is all that was before.
_MOVED = """
select part, sum(vcpu)::bigint, sum(memory_mib)::bigint, sum(storage_gib)::bigint from (
    select width_bucket(extract(epoch from created), %(start)s, %(end)s, %(points)s) as part,
        vcpu, memory_mib, storage_gib
    from scheduler_allocation where zone_id = %(zone)s
    union all
    select width_bucket(extract(epoch from released), %(start)s, %(end)s, %(points)s), -vcpu, -memory_mib, -storage_gib
    from scheduler_allocation where zone_id = %(zone)s and released is not null) moved
group by part
"""


def of_zone(zone_id: UUID, limits: Mapping[str, int], unclaimed: Mapping[str, int]) -> list[dict[str, Any]]:
    """A forecast for each resource; none while the history is shorter than a day. Sees all tenants: IT's context.

    `limits`: what there is; `unclaimed`: what of it neither a VM of ours has nor could ever get (held for guarantees,
    taken by others).
    """
    now = timezone.now()
    since = _since(zone_id, now)
    if since is None:
        return []
    step = (now - since) / POINTS
    told = []
    for resource, series in zip(RESOURCES, _series(zone_id, since, now), strict=True):
        found = forecast(series, limits[resource] - unclaimed[resource])
        if found is not None:
            told.append(_told(resource, found, step, now, limits[resource]))
    return told


def _since(zone_id: UUID, now: datetime) -> datetime | None:
    with connection.cursor() as cursor:
        cursor.execute("select min(created) from scheduler_allocation where zone_id = %s", [zone_id])
        first = cursor.fetchone()[0]
    if first is None or now - first < SHORTEST:
        return None
    return max(first, now - LONGEST)


def _series(zone_id: UUID, since: datetime, now: datetime) -> list[list[int]]:
    """What was claimed at the end of each part, for each resource."""
    values = {"zone": zone_id, "start": since.timestamp(), "end": now.timestamp(), "points": POINTS}
    with connection.cursor() as cursor:
        cursor.execute(_MOVED, values)
        moved = {part: amounts for part, *amounts in cursor.fetchall()}
    parts = range(POINTS + 1)
    return [list(accumulate(moved.get(part, (0, 0, 0))[at] for part in parts))[1:] for at in range(len(RESOURCES))]


def _told(resource: str, found: Forecast, step: timedelta, now: datetime, limit: int) -> dict[str, Any]:
    left = None if found.steps_to_full is None else found.steps_to_full * step.total_seconds()
    near = left is not None and left < FURTHEST.total_seconds()
    return {
        "resource": resource,
        "per_day": round(found.per_step / (step / timedelta(days=1)), 3),
        "days_to_full": round(left / 86400, 2) if left is not None and near else None,
        "full_at": now + timedelta(seconds=left) if left is not None and near else None,
        "history_days": round(step * POINTS / timedelta(days=1), 2),
        "back_test": {
            "days": round(step * found.back_test.steps / timedelta(days=1), 2),
            "error": round(found.back_test.error, 3),
            "error_share": round(found.back_test.error / limit, 4) if limit else None,
        },
    }
