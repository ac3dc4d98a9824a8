"""Row-level security, as the role that production logs in with."""

import pytest
from django.db import DatabaseError, connection, connections

from facet.operations import events
from facet.rest.access import SYSTEM
from tenants import isolation
from tenants.models import Project, Quota, Tenant
from tests import factories

PLATFORM_TABLES = {
    "auth_group", "auth_group_permissions", "auth_permission", "django_content_type", "django_migrations",
    "django_session", "infra_addon", "infra_datastore", "infra_datastore_zones", "infra_endpoint", "infra_flavor",
    "infra_host", "infra_image", "infra_installation", "infra_physicalnetwork", "infra_physicalnetwork_zones",
    "infra_site", "infra_template", "infra_zone", "operations_circuit", "operations_inflight", "operations_wakeup",
    "rest_idempotencykey", "scheduler_hold", "tenants_group", "tenants_group_users", "tenants_loginfailure",
    "tenants_token", "tenants_user",
}  # fmt: skip


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


def test_every_table_has_a_policy_or_is_a_platform_table():
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            """select c.relname, c.relrowsecurity, array_agg(p.polname::text order by p.polname)
                      filter (where p.polname is not null)
               from pg_class c left join pg_policy p on p.polrelid = c.oid
               where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' group by 1, 2"""
        )
        tables = {name: (on, policies or []) for name, on, policies in cursor.fetchall()}
    assert set(tables) >= PLATFORM_TABLES
    for name, (on, policies) in tables.items():
        if name in PLATFORM_TABLES:
            assert not on, name
        else:
            assert on, f"{name} is neither a platform table nor protected"
            assert {"own_tenants", "everything"} <= set(policies), name
