"""Limits: zero by default, cut from the tenant's, never below what is held, and never oversold by two at once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connections

from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from tenants import quota
from tenants.models import Quota, Resource, Tenant
from tests import factories, room
from tests.factories import as_system


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
    with as_system():
        assert not Tenant.objects.exists()


def at_once(*calls):
    """The answers to calls that are said at the same time."""

    def end(call):
        try:
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(end, call) for call in calls]]


def test_of_two_projects_that_ask_for_the_rest_at_once_one_gets_it(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vcpu": 10}})
    path = f"tenants/{tenant['id']}/projects"
    one, two = (admin.post(path, {"name": name, "quota": {"vcpu": 1}})["id"] for name in ("one", "two"))
    for _ in range(8):
        answers = at_once(
            lambda: admin.patch(f"projects/{one}/quota", {"limits": {"vcpu": 6}}),
            lambda: admin.patch(f"projects/{two}/quota", {"limits": {"vcpu": 6}}),
        )
        assert sorted(answer.status for answer in answers) == [200, 409]
        assert limits_of(admin, f"tenants/{tenant['id']}/quota")["vcpu"] == (10, 0, 7)
        for id in (one, two):
            admin.patch(f"projects/{id}/quota", {"limits": {"vcpu": 1}})


def test_a_first_limit_said_by_eight_at_once_is_one_row(admin):
    tenant = admin.post("tenants", {"name": "acme"})
    path = f"tenants/{tenant['id']}/quota"
    answers = at_once(*[lambda n=n: admin.patch(path, {"limits": {"vcpu": n, "vms": n}}) for n in range(1, 9)])
    assert {answer.status for answer in answers} == {200}
    assert set(limits_of(admin, path)) == {"vcpu", "vms"}


def test_a_lower_limit_and_a_larger_project_at_once_never_pass_each_other(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vcpu": 10}})
    project = admin.post(f"tenants/{tenant['id']}/projects", {"name": "web", "quota": {"vcpu": 2}})
    for _ in range(8):
        answers = at_once(
            lambda: admin.patch(f"tenants/{tenant['id']}/quota", {"limits": {"vcpu": 5}}),
            lambda: admin.patch(f"projects/{project['id']}/quota", {"limits": {"vcpu": 8}}),
        )
        assert sorted(answer.status for answer in answers) == [200, 409]
        admin.patch(f"projects/{project['id']}/quota", {"limits": {"vcpu": 2}})
        admin.patch(f"tenants/{tenant['id']}/quota", {"limits": {"vcpu": 10}})


def test_a_tenant_gets_no_limit_over_an_unlimited_project(admin):
    tenant = admin.post("tenants", {"name": "acme", "quota": {"vms": None}})
    project = admin.post(f"tenants/{tenant['id']}/projects", {"name": "web", "quota": {"vms": None}})
    refused = admin.patch(f"tenants/{tenant['id']}/quota", {"limits": {"vms": 10}})
    assert (refused.status, refused["code"]) == (409, "below_use")
    assert [(holder["name"], holder["limit"]) for holder in refused["holders"]] == [("web", None)]
    assert admin.patch(f"projects/{project['id']}/quota", {"limits": {"vms": 4}}).status == 200
    assert admin.patch(f"tenants/{tenant['id']}/quota", {"limits": {"vms": 10}}).status == 200
    assert limits_of(admin, f"tenants/{tenant['id']}/quota")["vms"] == (10, 0, 4)
    nothing = admin.post(f"tenants/{tenant['id']}/projects", {"name": "api", "quota": {"vcpu": None}})
    assert (nothing.status, list(nothing["errors"])) == (422, ["limits.vcpu"])


def test_a_stale_if_match_on_a_quota_is_refused_and_use_never_raises_it(admin, acme):
    path = f"projects/{acme.project.id}/quota"
    seen = admin.get(path).headers["ETag"]
    with as_system():
        quota.take(tenant_id=acme.tenant.id, project_id=acme.project.id, amounts=[(None, "vcpu", 3)])
    assert admin.get(path).headers["ETag"] == seen
    changed = admin.patch(path, {"limits": {"vcpu": 5}}, If_Match=seen)
    assert changed.status == 200
    assert changed.headers["ETag"] not in (seen, "")
    stale = admin.put(path, {"limits": {"vcpu": 6}}, If_Match=seen)
    assert stale.status == 412
    assert stale["current"]["items"] == admin.get(path)["items"]


def test_below_what_is_used_names_who_uses_it(admin, acme):
    with as_system():
        quota.take(tenant_id=acme.tenant.id, project_id=acme.project.id, amounts=[(None, "vms", 3)])
    refused = admin.patch(f"projects/{acme.project.id}/quota", {"limits": {"vms": 2}})
    assert (refused.status, refused["code"]) == (409, "below_use")
    assert refused["holders"] == [{"kind": "project", "name": "web", "resource": "vms", "limit": 500, "used": 3}]
    kept = admin.delete(f"projects/{acme.project.id}")
    assert (kept.status, kept["code"], kept["holders"]) == (409, "in_use", [{"kind": "vms", "used": 3}])


# --- every resource, over all zones and in one -----------------------------------------------------------------------


def shown(api, path, zone=None):
    return {row["resource"]: row["limit"] for row in api.get(path)["items"] if row["zone"] == zone}


@pytest.mark.parametrize("of", ["tenants", "projects"])
def test_limits_are_said_over_all_zones_and_in_one(admin, of):
    """PUT says all limits of a scope, PATCH some; null is unlimited, and in a zone no narrowing."""
    room.land()
    room.land(name="az2")
    tenant = factories.tenant("acme", dict.fromkeys(Resource.values))
    project = factories.project(tenant, "web", dict.fromkeys(Resource.values, 0))
    path = f"{of}/{(tenant if of == 'tenants' else project).id}/quota"
    everything = {name: number * 10 + 10 for number, name in enumerate(Resource.values)}
    zones = {None: everything, "az1": {name: amount - 5 for name, amount in everything.items()}}
    for zone, limits in zones.items():
        body = {"limits": limits} if zone is None else {"limits": limits, "zone": zone}
        assert admin.put(path, body).status == 200
    assert {zone: shown(admin, path, zone) for zone in zones} == zones
    assert shown(admin, path, "az2") == {}

    assert admin.patch(path, {"limits": {"vcpu": 11}}).status == 200
    assert admin.patch(path, {"limits": {"vms": None, "vcpu": 3}, "zone": "az1"}).status == 200
    assert shown(admin, path) == everything | {"vcpu": 11}
    assert shown(admin, path, "az1") == {k: v for k, v in zones["az1"].items() if k != "vms"} | {"vcpu": 3}

    assert admin.put(path, {"limits": {"vcpu": None, "clusters": 2}}).status == 200
    nothing = dict.fromkeys(everything, 0)
    assert shown(admin, path) == nothing | {"vcpu": None, "clusters": 2}
    assert admin.put(path, {"limits": {"vcpu": 4}, "zone": "az1"}).status == 200
    assert shown(admin, path, "az1") == {"vcpu": 4}
    if of == "projects":
        above = {
            (row["zone"], row["resource"]): row["handed_down"]
            for row in admin.get(f"tenants/{tenant.id}/quota")["items"]
        }
        assert above[None, "clusters"] == 2
        assert above[None, "vcpu"] == above[None, "vms"] == 0
    for zone in ("az9", "", 7):
        refused = admin.patch(path, {"limits": {"vcpu": 1}, "zone": zone})
        assert (refused.status, list(refused["errors"])) == (422, ["zone"]), zone
    assert shown(admin, path) == nothing | {"vcpu": None, "clusters": 2}


def test_a_lowered_limit_names_the_vms_that_hold_it(admin, acme):
    """The largest first, and how many more there are; in a zone those of the zone. A tenant's names its projects."""
    here, there = room.land(vcpu=500), room.land(name="az2")
    pool, other = room.pool(here, acme.tenant), room.pool(there, acme.tenant)
    for number, vcpu in enumerate([1] * 21 + [8, 3]):
        room.claim(acme.project, pool, [room.ask(here, pool, vcpu, name=f"shop-{number}")])
    room.claim(acme.project, other, [room.ask(there, other, 5, name="web-1")])
    path = f"projects/{acme.project.id}/quota"
    refused = admin.patch(path, {"limits": {"vcpu": 36}})
    assert (refused.status, refused["code"]) == (409, "below_use")
    assert (refused["limits"][0]["used"], refused["limits"][0]["limit"]) == (37, 36)
    holders = refused["holders"]
    assert holders[0] == {"kind": "project", "name": "web", "resource": "vcpu", "limit": 500, "used": 37}
    assert [(held["name"], held["zone"], held["vcpu"]) for held in holders[1:4]] == [
        ("shop-21", "az1", 8), ("web-1", "az2", 5), ("shop-22", "az1", 3),
    ]  # fmt: skip
    assert len(holders) == 1 + 20 + 1
    assert holders[-1] == {"kind": "vms", "name": "4 more", "count": 4}

    narrowed = admin.put(path, {"limits": {"vms": 0}, "zone": "az2"})
    assert (narrowed.status, narrowed["code"]) == (409, "below_use")
    assert [held["name"] for held in narrowed["holders"] if held["kind"] == "vm"] == ["web-1"]

    whole = admin.patch(f"tenants/{acme.tenant.id}/quota", {"limits": {"memory_mib": 1}})
    assert (whole.status, whole["code"]) == (409, "below_use")
    assert [(held["kind"], held["name"], held["used"]) for held in whole["holders"]] == [("project", "web", 24 * 1024)]
    assert {row["limit"] for row in admin.get(path)["items"] if row["resource"] == "vcpu"} == {500}
    assert admin.patch(path, {"limits": {"vcpu": 37}}).status == 200


