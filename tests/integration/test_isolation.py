"""Row-level security, as the role that production logs in with."""

import json

import pytest
from django.db import DatabaseError, connection, connections, transaction

from facet import registry
from facet.operations import engine, events, wakeups
from facet.operations.models import Wakeup
from facet.rest.access import SYSTEM
from tenants import isolation
from tenants.models import Project, Quota, Tenant
from tests import factories
from tests.api import world

PLATFORM_TABLES = {
    "auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "django_migrations",
    "django_session", "infra_addon", "infra_datastore", "infra_datastore_zones", "infra_endpoint", "infra_flavor",
    "infra_host", "infra_image", "infra_imagereplica", "infra_installation", "infra_networkoffer",
    "infra_physicalnetwork", "infra_physicalnetwork_zones",
    "infra_site", "infra_storageclass", "infra_storageclass_datastores",
    "infra_storagepolicy", "infra_template", "infra_unmanagedvm", "infra_vlan", "infra_zone",
    "operations_circuit", "operations_inflight", "operations_share", "operations_wakeup",
    "rest_idempotencykey", "scheduler_hold", "tenants_group", "tenants_group_users", "tenants_loginfailure",
    "tenants_token", "tenants_user", "workloads_drain",
}  # fmt: skip

WRITE_ONLY = {("operations_event", "own_acts")}  # by which a tenant writes what it may not read back


