"""The ledger: the only writer of allocations, and of the counters of hosts, datastores, holds, pools and quotas.

One lock order everywhere: host -> datastore -> hold -> pool (project, tenant) -> quota (project, tenant). A guard reads
only columns of rows that are locked already. ARCHITECTURE.md, "Ledger", says why each line is as it is.
"""

from django.db import migrations

LINE = """
create type ledger_line as (
    id uuid, holder uuid, zone uuid, pool uuid, host uuid, datastore uuid, vcpu bigint, memory_mib bigint,
    storage_gib bigint, vcpu_before bigint, memory_before bigint, vcpu_from_hold bigint, memory_from_hold_mib bigint
)
"""

# p_plan: {"tenant", "project",
#          "claims": [{"id", "holder", "zone", "pool", "host", "datastore", "vcpu", "memory_mib", "storage_gib", "ask", "why"}],
#          "quota": [{"zone", "resource", "amount"}]}          (zone null: counted over all zones only)
# Answers null, or {"refused": [{"what": "holder" | "host" | "datastore" | "pool" | "quota", ...}]} with nothing written.
COMMIT = """
create function ledger_commit(p_plan jsonb) returns jsonb
language plpgsql volatile as $$
declare
    v_tenant uuid := (p_plan ->> 'tenant')::uuid;
    v_project uuid := (p_plan ->> 'project')::uuid;
    refused jsonb := '[]'::jsonb;
    quota_refused jsonb;
    lines ledger_line[];
begin
    select array_agg(row(c.id, c.holder, c.zone, c.pool, c.host, c.datastore, c.vcpu, c.memory_mib, c.storage_gib,
                         c.vcpu_before, c.memory_before, 0, 0)::ledger_line order by c.id)
    into lines from (
        select c.*, sum(c.vcpu) over w - c.vcpu as vcpu_before, sum(c.memory_mib) over w - c.memory_mib as memory_before
        from jsonb_to_recordset(p_plan -> 'claims') as c (id uuid, holder uuid, zone uuid, pool uuid, host uuid,
             datastore uuid, vcpu bigint, memory_mib bigint, storage_gib bigint)
        window w as (partition by c.pool, c.host order by c.id rows unbounded preceding)) c;

    perform 1 from infra_host where id in (select host from unnest(lines)) order by id for no key update;
    perform 1 from infra_datastore where id in (select datastore from unnest(lines)) order by id for no key update;
    perform 1 from scheduler_hold h
        where exists (select 1 from unnest(lines) c where c.pool = h.pool_id and c.host = h.host_id)
        order by h.id for no key update;
    perform 1 from scheduler_resourcepool p
        where p.id in (select pool from unnest(lines))
           or p.id in (select parent_id from scheduler_resourcepool where id in (select pool from unnest(lines)))
        order by p.project_id nulls last, p.id for no key update;

    if exists (select 1 from unnest(lines) c left join scheduler_resourcepool p
                   on p.id = c.pool and p.zone_id = c.zone and p.tenant_id = v_tenant
                  and (p.project_id is null or p.project_id = v_project)
               where p.id is null) then
        raise exception 'a claim spends from a pool of another zone or owner';
    end if;

    -- what each claim eats of its pool's guarantee on that host: first come (by id), first served
    select array_agg(row(c.id, c.holder, c.zone, c.pool, c.host, c.datastore, c.vcpu, c.memory_mib, c.storage_gib,
                         c.vcpu_before, c.memory_before,
                         greatest(0, least(c.vcpu, coalesce(h.vcpu, 0) - c.vcpu_before)),
                         greatest(0, least(c.memory_mib, coalesce(h.memory_mib, 0) - c.memory_before)))::ledger_line
                     order by c.id)
    into lines from unnest(lines) c left join scheduler_hold h on h.pool_id = c.pool and h.host_id = c.host;

    select coalesce(jsonb_agg(jsonb_build_object('what', 'holder', 'id', a.holder) order by a.holder), '[]')
    into refused from scheduler_allocation a
    where a.holder in (select holder from unnest(lines)) and a.released is null;

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'host', 'id', h.id, 'name', h.name, 'open', h.state = 'up' and not h.cordoned and z.phase = 'active',
        'vcpu_free', h.vcpu_limit - h.vcpu_claimed - h.vcpu_unmanaged, 'vcpu_asked', a.vcpu,
        'memory_free_mib', h.memory_limit_mib - h.memory_claimed_mib - h.memory_unmanaged_mib,
        'memory_asked_mib', a.memory_mib) order by h.id), '[]')
    into refused
    from (select host, zone, sum(vcpu - vcpu_from_hold) as vcpu, sum(memory_mib - memory_from_hold_mib) as memory_mib
          from unnest(lines) group by host, zone) a
    join infra_host h on h.id = a.host
    left join infra_zone z on z.id = h.zone_id
    where h.state <> 'up' or h.cordoned or h.zone_id is distinct from a.zone or z.phase is distinct from 'active'
       or (a.vcpu > 0 and h.vcpu_claimed + h.vcpu_unmanaged + a.vcpu > h.vcpu_limit)
       or (a.memory_mib > 0 and h.memory_claimed_mib + h.memory_unmanaged_mib + a.memory_mib > h.memory_limit_mib);

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'datastore', 'id', d.id, 'name', d.name, 'open', d.accessible and d.present,
        'free_gib', d.limit_gib - d.claimed_gib - d.unmanaged_gib, 'asked_gib', a.gib) order by d.id), '[]')
    into refused
    from (select datastore, sum(storage_gib) as gib from unnest(lines) group by datastore) a
    join infra_datastore d on d.id = a.datastore
    where not (d.accessible and d.present) or (a.gib > 0 and d.claimed_gib + d.unmanaged_gib + a.gib > d.limit_gib);

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'pool', 'id', p.id, 'name', p.name, 'scope', case when p.project_id is null then 'tenant' else 'project' end,
        'phase', p.phase,
        'vcpu_limit', p.vcpu_limit, 'vcpu_used', p.vcpu_used, 'vcpu_asked', a.vcpu,
        'memory_limit_mib', p.memory_limit_mib, 'memory_used_mib', p.memory_used_mib, 'memory_asked_mib', a.memory_mib)
        order by p.id), '[]')
    into refused
    from (select x.id, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select pool as id, vcpu, memory_mib from unnest(lines)
              union all
              select p.parent_id, c.vcpu, c.memory_mib from unnest(lines) c
              join scheduler_resourcepool p on p.id = c.pool where p.parent_id is not null) x group by x.id) a
    join scheduler_resourcepool p on p.id = a.id
    where p.phase = 'deleting' or p.deleted_at is not null
       or p.vcpu_used + a.vcpu > p.vcpu_limit or p.memory_used_mib + a.memory_mib > p.memory_limit_mib;

    if refused <> '[]'::jsonb then
        return jsonb_build_object('refused', refused);
    end if;

    quota_refused := quota_take(v_tenant, v_project, coalesce(p_plan -> 'quota', '[]'));
    if quota_refused is not null then
        return jsonb_build_object('refused',
            (select jsonb_agg(q || jsonb_build_object('what', 'quota')) from jsonb_array_elements(quota_refused) q));
    end if;

    insert into scheduler_allocation (id, tenant_id, project_id, zone_id, pool_id, host_id, datastore_id, holder, vcpu,
            memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, ask, why, created)
        select c.id, v_tenant, v_project, c.zone, c.pool, c.host, c.datastore, c.holder, c.vcpu, c.memory_mib, c.storage_gib,
               c.vcpu_from_hold, c.memory_from_hold_mib, coalesce(x.ask, '{}'), coalesce(x.why, '{}'), now()
        from unnest(lines) c
        join jsonb_to_recordset(p_plan -> 'claims') as x (id uuid, ask jsonb, why jsonb) on x.id = c.id;
    update infra_host h set
        vcpu_claimed = h.vcpu_claimed + a.vcpu, memory_claimed_mib = h.memory_claimed_mib + a.memory_mib,
        changed = pg_current_xact_id()
    from (select host, sum(vcpu - vcpu_from_hold) as vcpu, sum(memory_mib - memory_from_hold_mib) as memory_mib
          from unnest(lines) group by host) a where h.id = a.host;
    update infra_datastore d set claimed_gib = d.claimed_gib + a.gib, changed = pg_current_xact_id()
    from (select datastore, sum(storage_gib) as gib from unnest(lines) group by datastore) a where d.id = a.datastore;
    update scheduler_hold h set vcpu = h.vcpu - a.vcpu, memory_mib = h.memory_mib - a.memory_mib
    from (select pool, host, sum(vcpu_from_hold) as vcpu, sum(memory_from_hold_mib) as memory_mib
          from unnest(lines) group by pool, host) a where h.pool_id = a.pool and h.host_id = a.host;
    update scheduler_resourcepool p set
        vcpu_used = p.vcpu_used + a.vcpu, memory_used_mib = p.memory_used_mib + a.memory_mib
    from (select x.id, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select pool as id, vcpu, memory_mib from unnest(lines)
              union all
              select p.parent_id, c.vcpu, c.memory_mib from unnest(lines) c
              join scheduler_resourcepool p on p.id = c.pool where p.parent_id is not null) x group by x.id) a
    where p.id = a.id;
    return null;
end $$;
"""

