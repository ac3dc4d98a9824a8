"""Who may give which role where, and what a service account may not do."""

from tests import factories
from tests.client import Api


def ci(office, role="project-editor", name="ci"):
    """A service account of the office's project: its id and its client."""
    account = office.tenant_admin.post(f"projects/{office.project.id}/service-accounts", {"name": name, "role": role})
    token = office.tenant_admin.post(f"service-accounts/{account['id']}/tokens", {})
    return account["id"], Api(token["token"])


def test_five_roles_stand_where_they_may(admin, acme):
    factories.user("ada")
    tenant, project, platform = f"tenants/{acme.tenant.id}", f"projects/{acme.project.id}", "platform"
    roles = ("platform-admin", "auditor", "tenant-admin", "project-editor", "project-viewer")
    allowed = {
        platform: {"platform-admin", "auditor"},
        tenant: {"tenant-admin"},
        project: {"project-editor", "project-viewer"},
    }
    for place, good in allowed.items():
        for role in roles:
            answer = admin.post(f"{place}/members", {"user": "ada", "role": role})
            assert answer.status == (201 if role in good else 422), (place, role)
            if role not in good:
                assert list(answer["errors"]) == ["role"]
    again = admin.post(f"{project}/members", {"user": "ada", "role": "project-viewer"})
    assert again.status == 409


def test_a_tenant_admin_cannot_lift_itself(acme):
    me = acme.tenant_admin.get("me")
    for path, body in [
        ("platform/members", {"user": me["name"], "role": "platform-admin"}),
        ("platform/members", {"user": me["name"], "role": "auditor"}),
        ("tenants", {"name": "mine"}),
    ]:
        assert acme.tenant_admin.post(path, body).status == 403
    own = f"tenants/{acme.tenant.id}"
    assert acme.tenant_admin.post(f"{own}/members", {"user": me["name"], "role": "platform-admin"}).status == 422
    assert acme.tenant_admin.put(f"{own}/quota", {"limits": {"vcpu": 10**6}}).status == 403
    assert acme.tenant_admin.patch(own, {"description": "ours"}).status == 403
    assert acme.tenant_admin.delete(own).status == 403
    assert acme.tenant_admin.patch(f"users/{me['id']}", {"email": "x@example.org"}).status in (403, 404)
    assert acme.tenant_admin.get("me")["roles"] == me["roles"]


def test_a_project_editor_makes_no_members(acme):
    me = acme.editor.get("me")
    project = f"projects/{acme.project.id}"
    for path, body in [
        (f"{project}/members", {"user": me["name"], "role": "project-editor"}),
        (f"{project}/service-accounts", {"name": "ci", "role": "project-editor"}),
        (f"tenants/{acme.tenant.id}/members", {"user": me["name"], "role": "tenant-admin"}),
        (f"tenants/{acme.tenant.id}/projects", {"name": "mine"}),
    ]:
        assert acme.editor.post(path, body).status == 403, path
    assert acme.editor.put(f"{project}/quota", {"limits": {"vcpu": 1}}).status == 403
    account, _ = ci(acme)
    assert acme.editor.post(f"service-accounts/{account}/tokens", {}).status == 403
    assert acme.editor.delete(f"service-accounts/{account}").status == 403
    for member in acme.editor.get(f"{project}/members")["items"]:
        assert acme.editor.delete(f"members/{member['id']}").status == 403


