"""VMs that stand, for the tests of drains, and what has become of a fleet when they went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from hypothesis import strategies as st

from scheduler.core.ask import Ask
from scheduler.core.fleet import Fleet, Hold
from scheduler.core.standing import Moved, Standing
from tests.unit.scheduler.fleets import POOLS, ZONES, groups_apart, groups_together, roles
from tests.unit.scheduler.oracle import reaches


@st.composite
def standing_on(draw: st.DrawFn, there: Fleet, most_roles: int = 3) -> list[Standing]:
    """VMs of some roles, each on any host, partly within its pool's guarantee."""
    found = []
    for number in range(draw(st.integers(1, most_roles))):
        key = f"group-{number}"
        groups = draw(st.sampled_from([groups_apart(key), groups_together(key)]))
        for one in draw(roles(start=100 * number, most=3, groups=groups)):
            row = draw(st.sampled_from(there.hosts))
            stores = [chosen.id for chosen in there.datastores if reaches(row, chosen)]
            pool = draw(st.sampled_from([None, POOLS[ZONES.index(row.zone_id)]])) if row.zone_id else None
            found.append(
                Standing(
                    one,
                    row.id,
                    draw(st.sampled_from(stores)) if stores and one.disk_gib is not None else None,
                    pool,
                    draw(st.integers(0, one.vcpu)) if pool else 0,
                    draw(st.integers(0, one.memory_mib)) if pool else 0,
                )
            )
    return found


def asked(
    there: Fleet, standing: Sequence[Standing], going: Collection[UUID], one: Standing, done: Sequence[Moved] = ()
) -> Ask:
    """What this VM asks on its way within its zone, told plainly, when these have gone before it."""
    now = {other.key: other.host_id for other in standing if other.host_id not in going}
    now |= {moved.key: moved.host_id for moved in done}
    group = one.ask.group
    if group is not None:
        keys = [other.key for other in standing if other.ask.group and other.ask.group.key == group.key]
        group = replace(group, members=tuple(now[key] for key in keys if key in now and key != one.key))
    zone = next(row.zone_id for row in there.hosts if row.id == one.host_id)
    pools = () if one.pool is None else (one.pool,)
    return replace(one.ask, group=group, pools=pools, zones=() if zone is None else (zone,))


def carried_out(there: Fleet, standing: Sequence[Standing], moved: Sequence[Moved]) -> Fleet:
    """The fleet when all of these have claimed their new places, counted row by row."""
    vcpu, memory, disk = Counter[UUID](), Counter[UUID](), Counter[UUID]()
    held = {(pool, hold.host_id): hold for pool, holds in there.listed_holds().items() for hold in holds}
    by_key = {one.key: one for one in standing}
    for one in moved:
        was = by_key[one.key]
        vcpu[one.host_id] += was.ask.vcpu - one.vcpu_eaten
        memory[one.host_id] += was.ask.memory_mib - one.memory_eaten_mib
        if one.datastore_id is not None:
            disk[one.datastore_id] += one.disk_gib
        if one.vcpu_eaten or one.memory_eaten_mib:
            assert was.pool is not None
            hold = held[was.pool, one.host_id]
            assert 0 <= one.vcpu_eaten <= hold.vcpu
            assert 0 <= one.memory_eaten_mib <= hold.memory_mib
            held[was.pool, one.host_id] = Hold(
                one.host_id, hold.vcpu - one.vcpu_eaten, hold.memory_mib - one.memory_eaten_mib
            )
    return there.with_changes(
        hosts=[
            row._replace(
                vcpu_claimed=row.vcpu_claimed + vcpu[row.id],
                memory_claimed_mib=row.memory_claimed_mib + memory[row.id],
            )
            for row in there.hosts
        ],
        datastores=[row._replace(claimed_gib=row.claimed_gib + disk[row.id]) for row in there.datastores],
        holds={pool: [hold for (other, _), hold in held.items() if other == pool] for pool, _ in held},
    )


def oversold(before: Fleet, then: Fleet) -> list[str]:
    """What has more claims than it has room, and more than it had."""
    found = []
    for claimed, limit in (("vcpu_claimed", "vcpu_limit"), ("memory_claimed_mib", "memory_limit_mib")):
        for old, row in zip(before.hosts, then.hosts, strict=True):
            if getattr(row, claimed) > max(getattr(old, claimed), getattr(row, limit)):
                found.append(f"{claimed} of {row.name}")
    for lies, chosen in zip(before.datastores, then.datastores, strict=True):
        if chosen.claimed_gib > max(lies.claimed_gib, chosen.limit_gib):
            found.append(f"claimed_gib of {chosen.name}")
    return found


def with_holds(there: Fleet, holds: Sequence[Hold]) -> Fleet:
    """The fleet when these are counted in its hosts' claims."""
    vcpu, memory = Counter[UUID](), Counter[UUID]()
    for hold in holds:
        vcpu[hold.host_id] += hold.vcpu
        memory[hold.host_id] += hold.memory_mib
    rows = [
        row._replace(
            vcpu_claimed=row.vcpu_claimed + vcpu[row.id], memory_claimed_mib=row.memory_claimed_mib + memory[row.id]
        )
        for row in there.hosts
    ]
    return there.with_changes(hosts=rows)
