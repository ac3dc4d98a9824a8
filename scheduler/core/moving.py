"""Finding other hosts for VMs that stand, kind after kind; drain.py says for which of them, and where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any
from uuid import UUID

import numpy as np

from .ask import Ask, Group, Policy
from .fleet import Fleet, Hold
from .layout import Ints, Mask
from .roles import Choice, Order, Role, alike, fill, hardest_first, places_for
from .room import Room
from .standing import Left, Moved, Standing
from .why import refusal, why_these


@dataclass(frozen=True)
class Mover:
    """A VM that goes, and what it asks elsewhere. `guaranteed`: the pool whose guarantee moves along with it."""

    standing: Standing
    ask: Ask
    guaranteed: UUID | None = None

    @property
    def inside(self) -> bool:
        """All of it is within the guarantee: free room is as good as its pool's Hold, which then stays as it is."""
        one = self.standing
        within = one.vcpu_from_hold == self.ask.vcpu and one.memory_from_hold_mib == self.ask.memory_mib
        return self.guaranteed is not None and within


@dataclass(frozen=True)
class Kind:
    """Movers that are equal but for their keys and the hosts that they leave."""

    ask: Ask
    movers: Sequence[Mover]

    def role(self, done: int = 0) -> Role:
        """Those from `done` on."""
        return Role(self.ask, tuple(range(done, len(self.movers))))


@dataclass(frozen=True)
class Found:
    """What some movers of one kind got, in their order."""

    choice: Choice
    disk_gib: int  # claimed; 0: the disks stay
    eaten: Sequence[tuple[int, int]]  # vCPU and MiB out of Holds