def test_a_service_account_acts_in_its_project_and_in_no_other(acme):
    other = factories.project(acme.tenant, "api", {"vcpu": 1})
    account, api = ci(acme)
    stranger = acme.tenant_admin.post(f"projects/{other.id}/service-accounts", {"name": "ci", "role": "project-editor"})
    assert [project["name"] for project in api.get("projects")["items"]] == ["web"]
    for path in (
        f"projects/{other.id}",
        f"projects/{other.id}/quota",
        f"projects/{other.id}/members",
        f"projects/{other.id}/clusters",
        f"service-accounts/{stranger['id']}",
        f"service-accounts/{stranger['id']}/tokens",
    ):
        assert api.get(path).status == 404, path
    assert api.post(f"projects/{other.id}/clusters", {"name": "shop"}).status == 404
    # nor may the project take in another project's account
    for name in ("ci", account):
        answer = acme.tenant_admin.post(
            f"projects/{other.id}/members", {"service_account": name, "role": "project-editor"}
        )
        assert answer.status == (409 if name == "ci" else 422), name  # "ci" is the other project's own


def test_a_deleted_service_account_and_its_tokens_are_nobody(acme):
    account, api = ci(acme)
    assert api.get("me").status == 200
    assert acme.tenant_admin.delete(f"service-accounts/{account}").status == 204
    assert api.get("me").status == 401
    verbs = [event["verb"] for event in acme.tenant_admin.get("events")["items"] if event["target"]["name"] == "ci"]
    assert verbs == ["service-account.create", "member.add", "token.create", "service-account.delete"]


def test_a_role_that_is_taken_is_gone_with_the_next_request(acme):
    member = acme.tenant_admin.get(f"projects/{acme.project.id}/members?role=project-viewer")["items"][0]
    assert acme.viewer.get(f"projects/{acme.project.id}").status == 200
    assert acme.tenant_admin.delete(f"members/{member['id']}").status == 204
    assert acme.viewer.get(f"projects/{acme.project.id}").status == 404
    assert acme.viewer.get("projects").status == 403


def test_exactly_one_principal_and_it_exists(acme):
    path = f"projects/{acme.project.id}/members"
    for body, field in [
        ({"role": "project-viewer"}, "user"),
        ({"role": "project-viewer", "user": "a", "group": "b"}, "user"),
        ({"role": "project-viewer", "user": "nobody"}, "user"),
        ({"role": "project-viewer", "group": "nobody"}, "group"),
        ({"role": "project-viewer", "service_account": "nobody"}, "service_account"),
        ({"role": "owner", "user": "acme-viewer"}, "role"),
        ({"user": "acme-viewer"}, "role"),
    ]:
        answer = acme.tenant_admin.post(path, body)
        assert (answer.status, list(answer["errors"])) == (422, [field]), body


def test_a_tenant_sees_what_it_does_inside(admin, acme):
    factories.user("ada")
    admin.post(f"tenants/{acme.tenant.id}/members", {"user": "ada", "role": "tenant-admin"})
    _, _ = ci(acme)
    account = acme.tenant_admin.get(f"projects/{acme.project.id}/service-accounts")["items"][0]
    token = admin.post(f"service-accounts/{account['id']}/tokens", {"name": "of it"})
    admin.delete(f"tokens/{token['id']}")
    seen = [(e["actor"]["name"], e["verb"]) for e in acme.tenant_admin.get("events")["items"]]
    for verb in ("member.add", "token.create", "token.delete"):
        assert ("root", verb) in seen
    assert token["token"] not in str(acme.tenant_admin.get("events").body)
    assert ("root", "token.create") in [(e["actor"]["name"], e["verb"]) for e in acme.viewer.get("events")["items"]]


def test_an_auditor_reads_all_and_writes_nothing(acme):
    auditor = factories.person("auditor", "auditor")
    for path in ("tenants", "users", "groups", "platform/members", f"tenants/{acme.tenant.id}/quota", "events"):
        assert auditor.get(path).status == 200, path
    for path, body in [
        ("tenants", {"name": "x"}),
        ("users", {"name": "x", "password": factories.PASSWORD}),
        (f"tenants/{acme.tenant.id}/projects", {"name": "x"}),
        (f"projects/{acme.project.id}/members", {"user": "auditor", "role": "project-editor"}),
    ]:
        assert auditor.post(path, body).status == 403, path
    assert auditor.delete(f"projects/{acme.project.id}").status == 403
