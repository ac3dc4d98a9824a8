"""A release closes only allocations on the hosts and datastores that it has locked: where its holders stood, or were going.

A rival that held the lock may have released a holder and claimed for it again, on another host. That claim is a later
one and stays; to take it back as well would lock its host out of turn (two such releases then wait in a circle).
"""

from django.db import migrations

from facet.rest.functions import patched

DECLARED = """    give_back jsonb;
begin
"""
SEEN = """    give_back jsonb;
    hosts uuid[];
    stores uuid[];
begin
    select array_agg(x.host_id), array_agg(x.datastore_id) into hosts, stores from (
        select a.host_id, a.datastore_id from scheduler_allocation a
        where a.tenant_id = p_tenant and a.project_id = p_project and a.holder = any (p_holders) and a.released is null
        union all
        select m.host_id, m.datastore_id from scheduler_move m
        where m.tenant_id = p_tenant and m.project_id = p_project and m.holder = any (p_holders) and m.ended_at is null) x;
"""

HOSTS_BY_HOLDER = """    perform 1 from infra_host where id in (
            select a.host_id from scheduler_allocation a where a.tenant_id = p_tenant and a.project_id = p_project
               and a.holder = any (p_holders) and a.released is null
            union select m.host_id from scheduler_move m where m.tenant_id = p_tenant and m.project_id = p_project
               and m.holder = any (p_holders) and m.ended_at is null)
        order by id for no key update;"""
HOSTS_SEEN = "    perform 1 from infra_host where id = any (hosts) order by id for no key update;"

STORES_BY_HOLDER = """    perform 1 from infra_datastore where id in (
            select a.datastore_id from scheduler_allocation a where a.tenant_id = p_tenant and a.project_id = p_project
               and a.holder = any (p_holders) and a.released is null
            union select m.datastore_id from scheduler_move m where m.tenant_id = p_tenant and m.project_id = p_project
               and m.holder = any (p_holders) and m.ended_at is null)
        order by id for no key update;"""
STORES_SEEN = "    perform 1 from infra_datastore where id = any (stores) order by id for no key update;"

STILL_LIVE = """and a.holder = any (p_holders) and a.released is null;
    select array_agg(m order"""
STILL_THERE = """and a.holder = any (p_holders) and a.released is null
       and a.host_id = any (hosts) and a.datastore_id = any (stores);
    select array_agg(m order"""


class Migration(migrations.Migration):
    dependencies = [("scheduler", "0012_reach")]
    operations = [
        patched(
            "ledger_release(uuid, uuid, uuid[], jsonb)",
            (DECLARED, SEEN),
            (HOSTS_BY_HOLDER, HOSTS_SEEN),
            (STORES_BY_HOLDER, STORES_SEEN),
            (STILL_LIVE, STILL_THERE),
        )
    ]
