"""What a plan must keep, and whether one exists: all rules and all plans, written without the core's code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from scheduler.core.ask import Apart, Ask, Group, Level, Plan, Together
from scheduler.core.fleet import Fleet
from scheduler.core.layout import Datastore, Host


def broken_rules(batch: Sequence[Ask], there: Fleet, plan: Plan) -> list[str]:
    """Every rule that the plan breaks, in words; empty is good."""
    hosts = {row.id: row for row in there.hosts}
    stores = {row.id: row for row in there.datastores}
    active = {zone.id for zone in there.zones if zone.active}
    found = []
    if [one.key for one in plan.placements] != [one.key for one in batch]:
        found.append("not the asks that were asked, in their order")
    for wanted, got in zip(batch, plan.placements, strict=False):
        row = hosts[got.host_id]
        if got.zone_id != row.zone_id or row.zone_id not in wanted.zones:
            found.append("outside the allowed zones")
        if not row.open or row.zone_id not in active:
            found.append("on a closed host")
        if wanted.networks and not set(wanted.networks) & set(row.networks):
            found.append("without its network")
        if not set(wanted.every_network) <= set(row.networks):
            found.append("without one of its networks")
        if not all(row.labels.get(name) == value for name, value in wanted.require):
            found.append("without a required label")
        if (got.datastore_id is None) != (wanted.disk_gib is None):
            found.append("with a datastore for nothing, or without one")
        if got.datastore_id is not None:
            found += _bad_store(wanted, row, stores[got.datastore_id])
    return [
        *found,
        *_oversold_hosts(batch, there, plan),
        *_oversold_stores(batch, there, plan),
        *_too_close(batch, plan),
        *_parted(batch, there, plan),
    ]


def reaches(row: Host, chosen: Datastore) -> bool:
    return chosen.id in row.datastores and row.zone_id in chosen.zones and chosen.accessible


def _bad_store(wanted: Ask, row: Host, chosen: Datastore) -> Iterator[str]:
    if not reaches(row, chosen):
        yield "on a datastore that it cannot use"
    if wanted.storage_class is not None and (row.zone_id, wanted.storage_class) not in chosen.storage_classes:
        yield "on a datastore of another class"


def _oversold_hosts(batch: Sequence[Ask], there: Fleet, plan: Plan) -> Iterator[str]:
    """As the ledger counts: what a pool's asks want on a host, less its hold there, must fit limit less claimed."""
    held = {(pool, hold.host_id): hold for pool, holds in there.listed_holds().items() for hold in holds}
    for row in there.hosts:
        mine = [wanted for wanted, got in zip(batch, plan.placements, strict=False) if got.host_id == row.id]
        for resource, limit, claimed in (
            ("vcpu", row.vcpu_limit, row.vcpu_claimed),
            ("memory_mib", row.memory_limit_mib, row.memory_claimed_mib),
        ):
            by_pool: Counter[UUID | None] = Counter()
            for wanted in mine:
                here = [pool for pool in wanted.pools if (pool, row.id) in held]
                by_pool[here[0] if here else None] += getattr(wanted, resource)
            new = sum(
                max(0, amount - (getattr(held[pool, row.id], resource) if pool else 0))
                for pool, amount in by_pool.items()
            )
            if new and claimed + new > limit:
                yield f"{resource} oversold"


def _oversold_stores(batch: Sequence[Ask], there: Fleet, plan: Plan) -> Iterator[str]:
    for row in there.datastores:
        new = sum(w.disk_gib for w, got in zip(batch, plan.placements, strict=False) if got.datastore_id == row.id)
        if new and row.claimed_gib + new > row.limit_gib:
            yield "datastore oversold"


def _too_close(batch: Sequence[Ask], plan: Plan) -> Iterator[str]:
    for wanted, got in zip(batch, plan.placements, strict=False):
        if wanted.group is None or wanted.group.apart is not Apart.REQUIRED:
            continue
        others = [
            other.host_id
            for ask_, other in zip(batch, plan.placements, strict=False)
            if ask_.group and ask_.group.key == wanted.group.key and other.key != got.key
        ]
        if got.host_id in [*others, *wanted.group.members]:
            yield "two members on one host"


def place_of(group: Group, row: Host) -> UUID | None:
    """What the host's members of this group share with others."""
    return row.id if group.level is Level.HOST else row.zone_id


def standing_places(group: Group, there: Fleet) -> set[UUID]:
    """The hosts (zones) of the members that stand, as far as they are known."""
    found = {place_of(group, row) for row in there.hosts if row.id in group.members}
    return found & ({row.id for row in there.hosts} | {zone.id for zone in there.zones})


