"""Where the VMs of hosts that are to be empty could go: read in IT's context, thought outside of any.

The same core answers the what-if. Each VM keeps its networks, so its new host must reach them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from facet.rest.problems import Conflict
from infra.models import Host, Zone
from scheduler import ledger, services, standing
from scheduler.core import drain as core
from scheduler.core.ask import NoRoom, Policy
from scheduler.core.fleet import Fleet
from scheduler.core.standing import Moved, Relocation
from scheduler.guarantees import Guarantee, chunk_of
from scheduler.models import ResourcePool
from scheduler.moves import Going
from scheduler.standing import Holder
from tenants.models import Project, Quota

from .. import nics
from ..models import VM
from ..volumes import lying

MOST_TOLD = 100
RESOURCES = ("vcpu", "memory_mib", "storage_gib", "vms")


@dataclass(frozen=True)
class Leaving:
    """Who is to leave which hosts of a zone. `host` None: all of them, into the zones that each was asked for in."""

    zone: Zone
    host: Host | None
    host_ids: frozenset[UUID]
    holders: Sequence[Holder]
    beside: Sequence[Holder]  # members of their groups that stay
    kept: Sequence[Guarantee] = ()
    pool_names: Mapping[UUID, str] | None = None
    project_names: Mapping[UUID, tuple[str, str]] | None = None  # its tenant's, its own

    @property
    def seed(self) -> int:
        return (self.host or self.zone).id.int & 0xFFFF_FFFF


def read(zone: Zone, host: Host | None) -> Leaving:
    """Who stands there, with all that a refusal must name. Sees all tenants."""
    rows = [host] if host is not None else list(Host.objects.filter(zone=zone))
    holders = on_their_networks(standing.standing_on(row.id for row in rows))
    projects = Project.objects.filter(pk__in={one.project_id for one in holders}).select_related("tenant")
    pools = ResourcePool.objects.filter(zone=zone, deleted_at=None).select_related("tenant")
    names = {id: f"{pool.tenant.name}/{pool.name}" for pool in pools for id in (pool.id, pool.spare_id)}
    return Leaving(
        zone=zone,
        host=host,
        host_ids=frozenset(row.id for row in rows),
        holders=holders,
        beside=standing.beside(holders),
        kept=services.kept_in(zone.id) if host is not None else (),
        pool_names=names,
        project_names={project.id: (project.tenant.name, project.name) for project in projects},
    )


def on_their_networks(holders: Sequence[Holder]) -> list[Holder]:
    """With the networks that each is on, and where its volumes lie: what its host must reach, every one of them."""
    keys = [one.key for one in holders]
    known = {
        id: () if net is None else (net,) for id, net in VM.objects.filter(pk__in=keys).values_list("id", "network_id")
    }
    known |= nics.networks_of(keys)
    found = [_on_networks(one, known[one.key]) if one.key in known else one for one in holders]
    volumes = lying.beneath(keys)
    return [_with_volumes(one, volumes[one.key]) if one.key in volumes else one for one in found]


def _with_volumes(one: Holder, ids: tuple[UUID, ...]) -> Holder:
    return replace(one, core=replace(one.core, ask=replace(one.core.ask, every_datastore=ids)))


def _on_networks(one: Holder, ids: tuple[UUID, ...]) -> Holder:
    return replace(one, core=replace(one.core, ask=replace(one.core.ask, networks=(), every_network=ids)))


# --- thinking ------------------------------------------------------------------------------------------------------


def relocate(leaving: Leaving, fleet: Fleet, *, avoid: Collection[UUID] = ()) -> Relocation:
    """Other room for all of them on this fleet. `avoid`: further hosts that they shall not go to."""
    elsewhere = [one for one in leaving.beside if one.core.host_id not in leaving.host_ids]
    stands = [one.core for one in [*leaving.holders, *elsewhere]]
    now = fleet.without_hosts(avoid) if avoid else fleet
    if leaving.host is None:
        return core.drain_zone(now, stands, leaving.zone.id, policy=Policy.SPREAD, seed=leaving.seed)
    chunks = {one.pool_id: chunk for one in leaving.kept if (chunk := chunk_of(one, now)) is not None}
    return core.drain(now, stands, leaving.host_ids, policy=Policy.SPREAD, seed=leaving.seed, chunks=chunks)


def prove(leaving: Leaving) -> Relocation:
    """On one full look: that all fit elsewhere. Raises Conflict `no_room` naming who does not."""
    found = relocate(leaving, ledger.look(full=True))
    if not found.fits:
        raise does_not_fit(leaving, [*_left(leaving, found), *_homeless(leaving, found)])
    return found


def _left(leaving: Leaving, found: Relocation) -> list[dict[str, Any]]:
    by_key = {one.key: one for one in leaving.holders}
    return [_told(leaving, by_key[one.key], _why(leaving, by_key[one.key], one.refused)) for one in found.left]


def _why(leaving: Leaving, one: Holder, refused: NoRoom) -> str:
    if leaving.host is None:
        others = [zone for zone in one.asked_zones if zone != leaving.zone.id]
        if not others:
            return "It was asked for in this zone alone."
        if not any(zone in one.pays for zone in others):
            return "Neither its project nor its tenant has a pool in another zone that it was asked for in."
    return _sentence(refused)


def _sentence(refused: NoRoom) -> str:
    """What each filter removed, beside the hosts of other zones."""
    parts = [
        f"{one.removed_hosts} {one.sentence}" for one in refused.reasons if one.filter != "zone" and one.removed_hosts
    ]
    return f"No host is left: {'; '.join(parts)}." if parts else "No zone is left that it may stand in."


def _told(leaving: Leaving, one: Holder, why: str) -> dict[str, Any]:
    tenant, project = (leaving.project_names or {}).get(one.project_id, ("", ""))
    name = one.core.ask.name or str(one.key)
    return {"kind": "vm", "id": str(one.key), "name": name, "tenant": tenant, "project": project, "why": why}


def _homeless(leaving: Leaving, found: Relocation) -> list[dict[str, Any]]:
    names, told = leaving.pool_names or {}, []
    for pool_id, answer in found.holds.items():
        if isinstance(answer, NoRoom):
            tenant, _, name = names.get(pool_id, "/").partition("/")
            why = f"What the pool keeps here finds no other room. {_sentence(answer)}"
            told.append(
                {"kind": "guarantee", "id": str(pool_id), "name": name, "tenant": tenant, "project": "", "why": why}
            )
    return told


def does_not_fit(leaving: Leaving, told: Sequence[Mapping[str, Any]]) -> Conflict:
    what = f"host {leaving.host.name}" if leaving.host else f"zone {leaving.zone.name}"
    first = told[0]
    return Conflict(
        f"{len(told)} of those on {what} would find no other room. {first['kind']} {first['name']}: {first['why']}",
        code="no_room",
        holders=[dict(one) for one in told[:MOST_TOLD]],
    )


def going(leaving: Leaving, moved: Sequence[Moved]) -> list[tuple[Holder, Going]]:
    """What the ledger is to be told of these."""
    by_key = {one.key: one for one in leaving.holders}
    return [(by_key[one.key], _going(by_key[one.key], one)) for one in moved]


def _going(holder: Holder, moved: Moved) -> Going:
    return Going(
        source_id=holder.allocation_id,
        zone_id=moved.zone_id,
        pool_id=holder.pays[moved.zone_id],
        host_id=moved.host_id,
        datastore_id=moved.datastore_id or holder.datastore_id,
        vcpu_eaten=moved.vcpu_eaten,
        memory_eaten_mib=moved.memory_eaten_mib,
        why=dict(moved.why),
    )


# --- limits of the zones that they go to ---------------------------------------------------------------------------


def check_limits(leaving: Leaving, found: Relocation) -> None:
    """In other zones they are charged to the pools and quotas there. Raises Conflict `no_room` naming who is short."""
    moves = [(one, move) for one, move in going(leaving, found.moved) if move.zone_id != one.zone_id]
    short = _short_pools(moves) | _short_quotas(moves)
    if short:
        raise does_not_fit(leaving, [_told(leaving, one, short[one.key]) for one, _ in moves if one.key in short])


def _short_pools(moves: Sequence[tuple[Holder, Going]]) -> dict[UUID, str]:
    pools = {pool.id: pool for pool in ResourcePool.objects.filter(pk__in={move.pool_id for _, move in moves})}
    above = {pool.parent_id for pool in pools.values() if pool.parent_id}
    pools |= {pool.id: pool for pool in ResourcePool.objects.filter(pk__in=above)}
    asked: Counter[tuple[UUID, str]] = Counter()
    paying = {one.key: [move.pool_id, pools[move.pool_id].parent_id] for one, move in moves}
    for one, _ in moves:
        for pool_id in filter(None, paying[one.key]):
            asked[pool_id, "vcpu"] += one.core.ask.vcpu
            asked[pool_id, "memory_mib"] += one.core.ask.memory_mib
    short = {}
    for (pool_id, resource), amount in asked.items():
        pool = pools[pool_id]
        names = ("vcpu_limit", "vcpu_used") if resource == "vcpu" else ("memory_limit_mib", "memory_used_mib")
        limit, used = getattr(pool, names[0]), getattr(pool, names[1])
        if limit is not None and used + amount > limit:
            short[pool_id] = f"Pool {pool.name} there has {limit} {resource}, {used} used; {amount} would come."
    return {key: short[pool] for key, ids in paying.items() for pool in ids if pool in short}


def _short_quotas(moves: Sequence[tuple[Holder, Going]]) -> dict[UUID, str]:
    asked: Counter[tuple[UUID, UUID | None, UUID, str]] = Counter()
    for one, move in moves:
        for resource, amount in zip(RESOURCES, _amounts(one), strict=True):
            for project_id in (one.project_id, None):
                asked[one.tenant_id, project_id, move.zone_id, resource] += amount
    rows = Quota.objects.filter(zone_id__in={move.zone_id for _, move in moves}).exclude(limit=None)
    short = {}
    for row in rows.filter(tenant_id__in={one.tenant_id for one, _ in moves}):
        amount = asked[row.tenant_id, row.project_id, row.zone_id, row.resource]
        if amount and row.used + amount > row.limit:
            why = f"The zone's quota of {row.resource} is {row.limit}, {row.used} used; {amount} would come."
            short[row.tenant_id, row.project_id, row.zone_id] = why
    found = {}
    for one, move in moves:
        for project_id in (one.project_id, None):
            why = short.get((one.tenant_id, project_id, move.zone_id))
            if why is not None:
                found[one.key] = why
    return found


def _amounts(one: Holder) -> tuple[int, int, int, int]:
    ask = one.core.ask
    return ask.vcpu, ask.memory_mib, ask.disk_gib or 0, 1