def rows(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_the_tests_log_in_as_the_plain_role():
    assert rows("select current_user, session_user") == [("facet_app", "facet_app")]
    assert rows("select rolsuper, rolbypassrls from pg_roles where rolname = current_user") == [(False, False)]


def test_without_orm_scoping_a_tenant_sees_only_its_own():
    mine, other = factories.tenant("mine"), factories.tenant("other")
    factories.project(mine, "a")
    factories.project(other, "b")
    with isolation.context(isolation.of([mine.id])):
        assert [t.name for t in Tenant.objects.all()] == ["mine"]
        assert [p.name for p in Project.objects.all()] == ["a"]
        assert {q.tenant_id for q in Quota.objects.all()} == {mine.id}
        assert rows("select count(*) from tenants_project") == [(1,)]
    with isolation.context(isolation.SYSTEM):
        assert {t.name for t in Tenant.objects.all()} == {"mine", "other"}


def test_a_tenant_cannot_write_into_another():
    mine, other = factories.tenant("mine"), factories.tenant("other")
    with pytest.raises(DatabaseError, match="row-level security"), isolation.context(isolation.of([mine.id])):
        Project.objects.create(tenant=other, name="planted")
    with isolation.context(isolation.of([mine.id])):
        assert Project.objects.filter(tenant=other).update(name="taken") == 0


def test_a_missing_context_is_an_error_and_never_an_empty_answer():
    factories.tenant("mine")
    with pytest.raises(DatabaseError, match=r"app\.tenants"):
        list(Tenant.objects.all())


def test_a_context_ends_with_its_transaction():
    mine = factories.tenant("mine")
    with isolation.context(isolation.of([mine.id])):
        pass
    assert rows("select current_user") == [("facet_app",)]
    with pytest.raises(DatabaseError):  # an empty string is no array: still an error, never an empty answer
        list(Tenant.objects.all())


def test_a_context_does_not_nest():
    with pytest.raises(RuntimeError), isolation.context(isolation.SYSTEM), isolation.context(isolation.SYSTEM):
        pass


def test_an_event_of_nobody_can_be_written_and_not_read_by_a_tenant():
    mine = factories.tenant("mine")
    with isolation.context(isolation.of([mine.id])):
        events.record("login", by=SYSTEM, kind="user", id=None, name="someone")
        assert rows("select count(*) from operations_event where verb = 'login'") == [(0,)]
    with isolation.context(isolation.SYSTEM):
        assert rows("select count(*) from operations_event where verb = 'login'") == [(1,)]


POLICIES = """
select c.relname, c.relrowsecurity, coalesce(jsonb_object_agg(p.polname, jsonb_build_object(
           'command', p.polcmd, 'using', pg_get_expr(p.polqual, c.oid), 'check', pg_get_expr(p.polwithcheck, c.oid),
           'roles', (select jsonb_agg(r.rolname) from pg_roles r where r.oid = any (p.polroles)))
       ) filter (where p.polname is not null), '{}')
from pg_class c left join pg_policy p on p.polrelid = c.oid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') group by 1, 2
"""
OWN = "({} = ANY (( SELECT (current_setting('app.tenants'::text))::uuid[] AS current_setting)::uuid[]))"
OWN_ROWS = {
    OWN.format("tenant_id"),
    OWN.format("id"),
}  # bare: no `or`, no second argument that forgives a missing context


def open_tables(cursor):
    """Tables that are neither named as the platform's nor closed by exactly the two policies that every one has."""
    cursor.execute(POLICIES)
    tables = {name: (on, json.loads(policies)) for name, on, policies in cursor.fetchall()}
    assert set(tables) >= PLATFORM_TABLES
    assert not [name for name in PLATFORM_TABLES if tables[name][0]]
    return sorted(
        name
        for name, (on, policies) in tables.items()
        if name not in PLATFORM_TABLES and not (on and closed(name, policies))
    )


def closed(table, policies):
    policies = {name: policy for name, policy in policies.items() if (table, name) not in WRITE_ONLY}
    if set(policies) != {"own_tenants", "everything"}:
        return False
    own, everything = policies["own_tenants"], policies["everything"]
    both = all(
        policy["command"] == "*" and policy["check"] is None for policy in (own, everything)
    )  # USING checks both
    return (
        both
        and own["using"] in OWN_ROWS
        and (own["roles"], everything["roles"], everything["using"]) == (["facet_app"], ["facet_system"], "true")
    )


def test_every_table_has_a_policy_or_is_a_platform_table():
    with connections["owner"].cursor() as cursor:
        assert open_tables(cursor) == []


def policy(name, role, using):
    return f"; create policy {name} on planted to {role} using ({using})"


OURS = "tenant_id = any ((select current_setting('app.tenants')::uuid[])::uuid[])"
ON = "; alter table planted enable row level security"


@pytest.mark.parametrize(
    "forgotten",
    [
        "",
        policy("own_tenants", "facet_app", OURS) + policy("everything", "facet_system", "true"),
        ON + policy("everything", "facet_system", "true"),
        ON + policy("own_tenants", "facet_app", OURS) + policy("everything", "facet_app", "true"),
        ON
        + policy("own_tenants", "facet_app", OURS.replace("app.tenants'", "app.tenants', true"))
        + policy("everything", "facet_system", "true"),
        ON + policy("own_tenants", "facet_app", f"true or {OURS}") + policy("everything", "facet_system", "true"),
    ],
    ids=["nothing", "not switched on", "system alone", "the system's for all", "forgives", "or"],
)
def test_a_table_that_forgets_a_policy_is_found(forgotten):
    with transaction.atomic(using="owner"):
        with connections["owner"].cursor() as cursor:
            cursor.execute(f"create table planted (id uuid, tenant_id uuid){forgotten}")
            assert open_tables(cursor) == ["planted"]
        transaction.set_rollback(True, using="owner")


def test_the_system_role_is_entered_and_never_inherited():
    """Inherited, its policy would show every tenant to every session."""
    granted = rows(
        """select m.inherit_option, m.set_option, m.admin_option from pg_auth_members m
           where m.roleid = 'facet_system'::regrole and m.member = 'facet_app'::regrole"""
    )
    assert granted == [(False, True, False)]
    kinds = "rolcanlogin, rolsuper, rolbypassrls, rolcreaterole"
    assert rows(f"select {kinds} from pg_roles where rolname = 'facet_system'") == [(False, False, False, False)]
    assert rows("select count(*) from pg_class where relkind = 'r' and relowner = 'facet_app'::regrole") == [(0,)]


def owned_tables():
    """(name, the column that says whose a row is) of each table with policies."""
    found = rows("select relname from pg_class where relrowsecurity and relnamespace = 'public'::regnamespace")
    return [(name, "id" if name == "tenants_tenant" else "tenant_id") for (name,) in found]


def test_in_every_table_a_tenant_reads_its_own_alone_and_nobody_reads_without_a_context():
    it, _ = world.platform()
    mine, theirs = world.belongings(it, "acme"), world.belongings(it, "rival")
    for table, column in owned_tables():
        with isolation.context(isolation.SYSTEM):
            owners = {owner for (owner,) in rows(f"select distinct {column} from {table}")}
        assert {mine.tenant.id, theirs.tenant.id} <= owners, f"tests/api/world.py makes no row of {table}"
        with isolation.context(isolation.of([mine.tenant.id])):
            assert {owner for (owner,) in rows(f"select distinct {column} from {table}")} <= {mine.tenant.id}, table
            assert touched(f"update {table} set {column} = {column} where {column} = %s", theirs.tenant.id) == 0, table
        with isolation.context(isolation.of([])):
            assert rows(f"select count(*) from {table}") == [(0,)], table
        with pytest.raises(DatabaseError, match=r"app\.tenants|malformed array"):
            rows(f"select count(*) from {table}")


def touched(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount


def test_a_row_cannot_be_handed_to_another_tenant():
    mine, other = factories.tenant("mine"), factories.tenant("other")
    project = factories.project(mine, "web")
    for sql in (
        "update tenants_project set tenant_id = %s where id = %s",
        "update tenants_quota set tenant_id = %s where project_id = %s",
        'insert into tenants_quota (id, tenant_id, project_id, resource, "limit", used, handed_down)'
        " values (gen_random_uuid(), %s, %s, 'vcpu', 5, 0, 0)",
    ):
        with pytest.raises(DatabaseError, match="row-level security"), isolation.context(isolation.of([mine.id])):
            touched(sql, other.id, project.id)


def test_a_pass_that_forgets_its_context_fails_loudly_and_is_tried_again(monkeypatch):
    """What a worker would take for "nothing there" must be an error: it deletes what nobody owns."""
    mine = factories.tenant("mine")
    seen = []

    def forgetful(turn):
        seen.append(turn.key)
        return list(Project.objects.all()) or engine.Done()

    monkeypatch.setitem(registry.RECONCILERS, "forgetful", forgetful)
    factories.project(mine, "web")
    with isolation.context(isolation.of([mine.id])):
        wakeups.wake("forgetful", mine.id, tenant_id=mine.id)
    assert engine.take_next()
    assert seen == [mine.id]
    with isolation.context(isolation.SYSTEM):
        row = Wakeup.objects.get(kind="forgetful")
    assert row.attempts == 1
    assert "app.tenants" in row.last_error or "malformed array" in row.last_error