# --- zones: the service, since a zone is another room's object --------------------------------------------------------


def set_in(zone, acme, limits, *, project=True):
    with as_system():
        quota.set_limits(
            tenant=acme.tenant, project=acme.project if project else None, limits=limits, zone_id=zone, replace=False,
            by=SYSTEM,
        )  # fmt: skip


def take(acme, zone, amount):
    with as_system():
        quota.take(tenant_id=acme.tenant.id, project_id=acme.project.id, amounts=[(zone, "vcpu", amount)])


def in_zone(acme, zone):
    with as_system():
        return {
            "project" if row.project_id else "tenant": (row.limit, row.used, row.handed_down)
            for row in Quota.objects.filter(tenant=acme.tenant, zone_id=zone)
        }


def test_a_zone_is_counted_before_anyone_narrows_it(acme):
    zone, other = uuid4(), uuid4()
    take(acme, zone, 7)
    take(acme, other, 1)
    with pytest.raises(Conflict) as refused:
        set_in(zone, acme, {"vcpu": 6})
    assert refused.value.code == "below_use"
    set_in(zone, acme, {"vcpu": 8})
    with pytest.raises(Conflict) as refused:
        take(acme, zone, 2)
    assert [(row["scope"], row["zone"], row["limit"], row["used"]) for row in refused.value.more["limits"]] == [
        ("project", str(zone), 8, 7)
    ]
    take(acme, other, 2)
    take(acme, zone, -7)
    assert in_zone(acme, zone) == {"project": (8, 0, 0), "tenant": (None, 0, 8)}
    assert in_zone(acme, other) == {"project": (None, 3, 0), "tenant": (None, 3, 0)}


