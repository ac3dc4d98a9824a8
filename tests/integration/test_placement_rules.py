"""Rules of a cluster: which hosts each of its roles may stand on, and where their disks lie. Through the API."""

from collections import Counter
from dataclasses import dataclass

import pytest
from django.db.models import F

from facet.clusters.models import Cluster, NodePool
from facet.rest.dbtypes import CurrentXid
from infra import endpoints
from infra.models import Host, Zone
from scheduler.models import Allocation
from tests import factories, ground, sites
from tests.client import Api
from tests.factories import Office, as_system

PART = {"model": "on-demand", "limit": {"vcpu": 2000, "memory_mib": 4_000_000}}


@dataclass(frozen=True)
class Place:
    it: Api
    office: Office
    zones: dict[str, Zone]

    def ask(self, *, dry=False, zones=("az1",), planes=None, workers=None, size=3, count=1, name="shop"):
        body = {
            "name": name, "zones": list(zones), "control_planes": {"count": count} | (planes or {}),
            "node_pools": [{"name": "workers", "size": size} | (workers or {})],
        }  # fmt: skip
        return self.office.editor.post(f"projects/{self.office.project.id}/{'placements' if dry else 'clusters'}", body)

    def offer(self, zone, name, *stores):
        body = {"name": name, "datastores": list(stores)}
        answer = self.it.post(f"zones/{self.zones[zone].id}/storage-classes", body)
        assert answer.status == 201, answer


def place_of(*racks):
    """A zone for each rack, of these hosts (numbers with labels); every host reaches both datastores."""
    it = factories.person("root", "platform-admin")
    hosts, number = [], 0
    for rack, labels in enumerate(racks, start=1):
        for one in labels:
            number += 1
            both = ("datastore-1", "datastore-2")
            hosts.append(sites.host(number, rack=rack, labels=one, datastore_refs=both))
    site = sites.registered(found=sites.world(hosts))
    zones = {}
    for rack in range(1, len(racks) + 1):
        name = f"az{rack}"
        zones[name] = sites.carved(site, name, rack=rack)
        range_ = f"127.9.{rack}.10-127.9.{rack}.90"
        with as_system():
            Zone.objects.filter(pk=zones[name].pk).update(endpoint_range=range_)
            endpoints.change_range(zones[name], range_)
        assert it.patch(f"zones/{zones[name].id}", {"datastores": ["ssd-1", "ssd-2"]}).status == 202
    image = {"name": "kube", "site": "dc1", "template": "kube-v1.34", "version": "v1.34.2"}
    assert it.post("images", image).status == 201
    addon = {"name": "facet-cni", "kind": "cni", "version": "v1", "manifest": ground.CNI.read_text()}
    assert it.post("addons", addon).status == 201
    office = factories.office("acme")
    for name in zones:
        assert it.post(f"tenants/{office.tenant.id}/pools", PART | {"zone": name}).status == 202
    return Place(it, office, zones)


def rooms(role):
    """What the machines of a role hold, in the order in which they were made."""
    with as_system():
        rows = Allocation.objects.filter(released=None, ask__role=role).order_by("created", "id")
        return list(rows.select_related("host", "datastore", "zone"))


def stand_in(role):
    return Counter(row.zone.name for row in rooms(role))


def ready(answer):
    """As if its passes had built it."""
    with as_system():
        Cluster.objects.update(phase="ready")
    return answer["cluster"]["node_pools"][0]["id"]


def test_a_cluster_says_its_rules_for_each_role():
    """Control planes apart on hosts of IT's, on slow disks; workers packed, away from GPUs, on fast ones."""
    labels = [{"tier": "it"}] * 2 + [{"tier": "it", "gpu": "true"}] + [{"tier": "team"}] * 2
    place = place_of([*labels, {"tier": "team", "gpu": "true"}])
    place.offer("az1", "slow", "ssd-1")
    place.offer("az1", "fast", "ssd-2")
    planes = {"require": {"tier": "it"}, "storage_class": "slow"}
    workers = {
        "policy": "pack", "anti_affinity": "none", "require": {"tier": "team"}, "avoid": {"gpu": "true"},
        "storage_class": "fast",
    }  # fmt: skip
    made = place.ask(count=3, size=6, planes={"placement": planes}, workers={"placement": workers})
    assert made.status == 202, made
    mine, theirs = rooms("control_plane"), rooms("workers")
    assert {row.host.labels["tier"] for row in mine} == {"it"}
    assert len({row.host_id for row in mine}) == 3
    assert {row.datastore.name for row in mine} == {"ssd-1"}
    assert [(row.host.labels, row.datastore.name) for row in theirs] == [({"tier": "team"}, "ssd-2")] * 6
    assert len({row.host_id for row in theirs}) == 1
    assert (mine[0].why["policy"], theirs[0].why["policy"]) == ("spread", "pack")

    shown = made["cluster"]
    assert shown["control_planes"]["placement"] == {
        "policy": "spread", "anti_affinity": "required", "affinity": None, "prefer": {}, "avoid": {}, **planes,
    }  # fmt: skip
    assert shown["node_pools"][0]["placement"] == {"affinity": None, "prefer": {}, **workers}

    more = place.office.editor.patch(f"node-pools/{ready(made)}", {"size": 10})
    assert more.status == 202, more
    assert [(row.host.labels, row.datastore.name) for row in rooms("workers")] == [({"tier": "team"}, "ssd-2")] * 10
    assert len({row.host_id for row in rooms("workers")}) == 1


