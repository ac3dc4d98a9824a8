"""Volumes in the ledger: room on a datastore that a volume holds, as an allocation is a VM's.

Locks: datastore -> quota (project, tenant). All or nothing; what is said twice is done once.
"""

from django.db import migrations

# p_plan: {"tenant", "project", "claims": [{"id", "holder", "zone", "datastore", "storage_gib", "storage_class"}]}
# A datastore is refused where it is shut, is not the zone's, is reached by no host of it that is up, is not of the class,
# or has too little room. Who takes a datastore from a zone or a class, and who writes its state, locks its row as this does.
# Answers null, or {"refused": [{"what": "holder" | "datastore" | "quota", ...}]} with nothing written.
CLAIM = """
create function ledger_volume_claim(p_plan jsonb) returns jsonb
language plpgsql volatile as $$
declare
    v_tenant uuid := (p_plan ->> 'tenant')::uuid;
    v_project uuid := (p_plan ->> 'project')::uuid;
    refused jsonb;
    quota_refused jsonb;
    lines jsonb := p_plan -> 'claims';
begin
    if exists (select 1 from jsonb_to_recordset(lines) as c (storage_gib bigint) where c.storage_gib < 1) then
        raise exception 'a volume has a size';
    end if;
    perform 1 from infra_datastore d
        where d.id in (select c.datastore from jsonb_to_recordset(lines) as c (datastore uuid))
        order by d.id for no key update;

    select coalesce(jsonb_agg(jsonb_build_object('what', 'holder', 'id', v.holder) order by v.holder), '[]')
    into refused from scheduler_volumeclaim v
    where v.released is null and v.holder in (select c.holder from jsonb_to_recordset(lines) as c (holder uuid));

    select refused || coalesce(jsonb_agg(jsonb_build_object(
        'what', 'datastore', 'id', d.id, 'name', d.name, 'open', a.open,
        'free_gib', d.limit_gib - d.claimed_gib - d.unmanaged_gib, 'asked_gib', a.gib) order by d.id), '[]')
    into refused
    from (select c.datastore, sum(c.storage_gib) as gib,
                 bool_and(e.accessible and e.present
                     and exists (select 1 from infra_zone z join infra_datastore_zones m on m.zone_id = z.id
                                 where z.id = c.zone and m.datastore_id = e.id and z.phase = 'active')
                     and exists (select 1 from infra_host h where h.zone_id = c.zone and h.site_id = e.site_id
                                 and h.state = 'up' and h.datastore_refs ? e.ref)
                     and (coalesce(c.storage_class, '') = '' or exists (
                         select 1 from infra_storageclass k
                         join infra_storageclass_datastores m on m.storageclass_id = k.id
                         where k.zone_id = c.zone and k.name = c.storage_class and m.datastore_id = e.id))) as open
          from jsonb_to_recordset(lines) as c (zone uuid, datastore uuid, storage_gib bigint, storage_class text)
          join infra_datastore e on e.id = c.datastore group by c.datastore) a
    join infra_datastore d on d.id = a.datastore
    where not a.open or d.claimed_gib + d.unmanaged_gib + a.gib > d.limit_gib;

    if refused <> '[]'::jsonb then
        return jsonb_build_object('refused', refused);
    end if;

    quota_refused := quota_take(v_tenant, v_project, (
        select coalesce(jsonb_agg(x), '[]') from (
            select c.zone, 'storage_gib' as resource, sum(c.storage_gib) as amount
            from jsonb_to_recordset(lines) as c (zone uuid, storage_gib bigint) group by c.zone
            union all
            select c.zone, 'volumes', count(*) from jsonb_to_recordset(lines) as c (zone uuid) group by c.zone) x));
    if quota_refused is not null then
        return jsonb_build_object('refused',
            (select jsonb_agg(q || jsonb_build_object('what', 'quota')) from jsonb_array_elements(quota_refused) q));
    end if;

    insert into scheduler_volumeclaim (id, tenant_id, project_id, zone_id, datastore_id, holder, storage_gib, created)
        select c.id, v_tenant, v_project, c.zone, c.datastore, c.holder, c.storage_gib, now()
        from jsonb_to_recordset(lines) as c (id uuid, zone uuid, datastore uuid, holder uuid, storage_gib bigint);
    update infra_datastore d set claimed_gib = d.claimed_gib + a.gib, changed = pg_current_xact_id()
    from (select c.datastore, sum(c.storage_gib) as gib
          from jsonb_to_recordset(lines) as c (datastore uuid, storage_gib bigint) group by c.datastore) a
    where d.id = a.datastore;
    return null;
end $$;
"""

