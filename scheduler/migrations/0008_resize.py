"""Another size for a holder where it stands: its allocation is closed and a new one opened at one moment."""

from django.db import migrations

# p_plan: {"tenant", "project", "sizes": [{"id", "holder", "vcpu", "memory_mib", "storage_gib"}]}     (id: of the new allocation)
# As a release and a claim on the same host, datastore and pool, with the locks held once: what came from the pool's Hold
# returns to it, then the new size eats of it first. Only the difference is charged. Who has that size already stays as it is.
# Answers null, or {"refused": [{"what": "holder" | "move" | "host" | "datastore" | "pool" | "quota", ...}]}, nothing written.
RESIZE = """
create function ledger_resize(p_plan jsonb) returns jsonb
language plpgsql volatile as $$
declare
    v_tenant uuid := (p_plan ->> 'tenant')::uuid;
    v_project uuid := (p_plan ->> 'project')::uuid;
    refused jsonb := '[]'::jsonb;
    quota_refused jsonb;
    quota_lines jsonb;
    gone scheduler_allocation[];
    lines ledger_line[];
begin
    if exists (select 1 from jsonb_to_recordset(p_plan -> 'sizes') as s (vcpu bigint, memory_mib bigint, storage_gib bigint)
               where least(s.vcpu, s.memory_mib, s.storage_gib) < 0 or s.vcpu + s.memory_mib = 0) then
        raise exception 'a size is no less than zero, and of something';
    end if;
    select array_agg(a order by a.id) into gone
    from jsonb_to_recordset(p_plan -> 'sizes') as s (holder uuid, vcpu bigint, memory_mib bigint, storage_gib bigint)
    join scheduler_allocation a on a.holder = s.holder
    where a.tenant_id = v_tenant and a.project_id = v_project and a.released is null
      and (a.vcpu, a.memory_mib, a.storage_gib) is distinct from (s.vcpu, s.memory_mib, s.storage_gib);

    perform 1 from infra_host where id in (select host_id from unnest(gone)) order by id for no key update;
    perform 1 from infra_datastore where id in (select datastore_id from unnest(gone)) order by id for no key update;
    -- the locks are held: a rival that closed one of these rows has committed, and its holder has another or none
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

    select coalesce(jsonb_agg(jsonb_build_object('what', 'holder', 'id', s.holder, 'held', exists (
               select 1 from scheduler_allocation a where a.holder = s.holder and a.released is null
                  and a.tenant_id = v_tenant and a.project_id = v_project)) order by s.holder), '[]')
    into refused
    from jsonb_to_recordset(p_plan -> 'sizes') as s (holder uuid, vcpu bigint, memory_mib bigint, storage_gib bigint)
    where not exists (
        select 1 from scheduler_allocation a where a.holder = s.holder and a.released is null
        and a.tenant_id = v_tenant and a.project_id = v_project
        and (a.id in (select g.id from unnest(gone) g)
             or (a.vcpu, a.memory_mib, a.storage_gib) = (s.vcpu, s.memory_mib, s.storage_gib)));

    select refused || coalesce(jsonb_agg(jsonb_build_object('what', 'move', 'id', m.holder) order by m.holder), '[]')
    into refused from scheduler_move m
    where m.holder in (select holder from unnest(gone)) and m.ended_at is null;

    -- the Hold as it is once all of these have returned what they had of it; then first come (by id), first served
    select array_agg(row(c.id, c.holder, c.zone_id, c.pool_id, c.host_id, c.datastore_id, c.vcpu, c.memory_mib,
                         c.storage_gib, c.vcpu_before, c.memory_before,
                         greatest(0, least(c.vcpu, coalesce(h.vcpu, 0) + b.vcpu - c.vcpu_before)),
                         greatest(0, least(c.memory_mib, coalesce(h.memory_mib, 0) + b.memory_mib - c.memory_before))
                        )::ledger_line order by c.id)
    into lines
    from (select s.*, g.zone_id, g.pool_id, g.host_id, g.datastore_id,
                 sum(s.vcpu) over w - s.vcpu as vcpu_before, sum(s.memory_mib) over w - s.memory_mib as memory_before
          from jsonb_to_recordset(p_plan -> 'sizes')
               as s (id uuid, holder uuid, vcpu bigint, memory_mib bigint, storage_gib bigint)
          join unnest(gone) g on g.holder = s.holder
          window w as (partition by g.pool_id, g.host_id order by s.id rows unbounded preceding)) c
    join (select pool_id, host_id, sum(vcpu_from_hold) as vcpu, sum(memory_from_hold_mib) as memory_mib
          from unnest(gone) group by pool_id, host_id) b on b.pool_id = c.pool_id and b.host_id = c.host_id
    left join scheduler_hold h on h.pool_id = c.pool_id and h.host_id = c.host_id;

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'host', 'id', h.id, 'name', h.name, 'open', h.state = 'up' and not h.cordoned and z.phase = 'active',
        'vcpu_free', h.vcpu_limit - h.vcpu_claimed - h.vcpu_unmanaged, 'vcpu_asked', a.vcpu,
        'memory_free_mib', h.memory_limit_mib - h.memory_claimed_mib - h.memory_unmanaged_mib,
        'memory_asked_mib', a.memory_mib) order by h.id), '[]')
    into refused
    from (select c.host, bool_or(c.vcpu > g.vcpu or c.memory_mib > g.memory_mib) as grows,
                 sum(c.vcpu - c.vcpu_from_hold - g.vcpu + g.vcpu_from_hold) as vcpu,
                 sum(c.memory_mib - c.memory_from_hold_mib - g.memory_mib + g.memory_from_hold_mib) as memory_mib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder group by c.host) a
    join infra_host h on h.id = a.host
    left join infra_zone z on z.id = h.zone_id
    where (a.grows and (h.state <> 'up' or h.cordoned or z.phase is distinct from 'active'))
       or (a.vcpu > 0 and h.vcpu_claimed + h.vcpu_unmanaged + a.vcpu > h.vcpu_limit)
       or (a.memory_mib > 0 and h.memory_claimed_mib + h.memory_unmanaged_mib + a.memory_mib > h.memory_limit_mib);

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'datastore', 'id', d.id, 'name', d.name, 'open', d.accessible and d.present,
        'free_gib', d.limit_gib - d.claimed_gib - d.unmanaged_gib, 'asked_gib', a.gib) order by d.id), '[]')
    into refused
    from (select c.datastore, sum(c.storage_gib - g.storage_gib) as gib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder group by c.datastore) a
    join infra_datastore d on d.id = a.datastore
    where a.gib > 0
      and (not (d.accessible and d.present) or d.claimed_gib + d.unmanaged_gib + a.gib > d.limit_gib);

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'pool', 'id', p.id, 'name', p.name, 'scope', case when p.project_id is null then 'tenant' else 'project' end,
        'phase', p.phase,
        'vcpu_limit', p.vcpu_limit, 'vcpu_used', p.vcpu_used, 'vcpu_asked', a.vcpu,
        'memory_limit_mib', p.memory_limit_mib, 'memory_used_mib', p.memory_used_mib, 'memory_asked_mib', a.memory_mib)
        order by p.id), '[]')
    into refused
    from (select p.id, sum(c.vcpu - g.vcpu) as vcpu, sum(c.memory_mib - g.memory_mib) as memory_mib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder
          join scheduler_resourcepool own on own.id = c.pool
          join scheduler_resourcepool p on p.id in (own.id, own.parent_id) group by p.id) a
    join scheduler_resourcepool p on p.id = a.id
    where (a.vcpu > 0 and p.vcpu_used + a.vcpu > p.vcpu_limit)
       or (a.memory_mib > 0 and p.memory_used_mib + a.memory_mib > p.memory_limit_mib);

    if refused <> '[]'::jsonb then
        return jsonb_build_object('refused', refused);
    end if;

    select coalesce(jsonb_agg(x), '[]') into quota_lines from (
        select c.zone, r.resource, sum(r.amount) as amount
        from unnest(lines) c join unnest(gone) g on g.holder = c.holder
        cross join lateral (values ('vcpu', c.vcpu - g.vcpu), ('memory_mib', c.memory_mib - g.memory_mib),
                                   ('storage_gib', c.storage_gib - g.storage_gib)) r (resource, amount)
        group by c.zone, r.resource having sum(r.amount) <> 0) x;
    quota_refused := quota_take(v_tenant, v_project, quota_lines);
    if quota_refused is not null then
        return jsonb_build_object('refused',
            (select jsonb_agg(q || jsonb_build_object('what', 'quota')) from jsonb_array_elements(quota_refused) q));
    end if;

    update scheduler_allocation a set released = greatest(now(), a.created) from unnest(gone) g where a.id = g.id;
    insert into scheduler_allocation (id, tenant_id, project_id, zone_id, pool_id, host_id, datastore_id, holder, vcpu,
            memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, ask, why, created)
        select c.id, v_tenant, v_project, c.zone, c.pool, c.host, c.datastore, c.holder, c.vcpu, c.memory_mib, c.storage_gib,
               c.vcpu_from_hold, c.memory_from_hold_mib,
               g.ask || jsonb_build_object('vcpu', c.vcpu, 'memory_mib', c.memory_mib, 'disk_gib', c.storage_gib),
               g.why, greatest(now(), g.created)
        from unnest(lines) c join unnest(gone) g on g.holder = c.holder;
    update infra_host h set
        vcpu_claimed = h.vcpu_claimed + a.vcpu, memory_claimed_mib = h.memory_claimed_mib + a.memory_mib,
        vcpu_overdrawn = greatest(0, least(h.vcpu_overdrawn,
            h.vcpu_claimed + a.vcpu + h.vcpu_unmanaged - h.vcpu_limit)),
        memory_overdrawn_mib = greatest(0, least(h.memory_overdrawn_mib,
            h.memory_claimed_mib + a.memory_mib + h.memory_unmanaged_mib - h.memory_limit_mib)),
        changed = pg_current_xact_id()
    from (select c.host, sum(c.vcpu - c.vcpu_from_hold - g.vcpu + g.vcpu_from_hold) as vcpu,
                 sum(c.memory_mib - c.memory_from_hold_mib - g.memory_mib + g.memory_from_hold_mib) as memory_mib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder group by c.host) a where h.id = a.host;
    update infra_datastore d set
        claimed_gib = d.claimed_gib + a.gib,
        overdrawn_gib = greatest(0, least(d.overdrawn_gib, d.claimed_gib + a.gib + d.unmanaged_gib - d.limit_gib)),
        changed = pg_current_xact_id()
    from (select c.datastore, sum(c.storage_gib - g.storage_gib) as gib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder group by c.datastore) a
    where d.id = a.datastore and a.gib <> 0;
    update scheduler_hold h set vcpu = h.vcpu + a.vcpu, memory_mib = h.memory_mib + a.memory_mib
    from (select c.pool, c.host, sum(g.vcpu_from_hold - c.vcpu_from_hold) as vcpu,
                 sum(g.memory_from_hold_mib - c.memory_from_hold_mib) as memory_mib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder group by c.pool, c.host) a
    where h.pool_id = a.pool and h.host_id = a.host;
    update scheduler_resourcepool p set
        vcpu_used = p.vcpu_used + a.vcpu, memory_used_mib = p.memory_used_mib + a.memory_mib
    from (select p.id, sum(c.vcpu - g.vcpu) as vcpu, sum(c.memory_mib - g.memory_mib) as memory_mib
          from unnest(lines) c join unnest(gone) g on g.holder = c.holder
          join scheduler_resourcepool own on own.id = c.pool
          join scheduler_resourcepool p on p.id in (own.id, own.parent_id) group by p.id) a
    where p.id = a.id;
    return null;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0007_moves")]
    operations = [migrations.RunSQL(RESIZE, "drop function ledger_resize(jsonb)")]
