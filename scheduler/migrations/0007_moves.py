"""A holder on its way to another host: the destination is claimed first, the source is freed when it was seen there.

While a move is open the destination is counted as any claim: host, datastore (where the disk goes too), the pool's Hold
there. A move into another zone is charged to the pool and the zone's quota rows there as well; what is counted over all
zones is counted once, at the source. The lock order is the ledger's, and hosts are locked before moves are read again:
whoever ends a move, moves a holder or releases it waits for the others there.

What travels: an allocation within its pool's guarantee takes it along, as far as it finds none of the pool at the
destination. So nothing has to be placed anew for it.
"""

import django.db.models.deletion
from django.db import migrations, models

# What somebody has somewhere and gives back. charges: the pool's use is counted by it.
SHARE = """
create type ledger_share as (
    zone uuid, pool uuid, host uuid, datastore uuid, vcpu bigint, memory_mib bigint, storage_gib bigint,
    vcpu_from_hold bigint, memory_from_hold_mib bigint, charges boolean
)
"""

# The one way back. The caller has locked the hosts and datastores of these shares, and has read them again since.
GIVE_BACK = """
create function ledger_give_back(p_tenant uuid, p_project uuid, p_shares ledger_share[], p_quota jsonb) returns void
language plpgsql volatile as $$
begin
    insert into scheduler_hold (id, pool_id, host_id, vcpu, memory_mib)
        select gen_random_uuid(), s.pool, s.host, 0, 0 from unnest(p_shares) s
        where s.vcpu_from_hold > 0 or s.memory_from_hold_mib > 0 group by s.pool, s.host order by s.host, s.pool
        on conflict (pool_id, host_id) do nothing;
    perform 1 from scheduler_hold h
        where exists (select 1 from unnest(p_shares) s where s.pool = h.pool_id and s.host = h.host_id)
        order by h.id for no key update;
    perform 1 from scheduler_resourcepool p
        where p.id in (select pool from unnest(p_shares) s where s.charges)
           or p.id in (select parent_id from scheduler_resourcepool
                       where id in (select pool from unnest(p_shares) s where s.charges))
        order by p.project_id nulls last, p.id for no key update;

    update infra_host h set
        vcpu_claimed = h.vcpu_claimed - a.vcpu, memory_claimed_mib = h.memory_claimed_mib - a.memory_mib,
        vcpu_overdrawn = greatest(0, least(h.vcpu_overdrawn,
            h.vcpu_claimed - a.vcpu + h.vcpu_unmanaged - h.vcpu_limit)),
        memory_overdrawn_mib = greatest(0, least(h.memory_overdrawn_mib,
            h.memory_claimed_mib - a.memory_mib + h.memory_unmanaged_mib - h.memory_limit_mib)),
        changed = pg_current_xact_id()
    from (select host, sum(vcpu - vcpu_from_hold) as vcpu, sum(memory_mib - memory_from_hold_mib) as memory_mib
          from unnest(p_shares) group by host) a where h.id = a.host;
    update infra_datastore d set
        claimed_gib = d.claimed_gib - a.gib,
        overdrawn_gib = greatest(0, least(d.overdrawn_gib, d.claimed_gib - a.gib + d.unmanaged_gib - d.limit_gib)),
        changed = pg_current_xact_id()
    from (select datastore, sum(storage_gib) as gib from unnest(p_shares) group by datastore having sum(storage_gib) > 0) a
    where d.id = a.datastore;
    update scheduler_hold h set vcpu = h.vcpu + a.vcpu, memory_mib = h.memory_mib + a.memory_mib
    from (select pool, host, sum(vcpu_from_hold) as vcpu, sum(memory_from_hold_mib) as memory_mib
          from unnest(p_shares) group by pool, host) a where h.pool_id = a.pool and h.host_id = a.host;
    update scheduler_resourcepool p set
        vcpu_used = p.vcpu_used - a.vcpu, memory_used_mib = p.memory_used_mib - a.memory_mib
    from (select x.id, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select pool as id, vcpu, memory_mib from unnest(p_shares) s where s.charges
              union all
              select p.parent_id, s.vcpu, s.memory_mib from unnest(p_shares) s
              join scheduler_resourcepool p on p.id = s.pool where s.charges and p.parent_id is not null) x
          group by x.id) a
    where p.id = a.id;

    if p_quota <> '[]'::jsonb then
        perform quota_take(p_tenant, p_project, p_quota);
    end if;
end $$;
"""

