"""The one way to move guaranteed room: from a host's free room into a pool's Hold, from pool to pool, and back.

Called by scheduler/guarantees.py. Locks in the ledger's order, host then hold; the caller locks pools after it.
"""

from django.db import migrations

# p_moves: [{"host", "source": pool | null, "target": pool | null, "vcpu", "memory_mib"}]; null is the host's free room.
# All or nothing: answers null, or the refused rows [{"what": "host" | "hold", "id", ...}] with nothing written.
HOLD_MOVE = """
create function hold_move(p_zone uuid, p_moves jsonb) returns jsonb
language plpgsql volatile as $$
declare
    refused jsonb;
    more jsonb;
begin
    if exists (select 1 from jsonb_to_recordset(p_moves) as m (source uuid, target uuid, vcpu bigint, memory_mib bigint)
               where m.vcpu < 0 or m.memory_mib < 0 or m.source is not distinct from m.target) then
        raise exception 'a move of guaranteed room is no less than zero, and leads elsewhere';
    end if;
    perform 1 from infra_host
        where id in (select m.host from jsonb_to_recordset(p_moves) as m (host uuid)) order by id for no key update;
    insert into scheduler_hold (id, pool_id, host_id, vcpu, memory_mib)
        select gen_random_uuid(), m.target, m.host, 0, 0
        from jsonb_to_recordset(p_moves) as m (host uuid, target uuid) where m.target is not null
        group by m.target, m.host order by m.host, m.target
        on conflict (pool_id, host_id) do nothing;
    perform 1 from scheduler_hold h
        where exists (select 1 from jsonb_to_recordset(p_moves) as m (host uuid, source uuid, target uuid)
                      where m.host = h.host_id and h.pool_id in (m.source, m.target))
        order by h.id for no key update;

    select coalesce(jsonb_agg(jsonb_build_object('what', 'host', 'id', a.host, 'name', h.name) order by a.host), '[]')
    into refused
    from (select m.host,
                 sum(case when m.source is null then m.vcpu else -m.vcpu end) as vcpu,
                 sum(case when m.source is null then m.memory_mib else -m.memory_mib end) as memory_mib
          from jsonb_to_recordset(p_moves) as m (host uuid, source uuid, target uuid, vcpu bigint, memory_mib bigint)
          where m.source is null or m.target is null group by m.host) a
    left join infra_host h on h.id = a.host
    left join infra_zone z on z.id = h.zone_id
    where h.id is null
       or ((a.vcpu > 0 or a.memory_mib > 0)
           and (h.state <> 'up' or h.cordoned or h.zone_id is distinct from p_zone or z.phase is distinct from 'active'))
       or (a.vcpu > 0 and h.vcpu_claimed + h.vcpu_unmanaged + a.vcpu > h.vcpu_limit)
       or (a.memory_mib > 0 and h.memory_claimed_mib + h.memory_unmanaged_mib + a.memory_mib > h.memory_limit_mib);

    select coalesce(jsonb_agg(jsonb_build_object('what', 'hold', 'id', a.source, 'host', a.host) order by a.host), '[]')
    into more
    from (select m.source, m.host, sum(m.vcpu) as vcpu, sum(m.memory_mib) as memory_mib
          from jsonb_to_recordset(p_moves) as m (host uuid, source uuid, vcpu bigint, memory_mib bigint)
          where m.source is not null group by m.source, m.host) a
    left join scheduler_hold h on h.pool_id = a.source and h.host_id = a.host
    where h.id is null or a.vcpu > h.vcpu or a.memory_mib > h.memory_mib;

    if refused || more <> '[]'::jsonb then
        return refused || more;
    end if;

    update scheduler_hold h set vcpu = h.vcpu + a.vcpu, memory_mib = h.memory_mib + a.memory_mib
    from (select x.pool, x.host, sum(x.vcpu) as vcpu, sum(x.memory_mib) as memory_mib from (
              select m.target as pool, m.host, m.vcpu, m.memory_mib
              from jsonb_to_recordset(p_moves) as m (host uuid, target uuid, vcpu bigint, memory_mib bigint)
              where m.target is not null
              union all
              select m.source, m.host, -m.vcpu, -m.memory_mib
              from jsonb_to_recordset(p_moves) as m (host uuid, source uuid, vcpu bigint, memory_mib bigint)
              where m.source is not null) x group by x.pool, x.host) a
    where h.pool_id = a.pool and h.host_id = a.host;
    update infra_host h set
        vcpu_claimed = h.vcpu_claimed + a.vcpu, memory_claimed_mib = h.memory_claimed_mib + a.memory_mib,
        vcpu_overdrawn = greatest(0, least(h.vcpu_overdrawn,
            h.vcpu_claimed + a.vcpu + h.vcpu_unmanaged - h.vcpu_limit)),
        memory_overdrawn_mib = greatest(0, least(h.memory_overdrawn_mib,
            h.memory_claimed_mib + a.memory_mib + h.memory_unmanaged_mib - h.memory_limit_mib)),
        changed = pg_current_xact_id()
    from (select m.host,
                 sum(case when m.source is null then m.vcpu when m.target is null then -m.vcpu else 0 end) as vcpu,
                 sum(case when m.source is null then m.memory_mib when m.target is null then -m.memory_mib
                          else 0 end) as memory_mib
          from jsonb_to_recordset(p_moves) as m (host uuid, source uuid, target uuid, vcpu bigint, memory_mib bigint)
          group by m.host) a
    where h.id = a.host;
    return null;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0003_ledger")]
    operations = [migrations.RunSQL(HOLD_MOVE, "drop function hold_move(uuid, jsonb)")]