@dataclass
class Work:
    """One relocation while it is being decided."""

    fleet: Fleet  # the hosts to leave are closed
    room: Room
    order: Order
    policy: Policy
    members: dict[str, list[UUID]]  # of groups, those that stay: their hosts
    moved: list[Moved] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    back: dict[UUID, list[Hold]] = field(default_factory=lambda: defaultdict(list))  # by pool, what needs a new Hold

    @classmethod
    def of(cls, fleet: Fleet, standing: Sequence[Standing], going: Set[UUID], policy: Policy, seed: int) -> Work:
        closed = fleet.without_hosts(going)
        members: dict[str, list[UUID]] = defaultdict(list)
        for one in standing:
            if one.ask.group is not None and one.host_id not in going:
                members[one.ask.group.key].append(one.host_id)
        return cls(closed, Room(closed), Order.of(fleet, seed), policy, members)

    def move(self, movers: Sequence[Mover]) -> None:
        """Find room for as many of them as there is, the hardest first, and take it."""
        kinds = self._kinds(movers)
        kinds = [kinds[at] for at in hardest_first([kind.ask for kind in kinds])]
        for unit in _units(kinds):
            for kind, found in zip(unit, self._place(unit), strict=True):
                self._record(kind, found, proven=len(kinds) == 1 and not kind.role().together)

    def _kinds(self, movers: Sequence[Mover]) -> list[Kind]:
        """Movers that are equal, with the members of their groups that stay."""
        groups: dict[str, tuple[Group, Group]] = {}
        asks = [self._joined(mover.ask, groups) for mover in movers]
        stays = [store if (store := mover.standing.datastore_id) in self._reach else None for mover in movers]
        also = [(store, mover.inside) for store, mover in zip(stays, movers, strict=True)]
        return [Kind(asks[some[0]], [movers[at] for at in some]) for some in alike(asks, also)]

    def _joined(self, ask: Ask, groups: dict[str, tuple[Group, Group]]) -> Ask:
        """The ask with its group's members that stay; `groups`: by key the last group met, and what became of it."""
        group = ask.group
        if group is None:
            return ask
        told, joined = groups.get(group.key, (None, group))
        if told is not group and told != group:
            joined = replace(group, members=tuple(self.members.get(group.key, ())))
            groups[group.key] = group, joined
        return replace(ask, group=joined)

    def _place(self, unit: Sequence[Kind]) -> list[list[Found]]:
        """What each kind gets. A unit is one kind, or those of a group that must stay together."""
        group = unit[0].ask.group
        if group is not None and unit[0].role().together and not self.room.beside(group).any():
            roles = [replace(kind.role(), ask=replace(kind.ask, disk_gib=None)) for kind in unit]
            best = None
            for among in places_for(roles, group, self.room, self.order, roles[0].ask.policy or self.policy):
                room = self.room.copy()
                found = [self._fill(kind, room, among) for kind in unit]
                count = sum(len(one.choice.hosts) for some in found for one in some)
                if best is None or count > best[0]:
                    best = count, found, room
                if count == sum(len(kind.movers) for kind in unit):
                    break
            if best is not None:
                self.room = best[2]
                return best[1]
        return [self._fill(kind, self.room, None) for kind in unit]

    def _fill(self, kind: Kind, room: Room, among: Mask | None) -> list[Found]:
        found: list[Found] = []
        done = 0
        for ask, reach in self._ways(kind):
            hosts = among if reach is None else reach if among is None else among & reach
            held = room.guaranteed(ask.pools)
            choice = fill(replace(kind.role(done), ask=ask), room, self.order, ask.policy or self.policy, among=hosts)
            found.append(Found(choice, ask.disk_gib or 0, _eaten(ask, choice.hosts, held)))
            done += len(choice.hosts)
            if done == len(kind.movers):
                break
        return found

    def _ways(self, kind: Kind) -> Iterator[tuple[Ask, Mask | None]]:
        """What to ask in turn, and of which hosts: disks stay where they can, Holds where they need not be eaten."""
        mover = kind.movers[0]
        asks = [replace(kind.ask, pools=()), kind.ask] if mover.inside else [kind.ask]
        store = mover.standing.datastore_id
        if kind.ask.disk_gib is not None and store is not None:
            reach = self._reach.get(store)
            if reach is not None:
                yield from ((replace(ask, disk_gib=None), reach) for ask in asks)
        yield from ((ask, None) for ask in asks)

    @cached_property
    def _reach(self) -> dict[UUID, Mask]:
        """The open hosts that reach each accessible datastore."""
        layout = self.fleet.layout
        rows: dict[int, list[int]] = defaultdict(list)
        for row, stores in enumerate(layout.disks.rows):
            for store in stores.tolist():
                rows[store].append(row)
        found = {}
        for store in np.flatnonzero(self.fleet.accessible).tolist():
            hosts = np.isin(layout.disk_row, rows[store]) & self.fleet.open
            if hosts.any():
                found[self.fleet.datastores[store].id] = hosts
        return found

    def _record(self, kind: Kind, found: Sequence[Found], *, proven: bool) -> None:
        movers = iter(kind.movers)
        for one in found:
            whys = why_these(self.fleet, one.choice, kind.ask.policy or self.policy)
            for at, why in enumerate(whys):
                self.moved.append(self._moved(next(movers), one, at, why))
        rest = list(movers)
        if rest:
            asked = len(kind.movers)
            why_not = refusal(self.fleet, kind.ask, self.room, asked=asked, placed=asked - len(rest), proven=proven)
            self.left += [Left(mover.standing.key, mover.standing.host_id, why_not) for mover in rest]

    def _moved(self, mover: Mover, found: Found, at: int, why: Mapping[str, Any]) -> Moved:
        one, ask = mover.standing, mover.ask
        host = self.fleet.hosts[found.choice.hosts[at]]
        store = found.choice.datastores[at]
        vcpu, memory = found.eaten[at] if found.eaten else (0, 0)
        carried, carried_mib = 0, 0
        if mover.guaranteed is not None:
            carried = min(one.vcpu_from_hold, ask.vcpu - vcpu)
            carried_mib = min(one.memory_from_hold_mib, ask.memory_mib - memory)
            back = Hold(one.host_id, one.vcpu_from_hold - carried, one.memory_from_hold_mib - carried_mib)
            if back.vcpu or back.memory_mib:
                self.back[mover.guaranteed].append(back)
        assert host.zone_id is not None  # the zone filter left no other
        return Moved(
            key=one.key,
            source_id=one.host_id,
            zone_id=host.zone_id,
            host_id=host.id,
            datastore_id=one.datastore_id if store < 0 else self.fleet.datastores[store].id,
            disk_gib=found.disk_gib,
            vcpu_eaten=vcpu,
            memory_eaten_mib=memory,
            vcpu_carried=carried,
            memory_carried_mib=carried_mib,
            why=why,
        )


def _units(kinds: Sequence[Kind]) -> Iterator[list[Kind]]:
    """Kinds one by one, but those of a group that must stay together at once; they come side by side."""

    def unit(at: int) -> object:
        group = kinds[at].ask.group
        return group.key if group is not None and kinds[at].role().together else at

    for _, some in groupby(range(len(kinds)), key=unit):
        yield [kinds[at] for at in some]


def _eaten(ask: Ask, hosts: Sequence[int], held: tuple[Ints, Ints] | None) -> list[tuple[int, int]]:
    """What each of these takes out of what was held before; empty when nothing was."""
    if held is None:
        return []
    left: dict[int, tuple[int, int]] = {}
    found = []
    for host in hosts:
        vcpu, memory = left.get(host) or (int(held[0][host]), int(held[1][host]))
        found.append((min(vcpu, ask.vcpu), min(memory, ask.memory_mib)))
        left[host] = vcpu - found[-1][0], memory - found[-1][1]
    return found
