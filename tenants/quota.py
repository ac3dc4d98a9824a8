"""Limits of tenants and projects, and what is held of them. A project's are cut from its tenant's.

Spending is `quota_take()` (SQL, called at the end of the ledger's functions, or by `take` here for what has no room of
its own, such as the number of clusters). Rows are locked project first, then tenant, each by id: the ledger's order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from psycopg2.extras import Json

from facet.operations import engine, events
from facet.rest.access import Actor
from facet.rest.problems import Conflict, Invalid, NotFound

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


@dataclass(frozen=True)
class Sheet:
    """All limits of one tenant or project. `generation` changes with the limits and never with what is used."""

    rows: tuple[Quota, ...]

    @classmethod
    def of(cls, tenant: Tenant, project: Project | None) -> Sheet:
        return cls(tuple(Quota.objects.filter(tenant=tenant, project=project)))

    @property
    def generation(self) -> int:
        limits = [(row["zone"], row["resource"], row["limit"]) for row in show(self.rows, {})]
        return int.from_bytes(hashlib.sha256(json.dumps(limits).encode()).digest()[:6])


def show(rows: Iterable[Quota], zone_names: Mapping[UUID, str]) -> list[dict[str, Any]]:
    """The limits. A zone's row without one only counts: it narrows nothing and is not shown."""
    return [
        {
            "resource": row.resource,
            "zone": zone_names.get(row.zone_id, str(row.zone_id)) if row.zone_id else None,
            "limit": row.limit,
            "used": row.used,
            "handed_down": row.handed_down,
        }
        for row in sorted(rows, key=lambda row: (str(row.zone_id or ""), list(Resource).index(Resource(row.resource))))
        if row.zone_id is None or row.limit is not None
    ]


def lock(tenant: Tenant, project: Project | None) -> None:
    """Until the transaction ends nobody else changes limits here, nor deletes their owner. Raises NotFound if it is."""
    kind = Project if project else Tenant
    owner: Tenant | Project = project or tenant
    if not kind._default_manager.select_for_update(no_key=True).filter(pk=owner.pk, deleted_at=None).exists():
        raise NotFound("There is no such object, or it is not yours.")


def set_limits(
    *, tenant: Tenant, project: Project | None, limits: Limits, zone_id: UUID | None, replace: bool, by: Actor
) -> None:
    """Set the limits of one scope (tenant or project, over all zones or in one). `replace`: those not named go to zero,
    in a zone to no narrowing.

    Raises Conflict where a limit would lie below what is used or handed down, or a project's above what its tenant has.
    """
    lock(tenant, project)
    scope = Quota.objects.filter(tenant=tenant, zone_id=zone_id)
    if zone_id is not None:
        _count_in_zone(tenant, project, zone_id, limits)
    rows = {row.resource: row for row in _locked(scope.filter(project=project))}
    above = {row.resource: row for row in _locked(scope.filter(project=None))} if project else {}
    wanted = dict(limits)
    if replace:
        wanted |= {name: 0 if zone_id is None else None for name in rows if name not in wanted}
    before = {name: row.limit for name, row in rows.items() if name in wanted}
    wanted = {name: limit for name, limit in wanted.items() if name not in before or before[name] != limit}
    if not wanted:
        return
    _check_floor(wanted, rows, tenant, project, zone_id)
    if project is not None:
        _hand_down(wanted, rows, above, zone_id)
    for name, limit in wanted.items():
        if name in rows:
            Quota.objects.filter(pk=rows[name].pk).update(limit=limit)
        else:
            Quota.objects.create(tenant=tenant, project=project, zone_id=zone_id, resource=name, limit=limit)
    owner: Tenant | Project = project or tenant
    events.record(
        "quota.set",
        by=by,
        kind="project" if project else "tenant",
        id=owner.id,
        name=owner.name,
        tenant_id=tenant.id,
        project_id=project.id if project else None,
        message=f"in zone {zone_id}" if zone_id else "",
        before={name: before.get(name, 0) for name in wanted},
        after=wanted,
    )


