"""Limits of tenants and projects, and what is held of them. A project's are cut from its tenant's.

Spending is `quota_take()` (SQL, called at the end of the ledger's functions, or by `take` here for what has no room of
its own, such as the number of clusters). Rows are locked project first, then tenant, each by id: the ledger's order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from psycopg2.extras import Json

from facet.operations import events
from facet.rest.access import Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, Invalid

from .models import Project, Quota, Resource, Tenant

Limits = Mapping[str, int | None]


def exceeded(limits: list[dict[str, Any]]) -> Conflict:
    """409 `quota_exceeded` that names the tightest limit in words and all of them in data."""
    first = limits[0]
    return Conflict(
        f"The {first['scope']}'s quota of {first['resource']} is {first['limit']}, {first['used']} of it used; "
        f"{first['asked']} more were asked.",
        code="quota_exceeded",
        limits=limits,
    )


def take(*, tenant_id: UUID, project_id: UUID, amounts: Iterable[tuple[UUID | None, str, int]]) -> None:
    """Spend (zone, resource, amount) triples, all or none; negative gives back. Raises Conflict quota_exceeded."""
    rows = [{"zone": str(zone) if zone else None, "resource": name, "amount": amount} for zone, name, amount in amounts]
    with connection.cursor() as cursor:
        cursor.execute("select quota_take(%s, %s, %s)", [tenant_id, project_id, Json(rows)])
        refused = cursor.fetchone()[0]
    if refused:
        raise exceeded(json.loads(refused))


def show(rows: Iterable[Quota], zone_names: Mapping[UUID, str]) -> list[dict[str, Any]]:
    return [
        {
            "resource": row.resource,
            "zone": zone_names.get(row.zone_id, str(row.zone_id)) if row.zone_id else None,
            "limit": row.limit,
            "used": row.used,
            "handed_down": row.handed_down,
        }
        for row in sorted(rows, key=lambda row: (str(row.zone_id or ""), list(Resource).index(Resource(row.resource))))
    ]


def set_limits(
    *, tenant: Tenant, project: Project | None, limits: Limits, zone_id: UUID | None, replace: bool, by: Actor
) -> None:
    """Set the limits of one scope (tenant or project, over all zones or in one). `replace`: those not named go to zero.

    Raises Conflict where a limit would lie below what is used or handed down, or a project's above what its tenant has.
    """
    scope = Quota.objects.filter(tenant=tenant, zone_id=zone_id)
    rows = {row.resource: row for row in _locked(scope.filter(project=project))}
    above = {row.resource: row for row in _locked(scope.filter(project=None))} if project else {}
    wanted = dict(limits)
    if replace:
        wanted |= {name: 0 for name in rows if name not in wanted}
    before = {name: row.limit for name, row in rows.items()}
    _check_floor(wanted, rows, "project" if project else "tenant", tenant, project)
    if project is not None:
        _hand_down(wanted, rows, above, zone_id)
    for name, limit in wanted.items():
        if name in rows:
            Quota.objects.filter(pk=rows[name].pk).update(limit=limit)
        else:
            Quota.objects.create(
                id=uuid7(), tenant=tenant, project=project, zone_id=zone_id, resource=name, limit=limit
            )
    owner: Tenant | Project = project or tenant
    events.record(
        "quota.set",
        by=by,
        kind="project" if project else "tenant",
        id=owner.id,
        name=owner.name,
        tenant_id=tenant.id,
        project_id=project.id if project else None,
        before=before,
        after=before | wanted,
    )


def _locked(rows: Any) -> list[Quota]:
    return list(rows.order_by("id").select_for_update(no_key=True))


def _check_floor(
    wanted: Limits, rows: Mapping[str, Quota], scope: str, tenant: Tenant, project: Project | None
) -> None:
    """Never below what is used, nor (a tenant) below what its projects were given."""
    short = []
    for name, limit in wanted.items():
        row = rows.get(name)
        if limit is None or row is None:
            continue
        if limit < max(row.used, row.handed_down):
            short.append(
                {"scope": scope, "resource": name, "limit": limit, "used": row.used, "handed_down": row.handed_down}
            )
    if not short:
        return
    children = Quota.objects.filter(tenant=tenant, resource__in=[s["resource"] for s in short]).exclude(project=None)
    holders = [
        {"kind": "project", "name": row.project.name, "resource": row.resource, "limit": row.limit, "used": row.used}
        for row in children.select_related("project")
        if row.project is not None and (row.limit or row.used) and (project is None or row.project_id == project.id)
    ]
    first = short[0]
    raise Conflict(
        f"{first['resource']}: {first['used']} used, {first['handed_down']} handed down, so {first['limit']} is too low.",
        code="below_use",
        limits=short,
        holders=holders,
    )


def _hand_down(wanted: Limits, rows: Mapping[str, Quota], above: Mapping[str, Quota], zone_id: UUID | None) -> None:
    """Cut the project's new limits from the tenant's rows."""
    refused = []
    for name, limit in wanted.items():
        parent = above.get(name)
        if parent is None:
            if limit != 0 and zone_id is None:
                refused.append(
                    {"scope": "tenant", "resource": name, "zone": None, "limit": 0, "used": 0, "asked": limit}
                )
            continue
        if limit is None and parent.limit is not None:
            raise Invalid({f"limits.{name}": "Unlimited only where the tenant is."})
        was = rows[name].limit or 0 if name in rows else 0
        change = (limit or 0) - was
        if change and parent.limit is not None and parent.handed_down + change > parent.limit:
            refused.append(
                {
                    "scope": "tenant",
                    "resource": name,
                    "zone": str(zone_id) if zone_id else None,
                    "limit": parent.limit,
                    "used": parent.handed_down,
                    "asked": change,
                }
            )
        elif change:
            Quota.objects.filter(pk=parent.pk).update(handed_down=F("handed_down") + change)
    if refused:
        raise exceeded(refused)


def in_use(*, tenant: Tenant, project: Project | None = None) -> list[dict[str, Any]]:
    """What a tenant or project still holds, as holders of a 409."""
    rows = Quota.objects.filter(tenant=tenant, project=project, zone_id=None, used__gt=0)
    return [{"kind": row.resource, "used": row.used} for row in rows]
