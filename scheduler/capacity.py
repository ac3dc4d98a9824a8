"""A zone's room as IT plans with it: what there is, what is promised, what still fits, and when it will be full."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum

from infra import figures
from infra.models import Zone

from . import foresight, ledger, services
from .core.counting import counts_of, fragmentation
from .models import Hold, ResourcePool

COLUMNS = {"vcpu": "vcpu", "memory_mib": "memory_mib"}
NOTHING = 0


def of_zone(zone: Zone) -> dict[str, Any]:
    """Counts over all tenants: ask it in IT's context. What fits is told by one full look."""
    found = figures.capacity_of(zone)
    reserved = _sums(
        ResourcePool.objects.filter(zone=zone, project=None, deleted_at=None), "vcpu_reserved", "memory_reserved_mib"
    )
    kept = _sums(Hold.objects.filter(host__zone=zone), "vcpu", "memory_mib")
    for row in found["items"]:
        row["guaranteed"] = reserved.get(row["resource"], NOTHING)
        row["guaranteed_free"] = kept.get(row["resource"], NOTHING)
    fleet = ledger.look(full=True)
    shapes = services.shapes()
    counts = counts_of(shapes, fleet, zone.id)
    by_size = sorted(shapes, key=lambda shape: (shape.memory_mib, shape.vcpu, shape.name), reverse=True)
    rows = {row["resource"]: row for row in found["items"]}
    return found | {
        "largest_flavor": next((shape.name for shape in by_size if counts[shape.name]), None),
        "flavors": [{"flavor": shape.name, "count": counts[shape.name]} for shape in by_size],
        "fragmentation": fragmentation(shapes, fleet, zone.id),
        "failover_hosts": zone.failover_hosts,
        "forecast": foresight.of_zone(
            zone.id,
            {name: row["limit"] for name, row in rows.items()},
            {name: row["unmanaged"] + row["guaranteed_free"] for name, row in rows.items()},
        ),
    }


def _sums(rows: Any, vcpu: str, memory: str) -> dict[str, int]:
    found = rows.aggregate(vcpu=Sum(vcpu), memory_mib=Sum(memory))
    return {name: amount or 0 for name, amount in found.items()}
