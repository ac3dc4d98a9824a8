"""Taking a node out: pods first, its etcd member on another control plane, then its Node."""

from __future__ import annotations

import pytest

from facet.clusters.frameworks.base import ClusterRefused, Drained, NotAnswering, Waiting
from facet.clusters.frameworks.kubernetes import etcd
from facet.clusters.frameworks.kubernetes.drain import drain
from tests.unit.frameworks.remote import Remote

NODE, PODS = "/api/v1/nodes/shop-main-aaaaaa", "GET /api/v1/pods"
LIST, REMOVE = "POST /v3/cluster/member/list", "POST /v3/cluster/member/remove"
BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."


def pod(name, uid="u1", *, owner="ReplicaSet", phase="Running", **metadata):
    owners = [{"kind": owner, "name": "web", "controller": True}] if owner else []
    found = {"name": name, "namespace": "web", "uid": uid, "ownerReferences": owners, **metadata}
    return {"metadata": found, "status": {"phase": phase}}


def items(*pods):
    return {"items": list(pods), "metadata": {}}


def evict(name):
    return f"POST /api/v1/namespaces/web/pods/{name}/eviction"


def remote(*looks):
    return Remote().on(f"PATCH {NODE}", {}).on(PODS, *looks)


def run(asked: Remote):
    return drain(asked.client(), "shop-main-aaaaaa")


def test_a_node_is_cordoned_before_any_pod_is_asked_to_go():
    asked = remote(items(pod("a")), items()).on(evict("a"), (201, {}))
    assert run(asked) == Drained()
    assert asked.asked == [f"PATCH {NODE}", PODS, evict("a"), PODS]
    assert asked.bodies[0] == {"spec": {"unschedulable": True}}
    assert asked.bodies[2]["deleteOptions"] == {"preconditions": {"uid": "u1"}}


def test_a_budget_that_forbids_is_waited_for_with_its_words():
    asked = remote(items(pod("a"), pod("b", "u2"))).on(evict("a"), (429, {"message": BUDGET})).on(evict("b"), (201, {}))
    found = run(asked)
    assert isinstance(found, Waiting)
    assert BUDGET in found.pods[0].why
    assert "grace period" in found.pods[1].why
    assert found.sentence == "2 pods are still on shop-main-aaaaaa: web/a, web/b."


def test_what_belongs_to_the_node_or_has_ended_need_not_go():
    stays = (
        pod("cni", owner="DaemonSet"),
        pod("proxy", annotations={"kubernetes.io/config.mirror": "x"}),
        pod("job", phase="Succeeded"),
        pod("crash", phase="Failed"),
    )
    asked = remote(items(*stays))
    assert run(asked) == Drained()
    assert not [call for call in asked.asked if "eviction" in call]


def test_a_pod_without_an_owner_must_go_too():
    asked = remote(items(pod("alone", owner="")), items()).on(evict("alone"), (201, {}))
    assert run(asked) == Drained()


def test_a_pod_that_is_going_is_not_asked_twice():
    asked = remote(items(pod("a", deletionTimestamp="2026-03-01T12:00:00Z")))
    assert isinstance(run(asked), Waiting)
    assert evict("a") not in asked.asked


@pytest.mark.parametrize("answer", [(404, {}), (409, {})])
def test_a_pod_that_is_gone_or_another_by_now_is_no_error(answer):
    assert run(remote(items(pod("a")), items()).on(evict("a"), answer)) == Drained()


def test_a_node_that_is_not_there_is_drained():
    assert run(Remote()) == Drained()


def test_an_eviction_that_is_forbidden_is_said():
    with pytest.raises(ClusterRefused):
        run(remote(items(pod("a"))).on(evict("a"), (403, {"message": "forbidden"})))


# --- etcd ----------------------------------------------------------------------------------------------------------


def member(id, name, address):
    return {"ID": id, "name": name, "peerURLs": [f"https://{address}:2380"]}


THREE = {
    "members": [
        member("1", "shop-cp-aaaaaa", "10.0.0.1"),
        member("2", "shop-cp-bbbbbb", "10.0.0.11"),
        member("18446744073709551615", "shop-cp-cccccc", "10.0.0.3"),
    ]
}


def take_out(hosts: dict[str, Remote], node="shop-cp-aaaaaa", address="10.0.0.1", others=None):
    return etcd.remove_node(lambda at: hosts[at].http(), node, address, others or list(hosts))


def test_a_member_is_removed_by_another_and_never_by_itself():
    itself, other = Remote(), Remote().on(LIST, THREE).on(REMOVE, {})
    assert take_out({"10.0.0.1": itself, "10.0.0.11": other})
    assert itself.asked == []
    assert other.bodies[-1] == {"ID": "1"}


def test_ids_stay_strings_of_all_their_digits():
    other = Remote().on(LIST, THREE).on(REMOVE, {})
    assert take_out({"10.0.0.1": other}, "shop-cp-cccccc", "10.0.0.3")
    assert other.bodies[-1] == {"ID": "18446744073709551615"}


def test_a_member_that_never_started_is_known_by_its_whole_address():
    unnamed = {"members": [member("1", "", "10.0.0.1"), member("2", "", "10.0.0.11")]}
    other = Remote().on(LIST, unnamed).on(REMOVE, {})
    assert take_out({"10.0.0.3": other}, "shop-cp-new", "10.0.0.1")
    assert [body for body in other.bodies if body] == [{"ID": "1"}]


def test_the_next_is_asked_where_one_is_silent():
    ill = Remote().on(LIST, (503, {"message": "etcdserver: unhealthy cluster"}))
    well = Remote().on(LIST, THREE).on(REMOVE, {})
    assert take_out({"10.0.0.3": ill, "10.0.0.11": well})
    with pytest.raises(NotAnswering, match="unhealthy cluster"):
        take_out({"10.0.0.3": ill})


def test_a_member_that_is_gone_already_is_gone():
    other = Remote().on(LIST, {"members": THREE["members"][1:]})
    assert take_out({"10.0.0.3": other}) is False
    raced = Remote().on(LIST, THREE).on(REMOVE, (404, {"message": "etcdserver: member not found"}))
    assert take_out({"10.0.0.3": raced})


def test_nobody_else_is_nobody():
    with pytest.raises(NotAnswering, match="No other control plane"):
        take_out({"10.0.0.1": Remote()})


@pytest.mark.parametrize("nonsense", ["<html>", [], {"members": [{}]}, {"members": ["x"]}])
def test_what_is_no_etcd_is_come_back_to(nonsense):
    with pytest.raises(NotAnswering):
        take_out({"10.0.0.3": Remote().on(LIST, (200, nonsense))})