def test_control_planes_are_split_over_the_zones():
    place = place_of(*[[{}] * 3] * 3)
    zones = ("az1", "az2", "az3")
    tried = place.ask(dry=True, zones=zones, count=3)
    assert tried["fits"] is True
    assert {one["zone"] for one in tried["placements"] if one["role"] == "control_plane"} == set(zones)
    assert rooms("control_plane") == []
    assert place.ask(zones=zones, count=3).status == 202
    assert stand_in("control_plane") == dict.fromkeys(zones, 1)


def test_control_planes_go_to_the_zones_that_have_room():
    place = place_of(*[[{}] * 3] * 3)
    with as_system():
        full = Host.objects.filter(zone=place.zones["az3"])
        full.update(vcpu_claimed=F("vcpu_limit"), changed=CurrentXid())
    zones = ("az1", "az2", "az3")
    assert {one["zone"] for one in place.ask(dry=True, zones=zones, count=3)["placements"]} == {"az1", "az2"}
    assert place.ask(zones=zones, count=3).status == 202
    assert sorted(stand_in("control_plane").values()) == [1, 2]
    assert len({row.host_id for row in rooms("control_plane")}) == 3
    refused = place.ask(zones=("az3",), name="other")
    assert (refused.status, refused["code"]) == (409, "no_room")


def test_workers_that_must_stay_apart_are_as_many_as_there_are_hosts():
    place = place_of([{}] * 3)
    rules = {"placement": {"anti_affinity": "required"}}
    made = place.ask(workers=rules, size=3)
    assert made.status == 202
    assert len({row.host_id for row in rooms("workers")}) == 3
    refused = place.office.editor.patch(f"node-pools/{ready(made)}", {"size": 4})
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert refused["limits"][0]["filter"] == "anti_affinity"


@pytest.mark.parametrize("level", ["host", "zone"])
@pytest.mark.parametrize("mode", ["required", "preferred"])
def test_workers_that_stay_together_share_a_host_or_a_zone_also_when_they_become_more(level, mode):
    place = place_of(*[[{}] * 3] * 2)
    rules = {"placement": {"affinity": {"level": level, "mode": mode}, "anti_affinity": "none"}}
    made = place.ask(zones=("az1", "az2"), workers=rules, size=4)
    assert made.status == 202, made
    assert made["cluster"]["node_pools"][0]["placement"]["affinity"] == {"level": level, "mode": mode}
    assert place.office.editor.patch(f"node-pools/{ready(made)}", {"size": 6}).status == 202
    shared = {row.host_id if level == "host" else row.zone_id for row in rooms("workers")}
    assert len(rooms("workers")) == 6
    assert len(shared) == 1


def test_a_label_that_nobody_carries_is_no_room_and_no_fault():
    place = place_of([{}] * 3)
    refused = place.ask(workers={"placement": {"require": {"gpu": "h100"}}})
    assert (refused.status, refused["code"], refused["role"]) == (409, "no_room", "workers")
    assert refused["limits"][0]["filter"] == "labels"
    assert next(row for row in refused["filters"] if row["filter"] == "labels")["left_hosts"] == 0
    tried = place.ask(dry=True, workers={"placement": {"prefer": {"gpu": "h100"}, "avoid": {"a": ""}}})
    assert tried["fits"] is True
    assert not rooms("workers")


