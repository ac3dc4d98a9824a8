"""What a look at changes reads, in one call with plans that are kept: a look is part of every request for room."""

from django.db import migrations

# Answers (watermark, dirty, zones, networks, datastores, hosts, holds): JSON texts of rows as looking.py reads them,
# null where there are none. `dirty`: the caller's own transaction has written; then nothing else is told. Rows that
# changed at or after p_since are few, which a plan that is kept cannot know: of a range with two ends it assumes so.
FLEET_SINCE = """
create function fleet_since(p_since xid8, out watermark text, out dirty boolean, out zones text, out networks text,
                            out datastores text, out hosts text, out holds text)
language plpgsql stable set plan_cache_mode = force_generic_plan as $$
declare
    p_end xid8 := '18446744073709551615';
begin
    watermark := pg_snapshot_xmin(pg_current_snapshot())::text;
    dirty := pg_current_xact_id_if_assigned() is not null;
    if dirty then
        return;
    end if;
    select json_agg(json_build_array(z.id, z.name, z.phase = 'active') order by z.id)::text into zones
    from infra_zone z where z.deleted_at is null;
    select json_agg(json_build_array(z.zone_id, n.ref, n.id) order by z.zone_id, n.id)::text into networks
    from infra_physicalnetwork n
    join infra_physicalnetwork_zones z on z.physicalnetwork_id = n.id where n.present;
    select json_agg(json_build_array(d.id, d.site_id, d.ref,
               (select coalesce(json_agg(z.zone_id order by z.zone_id), '[]') from infra_datastore_zones z
                where z.datastore_id = d.id),
               d.limit_gib, d.claimed_gib + d.unmanaged_gib, d.accessible and d.present, d.name,
               (select coalesce(json_agg(json_build_array(k.zone_id, k.name) order by k.zone_id, k.name), '[]')
                from infra_storageclass_datastores m join infra_storageclass k on k.id = m.storageclass_id
                where m.datastore_id = d.id)) order by d.id)::text
    into datastores from infra_datastore d where d.changed >= p_since and d.changed <= p_end;
    select json_agg(json_build_array(h.id, h.site_id, h.zone_id, h.vcpu_limit, h.vcpu_claimed + h.vcpu_unmanaged,
               h.memory_limit_mib, h.memory_claimed_mib + h.memory_unmanaged_mib, h.state = 'up' and not h.cordoned,
               h.datastore_refs::text, h.network_refs::text, h.labels::text, h.name) order by h.id)::text
    into hosts from infra_host h where h.changed >= p_since and h.changed <= p_end;
    if hosts is not null then
        select json_agg(json_build_array(o.pool_id, o.host_id, o.vcpu, o.memory_mib))::text into holds
        from infra_host h join scheduler_hold o on o.host_id = h.id
        where h.changed >= p_since and h.changed <= p_end and (o.vcpu > 0 or o.memory_mib > 0);
    end if;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0008_resize"), ("infra", "0003_placement_rules")]
    operations = [migrations.RunSQL(FLEET_SINCE, "drop function fleet_since(xid8)")]
