"""Tenants and projects come and go whole: nothing begins in what is being deleted."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from facet.rest.access import SYSTEM
from facet.rest.problems import NotFound
from tenants import members, quota, services
from tenants.models import Project, ServiceAccount
from tests import factories
from tests.client import Api
from tests.factories import as_system


def test_a_name_is_free_again_when_its_project_is_gone(acme):
    path = f"tenants/{acme.tenant.id}/projects"
    taken = acme.tenant_admin.post(path, {"name": "web"})
    assert (taken.status, taken["code"]) == (409, "name_taken")
    assert acme.tenant_admin.delete(f"projects/{acme.project.id}").status == 204
    assert acme.tenant_admin.post(path, {"name": "web"}).status == 201


def test_deleting_a_project_ends_its_tokens_and_leaves_nothing_below_it(acme):
    account = acme.tenant_admin.post(
        f"projects/{acme.project.id}/service-accounts", {"name": "ci", "role": "project-editor"}
    )
    ci = Api(acme.tenant_admin.post(f"service-accounts/{account['id']}/tokens", {})["token"])
    assert ci.get("me").status == 200
    assert acme.tenant_admin.delete(f"projects/{acme.project.id}").status == 204
    assert ci.get("me").status == 401
    for path in (
        f"projects/{acme.project.id}",
        f"projects/{acme.project.id}/quota",
        f"projects/{acme.project.id}/members",
        f"service-accounts/{account['id']}",
        f"service-accounts/{account['id']}/tokens",
    ):
        assert acme.tenant_admin.get(path).status == 404, path
    for path, body in [
        (f"projects/{acme.project.id}/members", {"user": "acme-viewer", "role": "project-editor"}),
        (f"projects/{acme.project.id}/service-accounts", {"name": "late", "role": "project-editor"}),
        (f"service-accounts/{account['id']}/tokens", {}),
    ]:
        assert acme.tenant_admin.post(path, body).status == 404, path
    assert acme.tenant_admin.put(f"projects/{acme.project.id}/quota", {"limits": {"vcpu": 1}}).status == 404
    assert acme.viewer.get("me")["roles"] == []


def test_a_token_that_outlived_its_project_is_nobody(acme):
    account = acme.tenant_admin.post(
        f"projects/{acme.project.id}/service-accounts", {"name": "ci", "role": "project-editor"}
    )
    ci = Api(acme.tenant_admin.post(f"service-accounts/{account['id']}/tokens", {})["token"])
    with as_system():  # as if the token had been written while the project went
        Project.objects.filter(pk=acme.project.id).update(deleted_at="2026-01-01T00:00:00Z")
    assert ci.get("me").status == 401


def test_nothing_begins_in_a_deleted_owner_even_for_who_saw_it_alive(acme):
    with as_system():
        account = members.create_service_account(project=acme.project, name="ci", role="project-editor", by=SYSTEM)
        services.delete_project(project=acme.project, by=SYSTEM)
        services.delete_tenant(tenant=acme.tenant, by=SYSTEM)
    late = [
        lambda: services.create_project(tenant=acme.tenant, name="late", description="", limits={}, by=SYSTEM),
        lambda: members.create_service_account(project=acme.project, name="x", role="project-editor", by=SYSTEM),
        lambda: members.issue_token(account=account, name="", life_s=60, by=SYSTEM),
        lambda: quota.set_limits(
            tenant=acme.tenant, project=acme.project, limits={"vcpu": 1}, zone_id=None, replace=False, by=SYSTEM
        ),
        lambda: services.delete_project(project=acme.project, by=SYSTEM),
    ]
    for act in late:
        with as_system(), pytest.raises(NotFound):
            act()
    with as_system():
        assert ServiceAccount.objects.count() == 1


def test_a_tenant_deleted_while_a_project_is_made_has_none_or_stays(admin):
    """Sixteen races: either the project was there first, and the tenant stays, or it is refused."""

    def end(call):
        try:
            return call()
        finally:
            connections.close_all()

    for number in range(16):
        tenant = admin.post("tenants", {"name": f"t{number}"})
        with ThreadPoolExecutor(2) as pool:
            made = pool.submit(end, lambda t=tenant: admin.post(f"tenants/{t['id']}/projects", {"name": "web"}))
            gone = pool.submit(end, lambda t=tenant: admin.delete(f"tenants/{t['id']}"))
        assert (made.result().status, gone.result().status) in ((201, 409), (404, 204)), number
    with as_system():
        assert not Project.objects.filter(deleted_at=None).exclude(tenant__deleted_at=None).exists()


def test_a_project_is_seen_by_its_own(acme):
    factories.project(acme.tenant, "api", {"vcpu": 1})
    names = {
        who: [project["name"] for project in getattr(acme, who).get("projects")["items"]]
        for who in ("tenant_admin", "editor", "viewer")
    }
    assert names == {"tenant_admin": ["web", "api"], "editor": ["web"], "viewer": ["web"]}
    assert [p["name"] for p in acme.editor.get(f"tenants/{acme.tenant.id}/projects")["items"]] == ["web"]
    assert acme.editor.get(f"tenants/{acme.tenant.id}/quota").status == 403
    assert acme.editor.get(f"projects/{acme.project.id}/quota").status == 200


def test_an_update_that_says_nothing_new_changes_nothing(acme):
    path = f"projects/{acme.project.id}"
    first = acme.tenant_admin.patch(path, {"description": "the shop"})
    again = acme.tenant_admin.patch(path, {"description": "the shop"})
    assert (first["generation"], again["generation"], again.headers["ETag"]) == (2, 2, '"2"')
    assert acme.tenant_admin.patch(path, {"name": "other"}).status == 422
