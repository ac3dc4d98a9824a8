"""Who is in a pool: what keeps it from shrinking and from going. And who has pools: what keeps zones and owners."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q, Sum

from facet.rest.problems import Conflict, InUse
from infra.models import StorageClass

from . import guarantees
from .guarantees import Amounts
from .models import Allocation, Hold, Move, ResourcePool

SHOWN = 20


def holders(pool: ResourcePool) -> list[dict[str, Any]]:
    """What is in a pool: the project pools cut from it, and the VMs that spend from it."""
    children = ResourcePool.objects.filter(parent=pool, deleted_at=None).select_related("project")
    found: list[dict[str, Any]] = [
        {
            "kind": "project pool",
            "id": str(child.id),
            "name": _named(child),
            "limit": {"vcpu": child.vcpu_limit, "memory_mib": child.memory_limit_mib},
            "reserved": _reserved(child),
        }
        for child in children
    ]
    for row in Allocation.objects.filter(pool=pool, released=None).order_by("created", "id")[:SHOWN]:
        found.append(
            {
                "kind": "vm",
                "id": str(row.holder),
                "name": row.ask.get("name") or str(row.holder),
                "vcpu": row.vcpu,
                "memory_mib": row.memory_mib,
            }
        )
    return found


def users(pool: ResourcePool) -> list[dict[str, Any]]:
    """Who has what of a pool's guarantee: the project pools that it was handed to, and the VMs that use it."""
    found = [
        {"kind": "project pool", "id": str(child.id), "name": _named(child), **_reserved(child)}
        for child in ResourcePool.objects.filter(parent=pool, deleted_at=None).select_related("project")
        if child.vcpu_reserved or child.memory_reserved_mib
    ]
    eating = Q(vcpu_from_hold__gt=0) | Q(memory_from_hold_mib__gt=0)
    there = Allocation.objects.filter(eating, pool=pool, released=None).order_by("created", "id")[:SHOWN]
    moving = Move.objects.filter(eating, pool=pool, ended_at=None).select_related("source")
    for row, of in [(row, row) for row in there] + [(row, row.source) for row in moving.order_by("id")[:SHOWN]]:
        found.append(
            {
                "kind": "vm",
                "id": str(row.holder),
                "name": of.ask.get("name") or str(row.holder),
                "vcpu": row.vcpu_from_hold,
                "memory_mib": row.memory_from_hold_mib,
            }
        )
    return found


def eaten(pool: ResourcePool) -> dict[UUID, guarantees.Amounts]:
    """What VMs use of a pool's guarantee, by host."""
    eating = Q(vcpu_from_hold__gt=0) | Q(memory_from_hold_mib__gt=0)
    found: dict[UUID, guarantees.Amounts] = {}
    for rows in (
        Allocation.objects.filter(eating, pool=pool, released=None),
        Move.objects.filter(eating, pool=pool, ended_at=None),
    ):
        for host_id, vcpu, memory_mib in rows.values_list("host_id").annotate(
            Sum("vcpu_from_hold"), Sum("memory_from_hold_mib")
        ):
            found[host_id] = found.get(host_id, guarantees.NOTHING).plus(guarantees.Amounts(vcpu, memory_mib))
    return found


def _named(child: ResourcePool) -> str:
    return f"{child.project.name}/{child.name}" if child.project else child.name


def _reserved(pool: ResourcePool) -> dict[str, int]:
    return {"vcpu": pool.vcpu_reserved, "memory_mib": pool.memory_reserved_mib}


def check_empty(pool: ResourcePool) -> None:
    """Raises InUse unless nobody is in this (locked) pool."""
    if pool.vcpu_used or pool.memory_used_mib or ResourcePool.objects.filter(parent=pool, deleted_at=None).exists():
        raise InUse(f"Pool {pool.name} is in use.", holders=holders(pool))


