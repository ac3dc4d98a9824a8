"""A network of a site is lent to all tenants, or to chosen ones alone; opaque ones as any other."""

from __future__ import annotations

from infra.models import PhysicalNetwork
from tests import factories, ground, work
from tests.factories import as_system


def lent(land, name="VM Network"):
    with as_system():
        return PhysicalNetwork.objects.get(name=name)


def offered(land, network, **to):
    answer = land.it.put(f"site-networks/{network.id}/offers", to)
    assert answer.status == 200, answer
    return answer.body


def vm(land, office, name="db", **more):
    body = {"name": name, "zones": ["az1"], "power": "off"} | more
    return office.editor.post(f"projects/{office.project.id}/vms", body)


def rival(land):
    office = factories.office("rival")
    pool = {"zone": "az1", "model": "on-demand", "limit": ground.POOL}
    work.succeed(land.it, land.it.post(f"tenants/{office.tenant.id}/pools", pool))
    return office


def test_a_network_is_lent_to_chosen_tenants_only(land):
    network, other = lent(land), rival(land)
    shown = offered(land, network, tenants=["acme"])
    assert (shown["all"], [one["name"] for one in shown["tenants"]]) == (False, ["acme"])
    assert vm(land, land.office, nics=[{"network": network.name}]).status == 202
    refused = vm(land, other, nics=[{"network": network.name}])
    assert (refused.status, list(refused["errors"])) == (422, ["nics.0.network"])
    unlucky = land.it.post(f"projects/{other.project.id}/clusters", {
        "name": "shop", "zones": ["az1"], "node_pools": [{"name": "workers", "size": 1}]})  # fmt: skip
    assert (unlucky.status, unlucky["code"]) == (409, "no_network_lent")
    offered(land, network, all=True)
    assert vm(land, other, nics=[{"network": network.name}]).status == 202


def test_a_vm_that_names_no_network_gets_one_that_is_lent_to_its_tenant(land):
    other = rival(land)
    offered(land, lent(land), tenants=["rival"])
    mine, theirs = vm(land, land.office), vm(land, other)
    assert theirs["vm"]["nics"][0]["network"] == "VM Network"
    assert (mine.status, mine["code"]) == (409, "no_network_lent")


def test_what_stands_on_a_network_stays_when_the_offer_ends(land):
    network = lent(land)
    made = vm(land, land.office)
    work.succeed(land.editor, made)
    offered(land, network)
    assert land.editor.get(f"vms/{made['vm']['id']}").body["nics"][0]["network"] == network.name


def test_an_offer_is_told_once_and_names_tenants_that_there_are(land):
    network = lent(land)
    offered(land, network, tenants=["acme"])
    offered(land, network, tenants=["acme"])
    told = land.it.get(f"events?target_id={network.id}").body["items"]
    assert [one["verb"] for one in told] == ["site-network.offer"]
    for body in ({"tenants": ["nobody"]}, {"all": True, "tenants": ["acme"]}, {"all": "yes"}):
        assert land.it.put(f"site-networks/{network.id}/offers", body).status == 422
    assert land.editor.put(f"site-networks/{network.id}/offers", {"all": True}).status in (403, 404)
