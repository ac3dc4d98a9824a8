"""Small fleets and asks for the tests of the core, by hand and by hypothesis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from scheduler.core.ask import Apart, Ask, Group, Level, Plan, Together
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.layout import Datastore, Host, Zone


def uid(kind: int, number: int) -> UUID:
    return UUID(int=(kind << 64) + number)


ZONES = [uid(1, n) for n in range(3)]
HOSTS = [uid(2, n) for n in range(64)]
STORES = [uid(3, n) for n in range(8)]
NETWORKS = [uid(4, n) for n in range(2)]
POOLS = [uid(5, n) for n in range(4)]
AZ1 = (ZONES[0],)
GOLD = tuple((zone, "gold") for zone in ZONES[:2])  # a storage class of these zones


def host(number: int, zone: int = 0, vcpu: int = 8, memory_mib: int = 8, **changes: object) -> Host:
    """A host that reaches datastore 0 and network 0, with nothing claimed."""
    row = Host(
        HOSTS[number], ZONES[zone], vcpu, 0, memory_mib, 0, True, (STORES[0],), (NETWORKS[0],), {}, f"host-{number}"
    )
    return row._replace(**changes)


def store(number: int = 0, limit_gib: int = 1000, zones: Sequence[UUID] = tuple(ZONES), **changes: object) -> Datastore:
    return Datastore(STORES[number], tuple(zones), limit_gib, 0)._replace(**changes)


def fleet(hosts: Sequence[Host], datastores: Sequence[Datastore] = (store(),), **changes: object) -> Fleet:
    zones = [Zone(zone, f"az{at + 1}") for at, zone in enumerate(ZONES)]
    return Fleet.of(hosts, datastores, **{"zones": zones, **changes})


def ask(number: int = 0, vcpu: int = 1, memory_mib: int = 1, disk_gib: int | None = 1, **changes: object) -> Ask:
    return Ask(
        **{"key": uid(9, number), "zones": AZ1, "vcpu": vcpu, "memory_mib": memory_mib, "disk_gib": disk_gib} | changes
    )


def asks(count: int, *args: int, start: int = 0, **changes: object) -> list[Ask]:
    """Interchangeable asks."""
    return [ask(start + number, *args, **changes) for number in range(count)]


def apart(key: str = "control-planes", **changes: object) -> Group:
    return Group(key, Apart.REQUIRED, **changes)


def together(
    key: str = "shards", how: Together = Together.REQUIRED, level: Level = Level.HOST, **changes: object
) -> Group:
    return Group(key, **{"apart": None, "together": how, "level": level} | changes)


def spread_out(plan: Plan) -> Counter[int]:
    """How many each host got, by the host's number."""
    return Counter(HOSTS.index(one.host_id) for one in plan.placements)


def seldom(usual: object, *other: object) -> st.SearchStrategy[Any]:
    """The usual thing three times in four: a batch that nothing fits teaches little."""
    return st.sampled_from([*[usual] * 3 * len(other), *other])


@st.composite
def small_fleets(draw: st.DrawFn, ample_disks: bool = False) -> Fleet:
    """Two to four hosts, some closed or overdrawn, up to three datastores that not every host reaches, some holds."""
    stores = [
        store(
            number,
            limit_gib=1000 if ample_disks else draw(st.integers(1, 5)),
            zones=draw(seldom(ZONES, ZONES[:1])),
            accessible=draw(seldom(True, False)),
            storage_classes=draw(seldom(GOLD, GOLD[:1], GOLD[1:], (*GOLD, (ZONES[0], "fast")), ())),
        )
        for number in range(draw(st.integers(1, 3)))
    ]
    reach = st.lists(st.sampled_from([row.id for row in stores]), unique=True, min_size=1).map(tuple)
    rows = [
        host(
            number,
            zone=draw(seldom(0, 1)),
            vcpu=draw(st.integers(2, 6)),
            memory_mib=draw(st.integers(2, 6)),
            vcpu_claimed=draw(seldom(0, 1, 3)),
            memory_claimed_mib=draw(seldom(0, 1, 3)),
            open=draw(seldom(True, True, False)),
            datastores=draw(reach),
            networks=draw(seldom(tuple(NETWORKS), NETWORKS[:1], NETWORKS[1:]).map(tuple)),
            labels=draw(seldom({"rack": "a"}, {"rack": "b"}, {})),
        )
        for number in range(draw(st.integers(2, 4)))
    ]
    holds = {
        POOLS[zone]: [
            Hold(row.id, draw(st.integers(0, 3)), draw(st.integers(0, 3)))
            for row in rows
            if row.zone_id == ZONES[zone] and draw(st.booleans())
        ]
        for zone in (0, 1)
    }
    return fleet(rows, stores, holds=holds)


