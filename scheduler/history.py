"""What was asked for in a zone and granted, from the rows of its allocations: requests for the core to replay.

`granted` only fetches, and bounds what it fetches; `requests` thinks, outside of any transaction: the history of a busy
zone takes longer to read through than one may stay open and idle.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.utils import timezone

from facet.rest.problems import Invalid
from infra.models import Zone

from . import standing
from .core.replay import Request
from .models import Allocation

MOST = 10_000  # VMs in one replay: 0.3 to 0.5 ms each at 1,000 to 5,000 hosts

_COME = "select count(distinct holder) from scheduler_allocation where zone_id = %(zone)s and created >= %(since)s"
_GRANTED = """
select a.holder, a.project_id, a.pool_id, a.vcpu, a.memory_mib, a.storage_gib, a.created, a.released,
    coalesce(a.ask ->> 'name', ''), a.ask::text
from scheduler_allocation a
where a.zone_id = %(zone)s and a.holder in (
    select holder from scheduler_allocation where zone_id = %(zone)s and created >= %(since)s)
order by a.created, a.id
"""


class Granted(NamedTuple):
    """An allocation. `ask`: its JSON, not read yet."""

    holder: UUID
    project_id: UUID
    pool_id: UUID
    vcpu: int
    memory_mib: int
    storage_gib: int
    created: datetime
    released: datetime | None
    name: str
    ask: str


def granted(zone: Zone, days: int) -> list[Granted]:
    """All allocations in the zone of those who were given some there in the last days, oldest first.

    Raises Invalid where they are more than MOST.
    """
    values = {"zone": zone.id, "since": _since(days)}
    with connection.cursor() as cursor:
        cursor.execute(_COME, values)
        come = cursor.fetchone()[0]
        if come > MOST:
            raise Invalid({"days": f"{come} VMs came in that time; {MOST} can be replayed at once. Say fewer days."})
        cursor.execute(_GRANTED, values)
        return [Granted(*row) for row in cursor.fetchall()]


def requests(rows: Sequence[Granted], zone_id: UUID, days: int) -> list[Request]:
    """The batches that came in the last days, as they came and went, at their last size.

    Who was moved or resized has several allocations, and came with the first. A batch is what one moment gave one
    project.
    """
    since = _since(days)
    lives: dict[UUID, list[Granted]] = defaultdict(list)
    for row in rows:
        lives[row.holder].append(row)
    batches: dict[tuple[datetime, UUID, datetime | None], list[Granted]] = defaultdict(list)
    for life in lives.values():
        if life[0].created >= since:
            last = life[-1]
            batches[life[0].created, last.project_id, last.released].append(last)
    return [
        Request(
            asks=[standing.asked(_row(one), (zone_id,), (one.pool_id,)) for one in batch],
            comes=came.timestamp(),
            goes=None if went is None else went.timestamp(),
        )
        for (came, _, went), batch in batches.items()
    ]


def _since(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


def _row(one: Granted) -> Allocation:
    return Allocation(
        holder=one.holder,
        vcpu=one.vcpu,
        memory_mib=one.memory_mib,
        storage_gib=one.storage_gib,
        ask=json.loads(one.ask),
    )