# What moves into another zone (or out of it) cost of its quota: p_sign 1 to take, -1 to give back. Over all zones zero.
MOVE_QUOTA = """
create function ledger_move_quota(p_zones uuid[], p_vcpu bigint[], p_memory bigint[], p_storage bigint[], p_sign integer)
returns jsonb language sql stable as $$
    select coalesce(jsonb_agg(line), '[]'::jsonb)
    from unnest(p_zones, p_vcpu, p_memory, p_storage) as m (zone, vcpu, memory_mib, storage_gib)
    cross join lateral (values ('vcpu', m.vcpu), ('memory_mib', m.memory_mib), ('storage_gib', m.storage_gib), ('vms', 1))
        as r (resource, amount)
    cross join lateral (values
        (jsonb_build_object('zone', m.zone, 'resource', r.resource, 'amount', p_sign * r.amount)),
        (jsonb_build_object('zone', null, 'resource', r.resource, 'amount', -p_sign * r.amount))) as l (line)
    where r.amount > 0
$$;
"""

# p_plan: {"tenant", "project", "drain",
#          "moves": [{"id", "source": allocation, "zone", "pool", "host", "datastore", "vcpu_eaten", "memory_eaten_mib", "why"}]}
# The amounts are the source's. A datastore that is the source's own: the disk stays. eaten: no more of the pool's Hold
# there, for one that has its guarantee with it; null: what there is.
# Answers null, or {"refused": [{"what": "holder" | "host" | "datastore" | "pool" | "quota", ...}]} with nothing written.
MOVE = """
create function ledger_move(p_plan jsonb) returns jsonb
language plpgsql volatile as $$
declare
    v_tenant uuid := (p_plan ->> 'tenant')::uuid;
    v_project uuid := (p_plan ->> 'project')::uuid;
    asked integer := jsonb_array_length(p_plan -> 'moves');
    refused jsonb := '[]'::jsonb;
    more jsonb;
    lines ledger_line[];
    crossing ledger_line[];
begin
    perform 1 from infra_host where id in (
            select m.host from jsonb_to_recordset(p_plan -> 'moves') as m (host uuid)
            union select a.host_id from jsonb_to_recordset(p_plan -> 'moves') as m (source uuid)
                  join scheduler_allocation a on a.id = m.source)
        order by id for no key update;
    perform 1 from infra_datastore
        where id in (select m.datastore from jsonb_to_recordset(p_plan -> 'moves') as m (datastore uuid))
        order by id for no key update;
    perform 1 from scheduler_hold h
        where exists (select 1 from jsonb_to_recordset(p_plan -> 'moves') as m (pool uuid, host uuid)
                      where m.pool = h.pool_id and m.host = h.host_id)
        order by h.id for no key update;

    -- the hosts are locked: what was released, moved or resized meanwhile has committed, and is no source any more
    select array_agg(row(c.id, c.holder, c.zone, c.pool, c.host, c.datastore, c.vcpu, c.memory_mib, c.storage_gib,
                         c.vcpu_before, c.memory_before,
                         greatest(0, least(c.vcpu_most, coalesce(h.vcpu, 0) - c.vcpu_before)),
                         greatest(0, least(c.memory_most, coalesce(h.memory_mib, 0) - c.memory_before)))::ledger_line
                     order by c.id)
    into lines from (
        select m.id, a.holder, m.zone, m.pool, m.host, m.datastore, a.vcpu, a.memory_mib,
               case when m.datastore = a.datastore_id then 0 else a.storage_gib end as storage_gib,
               least(a.vcpu, m.vcpu_eaten) as vcpu_most, least(a.memory_mib, m.memory_eaten_mib) as memory_most,
               sum(least(a.vcpu, m.vcpu_eaten)) over w - least(a.vcpu, m.vcpu_eaten) as vcpu_before,
               sum(least(a.memory_mib, m.memory_eaten_mib)) over w - least(a.memory_mib, m.memory_eaten_mib) as memory_before
        from jsonb_to_recordset(p_plan -> 'moves') as m (id uuid, source uuid, zone uuid, pool uuid, host uuid,
             datastore uuid, vcpu_eaten bigint, memory_eaten_mib bigint)
        join scheduler_allocation a on a.id = m.source and a.released is null
         and a.tenant_id = v_tenant and a.project_id = v_project and a.host_id <> m.host
        where not exists (select 1 from scheduler_move o where o.holder = a.holder and o.ended_at is null)
        window w as (partition by m.pool, m.host order by m.id rows unbounded preceding)) c
    left join scheduler_hold h on h.pool_id = c.pool and h.host_id = c.host;
    if coalesce(cardinality(lines), 0) < asked then
        return jsonb_build_object('refused', jsonb_build_array(jsonb_build_object('what', 'holder')));
    end if;
    select array_agg(c order by c.id) into crossing from unnest(lines) c
        join jsonb_to_recordset(p_plan -> 'moves') as m (id uuid, source uuid) on m.id = c.id
        join scheduler_allocation a on a.id = m.source and a.zone_id <> c.zone;

    perform 1 from scheduler_resourcepool p
        where p.id in (select pool from unnest(crossing))
           or p.id in (select parent_id from scheduler_resourcepool where id in (select pool from unnest(crossing)))
        order by p.project_id nulls last, p.id for no key update;
    if exists (select 1 from unnest(lines) c left join scheduler_resourcepool p
                   on p.id = c.pool and p.zone_id = c.zone and p.tenant_id = v_tenant
                  and (p.project_id is null or p.project_id = v_project)
               where p.id is null)
       or exists (select 1 from unnest(lines) c
                  join jsonb_to_recordset(p_plan -> 'moves') as m (id uuid, source uuid) on m.id = c.id
                  join scheduler_allocation a on a.id = m.source and a.zone_id = c.zone and a.pool_id <> c.pool) then
        raise exception 'a move spends from a pool of another zone or owner';
    end if;

    select coalesce(jsonb_agg(jsonb_build_object(
        'what', 'host', 'id', h.id, 'name', h.name, 'open', h.state = 'up' and not h.cordoned and z.phase = 'active')
        order by h.id), '[]')
    into refused
    from (select host, zone, sum(vcpu - vcpu_from_hold) as vcpu, sum(memory_mib - memory_from_hold_mib) as memory_mib
          from unnest(lines) group by host, zone) a
    join infra_host h on h.id = a.host
    left join infra_zone z on z.id = h.zone_id
    where h.state <> 'up' or h.cordoned or h.zone_id is distinct from a.zone or z.phase is distinct from 'active'
       or (a.vcpu > 0 and h.vcpu_claimed + h.vcpu_unmanaged + a.vcpu > h.vcpu_limit)
       or (a.memory_mib > 0 and h.memory_claimed_mib + h.memory_unmanaged_mib + a.memory_mib > h.memory_limit_mib);
    select coalesce(jsonb_agg(jsonb_build_object('what', 'datastore', 'id', d.id, 'name', d.name) order by d.id), '[]')
    into more
    from (select datastore, sum(storage_gib) as gib from unnest(lines) group by datastore) a
    join infra_datastore d on d.id = a.datastore
    where not (d.accessible and d.present) or (a.gib > 0 and d.claimed_gib + d.unmanaged_gib + a.gib > d.limit_gib);
    refused := refused || more;
    select coalesce(jsonb_agg(jsonb_build_object(
        'what', 'pool', 'id', p.id, 'name', p.name, 'scope', case when p.project_id is null then 'tenant' else 'project' end,
        'phase', p.phase,
        'vcpu_limit', p.vcpu_limit, 'vcpu_used', p.vcpu_used, 'vcpu_asked', a.vcpu,
        'memory_limit_mib', p.memory_limit_mib, 'memory_used_mib', p.memory_used_mib, 'memory_asked_mib', a.memory_mib)
        order by p.id), '[]')
    into more
    from (select x.id, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select pool as id, vcpu, memory_mib from unnest(crossing)
              union all
              select p.parent_id, c.vcpu, c.memory_mib from unnest(crossing) c
              join scheduler_resourcepool p on p.id = c.pool where p.parent_id is not null) x group by x.id) a
    join scheduler_resourcepool p on p.id = a.id
    where p.phase = 'deleting' or p.deleted_at is not null
       or p.vcpu_used + a.vcpu > p.vcpu_limit or p.memory_used_mib + a.memory_mib > p.memory_limit_mib;
    refused := refused || more;
    if refused <> '[]'::jsonb then
        return jsonb_build_object('refused', refused);
    end if;

    if cardinality(crossing) > 0 then
        select ledger_move_quota(array_agg(c.zone), array_agg(c.vcpu), array_agg(c.memory_mib), array_agg(a.storage_gib), 1)
        into more from unnest(crossing) c
        join scheduler_allocation a on a.holder = c.holder and a.released is null;
        more := quota_take(v_tenant, v_project, more);
        if more is not null then
            return jsonb_build_object('refused',
                (select jsonb_agg(q || jsonb_build_object('what', 'quota')) from jsonb_array_elements(more) q));
        end if;
    end if;

    insert into scheduler_move (id, tenant_id, project_id, drain_id, holder, source_id, zone_id, pool_id, host_id,
            datastore_id, vcpu, memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, why, phase, created_at)
        select c.id, v_tenant, v_project, (p_plan ->> 'drain')::uuid, c.holder, x.source, c.zone, c.pool, c.host,
               c.datastore, c.vcpu, c.memory_mib, c.storage_gib, c.vcpu_from_hold, c.memory_from_hold_mib,
               coalesce(x.why, '{}'), 'claimed', now()
        from unnest(lines) c
        join jsonb_to_recordset(p_plan -> 'moves') as x (id uuid, source uuid, why jsonb) on x.id = c.id;
    update infra_host h set
        vcpu_claimed = h.vcpu_claimed + a.vcpu, memory_claimed_mib = h.memory_claimed_mib + a.memory_mib,
        changed = pg_current_xact_id()
    from (select host, sum(vcpu - vcpu_from_hold) as vcpu, sum(memory_mib - memory_from_hold_mib) as memory_mib
          from unnest(lines) group by host) a where h.id = a.host;
    update infra_datastore d set claimed_gib = d.claimed_gib + a.gib, changed = pg_current_xact_id()
    from (select datastore, sum(storage_gib) as gib from unnest(lines) group by datastore having sum(storage_gib) > 0) a
    where d.id = a.datastore;
    update scheduler_hold h set vcpu = h.vcpu - a.vcpu, memory_mib = h.memory_mib - a.memory_mib
    from (select pool, host, sum(vcpu_from_hold) as vcpu, sum(memory_from_hold_mib) as memory_mib
          from unnest(lines) group by pool, host) a where h.pool_id = a.pool and h.host_id = a.host;
    update scheduler_resourcepool p set
        vcpu_used = p.vcpu_used + a.vcpu, memory_used_mib = p.memory_used_mib + a.memory_mib
    from (select x.id, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select pool as id, vcpu, memory_mib from unnest(crossing)
              union all
              select p.parent_id, c.vcpu, c.memory_mib from unnest(crossing) c
              join scheduler_resourcepool p on p.id = c.pool where p.parent_id is not null) x group by x.id) a
    where p.id = a.id;
    return null;
end $$;
"""

