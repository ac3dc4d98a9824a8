"""A holder that the site has moved by itself: its allocation follows, whatever room there is.

It is a move (0007) that begins and ends at one moment. Observation is never refused: where the new host or datastore
has too little room, the same statement raises `overdrawn` there, which blocks new grants until it is right again.
"""

from django.db import migrations

# Answers whether the allocation has moved: not for a holder that is on its way by a move of ours, that stands there
# already, or whose new host is of another zone. p_datastore null: its disk lies where it lay.
FOLLOW = """
create function ledger_follow(
    p_tenant uuid, p_project uuid, p_holder uuid, p_move uuid, p_host uuid, p_datastore uuid, p_why jsonb
) returns boolean language plpgsql volatile as $$
declare
    a scheduler_allocation;
    v_datastore uuid;
    v_storage bigint;
    v_vcpu bigint := 0;
    v_memory bigint := 0;
begin
    select * into a from scheduler_allocation
    where holder = p_holder and tenant_id = p_tenant and project_id = p_project and released is null;
    if not found then
        return false;
    end if;
    v_datastore := coalesce(p_datastore, a.datastore_id);
    v_storage := case when v_datastore = a.datastore_id then 0 else a.storage_gib end;
    perform 1 from infra_host where id in (a.host_id, p_host) order by id for no key update;
    if v_storage > 0 then
        perform 1 from infra_datastore where id in (a.datastore_id, v_datastore) order by id for no key update;
    end if;
    -- the hosts are locked: a rival that closed this row, or began a move of the holder, has committed
    if not exists (select 1 from scheduler_allocation where id = a.id and released is null)
       or exists (select 1 from scheduler_move where holder = p_holder and ended_at is null)
       or (p_host = a.host_id and v_datastore = a.datastore_id)
       or not exists (select 1 from infra_host where id = p_host and zone_id = a.zone_id) then
        return false;
    end if;
    if p_host <> a.host_id then
        select greatest(0, least(a.vcpu, h.vcpu)), greatest(0, least(a.memory_mib, h.memory_mib)) into v_vcpu, v_memory
        from scheduler_hold h where h.pool_id = a.pool_id and h.host_id = p_host for no key update;
        v_vcpu := coalesce(v_vcpu, 0);
        v_memory := coalesce(v_memory, 0);
    end if;

    insert into scheduler_move (id, tenant_id, project_id, drain_id, holder, source_id, zone_id, pool_id, host_id,
            datastore_id, vcpu, memory_mib, storage_gib, vcpu_from_hold, memory_from_hold_mib, why, phase, created_at)
        values (p_move, p_tenant, p_project, '00000000-0000-0000-0000-000000000000', p_holder, a.id, a.zone_id, a.pool_id,
                p_host, v_datastore, a.vcpu, a.memory_mib, v_storage, v_vcpu, v_memory, p_why, 'moving', now());
    update infra_host h set
        vcpu_claimed = h.vcpu_claimed + a.vcpu - v_vcpu,
        memory_claimed_mib = h.memory_claimed_mib + a.memory_mib - v_memory,
        vcpu_overdrawn = greatest(0, h.vcpu_claimed + a.vcpu - v_vcpu + h.vcpu_unmanaged - h.vcpu_limit),
        memory_overdrawn_mib = greatest(0,
            h.memory_claimed_mib + a.memory_mib - v_memory + h.memory_unmanaged_mib - h.memory_limit_mib),
        changed = pg_current_xact_id()
    where h.id = p_host;
    if v_storage > 0 then
        update infra_datastore d set
            claimed_gib = d.claimed_gib + v_storage,
            overdrawn_gib = greatest(0, d.claimed_gib + v_storage + d.unmanaged_gib - d.limit_gib),
            changed = pg_current_xact_id()
        where d.id = v_datastore;
    end if;
    if v_vcpu > 0 or v_memory > 0 then
        update scheduler_hold h set vcpu = h.vcpu - v_vcpu, memory_mib = h.memory_mib - v_memory
        where h.pool_id = a.pool_id and h.host_id = p_host;
    end if;
    perform ledger_moved(p_tenant, p_project, array[p_move]);
    return true;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0017_own_networks")]
    operations = [
        migrations.RunSQL(FOLLOW, "drop function ledger_follow(uuid, uuid, uuid, uuid, uuid, uuid, jsonb)"),
    ]
