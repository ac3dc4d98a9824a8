"""What if? Suppositions about a zone, answered on a full look by the code that places, and touching nothing.

`suppose` reads, in IT's context; `Supposed.answer` thinks, outside of any. Quotas and pools' limits are left aside: a
what-if is about room. Each kind is carried out on the simulator by tests/integration/test_foretold.py, and compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import connection

from facet.rest.problems import Conflict, Invalid
from infra.models import Datastore, Placement, Zone
from infra.models import Host as HostRow
from tenants.models import Project

from . import history, ledger, refusals, services, standing
from .core import drain
from .core.ask import NoRoom, Policy, Shape
from .core.counting import counts_of, fragmentation
from .core.fleet import Fleet
from .core.replay import replay
from .core.standing import Left, Moved, Relocation, Standing
from .core.whatif import add_hosts
from .guarantees import Guarantee, chunk_of
from .models import ResourcePool

LEAVING = ("drain_hosts", "drain_zone", "lose_zone")
SHOWN = 1000
SEED = 1
NOBODY = UUID(int=0)

# With more hosts each keeps a smaller part of itself free (infra/capacity.py): the limits of all, by the one formula.
_LIMITS = """
select h.id, host_limit(h.cpu_cores, z.cpu_overcommit, z.failover_hosts, z.hosts_counted + %(more)s),
    host_limit(h.memory_mib, z.memory_overcommit, z.failover_hosts, z.hosts_counted + %(more)s)
