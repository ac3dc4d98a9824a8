"""Pools over the API: shapes, rights, models, bad input, and what a refusal leaves behind (nothing)."""

from __future__ import annotations

import pytest

from infra.models import Host, Zone, ZonePhase
from scheduler import services
from scheduler.models import Hold, ResourcePool
from tenants.models import Role
from tests import factories, room
from tests.factories import as_system
from tests.room import GIB

FLEX = {
    "zone": "az1",
    "model": "flex",
    "reserved": {"vcpu": 8, "memory_mib": 32 * GIB},
    "limit": {"vcpu": 64, "memory_mib": 256 * GIB},
}


@pytest.fixture
def place():
    return room.land(hosts=4, vcpu=32, memory_mib=128 * GIB)


def held():
    with as_system():
        return (
            ResourcePool.objects.filter(deleted_at=None).count(),
            sum(Hold.objects.values_list("vcpu", flat=True)),
            sum(Host.objects.values_list("vcpu_claimed", flat=True)),
        )


def pools_of(acme, whose="tenant"):
    return f"tenants/{acme.tenant.id}/pools" if whose == "tenant" else f"projects/{acme.project.id}/pools"


def test_it_gives_a_tenant_and_the_tenant_gives_a_project_its_part(place, admin, acme):
    answer = admin.post(pools_of(acme), FLEX)
    assert answer.status == 202
    assert (answer["operation"]["verb"], answer["operation"]["phase"]) == ("pool.create", "pending")
    pool = answer["pool"]
    assert pool["name"] == "az1"
    assert pool["zone"] == "az1"
    assert (pool["model"], pool["phase"], pool["project_id"]) == ("flex", "pending", None)
    assert pool["reserved"] == FLEX["reserved"]
    assert pool["limit"] == FLEX["limit"]
    assert pool["used"] == {"vcpu": 0, "memory_mib": 0}
    assert held() == (1, 8, 8)

    below = {"zone": str(place.zone.id), "model": "flex", "name": "mine",
             "reserved": {"vcpu": 4}, "limit": {"vcpu": 16, "memory_mib": 64 * GIB}}  # fmt: skip
    made = acme.tenant_admin.post(pools_of(acme, "project"), below)
    assert made.status == 202, made
    assert (made["pool"]["name"], made["pool"]["parent_id"]) == ("mine", pool["id"])
    assert held() == (2, 8, 8)
    above = acme.tenant_admin.get(f"pools/{pool['id']}")
    assert above["handed_down"] == {
        "reserved": {"vcpu": 4, "memory_mib": 0},
        "limit": {"vcpu": 16, "memory_mib": 64 * GIB},
    }
    assert above.headers["ETag"] == '"1"'
    assert [row["name"] for row in acme.viewer.get(pools_of(acme, "project"))["items"]] == ["mine"]
    assert [row["name"] for row in acme.tenant_admin.get(pools_of(acme))["items"]] == ["az1"]


def test_rights_on_pools(place, admin, acme):
    assert acme.tenant_admin.post(pools_of(acme), FLEX).status == 403
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    assert acme.viewer.get(pools_of(acme)).status in (403, 404)
    assert acme.tenant_admin.patch(f"pools/{pool['id']}", {"model": "flex"}).status == 403
    assert acme.tenant_admin.delete(f"pools/{pool['id']}").status == 403
    below = {"zone": "az1", "model": "on-demand", "limit": {"vcpu": 1, "memory_mib": 1}}
    assert acme.editor.post(pools_of(acme, "project"), below).status == 403
    mine = acme.tenant_admin.post(pools_of(acme, "project"), below)["pool"]
    assert acme.editor.get(f"pools/{mine['id']}").status == 200
    assert acme.editor.delete(f"pools/{mine['id']}").status == 403
    stranger = factories.office("other")
    for path in (pools_of(acme), pools_of(acme, "project"), f"pools/{pool['id']}", f"pools/{mine['id']}"):
        assert stranger.tenant_admin.get(path).status == 404, path
    assert stranger.tenant_admin.delete(f"pools/{mine['id']}").status == 404
    assert stranger.tenant_admin.patch(f"pools/{mine['id']}", {"model": "flex"}).status == 404
    assert stranger.tenant_admin.post(pools_of(acme, "project"), below).status == 404


