"""Who stands where, as the core would be asked for it again: live allocations with their asks rebuilt.

Sees all tenants, so it is for the system's context.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from infra.models import Zone

from .core.ask import Apart, Ask, Group, Level, Policy, Together
from .core.standing import Standing
from .models import Allocation, Move, PoolPhase, ResourcePool


@dataclass(frozen=True)
class Holder:
    """A live allocation, as a row and as the core sees it. `pays`: zone -> the pool there that its project spends from.

    The ask's zones are those that it was asked for and that its project has a pool in today, and the one it stands in.
    """

    allocation_id: UUID
    tenant_id: UUID
    project_id: UUID
    zone_id: UUID
    datastore_id: UUID
    asked_zones: tuple[UUID, ...]
    pays: Mapping[UUID, UUID]
    core: Standing

    @property
    def key(self) -> UUID:
        """The VM's id."""
        return self.core.key


def standing_on(host_ids: Iterable[UUID]) -> list[Holder]:
    """Everybody with room on these hosts, in the order of their keys."""
    return _holders(Allocation.objects.filter(host_id__in=list(host_ids), released=None))


def beside(holders: Sequence[Holder], *, but: Collection[UUID] = ()) -> list[Holder]:
    """Who else belongs to their groups, where they stand; `but` these keys. Who is on its way stands at both ends."""
    groups = {one.core.ask.group.key for one in holders if one.core.ask.group is not None}
    if not groups:
        return []
    known = {one.key for one in holders} | set(but)
    projects = {one.project_id for one in holders}  # a group is a project's own, and the index is by project
    of_them = Allocation.objects.filter(project_id__in=projects, released=None)
    live = of_them.filter(ask__group__key__in=list(groups))
    found = _holders(live)
    there = {move.holder: move for move in Move.objects.filter(ended_at=None, source__in=live)}
    coming = [
        replace(one, core=replace(one.core, host_id=there[one.key].host_id))
        for one in found
        if one.key in there and one.key not in but
    ]
    return [one for one in found if one.key not in known] + coming


def _holders(rows: QuerySet[Allocation]) -> list[Holder]:
    found = list(rows.defer("why").order_by("holder"))
    zones = {zone for row in found for zone in _zones(row)}
    living = set(Zone.objects.filter(pk__in=zones, deleted_at=None).values_list("id", flat=True))
    pays = _pays({(row.tenant_id, row.project_id) for row in found}, living)
    return [_holder(row, pays[row.project_id]) for row in found]


def _holder(row: Allocation, pays: Mapping[UUID, UUID]) -> Holder:
    mine = {**pays, row.zone_id: row.pool_id}
    zones = tuple(zone for zone in _zones(row) if zone in mine)
    return Holder(
        allocation_id=row.id,
        tenant_id=row.tenant_id,
        project_id=row.project_id,
        zone_id=row.zone_id,
        datastore_id=row.datastore_id,
        asked_zones=_zones(row),
        pays=mine,
        core=Standing(
            ask=asked(row, zones, tuple(mine[zone] for zone in zones)),
            host_id=row.host_id,
            datastore_id=row.datastore_id,
            pool=row.pool_id,
            vcpu_from_hold=row.vcpu_from_hold,
            memory_from_hold_mib=row.memory_from_hold_mib,
        ),
    )


def _zones(row: Allocation) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys([*map(UUID, row.ask.get("zones", ())), row.zone_id]))


def asked(row: Allocation, zones: tuple[UUID, ...], pools: tuple[UUID, ...]) -> Ask:
    """The ask that an allocation was granted for, at its present size. Nobody else of its group is known here."""
    kept = row.ask
    return Ask(
        key=row.holder,
        vcpu=row.vcpu,
        memory_mib=row.memory_mib,
        disk_gib=row.storage_gib,
        zones=zones,
        name=str(kept.get("name", "")),
        role=str(kept.get("role", "")),
        pools=pools,
        networks=tuple(map(UUID, kept.get("networks", ()))),
        every_network=tuple(map(UUID, kept.get("every_network", ()))),
        storage_class=kept.get("storage_class"),
        group=_group(kept.get("group")),
        policy=Policy(kept["policy"]) if kept.get("policy") else None,
        **{rule: tuple((key, value) for key, value in kept.get(rule, ())) for rule in ("require", "prefer", "avoid")},
    )


def _group(kept: Mapping[str, Any] | None) -> Group | None:
    if kept is None:
        return None
    return Group(
        key=kept["key"],
        apart=Apart(kept["apart"]) if kept["apart"] else None,
        over_zones=bool(kept["over_zones"]),
        together=Together(kept["together"]) if kept.get("together") else None,
        level=Level(kept.get("level", Level.HOST)),
    )


def _pays(projects: Iterable[tuple[UUID, UUID]], zones: Collection[UUID]) -> dict[UUID, dict[UUID, UUID]]:
    """project -> zone -> the pool that it spends from: its own, else its tenant's."""
    wanted = list(projects)
    rows = ResourcePool.objects.filter(
        tenant_id__in={tenant for tenant, _ in wanted}, zone_id__in=list(zones), deleted_at=None
    ).exclude(phase=PoolPhase.DELETING)
    of_owner: dict[tuple[UUID, UUID | None], dict[UUID, UUID]] = defaultdict(dict)
    for pool in rows:
        of_owner[pool.tenant_id, pool.project_id][pool.zone_id] = pool.id
    return {project: {**of_owner[tenant, None], **of_owner[tenant, project]} for tenant, project in wanted}