def test_a_tenants_limit_in_a_zone_knows_what_its_projects_were_given_before(acme):
    zone = uuid4()
    set_in(zone, acme, {"vcpu": 8})
    with pytest.raises(Conflict):
        set_in(zone, acme, {"vcpu": 7}, project=False)
    set_in(zone, acme, {"vcpu": 9}, project=False)
    with pytest.raises(Conflict) as refused:
        set_in(zone, acme, {"vcpu": 10})
    assert (refused.value.code, refused.value.more["limits"][0]["asked"]) == ("quota_exceeded", 2)
    set_in(zone, acme, {"vcpu": None})
    assert in_zone(acme, zone) == {"project": (None, 0, 0), "tenant": (9, 0, 0)}


def test_a_zone_that_is_not_narrowed_is_not_shown(admin, acme):
    take(acme, uuid4(), 1)
    assert {row["zone"] for row in admin.get(f"projects/{acme.project.id}/quota")["items"]} == {None}
    take(acme, None, -1)


def test_a_project_that_was_narrowed_in_zones_goes_without_a_trace(admin, acme):
    zone = uuid4()
    set_in(zone, acme, {"vcpu": 8})
    assert admin.delete(f"projects/{acme.project.id}").status == 204
    assert in_zone(acme, zone)["tenant"] == (None, 0, 0)
    assert {row["handed_down"] for row in admin.get(f"tenants/{acme.tenant.id}/quota")["items"]} == {0}


def test_spending_at_once_never_passes_the_limit_and_all_is_given_back(acme):
    zones = [uuid4(), uuid4()]
    set_in(None, acme, {"vcpu": 10})

    def spend(number):
        try:
            take(acme, zones[number % 2], 3)
        except Conflict:
            return 0
        return 1

    won = at_once(*[lambda n=n: spend(n) for n in range(8)])
    assert sum(won) == 3
    for number, got in enumerate(won):
        if got:
            take(acme, zones[number % 2], -3)
    with as_system():
        assert set(Quota.objects.filter(tenant=acme.tenant).values_list("used", flat=True)) == {0}