BAD = [
    ({"zone": "nowhere"}, "zone"),
    ({"zone": 7}, "zone"),
    ({"model": "best-effort"}, "model"),
    ({"model": None}, "model"),
    ({"name": "Not A Name"}, "name"),
    ({"colour": "red"}, "colour"),
    ({"reserved": {"vcpu": 0}}, "reserved.vcpu"),
    ({"reserved": {"vcpu": -1}}, "reserved.vcpu"),
    ({"reserved": {"vcpu": 1.5}}, "reserved.vcpu"),
    ({"reserved": {"vcpu": "8"}}, "reserved.vcpu"),
    ({"reserved": {"vcpu": True}}, "reserved.vcpu"),
    ({"reserved": {"vcpu": None}}, "reserved.vcpu"),
    ({"reserved": {"vcpu": 10**12 + 1}}, "reserved.vcpu"),
    ({"reserved": {"memory_mib": 2**63}}, "reserved.memory_mib"),
    ({"reserved": {"memory_mib": 10**400}}, "reserved.memory_mib"),
    ({"reserved": {"storage_gib": 1}}, "reserved.storage_gib"),
    ({"reserved": []}, "reserved"),
    ({"reserved": {}}, "reserved"),
    ({"limit": {"vcpu": 0}}, "limit.vcpu"),
    ({"limit": {"gpus": 1}}, "limit.gpus"),
    ({"limit": {"vcpu": 4}}, "reserved.vcpu"),
    ({"limit": "all"}, "limit"),
    ({"largest_shape": "enormous"}, "largest_shape"),
    ({"largest_shape": 3}, "largest_shape"),
    ({"model": "on-demand"}, "reserved"),
    ({"model": "reserved"}, "limit"),
    ({"model": "reserved", "reserved": {"vcpu": 4}, "limit": None}, "reserved"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
def test_bad_input_names_the_field_and_holds_nothing(place, admin, acme, change, field):
    answer = admin.post(pools_of(acme), FLEX | change)
    assert answer.status == 422, answer
    assert field in answer["errors"], answer
    assert held() == (0, 0, 0)


def test_what_the_world_does_not_allow_is_a_conflict_and_holds_nothing(place, admin, acme):
    one = admin.post(pools_of(acme, "project"), {"zone": "az1", "model": "on-demand"})
    assert (one.status, one["code"]) == (409, "no_pool")
    much = admin.post(pools_of(acme), {"zone": "az1", "model": "flex", "reserved": {"vcpu": 129}})
    assert (much.status, much["code"]) == (409, "no_room")
    assert much["limits"][0] | {"limit": 128, "asked": 129} == much["limits"][0]
    chunk = FLEX | {"largest_shape": "xlarge", "reserved": {"vcpu": 64, "memory_mib": 384 * GIB}, "limit": None}
    with as_system():
        Host.objects.update(vcpu_claimed=17)
    services.guarantees.ledger.look(full=True)
    refused = admin.post(pools_of(acme), chunk)
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert {row["filter"] for row in refused["filters"]} >= {"zone", "cpu", "memory"}
    with as_system():
        Host.objects.update(vcpu_claimed=0)
        Zone.objects.update(phase=ZonePhase.PENDING)
    waiting = admin.post(pools_of(acme), FLEX)
    assert (waiting.status, waiting["code"]) == (409, "zone_not_active")
    assert held() == (0, 0, 0)
    with as_system():
        Zone.objects.update(phase=ZonePhase.ACTIVE)
    services.guarantees.ledger.look(full=True)
    assert admin.post(pools_of(acme), FLEX).status == 202
    again = admin.post(pools_of(acme), FLEX)
    assert (again.status, again["code"]) == (409, "pool_exists")
    assert held() == (1, 8, 8)


def test_models(place, admin, acme):
    reserved = {"zone": "az1", "model": "reserved", "reserved": {"vcpu": 8, "memory_mib": 16 * GIB}}
    pool = admin.post(pools_of(acme), reserved)["pool"]
    assert pool["limit"] == pool["reserved"] == reserved["reserved"]
    grown = admin.patch(f"pools/{pool['id']}", {"reserved": {"vcpu": 12, "memory_mib": 24 * GIB}})
    assert grown.status == 202, grown
    assert grown["pool"]["limit"] == {"vcpu": 12, "memory_mib": 24 * GIB}
    assert (grown["operation"]["verb"], grown["operation"]["generation"]) == ("pool.update", 2)
    assert held() == (1, 12, 12)
    loose = admin.patch(f"pools/{pool['id']}", {"model": "on-demand", "limit": {"vcpu": None, "memory_mib": 64 * GIB}})
    assert loose["pool"]["limit"] == {"vcpu": None, "memory_mib": 64 * GIB}
    assert held() == (1, 0, 0)
    assert admin.patch(f"pools/{pool['id']}", {"limit": None})["pool"]["limit"] == {"vcpu": None, "memory_mib": None}
    wrong = admin.patch(f"pools/{pool['id']}", {"zone": "az2"})
    assert (wrong.status, list(wrong["errors"])) == (422, ["zone"])
    assert admin.patch(f"pools/{pool['id']}", {"reserved": {"vcpu": 1}}).status == 422


def test_a_pool_shrinks_only_to_what_is_used_and_handed_down(place, admin, acme):
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    acme.tenant_admin.post(
        pools_of(acme, "project"),
        {"zone": "az1", "model": "flex", "reserved": {"vcpu": 4}, "limit": {"vcpu": 16, "memory_mib": 64 * GIB}},
    )
    for change in ({"limit": {"vcpu": 15, "memory_mib": 256 * GIB}}, {"reserved": {"vcpu": 3}}):
        answer = admin.patch(f"pools/{pool['id']}", change)
        assert answer.status == 409, answer
    below = admin.patch(f"pools/{pool['id']}", {"limit": {"vcpu": 15, "memory_mib": 256 * GIB}})
    assert below["code"] == "below_use"
    assert [holder["name"] for holder in below["holders"]] == ["web/az1"]
    assert held() == (2, 8, 8)
    with as_system():
        row = ResourcePool.objects.get(pk=pool["id"])
        assert row.generation == 1
    refused = admin.delete(f"pools/{pool['id']}")
    assert (refused.status, refused["code"]) == (409, "in_use")
    assert refused["holders"][0]["kind"] == "project pool"


BAD_TRANSFERS = [
    ({"vcpu": 0}, "vcpu"),
    ({"vcpu": -1}, "vcpu"),
    ({"vcpu": 1.5}, "vcpu"),
    ({"vcpu": "1"}, "vcpu"),
    ({"vcpu": True}, "vcpu"),
    ({"vcpu": None}, "vcpu"),
    ({"vcpu": 2**63}, "vcpu"),
    ({"memory_mib": 0}, "memory_mib"),
    ({"memory_mib": 10**13}, "memory_mib"),
    ({"vcpu": 1, "gpus": 1}, "gpus"),
    ({}, "vcpu"),
    ({"vcpu": 1, "to": "7"}, "to"),
    ({"vcpu": 1, "to": 7}, "to"),
    ({"vcpu": 1, "to": None}, "to"),
    ({"vcpu": 1, "to": "00000000-0000-7000-8000-000000000000"}, "to"),
]


@pytest.mark.parametrize(("change", "field"), BAD_TRANSFERS)
def test_a_bad_transfer_names_the_field_and_moves_nothing(place, admin, acme, change, field):
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    theirs = admin.post(pools_of(factories.office("beta")), FLEX)["pool"]
    answer = admin.post(f"pools/{pool['id']}/transfer", {"to": theirs["id"]} | change)
    assert (answer.status, list(answer["errors"])) == (422, [field]), answer
    itself = admin.post(f"pools/{pool['id']}/transfer", {"to": pool["id"], "vcpu": 1})
    assert (itself.status, list(itself["errors"])) == (422, ["to"])
    assert held() == (2, 16, 16)


def test_room_stays_in_its_zone_and_goes_to_no_pool_that_goes(place, admin, acme):
    room.land(name="az2")
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    elsewhere = admin.post(pools_of(acme), FLEX | {"zone": "az2", "limit": None})["pool"]
    far = admin.post(f"pools/{pool['id']}/transfer", {"to": elsewhere["id"], "vcpu": 1})
    assert (far.status, list(far["errors"])) == (422, ["to"])
    assert "stays there" in far["errors"]["to"][0]
    theirs = admin.post(pools_of(factories.office("beta")), FLEX)["pool"]
    admin.delete(f"pools/{theirs['id']}")
    for source, target in ((pool, theirs), (theirs, pool)):
        gone = admin.post(f"pools/{source['id']}/transfer", {"to": target["id"], "vcpu": 1})
        assert (gone.status, gone["code"]) == (409, "deleting")
    spare = admin.post(f"pools/{theirs['id']}/take-spare")
    assert (spare.status, spare["code"]) == (409, "deleting")


def test_a_transfer_in_a_draining_zone_moves_what_lies_there(place, admin, acme):
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    theirs = admin.post(pools_of(factories.office("beta")), FLEX)["pool"]
    with as_system():
        Zone.objects.update(phase=ZonePhase.DRAINING)
        Host.objects.update(cordoned=True)
    services.guarantees.ledger.look(full=True)
    body = {"to": theirs["id"], "vcpu": 4, "memory_mib": 16 * GIB}
    first = admin.post(f"pools/{pool['id']}/transfer", body, Idempotency_Key="k1")
    assert first.status == 202, first
    assert admin.post(f"pools/{pool['id']}/transfer", body, Idempotency_Key="k1").body == first.body
    assert held() == (2, 16, 16)
    assert admin.get(f"pools/{theirs['id']}")["reserved"] == {"vcpu": 12, "memory_mib": 48 * GIB}


def test_a_stale_if_match_is_refused(place, admin, acme):
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    assert admin.patch(f"pools/{pool['id']}", {"largest_shape": "small"}, If_Match='"1"').status == 202
    stale = admin.patch(f"pools/{pool['id']}", {"largest_shape": "large"}, If_Match='"1"')
    assert (stale.status, stale["current"]["largest_shape"]) == (412, "small")


def test_one_key_makes_one_pool(place, admin, acme):
    first = admin.post(pools_of(acme), FLEX, Idempotency_Key="k1")
    again = admin.post(pools_of(acme), FLEX, Idempotency_Key="k1")
    assert first.body == again.body
    assert held() == (1, 8, 8)


def test_a_delete_gives_the_guarantee_back_at_once_and_is_said_twice(place, admin, acme):
    pool = admin.post(pools_of(acme), FLEX)["pool"]
    gone = admin.delete(f"pools/{pool['id']}")
    assert (gone.status, gone["pool"]["phase"]) == (202, "deleting")
    assert held() == (1, 0, 0)
    assert admin.delete(f"pools/{pool['id']}")["operation"]["id"] == gone["operation"]["id"]
    late = admin.patch(f"pools/{pool['id']}", {"largest_shape": "small"})
    assert (late.status, late["code"]) == (409, "deleting")
    with as_system():
        web = services.Project.objects.get(pk=acme.project.pk)
        zone = Zone.objects.get()
    with pytest.raises(services.Conflict, match="has a pool in zone az1"), as_system():
        services.pools_for(web, [zone])
    assert acme.tenant_admin.post(pools_of(acme, "project"), FLEX)["code"] == "no_pool"


def test_owners_with_pools_do_not_go(place, admin, acme):
    admin.post(pools_of(acme), FLEX)
    acme.tenant_admin.post(
        pools_of(acme, "project"), {"zone": "az1", "model": "on-demand", "limit": {"vcpu": 1, "memory_mib": 1}}
    )
    project = acme.tenant_admin.delete(f"projects/{acme.project.id}")
    assert (project.status, project["holders"][0]["kind"]) == (409, "pool")
    tenant = admin.delete(f"tenants/{acme.tenant.id}")
    assert tenant.status == 409
    assert {holder["kind"] for holder in tenant["holders"]} >= {"project", "pool"}


def test_why_an_allocation_stands_where_it_does(place, admin, acme):
    pool = room.pool(place, acme.tenant)
    ask = room.ask(place, pool, name="shop-w-1")
    plan = room.claim(acme.project, pool, [ask])
    listed = acme.viewer.get(f"allocations?holder={ask.key}")["items"]
    assert [(row["name"], row["vcpu"], row["released"]) for row in listed] == [("shop-w-1", 1, None)]
    why = acme.viewer.get(f"allocations/{listed[0]['id']}/why")
    assert why.status == 200
    host = next(one for one in place.hosts if one.id == plan.placements[0].host_id)
    assert why["allocation"]["host"] == host.name
    assert host.name in why["sentence"]
    assert [row["filter"] for row in why["why"]["filters"]][:2] == ["zone", "open"]
    assert why["ask"]["role"] == "worker"
    room.release(acme.project, [ask.key])
    assert acme.viewer.get(f"allocations/{listed[0]['id']}")["released"] is not None
    stranger = factories.office("other")
    assert stranger.tenant_admin.get(f"allocations/{listed[0]['id']}/why").status == 404
    assert stranger.tenant_admin.get("allocations")["items"] == []
    other = factories.project(acme.tenant, "api", {})
    neighbour = factories.person("neighbour", Role.PROJECT_VIEWER, acme.tenant, other)
    assert neighbour.get("allocations")["items"] == []
    assert acme.viewer.get("allocations?holder=x").status == 422
