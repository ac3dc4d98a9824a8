"""The ground of a race: zones of few hosts that are nearly full, and tenants with pools and quotas that fight for them.

Each tenant has two projects. In `web` every claim has its VM, written and marked as gone in the ledger's transactions,
as the product does. In `bare` holders have no VM: nothing but the ledger itself stands between rivals for one holder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connections

from facet.rest.dbtypes import CurrentXid
from infra.models import Datastore, Host, Zone
from scheduler.guarantees import NOTHING, Amounts
from scheduler.models import ResourcePool
from tenants.models import Project, Tenant
from tests import factories, room
from tests.factories import as_system
from tests.room import GIB

BARE = "bare"
INJURIES = "gauntlet_injury"
RESERVED = Amounts(12, 16 * GIB)


@dataclass(frozen=True)
class Size:
    """How large a course is. Amounts are of one host, one datastore, one tenant (None: as much as it likes)."""

    zones: int = 2
    hosts: int = 4
    stores: int = 3
    tenants: int = 3
    host_vcpu: int = 16
    host_memory_mib: int = 32 * GIB
    store_gib: int = 400
    tenant_vcpu: int = 80
    pool_vcpu: int | None = 40
    reserved: Amounts = RESERVED
    overcommit: int = 1


@dataclass(frozen=True)
class Place:
    """A zone with its hosts and datastores, as they were made."""

    zone: Zone
    hosts: Sequence[Host]
    stores: Sequence[Datastore]


@dataclass(frozen=True)
class Course:
    places: Sequence[Place]
    tenants: Sequence[Tenant]
    projects: Sequence[Project]  # web and bare of each tenant

    @property
    def zones(self) -> Sequence[Zone]:
        return [place.zone for place in self.places]


def made(size: Size) -> Course:
    """A course in the database of this process, which is empty but for what migrations left."""
    places = [_place(number, size) for number in range(1, size.zones + 1)]
    tenants = [factories.tenant(f"t{number}", _limits(size, 1)) for number in range(1, size.tenants + 1)]
    projects = [factories.project(tenant, name, _limits(size, 2)) for tenant in tenants for name in ("web", BARE)]
    for place in places:
        for tenant in tenants:
            _pool(place, tenant, size)
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            f"create table if not exists {INJURIES} (row_id uuid primary key, times bigint not null);"
            f"grant all on {INJURIES} to facet_app, facet_system"
        )
    return Course(places, tenants, projects)


def _place(number: int, size: Size) -> Place:
    land = room.land(
        hosts=size.hosts, vcpu=size.host_vcpu, memory_mib=size.host_memory_mib, storage_gib=size.store_gib,
        name=f"az{number}", cpu_overcommit=size.overcommit,
    )  # fmt: skip
    with as_system():
        stores = [land.datastore] + [_store(land, at, size) for at in range(2, size.stores + 1)]
        refs = sorted(store.ref for store in stores)
        Host.objects.filter(zone=land.zone).update(
            datastore_refs=refs, vcpu_limit=size.host_vcpu * size.overcommit, changed=CurrentXid()
        )
        hosts = list(Host.objects.filter(zone=land.zone).order_by("id"))
    return Place(land.zone, hosts, stores)


def _store(land: room.Land, number: int, size: Size) -> Datastore:
    name = f"ds-{number}"
    made = Datastore.objects.create(
        site=land.zone.site, ref=name, name=name, capacity_gib=size.store_gib, free_gib=size.store_gib,
        limit_gib=size.store_gib,
    )  # fmt: skip
    made.zones.add(land.zone)
    return made


def _limits(size: Size, part: int) -> dict[str, int | None]:
    wide = {name: amount * 1000 // part for name, amount in factories.PLENTY.items()}
    return {**wide, "vcpu": size.tenant_vcpu // part}


def _pool(place: Place, tenant: Tenant, size: Size) -> ResourcePool:
    land = room.Land(place.zone, place.hosts, place.stores[0])
    kept = size.reserved != NOTHING
    return room.pool(
        land, tenant, model="flex" if kept else "on-demand", reserved=size.reserved, limit=limit(size.pool_vcpu),
        largest_shape="small" if kept else "",
    )  # fmt: skip


def limit(vcpu: int | None) -> Any:
    """A pool's limit of so many vCPUs, and of 2 GiB for each."""
    return type(room.UNLIMITED)(vcpu, None if vcpu is None else vcpu * 2 * GIB)


def injured(ids: Sequence[UUID]) -> None:
    """Write down, in the transaction that does it, that these hosts or datastores lose room to the outside."""
    note = f"insert into {INJURIES} values (%s, 1) on conflict (row_id) do update set times = {INJURIES}.times + 1"
    with connections["default"].cursor() as cursor:
        for id in sorted(ids):
            cursor.execute(note, [id])