from infra_host h join infra_zone z on z.id = h.zone_id where z.id = %(zone)s and z.failover_hosts > 0
"""


@dataclass(frozen=True)
class Names:
    """What ids are called, for people."""

    hosts: Mapping[UUID, str]
    zones: Mapping[UUID, str]
    datastores: Mapping[UUID, str]
    pools: Mapping[UUID, tuple[str, str]]  # its name and its tenant's
    owners: Mapping[UUID, tuple[str, str, str]]  # by the VM's key: its name, its tenant's, its project's


@dataclass(frozen=True)
class Supposed:
    """A supposition with all that was read for it."""

    kind: str
    zone: Zone
    shapes: Sequence[Shape]
    names: Names
    stands: Sequence[Standing] = ()
    going: frozenset[UUID] = frozenset()  # the hosts that they leave
    kept: Sequence[Guarantee] = ()
    spare: Mapping[UUID, Sequence[UUID]] = field(
        default_factory=dict
    )  # by the VM's key: Holds that other zones keep for this
    granted: Sequence[history.Granted] = ()
    days: int = 0
    count: int = 0
    like: UUID | None = None
    limits: Mapping[UUID, tuple[int, int]] = field(default_factory=dict)  # by host, where more hosts change them

    def answer(self) -> dict[str, Any]:
        """What would happen. Runs outside any transaction."""
        now = ledger.look(full=True)
        if self.kind == "add_hosts":
            return self._told(now, self._with_hosts(now), moved=[], left=[], asked=0)
        if self.kind == "replay":
            fleet, requests = self._with_hosts(now), history.requests(self.granted, self.zone.id, self.days)
            left = [
                Left(ask.key, NOBODY, one.refused)
                for one in replay(fleet, requests, policy=Policy.SPREAD, seed=SEED)
                for ask in one.request.asks
            ]
            return self._told(now, fleet, moved=[], left=left, asked=sum(len(one.asks) for one in requests))
        relocation = self.relocated(now)
        asked = len(relocation.moved) + len(relocation.left)
        after = carried_out(now, relocation, self.stands, self.going)
        return self._told(now, after, relocation.moved, relocation.left, asked, relocation)

    def _with_hosts(self, now: Fleet) -> Fleet:
        if not self.count or self.like is None:
            return now
        rows = [(now.hosts[now.layout.hosts[id]], of) for id, of in self.limits.items() if id in now.layout.hosts]
        now = now.with_changes(
            hosts=[row._replace(vcpu_limit=vcpu, memory_limit_mib=memory) for row, (vcpu, memory) in rows]
        )
        return add_hosts(now, now.hosts[now.layout.hosts[self.like]], self.count, self.zone.id)

    def relocated(self, now: Fleet) -> Relocation:
        """Who would go where, when hosts are left."""
        options: dict[str, Any] = {"policy": Policy.SPREAD, "seed": SEED}
        if self.kind == "drain_hosts":
            chunks = {one.pool_id: chunk for one in self.kept if (chunk := chunk_of(one, now)) is not None}
            return drain.drain(now, on_their_networks(self.stands, now), self.going, chunks=chunks, **options)
        if self.kind == "drain_zone":
            return drain.drain_zone(now, on_their_networks(self.stands, now), self.zone.id, **options)
        return drain.lose_zone(now, self.stands, self.zone.id, pools=self.spare, **options)

    def _told(
        self,
        before: Fleet,
        after: Fleet,
        moved: Sequence[Moved],
        left: Sequence[Left],
        asked: int,
        relocation: Relocation | None = None,
    ) -> dict[str, Any]:
        short = {} if relocation is None else {p: f for p, f in relocation.holds.items() if isinstance(f, NoRoom)}
        return {
            "kind": self.kind,
            "fits": not left and not short,
            "sentence": _sentence(self.kind, asked, len(left), len(short)),
            "asked": asked,
            "placed": asked - len(left),
            "moves": [self._move(one) for one in moved[:SHOWN]],
            "unplaced": [self._unplaced(one) for one in left[:SHOWN]],
            "guarantees": [self._lacking(pool, before) for pool in short],
            "before": self._fit(before),
            "after": self._fit(after),
        }

    def _fit(self, fleet: Fleet) -> dict[str, Any]:
        counts = counts_of(self.shapes, fleet, self.zone.id)
        flavors = [{"flavor": name, "count": count} for name, count in counts.items()]
        return {"flavors": flavors, "fragmentation": fragmentation(self.shapes, fleet, self.zone.id)}

    def _whose(self, key: UUID, source: UUID) -> dict[str, Any]:
        vm, tenant, project = self.names.owners[key]
        return {"id": key, "vm": vm, "tenant": tenant, "project": project, "from": self.names.hosts.get(source, "")}

    def _move(self, one: Moved) -> dict[str, Any]:
        store = "" if one.datastore_id is None else self.names.datastores[one.datastore_id]
        to = {"to": self.names.hosts[one.host_id], "zone": self.names.zones[one.zone_id], "datastore": store}
        return self._whose(one.key, one.source_id) | to

    def _unplaced(self, one: Left) -> dict[str, Any]:
        said = refusals.no_room(one.refused).document()
        why = {"sentence": said["detail"], "filters": said["filters"], "limits": said["limits"]}
        return self._whose(one.key, one.source_id) | why

    def _lacking(self, pool: UUID, before: Fleet) -> dict[str, Any]:
        held = [hold for hold in before.listed_holds().get(pool, []) if hold.host_id in self.going]
        name, tenant = self.names.pools.get(pool, ("", ""))
        amounts = {"vcpu": sum(hold.vcpu for hold in held), "memory_mib": sum(hold.memory_mib for hold in held)}
        return {"pool": name, "tenant": tenant, **amounts}


def on_their_networks(stands: Sequence[Standing], now: Fleet) -> list[Standing]:
    """Who moves keeps the network that it is on: of those that it was asked for with, the first that its host reaches
    (the rooms above choose it so)."""
    known = {one.host_id for one in stands} & now.layout.hosts.keys()
    reached = {id: now.hosts[now.layout.hosts[id]].networks for id in known}
    found = []
    for one in stands:
        mine = next((network for network in one.ask.networks if network in reached.get(one.host_id, ())), None)
        found.append(one if mine is None else replace(one, ask=replace(one.ask, networks=(mine,))))
    return found


def carried_out(now: Fleet, relocation: Relocation, stands: Sequence[Standing], going: Collection[UUID]) -> Fleet:
    """The fleet when all who can have moved, and the hosts that they left take nothing more."""
    more: dict[UUID, list[int]] = defaultdict(lambda: [0, 0])
    disks: dict[UUID, int] = defaultdict(int)
    sizes = {one.key: one.ask for one in stands}
    for one in relocation.moved:
        more[one.host_id][0] += sizes[one.key].vcpu - one.vcpu_eaten
        more[one.host_id][1] += sizes[one.key].memory_mib - one.memory_eaten_mib
        if one.datastore_id is not None:
            disks[one.datastore_id] += one.disk_gib
    for found in relocation.holds.values():
        for hold in () if isinstance(found, NoRoom) else found:
            more[hold.host_id][0] += hold.vcpu
            more[hold.host_id][1] += hold.memory_mib
    rows = [(now.hosts[now.layout.hosts[id]], amounts) for id, amounts in more.items()]
    stores = [(now.datastores[now.layout.datastores[id]], gib) for id, gib in disks.items()]
    return now.with_changes(
        hosts=[
            row._replace(vcpu_claimed=row.vcpu_claimed + vcpu, memory_claimed_mib=row.memory_claimed_mib + memory)
            for row, (vcpu, memory) in rows
        ],
        datastores=[row._replace(claimed_gib=row.claimed_gib + gib) for row, gib in stores],
    ).without_hosts(going)


def _sentence(kind: str, asked: int, left: int, short: int) -> str:
    if kind == "add_hosts":
        return "So much more would fit."
    told = f"All {asked} VMs would find room." if not left else f"Of {asked} VMs {left} would find no room."
    return told + (f" {short} guarantees would lack room." if short else "")


# --- reading -------------------------------------------------------------------------------------------------------


def suppose(
    zone: Zone,
    *,
    kind: str,
    hosts: Sequence[str] = (),
    count: int = 0,
    like: str = "",
    days: int = 0,
) -> Supposed:
    """Read what this needs, of all tenants. Raises Invalid naming the field for hosts that are not there, and Conflict
    for what would happen to single hosts of a zone that DRS places in: it is reckoned with as a whole.
    """
    if zone.placement == Placement.DRS and (kind == "drain_hosts" or count):
        raise Conflict(f"DRS places in zone {zone.name}: its hosts are reckoned with together.", code="placed_by_drs")
    rows = list(HostRow.objects.filter(zone=zone).order_by("name", "id"))
    going: frozenset[UUID] = frozenset()
    if kind in LEAVING:
        going = frozenset(_named(rows, hosts, "hosts") if kind == "drain_hosts" else (row.id for row in rows))
    holders = standing.standing_on(going) if going else []
    stand = [*holders, *standing.beside(holders)]
    granted = history.granted(zone, days) if kind == "replay" else []
    called = {one.key: (one.core.ask.name, one.project_id) for one in stand}
    called |= {row.holder: (row.name, row.project_id) for row in granted}
    return Supposed(
        kind=kind,
        zone=zone,
        shapes=services.shapes(),
        names=_names(zone, called),
        stands=[one.core for one in stand],
        going=going,
        kept=services.kept_in(zone.id) if kind == "drain_hosts" else (),
        spare=_spare(holders, zone) if kind == "lose_zone" else {},
        granted=granted,
        days=days,
        count=count,
        like=next(iter(_named(rows, [like], "like")), None) if like else None,
        limits=_limits(zone, count) if count else {},
    )


def _limits(zone: Zone, more: int) -> dict[UUID, tuple[int, int]]:
    """What the zone's hosts would have with so many more beside them; empty where that changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute(_LIMITS, {"zone": zone.id, "more": more})
        return {id: (vcpu, memory) for id, vcpu, memory in cursor.fetchall()}