def _locked(rows: Any) -> list[Quota]:
    return list(rows.order_by("id").select_for_update(no_key=True))


def lock_all(tenant: Tenant, project: Project) -> None:
    """Every row that a project's going touches, in the ledger's order: the project's, then the tenant's."""
    _locked(Quota.objects.filter(project=project))
    _locked(Quota.objects.filter(tenant=tenant, project=None))


def _count_in_zone(tenant: Tenant, project: Project | None, zone_id: UUID, names: Iterable[str]) -> None:
    """A zone's rows stand, without a limit, before any of them is locked; the tenant's too, which know what was handed
    down there. A first claim makes them as well: both in one order, or they would wait for each other."""
    rows = [
        Quota(tenant=tenant, project=owner, zone_id=zone_id, resource=name)
        for owner in ([project, None] if project else [None])
        for name in sorted(names)
    ]
    Quota.objects.bulk_create(rows, ignore_conflicts=True)


def _check_floor(
    wanted: Limits, rows: Mapping[str, Quota], tenant: Tenant, project: Project | None, zone_id: UUID | None
) -> None:
    """Never below what is used, nor (a tenant) below what its projects were given, nor over one that is unlimited."""
    scoped = Quota.objects.filter(tenant=tenant, zone_id=zone_id, resource__in=wanted).select_related("project")
    given = [row for row in scoped.exclude(project=None) if row.project is not None and row.project.deleted_at is None]
    short = []
    for name, limit in wanted.items():
        row = rows.get(name)
        if limit is None or row is None:
            continue
        unlimited = zone_id is None and project is None and any(g.limit is None for g in given if g.resource == name)
        if unlimited or limit < max(row.used, row.handed_down):
            short.append(
                {
                    "scope": "project" if project else "tenant",
                    "resource": name,
                    "zone": str(zone_id) if zone_id else None,
                    "limit": limit,
                    "used": row.used,
                    "handed_down": None if unlimited else row.handed_down,
                }
            )
    if not short:
        return
    names = {line["resource"] for line in short}
    holders = [
        {"kind": "project", "name": row.project.name, "resource": row.resource, "limit": row.limit, "used": row.used}
        for row in given
        if row.project is not None
        and row.resource in names
        and row.limit != 0
        and (project is None or row.project_id == project.id)
    ]
    first = short[0]
    if project is not None:  # and above all what it is used by, in words that the owner knows
        holders += engine.holders("quota", project.id, resource=first["resource"], zone_id=zone_id)
    handed_down = "an unlimited part" if first["handed_down"] is None else first["handed_down"]
    raise Conflict(
        f"{first['resource']}: {first['used']} used and {handed_down} handed down, so {first['limit']} is too low.",
        code="below_use",
        limits=short,
        holders=holders,
    )


def _hand_down(wanted: Limits, rows: Mapping[str, Quota], above: Mapping[str, Quota], zone_id: UUID | None) -> None:
    """Cut the project's new limits from the tenant's rows. In a zone, unlimited means no narrowing."""
    refused = []
    for name, limit in wanted.items():
        parent = above.get(name)
        most = parent.limit if parent else 0
        if limit is None and most is not None and zone_id is None:
            raise Invalid({f"limits.{name}": "Unlimited only where the tenant is."})
        was = rows[name].limit or 0 if name in rows else 0
        given = parent.handed_down if parent else 0
        change = (limit or 0) - was
        if most is not None and given + change > most:
            refused.append(
                {
                    "scope": "tenant",
                    "resource": name,
                    "zone": str(zone_id) if zone_id else None,
                    "limit": most,
                    "used": given,
                    "asked": change,
                }
            )
        elif change and parent is not None:
            Quota.objects.filter(pk=parent.pk).update(handed_down=F("handed_down") + change)
    if refused:
        raise exceeded(refused)


def in_use(*, tenant: Tenant, project: Project | None = None) -> list[dict[str, Any]]:
    """What a tenant or project still holds, as holders of a 409."""
    rows = Quota.objects.filter(tenant=tenant, project=project, zone_id=None, used__gt=0)
    return [{"kind": row.resource, "used": row.used} for row in rows]