def _parted(batch: Sequence[Ask], there: Fleet, plan: Plan) -> Iterator[str]:
    hosts = {row.id: row for row in there.hosts}
    groups = {wanted.group for wanted in batch if wanted.group and wanted.group.together is Together.REQUIRED}
    for group in groups:
        got = {
            place_of(group, hosts[one.host_id])
            for wanted, one in zip(batch, plan.placements, strict=False)
            if wanted.group == group
        }
        stand = standing_places(group, there)
        if (stand and not got <= stand) or (not stand and len(got) > 1):
            yield "members parted that must be together"


def plan_exists(batch: Sequence[Ask], there: Fleet, disks: Mapping[UUID, UUID | None] | None = None) -> bool:
    """Whether any plan keeps all rules: tries all, ask by ask, on plain counters.

    `disks`: for an ask's key the datastore where its disk lies already; it stays there where the host reaches it.
    """
    room = _Counters(there, disks or {})
    return _any_plan(list(batch), room, 0)


def most_that_fit(batch: Sequence[Ask], there: Fleet) -> int:
    """The largest number of these interchangeable asks that has a plan."""
    return max(count for count in range(len(batch) + 1) if plan_exists(batch[:count], there))


class _Counters:
    def __init__(self, there: Fleet, disks: Mapping[UUID, UUID | None]) -> None:
        self.there = there
        self.disks = disks
        self.active = {zone.id for zone in there.zones if zone.active}
        self.free = {
            row.id: [max(0, row.vcpu_limit - row.vcpu_claimed), max(0, row.memory_limit_mib - row.memory_claimed_mib)]
            for row in there.hosts
        }
        self.space = {row.id: max(0, row.limit_gib - row.claimed_gib) for row in there.datastores}
        self.held = {
            (pool, hold.host_id): [hold.vcpu, hold.memory_mib]
            for pool, holds in there.listed_holds().items()
            for hold in holds
        }
        self.groups: list[tuple[str, UUID]] = []

    def hosts_for(self, wanted: Ask) -> Iterator[Host]:
        for row in self.there.hosts:
            if row.zone_id not in wanted.zones or not row.open or row.zone_id not in self.active:
                continue
            reached = set(row.networks)
            if (wanted.networks and not set(wanted.networks) & reached) or not set(wanted.every_network) <= reached:
                continue
            if not all(row.labels.get(name) == value for name, value in wanted.require):
                continue
            if wanted.group and wanted.group.apart is Apart.REQUIRED and self._has_member(wanted.group, row):
                continue
            if wanted.group and wanted.group.together is Together.REQUIRED and self._parts(wanted.group, row):
                continue
            yield row

    def _has_member(self, group: Group, row: Host) -> bool:
        return row.id in group.members or (group.key, row.id) in self.groups

    def _parts(self, group: Group, row: Host) -> bool:
        hosts = {one.id: one for one in self.there.hosts}
        taken = {place_of(group, hosts[host]) for key, host in self.groups if key == group.key}
        places = standing_places(group, self.there) | taken
        return bool(places) and place_of(group, row) not in places

    def stores_for(self, wanted: Ask, row: Host) -> Iterator[UUID | None]:
        if wanted.disk_gib is None:
            yield None
            return
        lies = next((one for one in self.there.datastores if one.id == self.disks.get(wanted.key)), None)
        if lies is not None and reaches(row, lies):
            yield None
            return
        for chosen in self.there.datastores:
            if not any(_bad_store(wanted, row, chosen)) and self.space[chosen.id] >= wanted.disk_gib:
                yield chosen.id


def _any_plan(batch: list[Ask], room: _Counters, at: int) -> bool:
    if at == len(batch):
        return True
    wanted = batch[at]
    for row in list(room.hosts_for(wanted)):
        held = next((room.held[pool, row.id] for pool in wanted.pools if (pool, row.id) in room.held), [0, 0])
        want = [wanted.vcpu, wanted.memory_mib]
        eaten = [min(held[i], want[i]) for i in (0, 1)]
        if any(want[i] - eaten[i] > room.free[row.id][i] for i in (0, 1)):
            continue
        for chosen in list(room.stores_for(wanted, row)):
            _claim(room, wanted, row.id, chosen, held, want, eaten, 1)
            if _any_plan(batch, room, at + 1):
                return True
            _claim(room, wanted, row.id, chosen, held, want, eaten, -1)
    return False


def _claim(
    room: _Counters,
    wanted: Ask,
    row: UUID,
    chosen: UUID | None,
    held: list[int],
    want: list[int],
    eaten: list[int],
    sign: int,
) -> None:
    for i in (0, 1):
        held[i] -= sign * eaten[i]
        room.free[row][i] -= sign * (want[i] - eaten[i])
    if chosen is not None:
        room.space[chosen] -= sign * (wanted.disk_gib or 0)
    if wanted.group:
        entry = (wanted.group.key, row)
        room.groups.append(entry) if sign > 0 else room.groups.remove(entry)