def _named(rows: Sequence[HostRow], names: Sequence[str], field: str) -> list[UUID]:
    by_name = {row.name: row.id for row in rows}
    missing = sorted(set(names) - set(by_name))
    if missing:
        raise Invalid({field: f"No such host in the zone: {', '.join(missing[:5])}."})
    return [by_name[name] for name in dict.fromkeys(names)]


def _names(zone: Zone, called: Mapping[UUID, tuple[str, UUID]]) -> Names:
    """Hosts, zones and datastores of the site; whose these VMs are (key -> name, project); the pools of the zone."""
    pools = ResourcePool.objects.filter(zone=zone, deleted_at=None).select_related("tenant")
    kept = {id: (pool.name, pool.tenant.name) for pool in pools for id in (pool.id, pool.spare_id)}
    rows = Project.objects.filter(pk__in={project_id for _, project_id in called.values()}).select_related("tenant")
    projects = {row.id: (row.tenant.name, row.name) for row in rows}
    owners = {key: (name or str(key), *projects[project_id]) for key, (name, project_id) in called.items()}
    return Names(
        hosts=dict(HostRow.objects.filter(site_id=zone.site_id).values_list("id", "name")),
        zones=dict(Zone.objects.filter(site_id=zone.site_id).values_list("id", "name")),
        datastores=dict(Datastore.objects.filter(site_id=zone.site_id).values_list("id", "name")),
        pools=kept,
        owners=owners,
    )


def _spare(holders: Sequence[standing.Holder], zone: Zone) -> dict[UUID, list[UUID]]:
    """For each VM the spare room that its tenant's pools in other zones keep for the loss of this one, where its own
    pool is one of those that are guaranteed to survive that."""
    flagged = ResourcePool.objects.filter(survives_zone_loss=True, project=None, deleted_at=None)
    mine = set(flagged.filter(zone=zone).values_list("tenant_id", flat=True))
    kept: dict[UUID, list[UUID]] = defaultdict(list)
    for tenant_id, spare_id in flagged.exclude(zone=zone).values_list("tenant_id", "spare_id"):
        kept[tenant_id].append(spare_id)
    return {one.key: kept[one.tenant_id] for one in holders if one.tenant_id in mine}
