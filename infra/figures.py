"""What is counted when it is asked for: a zone's room, and the versions that images offer."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.db.models import BigIntegerField, F, Sum, Value
from django.db.models.functions import Coalesce, Greatest

from . import bins
from .models import Endpoint, Host, HostState, Image, Zone

COUNTERS = ("limit", "claimed", "unmanaged", "overdrawn")


def capacity_of(zone: Zone) -> dict[str, Any]:
    """Capacity, limit, claims and free room of a zone. A datastore that other zones use too counts in each."""
    hosts = Host.objects.filter(zone=zone)  # of a zone that DRS places in its bin
    opened = hosts.filter(state=HostState.UP, cordoned=False)
    stores = zone.datastores.all()
    usable = stores.filter(accessible=True, present=True)
    addresses = Endpoint.objects.filter(zone=zone)
    return {
        "items": [
            _resource("vcpu", hosts, opened, "cpu_cores", {name: f"vcpu_{name}" for name in COUNTERS}),
            _resource("memory_mib", hosts, opened, "memory_mib", {name: f"memory_{name}_mib" for name in COUNTERS}),
            _resource("storage_gib", stores, usable, "capacity_gib", {name: f"{name}_gib" for name in COUNTERS}),
        ],
        "hosts": dict(Counter(bins.hosts_of(zone).values_list("state", flat=True))),
        "endpoints": {"total": addresses.count(), "free": addresses.filter(holder=None).count()},
    }


def _resource(name: str, rows: Any, opened: Any, capacity: str, columns: dict[str, str]) -> dict[str, Any]:
    sums = {counter: _sum(F(column)) for counter, column in columns.items()}
    found = rows.aggregate(capacity=_sum(F(capacity)), **sums)
    room = F(columns["limit"]) - F(columns["claimed"]) - F(columns["unmanaged"])
    free = opened.aggregate(free=_sum(Greatest(room, Value(0))))
    return {"resource": name} | found | free


def _sum(what: Any) -> Any:
    return Coalesce(Sum(what), 0, output_field=BigIntegerField())


def versions(framework: str | None = None) -> list[dict[str, Any]]:
    """Each version of each framework that a living image offers, with the names of the zones where it does."""
    images = Image.objects.filter(site__deleted_at=None, template__present=True)
    if framework is not None:
        images = images.filter(framework=framework)
    zones: dict[tuple[str, str], set[str]] = {}
    for image in images.prefetch_related("site__zones"):
        where = zones.setdefault((image.framework, image.version), set())
        where |= {zone.name for zone in image.site.zones.all() if zone.deleted_at is None}
    return [
        {"framework": framework, "version": version, "zones": sorted(names)}
        for (framework, version), names in sorted(zones.items())
    ]