# p_plan: {"tenant", "project", "id", "holder", "storage_gib"}     (id: of the new claim)
# The live claim is closed and a new one opened at one moment; the difference is charged, or given back. Of that size already:
# nothing. Answers as ledger_volume_claim; "holder" where it has no room there.
GROW = """
create function ledger_volume_grow(p_plan jsonb) returns jsonb
language plpgsql volatile as $$
declare
    v_tenant uuid := (p_plan ->> 'tenant')::uuid;
    v_project uuid := (p_plan ->> 'project')::uuid;
    v_gib bigint := (p_plan ->> 'storage_gib')::bigint;
    more bigint;
    refused jsonb;
    quota_refused jsonb;
    was scheduler_volumeclaim;
begin
    if v_gib < 1 then
        raise exception 'a volume has a size';
    end if;
    select * into was from scheduler_volumeclaim v
    where v.holder = (p_plan ->> 'holder')::uuid and v.tenant_id = v_tenant and v.project_id = v_project
      and v.released is null;
    if was.id is not null then
        perform 1 from infra_datastore where id = was.datastore_id for no key update;
        -- the lock is held: a rival that closed this row has committed
        select * into was from scheduler_volumeclaim v where v.id = was.id and v.released is null;
    end if;
    if was.id is null then
        return jsonb_build_object('refused', jsonb_build_array(
            jsonb_build_object('what', 'holder', 'id', p_plan ->> 'holder')));
    end if;
    more := v_gib - was.storage_gib;
    if more = 0 then
        return null;
    end if;
    select jsonb_agg(jsonb_build_object(
        'what', 'datastore', 'id', d.id, 'name', d.name, 'open', d.accessible and d.present,
        'free_gib', d.limit_gib - d.claimed_gib - d.unmanaged_gib, 'asked_gib', more))
    into refused from infra_datastore d
    where d.id = was.datastore_id and more > 0
      and (not (d.accessible and d.present) or d.claimed_gib + d.unmanaged_gib + more > d.limit_gib);
    if refused is not null then
        return jsonb_build_object('refused', refused);
    end if;
    quota_refused := quota_take(v_tenant, v_project, jsonb_build_array(
        jsonb_build_object('zone', was.zone_id, 'resource', 'storage_gib', 'amount', more)));
    if quota_refused is not null then
        return jsonb_build_object('refused',
            (select jsonb_agg(q || jsonb_build_object('what', 'quota')) from jsonb_array_elements(quota_refused) q));
    end if;
    update scheduler_volumeclaim set released = greatest(now(), was.created) where id = was.id;
    insert into scheduler_volumeclaim (id, tenant_id, project_id, zone_id, datastore_id, holder, storage_gib, created)
        values ((p_plan ->> 'id')::uuid, v_tenant, v_project, was.zone_id, was.datastore_id, was.holder, v_gib,
                greatest(now(), was.created));
    update infra_datastore d set
        claimed_gib = d.claimed_gib + more,
        overdrawn_gib = greatest(0, least(d.overdrawn_gib, d.claimed_gib + more + d.unmanaged_gib - d.limit_gib)),
        changed = pg_current_xact_id()
    where d.id = was.datastore_id;
    return null;
end $$;
"""

# Close the live claims of these holders and give all back; those that are closed already are done. Answers how many.
RELEASE = """
create function ledger_volume_release(p_tenant uuid, p_project uuid, p_holders uuid[]) returns integer
language plpgsql volatile as $$
declare
    closed integer;
    seen uuid[];
    gone scheduler_volumeclaim[];
    give_back jsonb;
begin
    select array_agg(v.id) into seen from scheduler_volumeclaim v
    where v.tenant_id = p_tenant and v.project_id = p_project and v.holder = any (p_holders) and v.released is null;
    perform 1 from infra_datastore d
        where d.id in (select datastore_id from scheduler_volumeclaim where id = any (seen))
        order by d.id for no key update;
    select array_agg(v order by v.id) into gone from scheduler_volumeclaim v
    where v.id = any (seen) and v.released is null;
    update scheduler_volumeclaim v set released = greatest(now(), v.created) from unnest(gone) g where v.id = g.id;
    get diagnostics closed = row_count;
    update infra_datastore d set
        claimed_gib = d.claimed_gib - a.gib,
        overdrawn_gib = greatest(0, least(d.overdrawn_gib, d.claimed_gib - a.gib + d.unmanaged_gib - d.limit_gib)),
        changed = pg_current_xact_id()
    from (select datastore_id, sum(storage_gib) as gib from unnest(gone) group by datastore_id) a
    where d.id = a.datastore_id;
    select coalesce(jsonb_agg(x), '[]') into give_back from (
        select zone_id as zone, 'storage_gib' as resource, -sum(storage_gib) as amount from unnest(gone) group by zone_id
        union all select zone_id, 'volumes', -count(*) from unnest(gone) group by zone_id) x;
    if give_back <> '[]'::jsonb then
        perform quota_take(p_tenant, p_project, give_back);
    end if;
    return closed;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0018_moved_by_the_site"), ("infra", "0005_layers")]
    operations = [
        migrations.RunSQL(CLAIM, "drop function ledger_volume_claim(jsonb)"),
        migrations.RunSQL(GROW, "drop function ledger_volume_grow(jsonb)"),
        migrations.RunSQL(RELEASE, "drop function ledger_volume_release(uuid, uuid, uuid[])"),
    ]
