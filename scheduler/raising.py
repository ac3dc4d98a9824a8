"""What would have let a refused claim through: the limits to raise and by how much, or how many fit within them.

Nothing is guessed: each answer was given to the ledger itself, in a savepoint that is taken back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from psycopg2.extras import Json

from tenants.models import Quota

from .models import ResourcePool

Claims = Sequence[Mapping[str, Any]]
Document = Mapping[str, Any]  # what ledger_commit takes
Rows = list[dict[str, Any]]  # what it refuses
TOLD = 3  # limits that a sentence names
ROUNDS = 4  # pools are looked at before quotas: raising the one shows the other
POOL_COLUMNS = {
    "vcpu": ("vcpu_limit", "vcpu_used", "vcpu_asked"),
    "memory_mib": ("memory_limit_mib", "memory_used_mib", "memory_asked_mib"),
}
HANDED_DOWN = {
    "vcpu": ("vcpu_limit", "vcpu_handed_down"),
    "memory_mib": ("memory_limit_mib", "memory_handed_down_mib"),
}


def committed(document: Document) -> Rows | None:
    """Say it to the ledger: None when it is written, else the refused rows."""
    return said("ledger_commit", document)


def said(function: str, document: Document) -> Rows | None:
    """Call one of the ledger's functions: None when it has written, else the refused rows."""
    with connection.cursor() as cursor:
        cursor.execute(f"select {function}(%s)", [Json(document)])
        answer = cursor.fetchone()[0]
    if answer is None:
        return None
    refused: Rows = json.loads(answer)["refused"]
    return refused


def nearest(
    claims: Claims, document: Callable[[Claims], Document], refused: Rows, counts: Mapping[str, Sequence[int]]
) -> list[dict[str, Any]]:
    """The limits to raise, and how many of the largest role fit as they are. `counts`: what a role may number."""
    with transaction.atomic():
        raises = _raised(document(claims), refused)
        transaction.set_rollback(True)
    found = []
    if raises:
        sentence = f"All fit with {_listed([one.sentence for one in raises])}."
        found.append({"kind": "limits", "sentence": sentence, "change": {"raise": [one.data for one in raises]}})
    role, asked = _largest_role(claims)
    most = _most(lambda count: document(_fewer(claims, role, count)), counts.get(role, range(1, asked)), asked)
    if most is not None:
        sentence = f"{most} of {asked} {role or 'asked'} fit."
        found.append({"kind": "fewer", "sentence": sentence, "change": {"role": role, "count": most}})
    return found


def _listed(sentences: Sequence[str]) -> str:
    """The first few in words; `change` has them all."""
    if len(sentences) <= TOLD:
        return " and ".join(sentences)
    return ", ".join(sentences[:TOLD]) + f" and {len(sentences) - TOLD} more limits raised"


def _largest_role(claims: Claims) -> tuple[str, int]:
    """The role with most claims; ties by name."""
    counted = Counter(claim["ask"]["role"] for claim in claims)
    return max(counted.items(), key=lambda one: (one[1], one[0]), default=("", 0))


def _fewer(claims: Claims, role: str, count: int) -> Claims:
    """The claims without those of the role beyond the first `count`."""
    of_role = [claim for claim in claims if claim["ask"]["role"] == role]
    left_out = {claim["id"] for claim in of_role[count:]}
    return [claim for claim in claims if claim["id"] not in left_out]


@dataclass(frozen=True)
class Raise:
    """One limit, and how much more of it is needed."""

    scope: str
    name: str  # of the pool; "" for a quota
    resource: str
    zone: str | None
    limit: int
    by: int

    @property
    def sentence(self) -> str:
        whose = f"the limit of {self.scope} {self.name}" if self.name else f"the {self.scope}'s quota"
        where = f" in zone {self.zone}" if self.zone and not self.name else ""
        return f"{self.by} more {self.resource} in {whose}{where}"

    @property
    def data(self) -> dict[str, Any]:
        """As JSON. `to` is what the limit would be."""
        of_pool = {"pool": self.name} if self.name else {"zone": self.zone}
        return {"scope": self.scope, **of_pool, "resource": self.resource, "by": self.by, "to": self.limit + self.by}

    def with_more(self, of_it: Raise) -> Raise:
        return replace(self, by=self.by + of_it.by)


