from tests import factories


def limits_of(api, path):
    return {row["resource"]: (row["limit"], row["used"], row["handed_down"]) for row in api.get(path)["items"]}


def test_a_quota_is_zero_until_it_is_set(admin):
    tenant = admin.post("tenants", {"name": "bare"})
    assert tenant.status == 201
    answer = admin.post(f"tenants/{tenant['id']}/projects", {"name": "web", "quota": {"vcpu": 1}})
    assert (answer.status, answer["code"]) == (409, "quota_exceeded")
    assert answer["limits"][0] | {"limit": 0, "asked": 1, "resource": "vcpu", "scope": "tenant"} == answer["limits"][0]
    assert admin.get(f"tenants/{tenant['id']}/projects")["items"] == []


def test_a_project_quota_is_cut_from_its_tenants(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vcpu": 10, "clusters": 2}})
    first = admin.post(f"tenants/{tenant['id']}/projects", {"name": "one", "quota": {"vcpu": 7}})
    assert first.status == 201
    assert limits_of(admin, f"tenants/{tenant['id']}/quota")["vcpu"] == (10, 0, 7)
    second = admin.post(f"tenants/{tenant['id']}/projects", {"name": "two", "quota": {"vcpu": 4}})
    assert (second.status, second["limits"][0]["used"], second["limits"][0]["asked"]) == (409, 7, 4)
    assert admin.patch(f"projects/{first['id']}/quota", {"limits": {"vcpu": 6}}).status == 200
    assert admin.post(f"tenants/{tenant['id']}/projects", {"name": "two", "quota": {"vcpu": 4}}).status == 201
    lower = admin.patch(f"tenants/{tenant['id']}/quota", {"limits": {"vcpu": 9}})
    assert (lower.status, lower["code"]) == (409, "below_use")
    assert {holder["name"] for holder in lower["holders"]} == {"one", "two"}


def test_put_replaces_and_patch_only_names(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vcpu": 10, "clusters": 2}})
    path = f"tenants/{tenant['id']}/quota"
    admin.patch(path, {"limits": {"vms": 3}})
    assert {k: v[0] for k, v in limits_of(admin, path).items()} == {"vcpu": 10, "clusters": 2, "vms": 3}
    admin.put(path, {"limits": {"vms": 5}})
    assert {k: v[0] for k, v in limits_of(admin, path).items()} == {"vcpu": 0, "clusters": 0, "vms": 5}


def test_a_project_is_unlimited_only_where_its_tenant_is(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vcpu": 10, "vms": None}})
    refused = admin.post(f"tenants/{tenant['id']}/projects", {"name": "a", "quota": {"vcpu": None}})
    assert (refused.status, list(refused["errors"])) == (422, ["limits.vcpu"])
    assert admin.post(f"tenants/{tenant['id']}/projects", {"name": "a", "quota": {"vms": None}}).status == 201


def test_deleting_a_project_gives_its_quota_back(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vcpu": 10}})
    project = admin.post(f"tenants/{tenant['id']}/projects", {"name": "a", "quota": {"vcpu": 10}})
    kept = admin.delete(f"tenants/{tenant['id']}")
    assert (kept.status, kept["code"]) == (409, "in_use")
    assert admin.delete(f"projects/{project['id']}").status == 204
    assert limits_of(admin, f"tenants/{tenant['id']}/quota")["vcpu"] == (10, 0, 0)
    assert admin.delete(f"tenants/{tenant['id']}").status == 204
    assert admin.get(f"tenants/{tenant['id']}").status == 404
    assert admin.post("tenants", {"name": "acme"}).status == 201


def test_a_tenant_admin_carves_projects_and_not_its_own_quota(acme):
    made = acme.tenant_admin.post(f"tenants/{acme.tenant.id}/projects", {"name": "api", "quota": {"vcpu": 5}})
    assert made.status == 201
    own = acme.tenant_admin.patch(f"tenants/{acme.tenant.id}/quota", {"limits": {"vcpu": 5000}})
    assert (own.status, own["code"]) == (403, "forbidden")
    assert acme.editor.post(f"tenants/{acme.tenant.id}/projects", {"name": "mine"}).status == 403


def test_what_it_does_in_a_tenant_the_tenant_sees(admin, acme):
    admin.patch(f"tenants/{acme.tenant.id}/quota", {"limits": {"vcpu": 900}})
    seen = acme.tenant_admin.get("events?verb=quota.set")["items"]
    assert ("root", 1000, 900) in [
        (e["actor"]["name"], (e["before"] or {}).get("vcpu"), e["after"].get("vcpu")) for e in seen
    ]


def test_absurd_limits_are_refused_by_name(admin):
    for bad in (-1, 1.5, "12", True, 10**30):
        answer = admin.post("tenants", {"name": "acme", "quota": {"vcpu": bad}})
        assert answer.status == 422, bad
        assert list(answer["errors"]) == ["quota.vcpu"], bad
    assert list(admin.post("tenants", {"name": "acme", "quota": {"gpus": 1}})["errors"]) == ["quota.gpus"]
    with factories.as_system():
        from tenants.models import Tenant  # noqa: PLC0415

        assert not Tenant.objects.exists()