def groups_apart(key: str) -> list[Group]:
    return [
        Group(key, Apart.PREFERRED, over_zones=True),
        Group(key, Apart.PREFERRED, members=(HOSTS[0],)),
        apart(key),
        apart(key, members=(HOSTS[1],)),
    ]


def groups_together(key: str) -> list[Group]:
    """All kinds of affinity, some beside anti-affinity; members that stand on a host, on two, on one not known."""
    stand = [(), (), (HOSTS[0],), (HOSTS[0], HOSTS[1], HOSTS[1]), (HOSTS[63],)]
    kept = [
        together(key, how, level, apart=keep)
        for how in Together
        for level in Level
        for keep in (None, Apart.PREFERRED, Apart.REQUIRED)
        if (how, level, keep) != (Together.REQUIRED, Level.HOST, Apart.REQUIRED)
    ]
    return [replace(group, members=members) for group in kept for members in stand]


@st.composite
def roles(
    draw: st.DrawFn,
    start: int = 0,
    most: int = 4,
    single: bool = False,
    ample_disks: bool = False,
    groups: Sequence[Group] | None = None,
) -> list[Ask]:
    """Up to `most` interchangeable asks with any mixture of wishes; `single`: at most one a host.

    `groups`: those they may be of; without, none or one that knows anti-affinity alone.
    """
    key = f"group-{start}"
    group = draw(seldom(None, *groups_apart(key)) if groups is None else st.sampled_from(groups))
    if single and draw(st.booleans()):
        group = apart(key)
    count = draw(st.integers(1, most))
    if single and (group is None or group.apart is not Apart.REQUIRED):
        count = 1
    vcpu, memory = draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 1), (3, 2), (2, 3), (0, 2), (2, 0)]))
    return asks(
        count,
        vcpu,
        memory,
        draw(st.sampled_from([None, 0, 1] if ample_disks else [None, 0, 1, 2, 3])),
        start=start,
        role=f"role-{start}",
        zones=draw(seldom(tuple(ZONES[:2]), AZ1)),
        pools=draw(seldom(tuple(POOLS[:2]), (POOLS[0],), ())),
        networks=draw(seldom((), (NETWORKS[0],), tuple(NETWORKS))),
        every_network=draw(seldom((), (NETWORKS[1],), tuple(NETWORKS))),
        storage_class=draw(seldom(None, "gold")),
        group=group,
        require=draw(seldom((), (("rack", "a"),))),
        prefer=draw(seldom((), (("rack", "b"),))),
        avoid=draw(seldom((), (("rack", "a"),))),
    )


@st.composite
def tight_fleets(draw: st.DrawFn) -> Fleet:
    """Open hosts and small datastores that reach each other crosswise: little room, and several ways to use it."""
    stores = [store(number, limit_gib=draw(st.integers(0, 4))) for number in range(draw(st.integers(1, 4)))]
    reach = st.lists(st.sampled_from([row.id for row in stores]), unique=True, min_size=1).map(tuple)
    rooms = st.integers(1, 8)
    count = draw(st.integers(2, 5))
    return fleet(
        [host(n, vcpu=draw(rooms), memory_mib=draw(rooms), datastores=draw(reach)) for n in range(count)], stores
    )


@st.composite
def tight_roles(draw: st.DrawFn, start: int = 0, most: int = 6) -> list[Ask]:
    """Interchangeable asks without any wish but room, or to stay apart."""
    vcpu, memory = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    group = draw(seldom(None, apart(f"group-{start}")))
    count = draw(st.integers(1, most))
    return asks(count, vcpu, memory, draw(st.integers(0, 2)), start=start, role=f"role-{start}", group=group)
