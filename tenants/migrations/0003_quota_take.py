"""The one way to spend a quota, or to give it back."""

from django.db import migrations

# p_amounts: [{"zone": uuid | null, "resource": text, "amount": bigint}], negative to give back.
# Every row of project and tenant is charged: over all zones (must exist: a missing one is a limit of zero), and the
# zone's own, which only narrow. Those are made here without a limit, so that a zone has been counted from its first
# claim on when someone narrows it, and what is given back was taken there. All or nothing: answers null, or the refusing rows as
# [{"scope": "project" | "tenant", "zone", "resource", "limit", "used", "asked"}].
QUOTA_TAKE = """
create function quota_take(p_tenant uuid, p_project uuid, p_amounts jsonb) returns jsonb
language plpgsql volatile as $$
declare
    refused jsonb;
begin
    insert into tenants_quota (id, tenant_id, project_id, zone_id, resource, "limit", used, handed_down)
    select gen_random_uuid(), p_tenant, s.project_id, a.zone_id, a.resource, null, 0, 0
    from (select distinct x ->> 'resource' as resource, (x ->> 'zone')::uuid as zone_id
          from jsonb_array_elements(p_amounts) x where x ->> 'zone' is not null and (x ->> 'amount')::bigint > 0) a
    cross join (values (p_project), (null::uuid)) s (project_id)
    where not exists (
        select 1 from tenants_quota q where q.tenant_id = p_tenant and q.project_id is not distinct from s.project_id
        and q.zone_id = a.zone_id and q.resource = a.resource)
    order by s.project_id nulls last, a.zone_id, a.resource
    on conflict do nothing;

    perform 1 from tenants_quota q
    where q.tenant_id = p_tenant and (q.project_id = p_project or q.project_id is null)
      and q.resource in (select a ->> 'resource' from jsonb_array_elements(p_amounts) a)
    order by q.project_id nulls last, q.id for no key update;

    with asked as (
        select a ->> 'resource' as resource, null::uuid as zone_id, sum((a ->> 'amount')::bigint)::bigint as amount
        from jsonb_array_elements(p_amounts) a group by 1
        union all
        select a ->> 'resource', (a ->> 'zone')::uuid, sum((a ->> 'amount')::bigint)::bigint
        from jsonb_array_elements(p_amounts) a where a ->> 'zone' is not null group by 1, 2
    ), scoped as (
        select a.*, s.project_id from asked a cross join (values (p_project), (null::uuid)) s (project_id)
    )
    select jsonb_agg(jsonb_build_object(
               'scope', case when s.project_id is null then 'tenant' else 'project' end,
               'zone', s.zone_id, 'resource', s.resource,
               'limit', case when q.id is null then 0 else q."limit" end,
               'used', coalesce(q.used, 0), 'asked', s.amount)
           order by s.project_id nulls last, s.resource)
    into refused
    from scoped s
    left join tenants_quota q on q.tenant_id = p_tenant and q.project_id is not distinct from s.project_id
         and q.zone_id is not distinct from s.zone_id and q.resource = s.resource
    where s.amount > 0
      and ((q.id is null and s.zone_id is null) or (q."limit" is not null and q.used + s.amount > q."limit"));

    if refused is not null then
        return refused;
    end if;

    update tenants_quota q set used = q.used + a.amount
    from (
        select x ->> 'resource' as resource, null::uuid as zone_id, sum((x ->> 'amount')::bigint)::bigint as amount
        from jsonb_array_elements(p_amounts) x group by 1
        union all
        select x ->> 'resource', (x ->> 'zone')::uuid, sum((x ->> 'amount')::bigint)::bigint
        from jsonb_array_elements(p_amounts) x where x ->> 'zone' is not null group by 1, 2
    ) a
    where q.tenant_id = p_tenant and (q.project_id = p_project or q.project_id is null)
      and q.resource = a.resource and q.zone_id is not distinct from a.zone_id;
    return null;
end $$;
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_isolation")]
    operations = [migrations.RunSQL(QUOTA_TAKE, "drop function quota_take(uuid, uuid, jsonb)")]
