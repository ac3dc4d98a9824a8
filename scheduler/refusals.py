"""What a refusal of the core or of the ledger means to people: a sentence, the limits, the filters, what would fit."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from facet.rest.endpoint import LookAgain
from facet.rest.problems import Conflict, Problem
from tenants import quota

from .core.ask import NoRoom
from .models import PoolPhase


class Stale(LookAgain):
    """The plan was made on an old look: hosts, datastores or pools have changed. Nothing was written."""


_RESOURCES = {"cpu": "vcpu", "memory": "memory_mib", "datastore": "storage_gib"}


def no_room(refused: NoRoom) -> Problem:
    """A refusal of the core as a 409: a sentence, each filter's count of hosts, the tightest limit, what would fit."""
    tightest, limits = refused.tightest, []
    what = refused.role.replace("_", " ") or "asked"
    sentence = f"{refused.placed} of {refused.asked} find room; for the next one ({what}) no host is left."
    if tightest is not None:
        numbers = tightest.numbers
        sentence += f" Tightest: {tightest.sentence}."
        limits.append(
            {
                "scope": "host",
                "resource": _RESOURCES.get(tightest.filter, tightest.filter),
                "asked": numbers.get("asked"),
                **numbers,
                "filter": tightest.filter,
                "sentence": tightest.sentence,
                "hosts_without": tightest.hosts_without,
            }
        )
    return Conflict(
        sentence,
        code="no_room",
        filters=[asdict(reason) for reason in refused.reasons],
        limits=limits,
        nearest=[asdict(near) for near in refused.nearest],
        role=refused.role,
        asked=refused.asked,
        placed=refused.placed,
        proven=refused.proven,
    )


def refusal_of(refused: list[dict[str, Any]]) -> Exception:
    """What the refused rows mean: another look helps for hosts and datastores, and not for limits."""
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for row in refused:
        by_kind.setdefault(row["what"], []).append(row)
    if "holder" in by_kind:
        return Conflict(f"{len(by_kind['holder'])} of these have room already.", code="already_held")
    if "pool" in by_kind:
        return _pool_exceeded(by_kind["pool"])
    if "quota" in by_kind:
        return quota.exceeded([{k: v for k, v in row.items() if k != "what"} for row in by_kind["quota"]])
    return Stale(f"{len(refused)} rows of the plan are out of date")


def _pool_exceeded(rows: list[dict[str, Any]]) -> Exception:
    limits = []
    for row in rows:
        if row["phase"] == PoolPhase.DELETING:
            return Stale(f"pool {row['id']} is going")
        for resource, limit, used in (
            ("vcpu", "vcpu_limit", "vcpu_used"),
            ("memory_mib", "memory_limit_mib", "memory_used_mib"),
        ):
            asked = row["vcpu_asked" if resource == "vcpu" else "memory_asked_mib"]
            if row[limit] is not None and row[used] + asked > row[limit]:
                limits.append(
                    {
                        "scope": f"{row['scope']} pool",
                        "pool": row["name"],
                        "resource": resource,
                        "limit": row[limit],
                        "used": row[used],
                        "asked": asked,
                    }
                )
    if not limits:
        return Stale("the pools are not what they were")
    first = limits[0]
    return Conflict(
        f"The limit of {first['scope']} {first['pool']} is {first['limit']} {first['resource']}, {first['used']} used; "
        f"{first['asked']} more were asked.",
        code="pool_exceeded",
        limits=limits,
    )


def no_room_there(rows: list[dict[str, Any]]) -> Conflict:
    """What a host or datastore lacks for a larger size."""
    closed = [row["what"] for row in rows if not row["open"]]
    limits = [
        {"scope": row["what"], "resource": resource, "free": row[free], "asked": row[asked]}
        for row in rows
        for resource, free, asked in (
            ("vcpu", "vcpu_free", "vcpu_asked"),
            ("memory_mib", "memory_free_mib", "memory_asked_mib"),
            ("storage_gib", "free_gib", "asked_gib"),
        )
        if row.get(asked, 0) > max(0, row.get(free, 0))
    ]
    if closed or not limits:
        return Conflict(f"Its {rows[0]['what']} takes nothing new.", code="no_room", limits=limits)
    first = limits[0]
    return Conflict(
        f"Its {first['scope']} has {max(0, first['free'])} {first['resource']} left; {first['asked']} more were asked.",
        code="no_room",
        limits=limits,
    )