# These moves were seen done: the source's allocation is closed and the new one, of the move's id, opened at one moment.
# Answers the ids that this call ended; those that are ended already are done.
MOVED = """
create function ledger_moved(p_tenant uuid, p_project uuid, p_moves uuid[]) returns uuid[]
language plpgsql volatile as $$
declare
    here scheduler_move[];
    shares ledger_share[];
    crossing jsonb;
begin
    perform 1 from infra_host where id in (
            select a.host_id from scheduler_move m join scheduler_allocation a on a.id = m.source_id where m.id = any (p_moves)
            union select m.host_id from scheduler_move m where m.id = any (p_moves))
        order by id for no key update;
    perform 1 from infra_datastore where id in (
            select a.datastore_id from scheduler_move m join scheduler_allocation a on a.id = m.source_id
            where m.id = any (p_moves) and m.storage_gib > 0)
        order by id for no key update;
    select array_agg(m order by m.id) into here
    from scheduler_move m join scheduler_allocation a on a.id = m.source_id and a.released is null
    where m.id = any (p_moves) and m.tenant_id = p_tenant and m.project_id = p_project and m.ended_at is null;

    -- the guarantee that the source had eaten goes along, as far as none was eaten at the destination
    select array_agg(row(a.zone_id, a.pool_id, a.host_id, a.datastore_id, a.vcpu, a.memory_mib,
                         case when m.storage_gib > 0 then a.storage_gib else 0 end,
                         a.vcpu_from_hold - case when m.pool_id = a.pool_id
                             then least(a.vcpu_from_hold, a.vcpu - m.vcpu_from_hold) else 0 end,
                         a.memory_from_hold_mib - case when m.pool_id = a.pool_id
                             then least(a.memory_from_hold_mib, a.memory_mib - m.memory_from_hold_mib) else 0 end,
                         m.pool_id <> a.pool_id)::ledger_share order by m.id)
    into shares from unnest(here) m join scheduler_allocation a on a.id = m.source_id;
    select ledger_move_quota(array_agg(a.zone_id), array_agg(a.vcpu), array_agg(a.memory_mib), array_agg(a.storage_gib), -1)
    into crossing from unnest(here) m join scheduler_allocation a on a.id = m.source_id and a.zone_id <> m.zone_id;

    update scheduler_allocation a set released = greatest(now(), a.created) from unnest(here) m where a.id = m.source_id;
    insert into scheduler_allocation (id, tenant_id, project_id, zone_id, pool_id, host_id, datastore_id, holder, vcpu,
            memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, ask, why, created)
        select m.id, a.tenant_id, a.project_id, m.zone_id, m.pool_id, m.host_id, m.datastore_id, a.holder, a.vcpu,
               a.memory_mib, a.storage_gib,
               m.vcpu_from_hold + case when m.pool_id = a.pool_id
                   then least(a.vcpu_from_hold, a.vcpu - m.vcpu_from_hold) else 0 end,
               m.memory_from_hold_mib + case when m.pool_id = a.pool_id
                   then least(a.memory_from_hold_mib, a.memory_mib - m.memory_from_hold_mib) else 0 end,
               a.ask, m.why, greatest(now(), a.created)
        from unnest(here) m join scheduler_allocation a on a.id = m.source_id;
    update scheduler_move m set phase = 'done', ended_at = now() from unnest(here) h where m.id = h.id;
    perform ledger_give_back(p_tenant, p_project, shares, crossing);
    return coalesce((select array_agg(m.id order by m.id) from unnest(here) m), '{}');
end $$;
"""

