"""Every rule about a cluster that is asked for names its field and says what would do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facet.clusters.frameworks.base import BadSpec, FlavorFacts, PoolSpec, Role, Taint
from facet.clusters.frameworks.kubernetes.framework import Kubernetes
from tests.unit.frameworks.examples import FLAVOR, SPEC


def pool(**changes):
    return replace(PoolSpec("main", 3, FLAVOR), **changes)


def with_pool(**changes):
    return {"pools": (pool(**changes),)}


def test_a_plan_names_control_planes_first_and_every_pool():
    batch = pool(name="batch", size=2, labels={"example.com/kind": "batch"}, taints=(Taint("a", "NoExecute"),))
    plans = Kubernetes().plan(replace(SPEC, control_planes=3, pools=(pool(), batch)))
    assert [(plan.role, plan.pool, plan.count) for plan in plans] == [
        (Role.CONTROL_PLANE, "cp", 3),
        (Role.WORKER, "main", 3),
        (Role.WORKER, "batch", 2),
    ]
    assert plans[2].labels == {"example.com/kind": "batch"}
    assert plans[2].taints == batch.taints


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"name": "Shop"}, "name", "lower-case"),
        ({"name": "9shop"}, "name", "beginning with a letter"),
        ({"name": "shop-"}, "name", "not a name"),
        ({"name": "s" * 63}, "name", "at most 63"),
        ({"version": "latest"}, "version", "not a version"),
        ({"version": "v1.30.9"}, "version", "start at v1.31"),
        ({"version": "v2.0.0"}, "version", "not offered"),
        ({"control_planes": 0}, "control_planes", "1, 3 or 5"),
        ({"control_planes": 2}, "control_planes", "even number"),
        ({"control_planes": 7}, "control_planes", "1, 3 or 5"),
        ({"control_plane_flavor": FlavorFacts(1, 2048)}, "control_plane_flavor", "needs 2 vCPU"),
        ({"control_plane_flavor": FlavorFacts(2, 1699)}, "control_plane_flavor", "1700 MiB"),
        (with_pool(name="Main"), "pools.0.name", "not a name"),
        (with_pool(name="cp"), "pools.0.name", "stands for the control planes"),
        (with_pool(name="m" * 60), "pools.0.name", "Shorten"),
        (with_pool(size=-1), "pools.0.size", "no fewer than 0"),
        ({"pools": (pool(), pool())}, "pools.1.name", "Two pools"),
        (with_pool(labels={"a b": "c"}), "pools.0.labels", "not a key"),
        (with_pool(labels={"/name": "c"}), "pools.0.labels", "not a key"),
        (with_pool(labels={"a": "b c"}), "pools.0.labels.a", "not a value"),
        (with_pool(labels={"a": "b" * 64}), "pools.0.labels.a", "at most 63"),
        (with_pool(labels={"node-role.kubernetes.io/control-plane": ""}), "pools.0.labels", "belongs to the system"),
        (with_pool(labels={"facet.dev/simulated": "false"}), "pools.0.labels", "belongs to the system"),
        (with_pool(labels={f"l{at}": "" for at in range(33)}), "pools.0.labels", "at most 32"),
        (with_pool(taints=(Taint("a", "Never"),)), "pools.0.taints.0.effect", "NoSchedule"),
        (with_pool(taints=(Taint("a b", "NoSchedule"),)), "pools.0.taints.0.key", "not a key"),
        (with_pool(taints=(Taint("a", "NoSchedule", "b c"),)), "pools.0.taints.0.value", "not a value"),
        (with_pool(taints=(Taint("a", "NoSchedule"),) * 2), "pools.0.taints.1", "stands twice"),
        (with_pool(taints=tuple(Taint(f"t{at}", "NoSchedule") for at in range(17))), "pools.0.taints", "at most 16"),
        ({"pod_cidr": "10.244.0.1/16"}, "pod_cidr", "not an IPv4 network"),
        ({"pod_cidr": "pods"}, "pod_cidr", "not an IPv4 network"),
        ({"pod_cidr": "10.244.0.0/23"}, "pod_cidr", "room for 2 nodes"),
        ({"service_cidr": "10.96.0.0/8"}, "service_cidr", "not an IPv4 network"),
        ({"service_cidr": "11.0.0.0/8"}, "service_cidr", "not between"),
        ({"service_cidr": "10.96.0.0/29"}, "service_cidr", "not between"),
        ({"service_cidr": "10.244.128.0/20"}, "service_cidr", "overlaps the pod network"),
        ({"endpoint_host": "10.244.3.4"}, "pod_cidr", "holds the cluster's endpoint"),
        ({"endpoint_host": "10.96.0.9"}, "service_cidr", "holds the cluster's endpoint"),
        ({"endpoint_host": "not an address"}, "endpoint_host", "neither"),
        ({"node_cidrs": ("10.244.7.0/24",)}, "pod_cidr", "overlaps the node network"),
    ],
)
def test_what_cannot_be_names_its_field(changes, field, said):
    with pytest.raises(BadSpec) as refused:
        Kubernetes().plan(replace(SPEC, **changes))
    assert refused.value.field == field
    assert said in refused.value.sentence


@pytest.mark.parametrize("text", ["x" * 10_000, "v1.34.2\n", "v1.34.2;rm", "v1.34", "v١.34.2", ""])
def test_hostile_versions_are_refused_in_a_short_sentence(text):
    with pytest.raises(BadSpec) as refused:
        Kubernetes().check_version(text)
    assert len(refused.value.sentence) < 200


@pytest.mark.parametrize(
    ("current", "target", "said"),
    [
        ("v1.34.2", "v1.33.9", "never goes back"),
        ("v1.32.0", "v1.34.2", "upgrade to v1.33 first"),
        ("v1.31.0", "v1.34.2", "upgrade to v1.32, v1.33 first"),
        ("v1.34.2", "v1.30.0", "not offered"),
    ],
)
def test_an_upgrade_says_the_path(current, target, said):
    with pytest.raises(BadSpec, match=said):
        Kubernetes().check_upgrade(current, target)


@pytest.mark.parametrize(("current", "target"), [("v1.33.9", "v1.34.0"), ("v1.34.2+simulated", "v1.34.2")])
def test_an_upgrade_by_one_minor_or_none_may_be(current, target):
    Kubernetes().check_upgrade(current, target)
