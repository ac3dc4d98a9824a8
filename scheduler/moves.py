"""Holders on their way to another host: claimed there first, freed here when they were seen there.

The caller has locked the VMs' rows before (object -> host -> ...): so nobody releases a VM that is just about to move,
and nobody moves one that is just released. See migrations/0007_moves.py for what the SQL keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.ids import uuid7

from . import ledger, raising, refusals
from .models import Move, MovePhase


@dataclass(frozen=True)
class Going:
    """Where one holder shall go. `source_id`: its live allocation. A datastore that is the source's: the disk stays.

    `vcpu_eaten`, `memory_eaten_mib`: no more of its pool's Hold there than this; None: what there is.
    """

    source_id: UUID
    zone_id: UUID
    pool_id: UUID  # the source's own in its zone; in another one the pool there that pays
    host_id: UUID
    datastore_id: UUID
    vcpu_eaten: int | None = None
    memory_eaten_mib: int | None = None
    why: Mapping[str, Any] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid7)


def begin(*, tenant_id: UUID, project_id: UUID, drain_id: UUID, going: Sequence[Going]) -> None:
    """Claim the destinations, all or nothing, in the caller's transaction.

    Raises ledger.Stale when a host, datastore or source is not what it was; Conflict `pool_exceeded` or
    `quota_exceeded` for a move into another zone that has too little left there.
    """
    if not going:
        return
    rows = [
        {
            "id": str(one.id),
            "source": str(one.source_id),
            "zone": str(one.zone_id),
            "pool": str(one.pool_id),
            "host": str(one.host_id),
            "datastore": str(one.datastore_id),
            "vcpu_eaten": one.vcpu_eaten,
            "memory_eaten_mib": one.memory_eaten_mib,
            "why": dict(one.why),
        }
        for one in going
    ]
    plan = {"tenant": str(tenant_id), "project": str(project_id), "drain": str(drain_id), "moves": rows}
    refused = raising.said("ledger_move", plan)
    if refused is None:
        return
    if any(row["what"] == "holder" for row in refused):
        raise ledger.Stale("some of these are not where they were, or are on their way already")
    raise refusals.refusal_of(refused)


def sent(ids: Iterable[UUID]) -> set[UUID]:
    """Say before the site is asked that these may be under way from now on; answers those that are still open."""
    mine = list(ids)
    Move.objects.filter(pk__in=mine, phase=MovePhase.CLAIMED).update(phase=MovePhase.MOVING)
    return set(Move.objects.filter(pk__in=mine, ended_at=None).values_list("id", flat=True))


def seen(*, tenant_id: UUID, project_id: UUID, ids: Iterable[UUID]) -> set[UUID]:
    """These were seen at their destination: free the source. Said twice it does it once; answers what this one did."""
    return _ended("select ledger_moved(%s, %s, %s::uuid[])", [tenant_id, project_id, list(ids)])


def undo(
    *, tenant_id: UUID, project_id: UUID, ids: Iterable[UUID], reason: Mapping[str, Any] | None = None
) -> set[UUID]:
    """These do not come off, and stand where they stood: give the destinations back. Said twice, it is once."""
    kept = Json(dict(reason)) if reason is not None else None
    return _ended("select ledger_move_undo(%s, %s, %s::uuid[], %s::jsonb)", [tenant_id, project_id, list(ids), kept])


def _ended(sql: str, values: list[Any]) -> set[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return set(cursor.fetchone()[0])
