"""Who may join a cluster: the simulated kubeadm is as strict as the real one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.guests.userdata import Authority, Cluster

MINUTES_S = 60


def test_an_honest_worker_joins_and_does_so_once(site, shop):
    key = site.works("shop-main", shop.join("shop-main"))
    assert "This node has joined the cluster as shop-main" in site.house.console_log(key)
    assert site.nodes(shop) == {"shop-cp", "shop-main"}
    site.restart()
    assert site.nodes(shop) == {"shop-cp", "shop-main"}


def test_a_wrong_pin_is_refused(site, shop):
    said = site.fails("thief", shop.join("thief", caCertHashes=[Authority("kubernetes").pin]))
    assert f"public key {shop.ca.pin} not pinned" in said
    assert site.nodes(shop) == {"shop-cp"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"token": "abcdef.0000000000000000"}, "failed to verify JWS signature"),
        ({"token": "zzzzzz.0123456789abcdef"}, 'does not yet contain a JWS signature for token ID "zzzzzz"'),
        ({"token": "ABCDEF.0123456789abcdef"}, "not of the form"),
        ({"token": ""}, "not of the form"),
        ({"caCertHashes": []}, "caCertHashes: Required value"),
        ({"caCertHashes": ["sha256:short"]}, "is not sha256:<hex>"),
        ({"apiServerEndpoint": "127.0.0.1:1"}, "connection refused"),
        ({"apiServerEndpoint": ""}, "apiServerEndpoint"),
    ],
    ids=["secret", "id", "form", "empty", "no-pin", "pin-form", "endpoint", "no-endpoint"],
)
def test_a_discovery_that_does_not_fit_is_refused(site, shop, changes, said):
    assert said in site.fails("thief", shop.join("thief", **changes))
    assert site.nodes(shop) == {"shop-cp"}


def test_an_expired_token_is_refused(site, shop):
    site.skew_s = 31 * MINUTES_S
    said = site.fails("late", shop.join("late"))
    assert "does not yet contain a JWS signature" in said
    assert "timed out" in said
    assert site.nodes(shop) == {"shop-cp"}


def test_a_token_of_another_cluster_opens_only_that_one(site, shop):
    other = Cluster(site.vip(11), token="ghijkl.0123456789abcdef")
    site.works("other-cp", other.init("other-cp"))
    site.fails("thief", shop.join("thief", token=other.token))
    assert site.nodes(shop) == {"shop-cp"}
    assert site.nodes(other) == {"other-cp"}


def test_a_name_that_a_ready_node_bears_is_refused(site, shop):
    found = site.house.answers(shop.endpoint, 6443)[0]
    node = found.store.get("nodes", "", "shop-cp")
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    found.store.update("nodes", node, {**node, "status": {**node["status"], "conditions": [ready]}})
    said = site.fails("thief", shop.join("shop-cp"))
    assert 'a Node with name "shop-cp" and status "Ready" already exists' in said


def test_a_control_plane_joins_with_the_clusters_own_authorities(site, shop):
    site.works("shop-cp2", shop.join("shop-cp2", control_plane=True))
    assert site.nodes(shop) == {"shop-cp", "shop-cp2"}
    assert [member.name for member in site.house.answers(shop.endpoint, 6443)[0].members] == ["shop-cp", "shop-cp2"]


def test_a_control_plane_with_a_wrong_ca_is_refused(site, shop):
    wrong = replace(shop, ca=Authority("kubernetes"))
    said = site.fails("thief", wrong.join("thief", control_plane=True, caCertHashes=[shop.ca.pin]))
    assert "ca.crt on this machine is not the cluster's" in said
    assert [member.name for member in site.house.answers(shop.endpoint, 6443)[0].members] == ["shop-cp"]


def test_a_key_that_does_not_fit_its_certificate_is_refused(site):
    cluster = site.cluster()
    cluster.ca.key = Authority("kubernetes").key
    assert "/etc/kubernetes/pki/ca.key does not fit" in site.fails("shop-cp", cluster.init("shop-cp"))


@pytest.mark.parametrize("which", ["ca", "etcd", "front"])
def test_an_authority_that_has_expired_is_refused(site, which):
    cluster = site.cluster(**{which: Authority("kubernetes", days=1)})
    site.skew_s = 2 * 24 * 60 * MINUTES_S
    assert "has expired on" in site.fails("shop-cp", cluster.init("shop-cp"))


def test_a_guest_whose_clock_is_behind_takes_no_authority_of_its_future(site):
    site.skew_s = -401 * 24 * 60 * MINUTES_S
    assert "is not valid before" in site.fails("shop-cp", site.cluster().init("shop-cp"))


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"vcpu": 1}, "[ERROR NumCPU]"),
        ({"memory_mib": 1024}, "[ERROR Mem]"),
        ({"version": "v1.33.0"}, "does not deploy Kubernetes v1.34.2, which is newer"),
        ({"version": "v1.36.0"}, "only supports deploying clusters"),
    ],
    ids=["cpu", "memory", "old", "new"],
)
def test_a_machine_that_cannot_carry_a_control_plane_is_refused(site, machine, said):
    cluster = site.cluster()
    assert said in site.fails("shop-cp", cluster.init("shop-cp"), **machine)
    assert site.house.answers(cluster.endpoint, 6443) is None


@pytest.mark.parametrize(
    ("init", "cluster", "said"),
    [
        ({"colour": "red"}, {}, 'unknown field "InitConfiguration.colour"'),
        ({"apiVersion": "kubeadm.k8s.io/v1beta3"}, {}, "no kind"),
        ({"bootstrapTokens": [{"token": "short"}]}, {}, "not of the form"),
        ({"localAPIEndpoint": {"advertiseAddress": "10.0.0.1"}}, {}, "cannot assign requested address"),
        ({}, {"controlPlaneEndpoint": "127.0.0.1:6443"}, "no kube-vip manifest names it"),
        ({}, {"networking": {"podSubnet": 10}}, "podSubnet is not a str"),
        ({}, {"kubernetesVersion": "latest"}, "doesn't match patterns"),
    ],
    ids=["field", "api", "token", "address", "endpoint", "type", "version"],
)
def test_kubeadms_file_is_read_strictly(site, init, cluster, said):
    assert said in site.fails("shop-cp", site.cluster().init("shop-cp", init=init, cluster=cluster))


def test_kube_vip_without_rights_ends_init(site):
    config = site.cluster().init("shop-cp")
    config["runcmd"] = config["runcmd"][1:]  # the step that lets kube-vip use super-admin.conf
    assert "admin.conf has no rights before init has ended" in site.fails("shop-cp", config)