def test_a_storage_class_must_be_offered_in_every_zone():
    place = place_of([{}], [{}])
    place.offer("az1", "fast", "ssd-1")
    for at, rules in (
        ("control_planes.placement.storage_class", {"planes": {"placement": {"storage_class": "fast"}}}),
        ("node_pools.0.placement.storage_class", {"workers": {"placement": {"storage_class": "fast"}}}),
    ):
        refused = place.ask(zones=("az1", "az2"), **rules)
        assert (refused.status, refused["errors"]) == (422, {at: ["There is no storage class fast in zone az2."]})
        assert place.ask(dry=True, zones=("az1", "az2"), **rules).status == 422
    nowhere = place.ask(zones=("az1", "az2"), planes={"placement": {"storage_class": "tape"}})
    assert "tape in zones az1, az2" in nowhere["detail"]
    place.offer("az2", "fast", "ssd-2")
    assert place.ask(zones=("az1", "az2"), size=4, workers={"placement": {"storage_class": "fast"}}).status == 202
    assert {(row.zone.name, row.datastore.name) for row in rooms("workers")} <= {("az1", "ssd-1"), ("az2", "ssd-2")}


MANY = {f"label-{number}": "x" for number in range(17)}
TOGETHER = {"level": "host", "mode": "required"}


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"policy": "random"}, "policy"),
        ({"policy": None}, "policy"),
        ({"anti_affinity": "always"}, "anti_affinity"),
        ({"anti_affinity": True}, "anti_affinity"),
        ({"affinity": "host"}, "affinity.non_field_errors"),
        ({"affinity": {"level": "host"}}, "affinity.mode"),
        ({"affinity": {"level": "rack", "mode": "required"}}, "affinity.level"),
        ({"affinity": TOGETHER | {"weight": 1}}, "affinity.weight"),
        ({"affinity": TOGETHER, "anti_affinity": "required"}, "affinity"),
        ({"require": MANY}, "require"),
        ({"prefer": MANY}, "prefer"),
        ({"avoid": MANY}, "avoid"),
        ({"require": {"rack": 1}}, "require.rack"),
        ({"require": {"": "x"}}, "require."),
        ({"require": {"rack": "x" * 64}}, "require.rack"),
        ({"require": ["rack"]}, "require"),
        ({"storage_class": 1}, "storage_class"),
        ({"storage_class": "x" * 64}, "storage_class"),
        ({"storage_class": "nowhere"}, "storage_class"),
        ({"colour": "red"}, "colour"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_rules_that_cannot_be_are_422_with_the_field_for_each_role(rules, field, dry):
    place = place_of([{}])
    for part, asked in (
        ("control_planes.placement", place.ask(dry=dry, planes={"placement": rules})),
        ("node_pools.0.placement", place.ask(dry=dry, workers={"placement": rules})),
    ):
        assert (asked.status, list(asked["errors"])) == (422, [f"{part}.{field}"]), asked
    assert not Cluster.objects.exists()


def test_control_planes_share_a_host_where_that_is_said():
    place = place_of([{}])
    refused = place.ask(count=3)
    assert (refused.status, refused["role"]) == (409, "control_plane")
    together = {"placement": {"affinity": TOGETHER}}
    assert place.ask(count=3, planes=together)["errors"].keys() == {"control_planes.placement.affinity"}
    assert place.ask(count=3, planes={"placement": {"anti_affinity": "preferred"}}).status == 202
    assert len(rooms("control_plane")) == 3


def test_a_cluster_of_before_the_rules_has_the_ones_that_it_was_placed_by():
    place = place_of([{}] * 3)
    made = place.ask()
    with as_system():
        Cluster.objects.update(control_plane_placement={})
        NodePool.objects.update(placement={})
    shown = place.office.viewer.get(f"clusters/{made['cluster']['id']}")
    assert shown["control_planes"]["placement"]["anti_affinity"] == "required"
    assert shown["node_pools"][0]["placement"]["anti_affinity"] == "preferred"
    assert place.office.editor.patch(f"node-pools/{ready(made)}", {"size": 6}).status == 202
    assert set(Counter(row.host_id for row in rooms("workers")).values()) == {2}


def test_a_zone_whose_class_has_gone_takes_no_more_of_a_pool_that_needs_it():
    """A scale-up goes on where the class is still offered."""
    place = place_of([{}], [{}])
    for zone in ("az1", "az2"):
        place.offer(zone, "fast", "ssd-1")
    rules = {"placement": {"storage_class": "fast"}}
    made = place.ask(zones=("az1", "az2"), workers=rules, size=0)
    gone = place.it.get(f"zones/{place.zones['az2'].id}/storage-classes")["items"][0]
    assert place.it.delete(f"storage-classes/{gone['id']}").status == 204
    assert place.office.editor.patch(f"node-pools/{ready(made)}", {"size": 3}).status == 202
    assert stand_in("workers") == {"az1": 3}
    assert Host.objects.get(zone=place.zones["az2"]).vcpu_claimed <= 2  # a control plane at most
