"""Allocations in bulk, with every counter that they move, as if they had been claimed one by one long ago."""

from __future__ import annotations

import contextlib

from facet.embedded import postgres

HELD = """
set local session_replication_role = replica;  -- what it refers to is there: a million checks of it take minutes
insert into scheduler_allocation (id, tenant_id, project_id, zone_id, pool_id, host_id, datastore_id, holder, vcpu,
    memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, ask, why, created)
select gen_random_uuid(), p.tenant_id, project.id, h.zone_id, p.id, h.id, d.id, gen_random_uuid(), 1, 1024, 10, 0, 0,
       '{}', '{}', now()
from generate_series(1, %s) n
join (select *, row_number() over (order by ref) - 1 as place, count(*) over () as many
      from infra_host where zone_id in (select id from infra_zone where name <> 'hot')) h on h.place = n %% h.many
join infra_datastore d on d.site_id = h.site_id and d.ref = h.datastore_refs ->> 0
join scheduler_resourcepool p on p.zone_id = h.zone_id and p.project_id is null
join tenants_project project on project.tenant_id = p.tenant_id;
create temporary table held on commit drop as
    select host_id, datastore_id, pool_id, zone_id from scheduler_allocation where why = '{}' and released is null;
update infra_host h set vcpu_claimed = vcpu_claimed + n, memory_claimed_mib = memory_claimed_mib + n * 1024,
    changed = pg_current_xact_id() from (select host_id, count(*) as n from held group by 1) a where a.host_id = h.id;
update infra_datastore d set claimed_gib = claimed_gib + n * 10, changed = pg_current_xact_id()
    from (select datastore_id, count(*) as n from held group by 1) a where a.datastore_id = d.id;
update scheduler_resourcepool p set vcpu_used = vcpu_used + n, memory_used_mib = memory_used_mib + n * 1024
    from (select pool_id, count(*) as n from held group by 1) a where a.pool_id = p.id;
update tenants_quota q set used = used + n * case resource when 'vcpu' then 1 when 'memory_mib' then 1024
        when 'storage_gib' then 10 when 'vms' then 1 else 0 end
    from (select count(*) as n from held) a where q.zone_id is null;
update tenants_quota q set used = used + n * case resource when 'vcpu' then 1 when 'memory_mib' then 1024
        when 'storage_gib' then 10 when 'vms' then 1 else 0 end
    from (select zone_id, count(*) as n from held group by 1) a where q.zone_id = a.zone_id;
"""


def hold(server: postgres.Server, count: int) -> None:
    """So many allocations more, spread over the hosts of all zones but the hot one; there is one tenant and project."""
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = False
        cursor.execute(HELD, [count])
        connection.commit()
        connection.autocommit = True
        cursor.execute("analyze")