def check_floor(pool: ResourcePool, *, reserved: Amounts, limit: tuple[int | None, int | None]) -> None:
    """Raises Conflict `below_use` where a (locked) pool would have less than is used of it or handed down."""
    short = []
    for resource, most, used, given in (
        ("vcpu", limit[0], pool.vcpu_used, pool.vcpu_handed_down),
        ("memory_mib", limit[1], pool.memory_used_mib, pool.memory_handed_down_mib),
    ):
        if most is not None and most < max(used, given):
            short.append({"scope": "pool", "resource": resource, "limit": most, "used": used, "handed_down": given})
        column = "vcpu_limit" if resource == "vcpu" else "memory_limit_mib"
        unlimited = ResourcePool.objects.filter(parent=pool, deleted_at=None, **{column: None})
        if most is not None and unlimited.exists():
            short.append({"scope": "pool", "resource": resource, "limit": most, "used": used, "handed_down": None})
    for resource, kept, given in (
        ("vcpu", reserved.vcpu, pool.vcpu_reserved_handed_down),
        ("memory_mib", reserved.memory_mib, pool.memory_reserved_handed_down_mib),
    ):
        if kept < given:
            short.append({"scope": "guarantee", "resource": resource, "limit": kept, "used": 0, "handed_down": given})
    if short:
        first = short[0]
        raise Conflict(
            f"{first['resource']}: {first['used']} used and {first['handed_down']} handed down, so {first['limit']} is "
            "too low.",
            code="below_use",
            limits=short,
            holders=holders(pool),
        )


def all_holds(pool: ResourcePool) -> list[guarantees.Move]:
    """Everything that a pool keeps, on its way back to where it came from."""
    return [
        guarantees.Move(hold.host_id, pool.id, pool.parent_id, hold.vcpu, hold.memory_mib)
        for hold in Hold.objects.filter(pool_id=pool.id).order_by("host_id")
        if hold.vcpu or hold.memory_mib
    ]


def spare_holds(pool: ResourcePool) -> list[guarantees.Move]:
    """A pool's spare room, on its way to become its guarantee."""
    return [
        guarantees.Move(hold.host_id, pool.spare_id, pool.id, hold.vcpu, hold.memory_mib)
        for hold in Hold.objects.filter(pool_id=pool.spare_id).order_by("host_id")
        if hold.vcpu or hold.memory_mib
    ]


def of_quota(project_id: UUID, *, resource: str, zone_id: UUID | None) -> list[dict[str, Any]]:
    """The VMs that hold most of a project's quota of one resource, and how many more there are."""
    columns = {"vcpu": "vcpu", "memory_mib": "memory_mib", "storage_gib": "storage_gib", "vms": "vcpu"}
    if resource not in columns:
        return []
    rows = Allocation.objects.filter(project_id=project_id, released=None).select_related("zone")
    if zone_id is not None:
        rows = rows.filter(zone_id=zone_id)
    found = [
        {
            "kind": "vm",
            "id": str(row.holder),
            "name": row.ask.get("name") or str(row.holder),
            "zone": row.zone.name,
            "vcpu": row.vcpu,
            "memory_mib": row.memory_mib,
            "storage_gib": row.storage_gib,
        }
        for row in rows.order_by(f"-{columns[resource]}", "created", "id")[:SHOWN]
    ]
    more = rows.count() - len(found)
    return found + ([{"kind": "vms", "name": f"{more} more", "count": more}] if more else [])


def of_zone(zone_id: UUID) -> list[dict[str, Any]]:
    return _pools(ResourcePool.objects.filter(zone_id=zone_id))


def of_storage_class(class_id: UUID) -> list[dict[str, Any]]:
    """The VMs that stand in the class's zone, or move there, and were asked for with it. Sees all in IT's context."""
    kind = StorageClass.objects.get(pk=class_id)
    there = Q(zone_id=kind.zone_id) | Q(moves__zone_id=kind.zone_id, moves__ended_at=None)
    rows = Allocation.objects.filter(there, released=None, ask__storage_class=kind.name).distinct()
    return [
        {"kind": "vm", "id": str(row.holder), "name": row.ask.get("name") or str(row.holder)}
        for row in rows.order_by("created", "id")[:SHOWN]
    ]


def of_tenant(tenant_id: UUID) -> list[dict[str, Any]]:
    return _pools(ResourcePool.objects.filter(tenant_id=tenant_id, project=None))


def of_project(project_id: UUID) -> list[dict[str, Any]]:
    return _pools(ResourcePool.objects.filter(project_id=project_id))


def _pools(rows: Any) -> list[dict[str, Any]]:
    """Pools that have not been seen gone, as holders of a 409."""
    living = rows.filter(deleted_at=None).select_related("tenant", "project", "zone").order_by("created_at", "id")
    return [
        {
            "kind": "pool",
            "id": str(pool.id),
            "name": pool.name,
            "zone": pool.zone.name,
            "tenant": pool.tenant.name,
            "project": pool.project.name if pool.project else None,
        }
        for pool in living
    ]
