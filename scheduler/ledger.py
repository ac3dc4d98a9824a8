"""Look, decide, write: the only way to room, and the only way to give it back.

`look` and `decide` run outside the transaction that writes, on this process's Fleet. `commit` is ONE call of the SQL
function `ledger_commit`, the last act of that transaction which takes hot locks. Where the world has moved meanwhile it
raises Stale, with nothing written, and the caller begins again at the look (Endpoint.placed_once does, a bounded number
of times). ARCHITECTURE.md, "Ledger", has the lock order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from psycopg2.extras import Json

from facet.rest.ids import uuid7
from facet.rest.problems import Conflict

from . import looking, raising
from .core.ask import Ask, NoRoom, Plan, Policy, Shape
from .core.fleet import Fleet
from .core.nearest import with_nearest
from .core.place import place
from .models import Allocation
from .refusals import Stale as Stale
from .refusals import no_room, no_room_there, refusal_of

_looker = looking.Looker()


@dataclass(frozen=True)
class Spend:
    """Quota beyond what allocations cost by themselves: `Spend(None, "clusters", 1)`. Zone None: over all zones."""

    zone_id: UUID | None
    resource: str
    amount: int


class Size(NamedTuple):
    """What one VM has, or shall have."""

    vcpu: int
    memory_mib: int
    storage_gib: int


def look(*, full: bool = False) -> Fleet:
    """What there is now. One Fleet a process, brought up to date by what changed; `full` reads it anew.

    May run without a context. Inside a transaction that has written, it shows that transaction's own view and keeps it
    from everybody else.
    """
    return _looker.look(full=full)


# --- decide --------------------------------------------------------------------------------------------------------


def decide(
    asks: Sequence[Ask],
    *,
    policy: Policy = Policy.SPREAD,
    seed: int,
    counts: Mapping[str, Sequence[int]] | None = None,
    flavors: Mapping[str, Sequence[Shape]] | None = None,
    zones: Sequence[UUID] = (),
    others: Callable[[], Mapping[UUID, Sequence[Ask]]] | None = None,
) -> Plan:
    """Room for all of these asks. Raises Problem 409 `no_room`, after one full look, with reasons and what would fit.

    `counts`, `flavors`, `zones` and `others` say what else might be asked (core/nearest.py). `flavors`: by role, "" for
    those that are not named. `others` is asked for after a refusal only.
    """
    answer = place(asks, look(), policy=policy, seed=seed)
    if isinstance(answer, Plan):
        return answer
    fleet = look(full=True)
    answer = place(asks, fleet, policy=policy, seed=seed)
    if isinstance(answer, NoRoom):
        near: dict[str, Any] = {"counts": counts, "zones": zones, "others": others() if others else None}
        known = flavors or {}
        near["flavors"] = known.get(answer.role, known.get("", ()))
        raise no_room(with_nearest(answer, asks, fleet, policy=policy, seed=seed, **near))
    return answer


# --- write ---------------------------------------------------------------------------------------------------------


def commit(
    *,
    tenant_id: UUID,
    project_id: UUID,
    asks: Sequence[Ask],
    plan: Plan,
    pools: Mapping[UUID, UUID],
    spend: Sequence[Spend] = (),
    counts: Mapping[str, Sequence[int]] | None = None,
    as_it_stands: bool = False,
) -> None:
    """Claim what the plan says, all or nothing, in the caller's transaction. `pools`: zone -> the pool that pays.

    Takes the quota of vcpu, memory_mib, storage_gib and vms by itself, and `spend` with it. Raises Stale, or Conflict
    `quota_exceeded` or `pool_exceeded` with the limits and what would fit (`counts` as in `decide`), or Conflict
    `already_held` for a holder that has room already.

    `as_it_stands`: the holders stand where the plan says, and nowhere else; so Conflict `no_room` in place of Stale.
    """
    claims = _claims(asks, plan, pools)

    def document(claims: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        lines = raising.quota_lines(_cost(claims) + _summed(spend))
        return {"tenant": str(tenant_id), "project": str(project_id), "claims": claims, "quota": lines}

    refused = raising.committed(document(claims))
    if refused is None:
        return
    there = [row for row in refused if row["what"] in ("host", "datastore")]
    if as_it_stands and there:
        raise no_room_there(there)
    refusal = refusal_of(refused)
    if isinstance(refusal, Conflict) and "limits" in refusal.more:
        refusal.more["nearest"] = raising.nearest(claims, document, refused, counts or {})
    raise refusal


def _claims(asks: Sequence[Ask], plan: Plan, pools: Mapping[UUID, UUID]) -> list[dict[str, Any]]:
    placed = {one.key: one for one in plan.placements}
    if len(placed) != len(asks) or any(ask.key not in placed for ask in asks):
        raise ValueError("the plan is not of these asks")
    claims = []
    for ask in asks:
        to = placed[ask.key]
        if to.datastore_id is None or ask.disk_gib is None:
            raise ValueError("an allocation has a disk: ask for one")
        claims.append(
            {
                "id": str(uuid7()),
                "holder": str(ask.key),
                "zone": str(to.zone_id),
                "pool": str(pools[to.zone_id]),
                "host": str(to.host_id),
                "datastore": str(to.datastore_id),
                "vcpu": ask.vcpu,
                "memory_mib": ask.memory_mib,
                "storage_gib": ask.disk_gib,
                "ask": _asked(ask),
                "why": dict(to.why),
            }
        )
    return claims


def _asked(ask: Ask) -> dict[str, Any]:
    """The ask as it is kept with its allocation, for what-ifs to ask again."""
    group = ask.group
    return {
        "name": ask.name,
        "role": ask.role,
        "vcpu": ask.vcpu,
        "memory_mib": ask.memory_mib,
        "disk_gib": ask.disk_gib,
        "zones": [str(zone) for zone in ask.zones],
        "pools": [str(pool) for pool in ask.pools],
        "networks": [str(network) for network in ask.networks],
        "every_network": [str(network) for network in ask.every_network],
        "storage_class": ask.storage_class,
        "group": None
        if group is None
        else {
            "key": group.key,
            "apart": group.apart,
            "over_zones": group.over_zones,
            "together": group.together,
            "level": group.level,
        },
        "require": [list(label) for label in ask.require],
        "prefer": [list(label) for label in ask.prefer],
        "avoid": [list(label) for label in ask.avoid],
        "policy": ask.policy,
    }


def _cost(claims: Iterable[Mapping[str, Any]]) -> Counter[tuple[UUID | None, str]]:
    """What these claims cost of each zone's quota (and so of the one over all zones)."""
    found: Counter[tuple[UUID | None, str]] = Counter()
    for claim in claims:
        zone = UUID(claim["zone"])
        for resource in ("vcpu", "memory_mib", "storage_gib"):
            found[zone, resource] += claim[resource]
        found[zone, "vms"] += 1
    return found