# Close the live allocations of these holders and give everything back; those that are closed already are done.
# p_quota as in quota_take, with positive amounts: what is given back beyond VMs' own vcpu, memory, storage and count.
RELEASE = """
create function ledger_release(p_tenant uuid, p_project uuid, p_holders uuid[], p_quota jsonb default '[]') returns integer
language plpgsql volatile as $$
declare
    closed integer;
    give_back jsonb;
    gone scheduler_allocation[];
begin
    select array_agg(a order by a.id) into gone from scheduler_allocation a
    where a.tenant_id = p_tenant and a.project_id = p_project and a.holder = any (p_holders) and a.released is null;

    perform 1 from infra_host where id in (select host_id from unnest(gone)) order by id for no key update;
    perform 1 from infra_datastore where id in (select datastore_id from unnest(gone)) order by id for no key update;
    -- the locks are held: a rival that released the same rows has committed, and its rows no longer count
    select array_agg(a order by a.id) into gone from scheduler_allocation a
    where a.id in (select g.id from unnest(gone) g) and a.released is null;
    insert into scheduler_hold (id, pool_id, host_id, vcpu, memory_mib)
        select gen_random_uuid(), g.pool_id, g.host_id, 0, 0 from unnest(gone) g
        where g.vcpu_from_hold > 0 or g.memory_from_hold_mib > 0 group by g.pool_id, g.host_id
        on conflict (pool_id, host_id) do nothing;
    perform 1 from scheduler_hold h
        where exists (select 1 from unnest(gone) g where g.pool_id = h.pool_id and g.host_id = h.host_id)
        order by h.id for no key update;
    perform 1 from scheduler_resourcepool p
        where p.id in (select pool_id from unnest(gone))
           or p.id in (select parent_id from scheduler_resourcepool where id in (select pool_id from unnest(gone)))
        order by p.project_id nulls last, p.id for no key update;

    update scheduler_allocation a set released = now() from unnest(gone) g where a.id = g.id;
    get diagnostics closed = row_count;
    update infra_host h set
        vcpu_claimed = h.vcpu_claimed - a.vcpu, memory_claimed_mib = h.memory_claimed_mib - a.memory_mib,
        vcpu_overdrawn = greatest(0, least(h.vcpu_overdrawn,
            h.vcpu_claimed - a.vcpu + h.vcpu_unmanaged - h.vcpu_limit)),
        memory_overdrawn_mib = greatest(0, least(h.memory_overdrawn_mib,
            h.memory_claimed_mib - a.memory_mib + h.memory_unmanaged_mib - h.memory_limit_mib)),
        changed = pg_current_xact_id()
    from (select host_id, sum(vcpu - vcpu_from_hold) as vcpu, sum(memory_mib - memory_from_hold_mib) as memory_mib
          from unnest(gone) group by host_id) a where h.id = a.host_id;
    update infra_datastore d set
        claimed_gib = d.claimed_gib - a.gib,
        overdrawn_gib = greatest(0, least(d.overdrawn_gib, d.claimed_gib - a.gib + d.unmanaged_gib - d.limit_gib)),
        changed = pg_current_xact_id()
    from (select datastore_id, sum(storage_gib) as gib from unnest(gone) group by datastore_id) a
    where d.id = a.datastore_id;
    update scheduler_hold h set vcpu = h.vcpu + a.vcpu, memory_mib = h.memory_mib + a.memory_mib
    from (select pool_id, host_id, sum(vcpu_from_hold) as vcpu, sum(memory_from_hold_mib) as memory_mib
          from unnest(gone) group by pool_id, host_id) a where h.pool_id = a.pool_id and h.host_id = a.host_id;
    update scheduler_resourcepool p set
        vcpu_used = p.vcpu_used - a.vcpu, memory_used_mib = p.memory_used_mib - a.memory_mib
    from (select x.id, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select pool_id as id, vcpu, memory_mib from unnest(gone)
              union all
              select p.parent_id, g.vcpu, g.memory_mib from unnest(gone) g
              join scheduler_resourcepool p on p.id = g.pool_id where p.parent_id is not null) x group by x.id) a
    where p.id = a.id;

    select coalesce(jsonb_agg(x), '[]') into give_back from (
        select zone_id as zone, 'vcpu' as resource, -sum(vcpu) as amount from unnest(gone) group by zone_id
        union all select zone_id, 'memory_mib', -sum(memory_mib) from unnest(gone) group by zone_id
        union all select zone_id, 'storage_gib', -sum(storage_gib) from unnest(gone) group by zone_id
        union all select zone_id, 'vms', -count(*) from unnest(gone) group by zone_id
        union all select (q ->> 'zone')::uuid, q ->> 'resource', -(q ->> 'amount')::bigint
                  from jsonb_array_elements(p_quota) q) x;
    if give_back <> '[]'::jsonb then
        perform quota_take(p_tenant, p_project, give_back);
    end if;
    return closed;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0002_row_security"), ("tenants", "0003_quota_take")]
    operations = [
        migrations.RunSQL(LINE, "drop type ledger_line"),
        migrations.RunSQL(COMMIT, "drop function ledger_commit(jsonb)"),
        migrations.RunSQL(RELEASE, "drop function ledger_release(uuid, uuid, uuid[], jsonb)"),
    ]
