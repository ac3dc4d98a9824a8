"""What a cluster's own API says of it, in one code and one sentence."""

from __future__ import annotations

import httpx
import pytest

from facet.clusters.frameworks.kubernetes import client as client_module
from facet.clusters.frameworks.kubernetes.health import NO_NETWORK, health
from tests.unit.frameworks.remote import Remote

NODES = "GET /api/v1/nodes"


def node(name="shop-main-aaaaaa", ready="True", message="", labels=None):
    condition = {"type": "Ready", "status": ready, "message": message, "reason": "KubeletNotReady"}
    addresses = [{"type": "InternalIP", "address": "10.0.0.7"}, {"type": "Hostname", "address": name}]
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"providerID": "facet://a-key"},
        "status": {"conditions": [condition], "addresses": addresses, "nodeInfo": {"kubeletVersion": "v1.34.2"}},
    }


def remote(*nodes, version="v1.34.2"):
    return (
        Remote()
        .on("GET /readyz", (200, "ok"))
        .on("GET /version", {"gitVersion": version})
        .on(NODES, {"items": list(nodes), "metadata": {}})
    )


def test_a_cluster_of_ready_nodes_is_ready():
    found = health(remote(node()).client())
    assert (found.answers, found.ready, found.code, found.sentence) == (True, True, "", "")
    (seen,) = found.nodes
    assert (seen.provider_id, seen.addresses, seen.version, seen.reason) == (
        "facet://a-key", ("10.0.0.7",), "v1.34.2", "",
    )  # fmt: skip


@pytest.mark.parametrize("words", NO_NETWORK)
def test_without_a_pod_network_the_cause_is_no_cni(words):
    found = health(remote(node(ready="False", message=f"container runtime: {words}")).client())
    assert (found.ready, found.cni_present, found.code) == (False, False, "no_cni")
    assert "CNI add-on" in found.sentence


def test_a_late_node_is_named_with_what_its_kubelet_says():
    late = node("shop-main-bbbbbb", "Unknown", "Kubelet stopped posting node status.")
    found = health(remote(node(), late).client())
    assert (found.code, found.cni_present) == ("nodes_not_ready", True)
    assert found.sentence == (
        "1 of 2 nodes are not Ready. shop-main-bbbbbb: Kubelet stopped posting node status."
    )  # fmt: skip


def test_many_late_nodes_make_no_endless_sentence():
    found = health(remote(node(), *(node(f"n{at}", "False", "late") for at in range(200))).client())
    assert found.sentence.startswith("200 of 201 nodes")
    assert len(found.sentence) < 200


def test_a_node_that_said_nothing_yet_is_not_ready():
    silent = {"metadata": {"name": "shop-main-cccccc"}}
    found = health(remote(node(), silent).client())
    assert found.code == "nodes_not_ready"
    assert "has not reported yet" in found.sentence


def test_no_nodes_is_a_cause_of_its_own():
    assert health(remote().client()).code == "no_nodes"


@pytest.mark.parametrize(
    ("version", "labels"), [("v1.34.2+simulated", {}), ("v1.34.2", {"facet.dev/simulated": "true"})]
)
def test_a_simulated_cluster_is_seen_to_be_one(version, labels):
    assert health(remote(node(labels=labels), version=version).client()).simulated
    assert not health(remote(node()).client()).simulated


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((500, "[-]etcd failed"), "unavailable"),
        ((503, {"message": "apiserver not ready"}), "unavailable"),
        ((429, {"message": "too many requests"}), "unavailable"),
        ((401, {"message": "Unauthorized"}), "not_ready"),
        (httpx.ConnectError("[Errno 111] Connection refused"), "unreachable"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "foreign_certificate"),
        (httpx.ReadTimeout("timed out"), "timeout"),
        (httpx.RemoteProtocolError("Server disconnected"), "unreachable"),
    ],
)
def test_a_cluster_that_does_not_answer_well_is_not_ready_and_raises_nothing(answer, code):
    found = health(Remote().on("GET /readyz", answer).client())
    assert (found.answers, found.ready, found.code) == (False, False, code)
    assert found.sentence


@pytest.mark.parametrize(
    "nonsense",
    [
        "<html>",
        [],
        {"items": [{}]},
        {"items": [None]},
        {"items": "x"},
        {"items": [{"metadata": []}]},
        {"items": [{"metadata": {"name": "a"}, "status": {"conditions": ["Ready"]}}]},
    ],
)
def test_whatever_an_owner_puts_in_the_apis_place_raises_nothing(nonsense):
    found = health(remote().on(NODES, (200, nonsense)).client())
    assert (found.answers, found.code) == (False, "nonsense")


def test_a_list_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(client_module, "MOST_OBJECTS", 1000)
    endless = {"items": [node()] * 500, "metadata": {"continue": "more"}}
    asked = remote().on(NODES, endless)
    assert health(asked.client()).code == "too_large"
    assert asked.asked.count(NODES) == 3


def test_facets_certificate_refused_is_said():
    found = health(remote().on(NODES, (403, {"message": "nodes is forbidden"})).client())
    assert (found.code, found.sentence) == ("refused", "The cluster refuses Facet's certificate: nodes is forbidden")