def _summed(spend: Iterable[Spend]) -> Counter[tuple[UUID | None, str]]:
    found: Counter[tuple[UUID | None, str]] = Counter()
    for one in spend:
        if one.amount < 0:
            raise ValueError("what is spent is no less than zero")
        found[one.zone_id, one.resource] += one.amount
    return found


def resize(*, tenant_id: UUID, project_id: UUID, sizes: Mapping[UUID, Size]) -> None:
    """Another size for these holders where they stand (host, datastore, pool), all or nothing, in your transaction.

    Each live allocation is closed and a new one opened at that moment; quota and pools are charged the difference. Who
    has that size already stays as it is, so that said twice it is done once. Raises Conflict `no_room` where a host or
    datastore has too little, `quota_exceeded` or `pool_exceeded` as `commit` does, `not_held` for a holder that has no
    room, `moving` for one on its way to another host; Stale for one that stands elsewhere by now.
    """
    rows = [{"id": str(uuid7()), "holder": str(holder), **size._asdict()} for holder, size in sizes.items()]
    refused = raising.said("ledger_resize", {"tenant": str(tenant_id), "project": str(project_id), "sizes": rows})
    if refused is None:
        return
    holders = [row for row in refused if row["what"] == "holder"]
    if any(not row["held"] for row in holders):
        raise Conflict("It has no room whose size could be changed.", code="not_held")
    if any(row["what"] == "move" for row in refused):
        raise Conflict("It is on its way to another host. Ask again when it has arrived.", code="moving")
    if holders:
        raise Stale("a holder stands elsewhere by now")
    there = [row for row in refused if row["what"] in ("host", "datastore")]
    raise no_room_there(there) if there else refusal_of(refused)


def release(*, tenant_id: UUID, project_id: UUID, holders: Sequence[UUID], spend: Sequence[Spend] = ()) -> int:
    """Close the holders' live allocations and give everything back; answers how many. Said twice, it gives back once.

    `spend` leaves no row here by which a second saying could be told from the first: give it only in the transaction
    that closes the row which it was spent for, by a compare-and-set (`deleted_at` from null) that was won.
    """
    back = raising.quota_lines(_summed(spend))
    with connection.cursor() as cursor:
        cursor.execute(
            "select ledger_release(%s, %s, %s::uuid[], %s)", [tenant_id, project_id, list(holders), Json(back)]
        )
        closed: int = cursor.fetchone()[0]
    return closed


def allocations(holders: Iterable[UUID]) -> dict[UUID, Allocation]:
    """The live allocations of these holders, each with its host (and where it was seen), datastore, zone and pool."""
    rows = Allocation.objects.filter(holder__in=list(holders), released=None)
    return {row.holder: row for row in rows.select_related("host", "seen_on", "datastore", "zone", "pool")}