# These moves do not come off: the destination's claim is given back. p_reason null: nobody's fault.
UNDO = """
create function ledger_move_undo(p_tenant uuid, p_project uuid, p_moves uuid[], p_reason jsonb) returns uuid[]
language plpgsql volatile as $$
declare
    here scheduler_move[];
    shares ledger_share[];
    crossing jsonb;
begin
    perform 1 from infra_host where id in (
            select a.host_id from scheduler_move m join scheduler_allocation a on a.id = m.source_id where m.id = any (p_moves)
            union select m.host_id from scheduler_move m where m.id = any (p_moves))
        order by id for no key update;
    perform 1 from infra_datastore
        where id in (select m.datastore_id from scheduler_move m where m.id = any (p_moves) and m.storage_gib > 0)
        order by id for no key update;
    select array_agg(m order by m.id) into here from scheduler_move m
    where m.id = any (p_moves) and m.tenant_id = p_tenant and m.project_id = p_project and m.ended_at is null;
    select array_agg(row(m.zone_id, m.pool_id, m.host_id, m.datastore_id, m.vcpu, m.memory_mib, m.storage_gib,
                         m.vcpu_from_hold, m.memory_from_hold_mib, m.pool_id <> a.pool_id)::ledger_share order by m.id)
    into shares from unnest(here) m join scheduler_allocation a on a.id = m.source_id;
    select ledger_move_quota(array_agg(m.zone_id), array_agg(m.vcpu), array_agg(m.memory_mib), array_agg(a.storage_gib), -1)
    into crossing from unnest(here) m join scheduler_allocation a on a.id = m.source_id and a.zone_id <> m.zone_id;
    update scheduler_move m set phase = 'undone', ended_at = now(), reason = p_reason from unnest(here) h where m.id = h.id;
    perform ledger_give_back(p_tenant, p_project, shares, crossing);
    return coalesce((select array_agg(m.id order by m.id) from unnest(here) m), '{}');
end $$;
"""

