"""Zones: carved out of a site in one transaction, visible there by a worker, and taken away again."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import connections

from facet.operations import engine, wakeups
from facet.operations.models import Event, Wakeup
from infra import outside, reconcile
from infra.models import Endpoint, Host, Installation, Zone
from tests import sites
from tests.contract.vsphere_site import VcenterByHand
from tests.factories import as_system
from tests.vcsim import run


@pytest.fixture
def vcsim(tmp_path):
    with run.running(tmp_path, "-hosts", "4", "-clusters", "2") as program:
        yield program


@pytest.fixture
def vcenter(admin, vcsim):
    """A site that is active; its id."""
    made = sites.add_vcenter(admin, vcsim)["site"]["id"]
    sites.work()
    yield made
    outside.forget(UUID(made))


def ask(name="az1", site="dc1", **changes):
    body = {
        "name": name, "site": site, "selector": {"vsphere_cluster": "DC0_C0"}, "datastores": ["LocalDS_0"],
        "networks": ["VM Network"], "endpoint_range": "127.20.0.10-127.20.0.20",
    }  # fmt: skip
    return body | changes


def places(vcsim):
    """Names of all folders and pools of Facet at the site, by another client."""
    hand = VcenterByHand(vcsim)
    found = {"Folder": [], "ResourcePool": []}
    view = hand.content.viewManager.CreateContainerView(hand.content.rootFolder, [], True)
    for one in view.view:
        kind = type(one).__name__.rsplit(".", 1)[-1]
        if kind in found and one.name.endswith(")"):
            found[kind].append(one.name)
    return {kind: sorted(names) for kind, names in found.items()}


def mark(name, id):
    return f"{name} ({str(id).replace('-', '')[-12:]})"


def test_a_zone_stands_at_its_site_and_goes_without_a_trace(admin, vcsim, vcenter):
    asked = admin.post("zones", ask())
    assert (asked.status, asked["zone"]["phase"], asked["zone"]["hosts"]) == (202, "pending", 4)
    sites.work()
    id = asked["zone"]["id"]
    zone = admin.get(f"zones/{id}")
    assert (zone["phase"], zone["reason"]) == ("active", None)
    assert [store["name"] for store in zone["datastores"]] == ["LocalDS_0"]
    root = mark("facet", Installation.objects.get().id)
    assert places(vcsim) == {"Folder": sorted([mark("az1", id), root]), "ResourcePool": sorted([mark("az1", id), root])}
    (host, *_) = admin.get(f"sites/{vcenter}/hosts?zone=az1")["items"]
    assert (host["zone"]["name"], host["vcpu_limit"], host["memory_limit_mib"]) == ("az1", 128, 262144)

    gone = admin.delete(f"zones/{id}")
    assert (gone.status, gone["zone"]["phase"]) == (202, "deleting")
    sites.work()
    assert admin.get(f"zones/{id}").status == 404
    assert admin.get(f"operations/{gone['operation']['id']}")["phase"] == "succeeded"
    assert places(vcsim) == {"Folder": [root], "ResourcePool": [root]}
    assert not Endpoint.objects.exists()
    assert not Host.objects.exclude(zone=None).exists()
    assert admin.get(f"sites/{vcenter}/datastores")["items"][0]["limit_gib"] == 0
    with as_system():
        assert not Wakeup.objects.filter(kind="zone").exists()


def test_an_overlapping_zone_is_refused(admin):
    site = sites.registered()
    first = admin.post("zones", ask(selector={"vsphere_cluster": "rack-1"}, datastores=["ssd-1"]))
    assert first.status == 202, first
    for selector in (
        {"vsphere_cluster": "rack-1"},
        {"hosts": ["host-1.example.org", "host-3.example.org"]},
        {"label": "rack=r1"},
    ):
        again = admin.post("zones", ask("az2", selector=selector, datastores=[], endpoint_range=""))
        assert (again.status, again["code"]) == (409, "zone_overlaps"), again
        assert again["holders"][0] == {"kind": "host", "name": "host-1.example.org", "zone": "az1"}
    ranges = ask("az2", selector={"vsphere_cluster": "rack-2"}, endpoint_range="127.20.0.20-127.20.0.30", datastores=[])
    overlap = admin.post("zones", ranges)
    assert (overlap.status, overlap["code"]) == (409, "range_overlaps")
    assert Zone.objects.count() == 1
    assert Endpoint.objects.count() == 11
    assert Host.objects.filter(zone=None, site=site).count() == 1


@pytest.mark.parametrize("selector", [{"hosts": ["host-1.example.org", "host-2.example.org"]}, {"label": "rack=r1"}])
def test_a_zone_is_carved_by_hosts_or_by_label(admin, selector):
    sites.registered()
    made = admin.post("zones", ask(selector=selector, datastores=["ssd-1"]))
    assert (made.status, made["zone"]["hosts"], made["zone"]["selector"]) == (202, 2, selector)


def test_of_many_that_carve_the_same_hosts_at_once_one_wins(admin):
    sites.registered()

    def carve(number):
        try:
            body = ask(f"az{number}", selector={"label": "rack=r1"}, datastores=["ssd-1"], endpoint_range="")
            return admin.post("zones", body).status
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        answers = sorted(pool.map(carve, range(6)))
    assert answers == [202, 409, 409, 409, 409, 409]


def test_a_zone_of_several_compute_resources_has_a_pool_in_each(admin, vcsim, vcenter):
    names = [row["name"] for row in admin.get(f"sites/{vcenter}/hosts")["items"]]
    hosts = [
        next(n for n in names if n.startswith("DC0_C0")),
        next(n for n in names if n.startswith("DC0_C1")),
        "DC0_H0",
    ]
    id = admin.post("zones", ask(selector={"hosts": hosts}))["zone"]["id"]
    sites.work()
    assert admin.get(f"zones/{id}")["phase"] == "active"
    assert places(vcsim)["ResourcePool"].count(mark("az1", id)) == 3
    changed = admin.patch(f"zones/{id}", {"selector": {"hosts": hosts[:1]}})
    assert (changed.status, changed["zone"]["hosts"]) == (202, 1)
    sites.work()
    assert places(vcsim)["ResourcePool"].count(mark("az1", id)) == 1
    admin.delete(f"zones/{id}")
    sites.work()
    assert mark("az1", id) not in places(vcsim)["ResourcePool"]


class Killed(BaseException):
    """The process ends at this line."""


def killed_in(monkeypatch, where, name):
    """A pass over what is due that dies at its next call of `where.name`; the lease then runs out."""

    def dies(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, dies)
        with pytest.raises(Killed):
            engine.take_next()
    with as_system():
        Wakeup.objects.update(lease_until=None)


def test_killed_between_the_site_and_the_row_the_next_pass_finds_what_was_made(admin, vcsim, vcenter, monkeypatch):
    id = admin.post("zones", ask())["zone"]["id"]
    killed_in(monkeypatch, reconcile.Places, "left")  # folder and pools stand, no ref is saved
    assert mark("az1", id) in places(vcsim)["ResourcePool"]
    assert Zone.objects.get(pk=id).pool_refs == {}
    sites.work()
    assert admin.get(f"zones/{id}")["phase"] == "active"
    assert places(vcsim)["ResourcePool"].count(mark("az1", id)) == 1


def test_deleted_after_such_a_kill_nothing_is_left_at_the_site(admin, vcsim, vcenter, monkeypatch):
    id = admin.post("zones", ask())["zone"]["id"]
    killed_in(monkeypatch, reconcile.Places, "left")
    assert admin.delete(f"zones/{id}").status == 202
    sites.work()
    assert admin.get(f"zones/{id}").status == 404
    assert mark("az1", id) not in places(vcsim)["ResourcePool"] + places(vcsim)["Folder"]


def test_deleted_while_it_is_being_made_it_goes(admin, vcsim, vcenter, monkeypatch):
    id = admin.post("zones", ask())["zone"]["id"]
    made = reconcile.Places.left

    def delete_now(places):
        assert admin.delete(f"zones/{id}").status == 202
        return made(places)

    with monkeypatch.context() as patch:  # the user's DELETE falls between the site's answer and our write
        patch.setattr(reconcile.Places, "left", delete_now)
        assert engine.take_next()
    zone = Zone.objects.get(pk=id)
    assert (zone.phase, zone.deleted_at) == ("deleting", None)
    assert zone.pool_refs
    sites.work()
    assert admin.get(f"zones/{id}").status == 404
    assert mark("az1", id) not in places(vcsim)["ResourcePool"] + places(vcsim)["Folder"]


def test_what_a_person_put_into_the_zones_pool_keeps_it_with_a_reason(admin, vcsim, vcenter):
    id = admin.post("zones", ask())["zone"]["id"]
    sites.work()
    zone = Zone.objects.get(pk=id)
    host = Host.objects.filter(zone=zone).first()
    hand = VcenterByHand(vcsim)
    (pool_ref,) = zone.pool_refs.values()
    (store_ref,) = zone.datastores.values_list("ref", flat=True)
    ref = hand.make_vm("theirs", zone.folder_ref, pool_ref, host.ref, store_ref)
    asked = admin.delete(f"zones/{id}")
    sites.work()
    shown = admin.get(f"zones/{id}")
    assert (shown["phase"], shown["reason"]["code"]) == ("deleting", "in_use")
    assert admin.get(f"operations/{asked['operation']['id']}")["problem"]["code"] == "in_use"
    with as_system():
        assert Wakeup.objects.filter(kind="zone", key=id, lease_until=None).exists()  # it is tried again
        key = next(vm.key for vm in outside.driver_of(zone.site).inventory().vms if vm.ref == ref)
    hand.delete_vm(key)
    again = admin.delete(f"zones/{id}")
    assert again.status == 202
    sites.work()
    assert admin.get(f"zones/{id}").status == 404
    assert admin.get(f"operations/{again['operation']['id']}")["phase"] == "succeeded"


def test_a_delete_said_twice_is_one_delete(admin, vcsim, vcenter):
    id = admin.post("zones", ask())["zone"]["id"]
    one, two = admin.delete(f"zones/{id}"), admin.delete(f"zones/{id}")
    assert one["operation"]["id"] == two["operation"]["id"]


def test_a_zone_that_holds_something_is_not_deleted(admin, monkeypatch):
    sites.carved(sites.registered())
    zone = Zone.objects.get()
    held = [{"kind": "pool", "name": "acme"}]
    monkeypatch.setattr("facet.registry.HOLDERS", {"zone": [lambda id: held if id == zone.id else []]})
    refused = admin.delete(f"zones/{zone.id}")
    assert (refused.status, refused["code"], refused["holders"]) == (409, "in_use", held)
    assert admin.get(f"zones/{zone.id}")["phase"] == "active"


def test_a_zone_of_a_site_that_fails_can_be_asked_to_go(admin, vcsim, vcenter):
    id = admin.post("zones", ask())["zone"]["id"]
    sites.work()
    vcsim.process.kill()
    vcsim.process.wait()
    outside.forget(UUID(vcenter))
    assert admin.delete(f"zones/{id}").status == 202
    sites.work(most=1)
    zone = admin.get(f"zones/{id}")
    assert (zone["phase"], zone["reason"]["code"]) == ("deleting", "site_not_ready")
    assert admin.delete(f"sites/{vcenter}")["code"] == "in_use"


def test_a_pass_that_lost_its_turn_writes_nothing(admin, vcsim, vcenter, monkeypatch):
    id = admin.post("zones", ask())["zone"]["id"]
    made = reconcile.Places.left

    def stolen(places):
        with as_system():
            Wakeup.objects.filter(kind="zone").update(turn=Wakeup.objects.get(kind="zone").turn + 1000)
        return made(places)

    with monkeypatch.context() as patch:
        patch.setattr(reconcile.Places, "left", stolen)
        assert engine.run(wakeups.take()) is None
    assert Zone.objects.get(pk=id).pool_refs == {}


def test_overcommit_below_what_is_claimed_is_a_shortfall(admin):
    zone = sites.carved(sites.registered())
    sites.claim("host-1.example.org", vcpu=40, memory_mib=1024)
    changed = admin.patch(f"zones/{zone.id}", {"cpu_overcommit": 2})
    assert (changed.status, changed["zone"]["cpu_overcommit"]) == (202, 2.0)
    host = Host.objects.get(name="host-1.example.org")
    assert (host.vcpu_limit, host.vcpu_overdrawn) == (32, 8)
    sizes = {row["resource"]: row for row in admin.get(f"zones/{zone.id}/capacity")["items"]}
    assert sizes["vcpu"] == {
        "resource": "vcpu", "capacity": 32, "limit": 64, "claimed": 40, "unmanaged": 0, "overdrawn": 8, "free": 32,
        "guaranteed": 0, "guaranteed_free": 0,
    }  # fmt: skip


def test_a_zones_change_is_an_event(admin):
    zone = sites.carved(sites.registered())
    admin.patch(f"zones/{zone.id}", {"networks": ["lan"]})
    with as_system():
        (event,) = Event.objects.filter(verb="zone.update")
    assert (event.actor_name, event.target_id) == ("root", zone.id)


def test_changing_zones_while_sites_are_looked_at_ends_without_a_deadlock(admin):
    site = sites.registered(found=sites.world([sites.host(n, rack=n % 3) for n in range(1, 91)]))
    zones = [sites.carved(site, f"az{rack}", rack=rack) for rack in range(3)]

    def change(number):
        zone, rack = zones[number % 3], number % 3
        try:
            names = [f"host-{n}.example.org" for n in range(1, 91) if n % 3 == rack][: 5 + number]
            return admin.patch(f"zones/{zone.id}", {"selector": {"hosts": names}}).status
        finally:
            connections.close_all()

    def look(number):
        try:
            cores = 8 + number
            sites.observe(site, sites.world([sites.host(n, rack=n % 3, cpu_cores=cores) for n in range(1, 91)]))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        changes = [pool.submit(change, number) for number in range(18)]
        looks = [pool.submit(look, number) for number in range(12)]
        statuses = {one.result() for one in changes}
        assert [one.result() for one in looks] == [None] * 12
    assert statuses <= {202, 409}
    assert 202 in statuses