def _raised(document: Document, refused: Rows) -> list[Raise]:
    """Raise what is in the way until the claim goes through; nothing when something else is in the way too.

    A project's limits are cut from its tenant's: those are raised first, and again as far as a cut needs it.
    """
    raises: dict[tuple[str, str, str | None], Raise] = {}
    left: Rows | None = refused
    for _ in range(ROUNDS):
        if left is None:
            break
        for row in sorted(left, key=lambda row: row.get("scope") == "project"):
            if row["what"] == "pool" and row["phase"] != "deleting":
                found = _raise_pool(row)
            elif row["what"] == "quota":
                found = _raise_quota(document, row)
            else:
                return []
            for one in found:
                key = one.scope, one.resource, one.zone or one.name
                raises[key] = raises[key].with_more(one) if key in raises else one
        left = committed(document)
    return list(raises.values()) if left is None else []


def _raise_pool(row: Mapping[str, Any]) -> list[Raise]:
    found = []
    for resource, (limit, used, asked) in POOL_COLUMNS.items():
        if row[limit] is not None and row[used] + row[asked] > row[limit]:
            by = row[used] + row[asked] - row[limit]
            found += _cut_from_tenants_pool(row["id"], resource, by)
            ResourcePool.objects.filter(pk=row["id"]).update(**{limit: F(limit) + by})
            found.append(Raise(f"{row['scope']} pool", row["name"], resource, None, row[limit], by))
    return found


def _cut_from_tenants_pool(pool_id: str, resource: str, by: int) -> list[Raise]:
    """So much more is handed down to this pool; nothing of a tenant's own."""
    limit, given = HANDED_DOWN[resource]
    above = ResourcePool.objects.filter(children=pool_id).first()
    if above is None:
        return []
    lacking = _lacking(getattr(above, limit), getattr(above, given) + by)
    ResourcePool.objects.filter(pk=above.pk).update(**{limit: F(limit) + lacking, given: F(given) + by})
    return [Raise("tenant pool", above.name, resource, None, getattr(above, limit), lacking)] if lacking else []


def _raise_quota(document: Document, row: Mapping[str, Any]) -> list[Raise]:
    by = row["used"] + row["asked"] - row["limit"]
    of_tenant = {"tenant_id": document["tenant"], "zone_id": row["zone"], "resource": row["resource"]}
    found: list[Raise] = []
    project_id = None
    if row["scope"] == "project":
        project_id = document["project"]
        above = Quota.objects.filter(**of_tenant, project_id=None).first()
        if above is not None:
            lacking = _lacking(above.limit, above.handed_down + by)
            changes = {"limit": F("limit") + lacking, "handed_down": F("handed_down") + by}
            Quota.objects.filter(pk=above.pk).update(**changes)
            if lacking:
                found.append(Raise("tenant", "", row["resource"], row["zone"], above.limit or 0, lacking))
    if not Quota.objects.filter(**of_tenant, project_id=project_id).update(limit=F("limit") + by):
        Quota.objects.create(**of_tenant, project_id=project_id, limit=by)
    return [*found, Raise(row["scope"], "", row["resource"], row["zone"], row["limit"], by)]


def _lacking(limit: int | None, handed_down: int) -> int:
    """What a limit lacks for so much to be handed down; nothing where there is no limit."""
    return 0 if limit is None else max(0, handed_down - limit)


def _most(fewer: Callable[[int], Document], allowed: Sequence[int], asked: int) -> int | None:
    """The largest allowed count below `asked` that the ledger takes, by halving."""
    values = sorted(count for count in allowed if 0 < count < asked)
    best, low, high = None, 0, len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        with transaction.atomic():
            fits = committed(fewer(values[middle])) is None
            transaction.set_rollback(True)
        if fits:
            best, low = values[middle], middle + 1
        else:
            high = middle - 1
    return best


def quota_lines(amounts: Counter[tuple[UUID | None, str]]) -> Sequence[dict[str, Any]]:
    """Amounts by zone and resource as quota_take wants them."""
    return [
        {"zone": None if zone is None else str(zone), "resource": resource, "amount": amount}
        for (zone, resource), amount in amounts.items()
        if amount
    ]