# As in 0003, and with it ends the open move of a holder that goes: both claims are given back.
RELEASE = """
create or replace function ledger_release(p_tenant uuid, p_project uuid, p_holders uuid[], p_quota jsonb default '[]')
returns integer language plpgsql volatile as $$
declare
    gone scheduler_allocation[];
    away scheduler_move[];
    shares ledger_share[];
    give_back jsonb;
begin
    perform 1 from infra_host where id in (
            select a.host_id from scheduler_allocation a where a.tenant_id = p_tenant and a.project_id = p_project
               and a.holder = any (p_holders) and a.released is null
            union select m.host_id from scheduler_move m where m.tenant_id = p_tenant and m.project_id = p_project
               and m.holder = any (p_holders) and m.ended_at is null)
        order by id for no key update;
    perform 1 from infra_datastore where id in (
            select a.datastore_id from scheduler_allocation a where a.tenant_id = p_tenant and a.project_id = p_project
               and a.holder = any (p_holders) and a.released is null
            union select m.datastore_id from scheduler_move m where m.tenant_id = p_tenant and m.project_id = p_project
               and m.holder = any (p_holders) and m.ended_at is null)
        order by id for no key update;
    -- the locks are held: a rival that released the same rows has committed, and its rows no longer count
    select array_agg(a order by a.id) into gone from scheduler_allocation a
    where a.tenant_id = p_tenant and a.project_id = p_project and a.holder = any (p_holders) and a.released is null;
    select array_agg(m order by m.id) into away from scheduler_move m
    where m.source_id in (select g.id from unnest(gone) g) and m.ended_at is null;

    select array_agg(s) into shares from (
        select row(g.zone_id, g.pool_id, g.host_id, g.datastore_id, g.vcpu, g.memory_mib, g.storage_gib,
                   g.vcpu_from_hold, g.memory_from_hold_mib, true)::ledger_share as s from unnest(gone) g
        union all
        select row(m.zone_id, m.pool_id, m.host_id, m.datastore_id, m.vcpu, m.memory_mib, m.storage_gib,
                   m.vcpu_from_hold, m.memory_from_hold_mib, m.pool_id <> g.pool_id)::ledger_share
        from unnest(away) m join unnest(gone) g on g.id = m.source_id) x;
    update scheduler_allocation a set released = greatest(now(), a.created) from unnest(gone) g where a.id = g.id;
    update scheduler_move m set phase = 'undone', ended_at = now() from unnest(away) w where m.id = w.id;

    select coalesce(jsonb_agg(x), '[]') into give_back from (
        select zone_id as zone, 'vcpu' as resource, -sum(vcpu) as amount from unnest(gone) group by zone_id
        union all select zone_id, 'memory_mib', -sum(memory_mib) from unnest(gone) group by zone_id
        union all select zone_id, 'storage_gib', -sum(storage_gib) from unnest(gone) group by zone_id
        union all select zone_id, 'vms', -count(*) from unnest(gone) group by zone_id
        union all select (q ->> 'zone')::uuid, q ->> 'resource', -(q ->> 'amount')::bigint
                  from jsonb_array_elements(p_quota) q) x;
    select give_back || coalesce(
        ledger_move_quota(array_agg(m.zone_id), array_agg(m.vcpu), array_agg(m.memory_mib), array_agg(g.storage_gib), -1),
        '[]'::jsonb)
    into give_back from unnest(away) m join unnest(gone) g on g.id = m.source_id and g.zone_id <> m.zone_id;
    perform ledger_give_back(p_tenant, p_project, shares, give_back);
    return coalesce(cardinality(gone), 0);
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0006_row_security_of_moves")]
    operations = [
        migrations.AddField(
            model_name="move",
            name="zone",
            field=models.ForeignKey(
                default=None,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="moves",
                to="infra.zone",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="move",
            name="pool",
            field=models.ForeignKey(
                default=None,
                help_text="who pays at the destination",
                on_delete=django.db.models.deletion.PROTECT,
                related_name="moves",
                to="scheduler.resourcepool",
            ),
            preserve_default=False,
        ),
        migrations.RunSQL(SHARE, "drop type ledger_share"),
        migrations.RunSQL(GIVE_BACK, "drop function ledger_give_back(uuid, uuid, ledger_share[], jsonb)"),
        migrations.RunSQL(MOVE_QUOTA, "drop function ledger_move_quota(uuid[], bigint[], bigint[], bigint[], integer)"),
        migrations.RunSQL(MOVE, "drop function ledger_move(jsonb)"),
        migrations.RunSQL(MOVED, "drop function ledger_moved(uuid, uuid, uuid[])"),
        migrations.RunSQL(UNDO, "drop function ledger_move_undo(uuid, uuid, uuid[], jsonb)"),
        migrations.RunSQL(RELEASE, migrations.RunSQL.noop),
    ]
