"""Zones over the API: what is refused, and what a member of a tenant gets to see."""

import json

import pytest

from infra.models import Datastore, Endpoint, Host, Zone
from tests import sites
from tests.factories import as_system

INSIDE = (
    "site", "selector", "hosts", "datastores", "networks", "endpoint_range", "cpu_overcommit", "memory_overcommit",
    "failover_hosts",
)  # fmt: skip


def ask(**changes):
    body = {
        "name": "az1", "site": "dc1", "selector": {"vsphere_cluster": "rack-1"}, "datastores": ["ssd-1"],
        "networks": ["VM Network"], "endpoint_range": "127.20.0.10-127.20.0.20",
    }  # fmt: skip
    return body | changes


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "AZ 1"}, "name"),
        ({"name": 1}, "name"),
        ({"site": "nowhere"}, "site"),
        ({"site": None}, "site"),
        ({"selector": {}}, "selector"),
        ({"selector": None}, "selector"),
        ({"selector": "rack-1"}, "selector"),
        ({"selector": ["rack-1"]}, "selector"),
        ({"selector": {"vsphere_cluster": ""}}, "selector"),
        ({"selector": {"vsphere_cluster": 1}}, "selector"),
        ({"selector": {"vsphere_cluster": "nowhere"}}, "selector"),
        ({"selector": {"vsphere_cluster": "rack-1", "label": "a=b"}}, "selector"),
        ({"selector": {"label": "rack"}}, "selector"),
        ({"selector": {"label": "=r1"}}, "selector"),
        ({"selector": {"label": "rack=nowhere"}}, "selector"),
        ({"selector": {"hosts": []}}, "selector"),
        ({"selector": {"hosts": [1]}}, "selector.hosts"),
        ({"selector": {"hosts": ["nowhere"]}}, "selector.hosts"),
        ({"selector": {"hosts": ["host-1.example.org"] * 2}}, "selector.hosts"),
        ({"selector": {"hosts": [f"h{n}" for n in range(1001)]}}, "selector.hosts"),
        ({"selector": {"everything": True}}, "selector"),
        ({"datastores": ["nowhere"]}, "datastores"),
        ({"datastores": "ssd-1"}, "datastores"),
        ({"networks": ["nowhere"]}, "networks"),
        ({"networks": [f"n{n}" for n in range(201)]}, "networks"),
        ({"endpoint_range": "10.0.0.9-10.0.0.1"}, "endpoint_range"),
        ({"endpoint_range": "10.0.0.0/24"}, "endpoint_range"),
        ({"endpoint_range": "10.0.0.0-10.255.0.0"}, "endpoint_range"),
        ({"cpu_overcommit": 0}, "cpu_overcommit"),
        ({"cpu_overcommit": -1}, "cpu_overcommit"),
        ({"cpu_overcommit": 100.5}, "cpu_overcommit"),
        ({"cpu_overcommit": 1.234}, "cpu_overcommit"),
        ({"cpu_overcommit": 1e400}, "cpu_overcommit"),
        ({"cpu_overcommit": True}, "cpu_overcommit"),
        ({"cpu_overcommit": "4"}, "cpu_overcommit"),
        ({"memory_overcommit": 0.5}, "memory_overcommit"),
        ({"memory_overcommit": None}, "memory_overcommit"),
        ({"failover_hosts": 2}, "failover_hosts"),
        ({"failover_hosts": 1.0}, "failover_hosts"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_a_zone_is_422_names_the_field_and_leaves_nothing(admin, change, field):
    sites.registered()
    body = json.dumps(ask(**change)).replace("Infinity", "1e400")
    response = admin.client.generic(
        "POST", "/api/v1/zones", data=body, content_type="application/json", headers=admin.headers
    )
    refused = response.json()
    fields = {name.rpartition(".")[0] if name.rpartition(".")[2].isdigit() else name for name in refused["errors"]}
    assert (response.status_code, fields) == (422, {field}), refused
    assert not Zone.objects.exists()
    assert not Endpoint.objects.exists()
    assert not Host.objects.exclude(zone=None).exists()
    assert not Datastore.objects.exclude(limit_gib=0).exists()


def test_nan_is_not_json(admin):
    sites.registered()
    body = json.dumps(ask(cpu_overcommit=float("nan")))
    response = admin.client.generic(
        "POST", "/api/v1/zones", data=body, content_type="application/json", headers=admin.headers
    )
    assert response.status_code == 400


def test_an_ambiguous_name_is_refused_with_the_candidates(admin):
    sites.registered(found=sites.world(datastores=(sites.store(1), sites.store(2, name="ssd-1"))))
    refused = admin.post("zones", ask())
    assert (refused.status, list(refused["errors"])) == (422, ["datastores"])
    assert refused["candidates"] == ["datastore-1", "datastore-2"]
    made = admin.post("zones", ask(datastores=["datastore-2"]))
    assert [store["name"] for store in made["zone"]["datastores"]] == ["ssd-1"]


def test_two_hosts_of_one_name_are_not_chosen_by_it(admin):
    sites.registered(found=sites.world([sites.host(1), sites.host(2, name="host-1.example.org")]))
    refused = admin.post("zones", ask(selector={"hosts": ["host-1.example.org"]}))
    assert list(refused["errors"]) == ["selector.hosts"]


def test_a_name_is_taken_once(admin):
    sites.registered()
    assert admin.post("zones", ask()).status == 202
    again = admin.post("zones", ask(selector={"vsphere_cluster": "rack-2"}, endpoint_range="", datastores=[]))
    assert (again.status, again["code"]) == (409, "name_taken")


def test_one_key_carves_one_zone(admin):
    sites.registered()
    first = admin.post("zones", ask(), Idempotency_Key="k")
    assert admin.post("zones", ask(), Idempotency_Key="k").body == first.body
    assert Zone.objects.count() == 1


def test_defaults_are_those_of_the_design(admin):
    sites.registered()
    zone = admin.post("zones", {"name": "az1", "site": "dc1", "selector": {"label": "rack=r1"}})["zone"]
    assert (zone["cpu_overcommit"], zone["memory_overcommit"]) == (4.0, 1.0)
    assert (zone["datastores"], zone["networks"], zone["endpoint_range"]) == ([], [], "")


def test_a_member_sees_zones_and_nothing_of_the_site_behind_them(admin, acme):
    zone = sites.carved(sites.registered())
    with as_system():
        reason = {"code": "in_use", "sentence": "host-1.example.org is full", "action": "Look at dc1"}
        Zone.objects.filter(pk=zone.pk).update(reason=reason)
    full = admin.get(f"zones/{zone.id}")
    assert (full["site"]["name"], full["hosts"], full["reason"]["sentence"]) == ("dc1", 2, reason["sentence"])
    for person in (acme.tenant_admin, acme.editor, acme.viewer):
        for shown in (person.get(f"zones/{zone.id}"), person.get("zones?name=az1")["items"][0]):
            assert (shown["name"], shown["phase"], shown["reason"]["code"]) == ("az1", "active", "in_use")
            assert {name: shown[name] for name in INSIDE} == dict.fromkeys(INSIDE)
            for word in ("dc1", "host-1", "rack-1", "ssd-1", "VM Network"):
                assert word not in repr(getattr(shown, "body", shown))
        assert person.get(f"zones/{zone.id}/capacity").status == 403
        assert person.post("zones", ask()).status == 403
        assert person.patch(f"zones/{zone.id}", {}).status == 403
        assert person.delete(f"zones/{zone.id}").status == 403


def test_capacity_says_what_there_is_and_what_is_free(admin):
    zone = sites.carved(sites.registered())
    sites.observe(zone.site, sites.world(vms=[sites.vm("host-2", vcpu=60, memory_mib=64000)]))
    sites.claim("host-1.example.org", vcpu=14, memory_mib=16384)
    found = admin.get(f"zones/{zone.id}/capacity")
    sizes = {row["resource"]: row for row in found["items"]}
    assert sizes["vcpu"] | {"resource": ""} == {
        "resource": "", "capacity": 32, "limit": 128, "claimed": 14, "unmanaged": 60, "overdrawn": 0, "free": 54,
        "guaranteed": 0, "guaranteed_free": 0,
    }  # fmt: skip
    assert (sizes["memory_mib"]["limit"], sizes["memory_mib"]["free"]) == (131072, 49152 + 1536)
    assert (sizes["storage_gib"]["capacity"], sizes["storage_gib"]["free"]) == (1000, 1000)
    assert found["hosts"] == {"up": 2}
    assert found["largest_flavor"] == "large"
    with as_system():
        Host.objects.filter(name="host-1.example.org").update(cordoned=True)
    assert admin.get(f"zones/{zone.id}/capacity")["largest_flavor"] == "tiny"


def test_a_stale_if_match_is_refused(admin):
    zone = sites.carved(sites.registered())
    seen = admin.get(f"zones/{zone.id}").headers["ETag"]
    assert admin.patch(f"zones/{zone.id}", {"cpu_overcommit": 2}, If_Match=seen).status == 202
    stale = admin.patch(f"zones/{zone.id}", {"cpu_overcommit": 3}, If_Match=seen)
    assert (stale.status, stale["current"]["cpu_overcommit"]) == (412, 2.0)


def test_a_change_that_cannot_be_changes_nothing(admin):
    zone = sites.carved(sites.registered())
    for change, field in (
        ({"selector": {"hosts": ["nowhere"]}, "cpu_overcommit": 2}, "selector.hosts"),
        ({"datastores": ["nowhere"], "cpu_overcommit": 2}, "datastores"),
        ({"endpoint_range": "x", "cpu_overcommit": 2}, "endpoint_range"),
        ({"name": "az9"}, "name"),
    ):
        refused = admin.patch(f"zones/{zone.id}", change)
        assert (refused.status, list(refused["errors"])) == (422, [field])
    assert admin.get(f"zones/{zone.id}")["cpu_overcommit"] == 4.0
    assert admin.get(f"zones/{zone.id}")["generation"] == 1


def test_a_zone_that_goes_takes_no_change(admin):
    zone = sites.carved(sites.registered())
    assert admin.delete(f"zones/{zone.id}").status == 202
    assert admin.patch(f"zones/{zone.id}", {"cpu_overcommit": 2}).status == 409


def test_a_datastore_that_is_taken_out_keeps_its_claims_as_a_shortfall(admin):
    zone = sites.carved(sites.registered())
    with as_system():
        Datastore.objects.filter(name="ssd-1").update(claimed_gib=100)
    changed = admin.patch(f"zones/{zone.id}", {"datastores": ["ssd-2"]})
    assert [store["name"] for store in changed["zone"]["datastores"]] == ["ssd-2"]
    old, new = Datastore.objects.order_by("name")
    assert (old.limit_gib, old.overdrawn_gib, new.limit_gib) == (0, 100, 1000)
