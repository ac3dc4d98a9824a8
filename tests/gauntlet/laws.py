"""The laws, each as a query that answers the rows which break it. They are read together, in one short snapshot.

`claimed + unmanaged <= limit` holds everywhere, or `limit + overdrawn`, and overdrawn rises only where the outside took
room away; every counter is the sum of the rows that live; nothing is without an owner; a holder has room once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from tests.factories import as_system
from tests.gauntlet.course import BARE, INJURIES

# What somebody has somewhere: a live allocation, or the claim of an open move at its destination.
_SHARES = """
with share as (
    select a.id, a.holder, a.tenant_id, a.project_id, a.zone_id, a.pool_id, a.host_id, a.datastore_id, a.vcpu,
        a.memory_mib, a.storage_gib, a.storage_gib as disk_gib, a.vcpu_from_hold, a.memory_from_hold_mib,
        true as everywhere, true as here
    from scheduler_allocation a where a.released is null
    union all
    select m.id, m.holder, m.tenant_id, m.project_id, m.zone_id, m.pool_id, m.host_id, m.datastore_id, m.vcpu,
        m.memory_mib, m.storage_gib, a.storage_gib, m.vcpu_from_hold, m.memory_from_hold_mib,
        false, m.pool_id <> a.pool_id
    from scheduler_move m join scheduler_allocation a on a.id = m.source_id where m.ended_at is null
)
"""

NOT_OVERSOLD = {
    "host within its limit": """
        select name, vcpu_claimed, vcpu_unmanaged, vcpu_limit, vcpu_overdrawn, memory_claimed_mib, memory_unmanaged_mib,
            memory_limit_mib, memory_overdrawn_mib
        from infra_host
        where vcpu_claimed + vcpu_unmanaged > vcpu_limit + vcpu_overdrawn
           or memory_claimed_mib + memory_unmanaged_mib > memory_limit_mib + memory_overdrawn_mib""",
    "datastore within its limit": """
        select name, claimed_gib, unmanaged_gib, limit_gib, overdrawn_gib from infra_datastore
        where claimed_gib + unmanaged_gib > limit_gib + overdrawn_gib""",
    "pool within its limits": """
        select name, tenant_id, project_id, vcpu_used, vcpu_handed_down, vcpu_limit, memory_used_mib,
            memory_handed_down_mib, memory_limit_mib, vcpu_reserved_handed_down, vcpu_reserved
        from scheduler_resourcepool
        where greatest(vcpu_used, vcpu_handed_down) > vcpu_limit
           or greatest(memory_used_mib, memory_handed_down_mib) > memory_limit_mib
           or vcpu_reserved_handed_down > vcpu_reserved or memory_reserved_handed_down_mib > memory_reserved_mib""",
    "quota within its limit": """
        select tenant_id, project_id, zone_id, resource, used, handed_down, "limit" from tenants_quota
        where greatest(used, handed_down) > "limit" """,
}

BOOKS = {
    "overdrawn is what is short, and no more": """
        select 'host', name, vcpu_claimed, vcpu_unmanaged, vcpu_limit, vcpu_overdrawn, memory_claimed_mib,
            memory_unmanaged_mib, memory_limit_mib, memory_overdrawn_mib
        from infra_host
        where vcpu_overdrawn <> greatest(0, vcpu_claimed + vcpu_unmanaged - vcpu_limit)
           or memory_overdrawn_mib <> greatest(0, memory_claimed_mib + memory_unmanaged_mib - memory_limit_mib)""",
    "a host's claims are what stands there and what is held": _SHARES
    + """
        select h.name, h.vcpu_claimed, coalesce(s.vcpu, 0) + coalesce(k.vcpu, 0), h.memory_claimed_mib,
            coalesce(s.memory, 0) + coalesce(k.memory, 0)
        from infra_host h
        left join (select host_id, sum(vcpu) as vcpu, sum(memory_mib) as memory from share group by 1) s
            on s.host_id = h.id
        left join (select host_id, sum(vcpu) as vcpu, sum(memory_mib) as memory from scheduler_hold group by 1) k
            on k.host_id = h.id
        where h.vcpu_claimed <> coalesce(s.vcpu, 0) + coalesce(k.vcpu, 0)
           or h.memory_claimed_mib <> coalesce(s.memory, 0) + coalesce(k.memory, 0)""",
    "a datastore's claims are the disks and volumes on it": _SHARES
    + """
        select d.name, d.claimed_gib, coalesce(s.gib, 0) from infra_datastore d
        left join (select datastore_id, sum(storage_gib) as gib
                   from (select datastore_id, storage_gib from share union all
                         select datastore_id, storage_gib from scheduler_volumeclaim where released is null) x
                   group by 1) s on s.datastore_id = d.id
        where d.claimed_gib <> coalesce(s.gib, 0)""",
    "a pool's use is what spends from it": _SHARES
    + """
        select p.name, p.tenant_id, p.project_id, p.vcpu_used, s.vcpu, p.memory_used_mib, s.memory
        from scheduler_resourcepool p
        cross join lateral (
            select coalesce(sum(s.vcpu), 0) as vcpu, coalesce(sum(s.memory_mib), 0) as memory from share s
            join scheduler_resourcepool own on own.id = s.pool_id and p.id in (own.id, own.parent_id)
            where s.here) s
        where p.vcpu_used <> s.vcpu or p.memory_used_mib <> s.memory""",
    "a guarantee is what is held, what is eaten of it and what is handed down": _SHARES
    + """
        select p.name, p.tenant_id, p.project_id, p.vcpu_reserved, k.vcpu, s.vcpu, p.vcpu_reserved_handed_down,
            p.memory_reserved_mib, k.memory, s.memory, p.memory_reserved_handed_down_mib, p.vcpu_spare, e.vcpu
        from scheduler_resourcepool p
        cross join lateral (select coalesce(sum(vcpu), 0) as vcpu, coalesce(sum(memory_mib), 0) as memory
                            from scheduler_hold where pool_id = p.id) k
        cross join lateral (select coalesce(sum(vcpu), 0) as vcpu, coalesce(sum(memory_mib), 0) as memory
                            from scheduler_hold where pool_id = p.spare_id) e
        cross join lateral (select coalesce(sum(vcpu_from_hold), 0) as vcpu,
                                coalesce(sum(memory_from_hold_mib), 0) as memory from share where pool_id = p.id) s
        where p.vcpu_reserved <> k.vcpu + s.vcpu + p.vcpu_reserved_handed_down
           or p.memory_reserved_mib <> k.memory + s.memory + p.memory_reserved_handed_down_mib
           or p.vcpu_spare <> e.vcpu or p.memory_spare_mib <> e.memory""",
    "a pool hands down what its parts were given": """
        select p.name, p.tenant_id, p.vcpu_handed_down, c.vcpu, p.memory_handed_down_mib, c.memory,
            p.vcpu_reserved_handed_down, c.vcpu_kept, p.memory_reserved_handed_down_mib, c.memory_kept
        from scheduler_resourcepool p
        cross join lateral (
            select coalesce(sum(vcpu_limit), 0) as vcpu, coalesce(sum(memory_limit_mib), 0) as memory,
                coalesce(sum(vcpu_reserved), 0) as vcpu_kept, coalesce(sum(memory_reserved_mib), 0) as memory_kept
            from scheduler_resourcepool where parent_id = p.id and phase <> 'deleting' and deleted_at is null) c
        where p.project_id is null
          and (p.vcpu_handed_down, p.memory_handed_down_mib, p.vcpu_reserved_handed_down,
               p.memory_reserved_handed_down_mib) is distinct from (c.vcpu, c.memory, c.vcpu_kept, c.memory_kept)""",
    "a quota's use is what is held of it": _SHARES
    + """
        select q.tenant_id, q.project_id, q.zone_id, q.resource, q.used, s.used + v.used from tenants_quota q
        cross join lateral (
            select coalesce(sum(case q.resource when 'storage_gib' then c.storage_gib
                                when 'volumes' then 1 else 0 end), 0) as used
            from scheduler_volumeclaim c
            where c.released is null and c.tenant_id = q.tenant_id
              and (q.project_id is null or c.project_id = q.project_id)
              and (q.zone_id is null or c.zone_id = q.zone_id)) v
        cross join lateral (
            select coalesce(sum(case q.resource when 'vcpu' then s.vcpu when 'memory_mib' then s.memory_mib
                                when 'storage_gib' then s.disk_gib when 'vms' then 1 else 0 end), 0)
                as used
            from share s where s.tenant_id = q.tenant_id and (q.project_id is null or s.project_id = q.project_id)
              and case when q.zone_id is null then s.everywhere else s.zone_id = q.zone_id and s.here end) s
        where q.resource in ('vcpu', 'memory_mib', 'storage_gib', 'vms', 'volumes') and q.used <> s.used + v.used""",
    "a tenant's quota hands down what its projects were given": """
        select q.tenant_id, q.zone_id, q.resource, q.handed_down, p.given from tenants_quota q
        cross join lateral (select coalesce(sum("limit"), 0) as given from tenants_quota g
            where g.tenant_id = q.tenant_id and g.project_id is not null and g.resource = q.resource
              and g.zone_id is not distinct from q.zone_id) p
        where q.project_id is null and q.handed_down <> p.given""",
}

OWNERS = {
    "a holder has room once": """
        select holder, count(*) from scheduler_allocation where released is null group by 1 having count(*) > 1""",
    "a holder is on one way at most": """
        select holder, count(*) from scheduler_move where ended_at is null group by 1 having count(*) > 1""",
    "a move leads from where its holder stands": """
        select m.id, m.holder from scheduler_move m left join scheduler_allocation a
            on a.id = m.source_id and a.holder = m.holder and a.released is null
        where m.ended_at is null and (a.id is null or a.vcpu <> m.vcpu or a.memory_mib <> m.memory_mib)""",
    "what is held has a VM of that size, and a VM has room": f"""
        select v.id, a.holder, v.vcpu, a.vcpu, v.memory_mib, a.memory_mib, v.disk_gib, a.storage_gib
        from (select * from scheduler_allocation where released is null
              and project_id not in (select id from tenants_project where name = '{BARE}')) a
        full join (select * from workloads_vm where deleted_at is null) v on v.id = a.holder
        where (v.vcpu, v.memory_mib, v.disk_gib) is distinct from (a.vcpu, a.memory_mib, a.storage_gib)""",
    "a Hold belongs to a pool that lives": """
        select k.pool_id, k.host_id, k.vcpu, k.memory_mib from scheduler_hold k
        where (k.vcpu > 0 or k.memory_mib > 0) and not exists (
            select 1 from scheduler_resourcepool p where k.pool_id in (p.id, p.spare_id) and p.deleted_at is null)""",
    "an allocation is of its owner's pool, in the zone of its host, and eats no more than it is": """
        select a.id, a.holder from scheduler_allocation a
        join scheduler_resourcepool p on p.id = a.pool_id
        join infra_host h on h.id = a.host_id
        where a.released is null and (
            p.tenant_id <> a.tenant_id or p.project_id <> a.project_id or p.zone_id <> a.zone_id
            or p.deleted_at is not null or h.zone_id is distinct from a.zone_id
            or a.vcpu_from_hold > a.vcpu or a.memory_from_hold_mib > a.memory_mib)""",
    "nothing is released before it was made": """
        select id, created, released from scheduler_allocation where released < created""",
}

LAWS: Mapping[str, str] = NOT_OVERSOLD | BOOKS | OWNERS
SHOWN = 5

_OVERDRAWN = f"""
    select id, name, vcpu_overdrawn, memory_overdrawn_mib, coalesce(times, 0)
    from infra_host left join {INJURIES} on row_id = id
    union all
    select id, name, overdrawn_gib, 0, coalesce(times, 0) from infra_datastore left join {INJURIES} on row_id = id"""


@dataclass
class Referee:
    """Reads the laws again and again; remembers what was overdrawn, to tell the outside's doing from ours."""

    seen: dict[UUID, tuple[int, int, int]] = field(default_factory=dict)

    def broken(self) -> list[str]:
        """Each law that is broken now, with the first rows that break it."""
        with as_system(), connection.cursor() as cursor:
            cursor.execute("set transaction isolation level repeatable read, read only")
            found = []
            for law, query in LAWS.items():
                cursor.execute(query)
                rows = cursor.fetchall()
                found += [f"{law}: {len(rows)}, as {_shown(rows)}"] if rows else []
            cursor.execute(_OVERDRAWN)
            return found + list(self._drawn(cursor.fetchall()))

    def _drawn(self, rows: list[tuple[Any, ...]]) -> Iterator[str]:
        for id, name, first, second, times in rows:
            before = self.seen.get(id, (0, 0, 0))
            if (first > before[0] or second > before[1]) and times == before[2]:
                yield f"overdrawn rises only where the outside took room: {name}, {before[:2]} to {(first, second)}"
            self.seen[id] = (first, second, times)


def _shown(rows: list[tuple[Any, ...]]) -> str:
    return "; ".join("(" + ", ".join(map(str, row)) + ")" for row in rows[:SHOWN])
