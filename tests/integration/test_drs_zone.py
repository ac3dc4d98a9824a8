"""A zone that DRS places in: its hosts are claimed from as one bin, and where a VM stands is learnt."""

from __future__ import annotations

from uuid import UUID

import pytest

from facet.operations.models import Event
from infra import outside
from infra.models import Host, HostKind, Site
from scheduler.models import Allocation, ResourcePool
from tests import factories, ground, strangers, work
from tests.factories import as_system

from .test_vms import ask, delete, deleted, shown


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path, placement="drs") as found:
        yield found


def the_bin(zone="az1"):
    with as_system():
        return Host.objects.get(kind=HostKind.BIN, zone__name=zone)


def held(asked):
    with as_system():
        return Allocation.objects.select_related("host", "seen_on").get(holder=asked["vm"]["id"], released=None)


def by_drs(land, asked, host):
    land.site.by_hand.hand("move-vm", key=asked["vm"]["id"], host=host)
    land.sync()


def others(asked):
    with as_system():
        return list(Host.objects.filter(bin__isnull=False).exclude(name=asked["vm"]["host"]).order_by("name"))


def test_in_a_drs_zone_the_allocation_follows_the_host(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    land.sync()
    seen, where = shown(land, asked), held(asked)
    assert where.host_id == the_bin().id
    assert seen["host"] == where.seen_on.name != where.host.name
    assert where.seen_on.bin_id == where.host_id
    there = next(host for host in others(asked) if host.id != where.seen_on_id)
    by_drs(land, asked, there.name)
    after = held(asked)
    assert (after.id, after.host_id, after.seen_on_id) == (where.id, where.host_id, there.id)
    moved = shown(land, asked)
    assert (moved["host"], moved["drift"], moved["phase"]) == (there.name, None, "running")
    with as_system():
        event = Event.objects.get(verb="vm.moved")
    assert (event.before["host"], event.after["host"]) == (where.seen_on.name, there.name)
    deleted(land, asked)
    assert (the_bin().vcpu_claimed, the_bin().memory_claimed_mib) == (0, 0)


def test_what_is_claimed_is_limited_by_all_hosts_together(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    land.sync()
    bin_ = the_bin()
    with as_system():
        members = list(Host.objects.filter(bin=bin_))
    assert (bin_.stands_for, bin_.cpu_cores) == (4, sum(host.cpu_cores for host in members))
    assert bin_.vcpu_limit == 4 * bin_.cpu_cores
    assert bin_.vcpu_claimed == asked["vm"]["vcpu"]
    assert {(host.zone_id, host.vcpu_limit, host.vcpu_claimed) for host in members} == {(None, 0, 0)}
    zone = next(zone for zone in land.it.get("zones")["items"] if zone["name"] == "az1")
    assert (zone["placement"], zone["hosts"]) == ("drs", 4)
    hosts = land.it.get(f"sites/{land.site_id}/hosts?zone=az1")["items"]
    assert {host["zone"]["name"] for host in hosts} == {"az1"}
    with land.site.by_hand.maintenance(members[0].ref):
        land.sync()
        assert (the_bin().stands_for, the_bin().vcpu_limit) == (3, bin_.vcpu_limit * 3 // 4)
    land.sync()
    assert the_bin().vcpu_limit == bin_.vcpu_limit


def test_control_planes_stand_on_as_many_hosts(land):
    answer = land.cluster(control_planes={"count": 3})
    work.succeed(land.editor, answer)
    land.sync()
    bin_ = the_bin()
    with as_system():
        assert set(Allocation.objects.filter(released=None).values_list("host_id", flat=True)) == {bin_.id}
    nodes = land.editor.get(f"clusters/{answer['cluster']['id']}/nodes")["items"]
    planes = [node["host"] for node in nodes if node["role"] == "control-plane"]
    assert len(set(planes)) == len(planes) == 3
    cluster = land.editor.get(f"clusters/{answer['cluster']['id']}")
    assert cluster["broken_rules"] == []
    refused = land.cluster("wide", control_planes={"count": 5})
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert [row["filter"] for row in refused["filters"] if row["removed_hosts"]] == ["zone", "anti_affinity"]
    assert refused["placed"] == 4


def test_a_host_there_is_emptied_by_drs_and_not_by_facet(land):
    with as_system():
        host = Host.objects.filter(bin__isnull=False).first()
    for id in (host.id, the_bin().id):
        for act in ("cordon", "drain"):
            answer = land.it.post(f"hosts/{id}/{act}")
            assert (answer.status, answer["code"]) == (409, "placed_by_drs")


def test_hosts_of_several_vsphere_clusters_are_no_such_zone(land):
    with as_system():
        names = list(Host.objects.filter(kind=HostKind.HOST, bin=None).values_list("name", flat=True)[:2])
    both = {"name": "az9", "site": "dc1", "selector": {"label": "kind=any"}, "placement": "drs"}
    assert land.it.post("zones", both).status == 422
    one = both | {"selector": {"hosts": names}}
    work.succeed(land.it, land.it.post("zones", one))
    again = land.it.post("zones", one | {"name": "az8"})
    assert (again.status, again["code"]) == (409, "zone_overlaps")


def test_a_zone_gives_its_hosts_back(land):
    with as_system():
        names = list(Host.objects.filter(kind=HostKind.HOST, bin=None).values_list("name", flat=True)[:2])
    made = land.it.post("zones", {"name": "az9", "site": "dc1", "selector": {"hosts": names}, "placement": "drs"})
    work.succeed(land.it, made)
    work.succeed(land.it, land.it.delete(f"zones/{made['zone']['id']}"))
    with as_system():
        assert not Host.objects.filter(name__in=names, bin__isnull=False).exists()
    work.succeed(land.it, land.it.post("zones", {"name": "az9", "site": "dc1", "selector": {"hosts": names}}))


def test_what_would_happen_to_single_hosts_there_is_refused(land):
    path = f"zones/{the_bin().zone_id}/what-if"
    for body in ({"kind": "add_hosts", "count": 1, "like": "x"}, {"kind": "drain_hosts", "hosts": ["x"]}):
        answer = land.it.post(path, body)
        assert (answer.status, answer["code"]) == (409, "placed_by_drs")
    assert land.it.post(path, {"kind": "lose_zone"}).status == 200


def test_a_guarantee_is_held_in_the_bin(land):
    bin_, beta = the_bin(), factories.office("beta")
    all_of_it = {"vcpu": bin_.vcpu_limit, "memory_mib": 2048 * bin_.vcpu_limit}
    body = {"zone": "az1", "model": "reserved", "reserved": all_of_it, "largest_shape": "small"}
    work.succeed(land.it, land.it.post(f"tenants/{beta.tenant.id}/pools", body))
    refused = land.editor.post(f"{land.project}/vms", {"name": "late", "zones": ["az1"]})
    assert (refused.status, refused["code"]) == (409, "no_room")


def test_a_zone_is_drained_out_of_its_bin_and_into_another(tmp_path):
    with ground.simulated(tmp_path, zones=2, placement="drs") as land:
        asked = ask(land, zones=["az1", "az2"])
        work.succeed(land.editor, asked)
        left = held(asked).host
        work.succeed(land.it, land.it.post(f"zones/{left.zone_id}/drain"))
        land.sync()
        now = shown(land, asked)
        with as_system():
            there = Host.objects.get(name=now["host"])
            assert not Allocation.objects.filter(host=left, released=None).exists()
        assert there.bin_id == held(asked).host_id != left.id
        assert (the_bin("az1").vcpu_claimed + the_bin("az2").vcpu_claimed, shown(land, asked)["drift"]) == (
            asked["vm"]["vcpu"], None,
        )  # fmt: skip


def test_what_others_run_there_takes_room_of_the_bin_and_is_adopted_within_it(land):
    stranger = strangers.made(strangers.room(land))
    land.sync()

    def counted():
        with as_system():
            at = Host.objects.select_related("bin").get(ref=stranger.host_ref)
        return (at.vcpu_unmanaged, at.vcpu_claimed), (at.bin.vcpu_unmanaged, at.bin.vcpu_claimed)

    assert counted() == ((1, 0), (1, 0))
    assert [one["key"] for one in strangers.listed(land)] == [str(stranger.key)]
    zone = f"zones/{strangers.zone_id(land)}/adopt"
    assert land.it.post(zone, {"vm": stranger.ref, "project": "acme/web", "name": "db"}).status == 200
    assert counted() == ((0, 0), (0, 1))
    land.sync()
    assert counted() == ((0, 0), (0, 1))
    vm = land.editor.get(f"vms/{stranger.key}")
    with as_system():
        assert vm["host"] == Host.objects.get(ref=stranger.host_ref).name
    assert land.it.post(f"vms/{stranger.key}/release").status == 200
    assert counted() == ((1, 0), (1, 0))


def test_a_part_of_a_vsphere_cluster_keeps_its_vms_on_its_own_hosts(tmp_path):
    with ground.simulated(tmp_path, zones=0) as land:
        with as_system():
            names = list(Host.objects.filter(vsphere_cluster="rack-1").order_by("name").values_list("name", flat=True))
        part = {"selector": {"hosts": names[:2]}, "placement": "drs"}
        land.zones.append(ground.carve(land.it, land.site_id, land.site, 1, **part))
        body = {"zone": "az1", "model": "on-demand", "limit": ground.POOL}
        work.succeed(land.it, land.it.post(f"tenants/{land.office.tenant.id}/pools", body))
        some = [ask(land, f"db-{number}") for number in range(4)]
        for asked in some:
            work.succeed(land.editor, asked)
        land.sync()
        assert {shown(land, asked)["host"] for asked in some} <= set(names[:2])
        (rule,) = rules_of(land)
        assert set(rule.vm_keys) == {UUID(asked["vm"]["id"]) for asked in some}
        with as_system():
            assert set(rule.host_refs) == set(Host.objects.filter(bin__isnull=False).values_list("ref", flat=True))
        for asked in some:
            work.succeed(land.editor, delete(land, asked))
        work.succeed(land.it, land.it.delete(f"pools/{pool_id()}"))
        work.succeed(land.it, land.it.delete(f"zones/{the_bin().zone_id}"))
        assert rules_of(land) == []


def rules_of(land):
    with as_system():
        driver = outside.driver_of(Site.objects.get(pk=land.site_id))
    return [rule for rule in driver.rules() if rule.kind == "hosts"]


def pool_id():
    with as_system():
        return ResourcePool.objects.get(deleted_at=None).id
