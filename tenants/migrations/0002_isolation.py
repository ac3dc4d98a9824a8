"""Policies, and the functions that read a credential before any context exists."""

from django.db import migrations

from facet.rest.rls import APP_ROLE, SYSTEM_ROLE, owned_by_tenant

# They belong to the owner of the tables, whom no policy binds, and answer only about the one principal asked for.
WHO = f"""
create function facet_grants(p_user uuid, p_service_account uuid) returns jsonb
language sql stable security definer set search_path = public as $$
    select coalesce(jsonb_agg(jsonb_build_array(m.role, m.tenant_id, m.project_id)), '[]'::jsonb)
    from tenants_member m
    left join tenants_tenant t on t.id = m.tenant_id
    left join tenants_project p on p.id = m.project_id
    where (m.user_id = p_user or m.service_account_id = p_service_account
           or m.group_id in (select g.group_id from tenants_group_users g where g.user_id = p_user))
      and t.deleted_at is null and p.deleted_at is null
$$;

create function facet_user(p_user uuid)
returns table (kind text, id uuid, name text, token_id uuid, grants jsonb)
language sql stable security definer set search_path = public as $$
    select 'user', u.id, u.name::text, null::uuid, facet_grants(u.id, null)
    from tenants_user u where u.id = p_user and not u.disabled
$$;

create function facet_who(p_sha256 bytea)
returns table (kind text, id uuid, name text, token_id uuid, grants jsonb)
language plpgsql volatile security definer set search_path = public as $$
declare
    t tenants_token;
begin
    select * into t from tenants_token k where k.sha256 = p_sha256 and k.expires_at > now();
    if not found then
        return;
    end if;
    if t.last_used_at is null or t.last_used_at < now() - interval '1 minute' then
        update tenants_token k set last_used_at = now()
        where k.id = t.id and (k.last_used_at is null or k.last_used_at < now() - interval '1 minute');
    end if;
    if t.user_id is not null then
        return query select u.kind, u.id, u.name, t.id, u.grants from facet_user(t.user_id) u;
    else
        return query
            select 'service-account', s.id, s.name::text, t.id, facet_grants(null, s.id)
            from tenants_serviceaccount s
            join tenants_project p on p.id = s.project_id and p.deleted_at is null
            join tenants_tenant o on o.id = s.tenant_id and o.deleted_at is null
            where s.id = t.service_account_id;
    end if;
end $$;

revoke all on function facet_grants(uuid, uuid), facet_user(uuid), facet_who(bytea) from public;
grant execute on function facet_grants(uuid, uuid), facet_user(uuid), facet_who(bytea) to {APP_ROLE}, {SYSTEM_ROLE};
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [
        owned_by_tenant("tenants_tenant", "id"),
        owned_by_tenant("tenants_project"),
        owned_by_tenant("tenants_serviceaccount"),
        owned_by_tenant("tenants_member"),
        owned_by_tenant("tenants_quota"),
        migrations.RunSQL(
            WHO,
            "drop function facet_who(bytea); drop function facet_user(uuid); drop function facet_grants(uuid, uuid);",
        ),
    ]
