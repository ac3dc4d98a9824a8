"""Boot data: held against golden files, and read by the strict readers of a simulated guest."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import yaml

from facet.clusters.frameworks.base import BadSpec, Boot
from facet.clusters.frameworks.kubernetes import pki, userdata
from facet.clusters.frameworks.kubernetes.framework import Kubernetes
from infra.simulator.guests import cloudconfig
from infra.simulator.guests.kubeadm import config
from tests.unit.frameworks.examples import CLUSTER, GOLDEN, NODES, TOKEN, boot_data, prepared, secrets
from tests.unit.guests.userdata import guestinfo

KINDS = sorted(NODES)


def read(kind: str) -> cloudconfig.Seed:
    return cloudconfig.seed(guestinfo(boot_data(kind).user_data, "an-instance", "a-host"))


def files(kind: str) -> dict[str, cloudconfig.File]:
    return {file.path: file for file in read(kind).files}


@pytest.mark.parametrize("kind", KINDS)
def test_boot_data_is_the_golden_file(kind):
    """After a change that is wanted: python -m tests.unit.frameworks.examples"""
    data = boot_data(kind)
    assert data.user_data == (GOLDEN / f"{kind}.user-data.yaml").read_text()
    assert data.metadata == (GOLDEN / f"{kind}.metadata.yaml").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_guests_strict_readers_take_it(kind):
    found = read(kind)
    assert found.hostname == NODES[kind][0].name
    documents = config.documents(files(kind)[userdata.KUBEADM_FILE].content, userdata.KUBEADM_FILE)
    expected = {"InitConfiguration", "ClusterConfiguration"} if kind == "init" else {"JoinConfiguration"}
    assert set(documents) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_metadata_names_the_instance_and_holds_nothing_secret(kind):
    text = boot_data(kind).metadata
    found = NODES[kind][0]
    assert yaml.safe_load(text) == {"instance-id": found.vm_key, "local-hostname": found.name}
    assert TOKEN not in text


def test_keys_of_the_authorities_never_travel_to_a_worker():
    text = boot_data("join-worker").user_data
    assert "PRIVATE KEY" not in text
    for name, pem in secrets().items():
        for line in pem.decode().splitlines()[1:-1]:
            assert line not in text, f"{name} travels to a worker"
    assert set(files("join-worker")) == {userdata.KUBEADM_FILE}


@pytest.mark.parametrize("kind", ["init", "join-control-plane"])
def test_a_control_plane_gets_all_keys_readable_by_root_alone(kind):
    found = files(kind)
    for name, pem in secrets().items():
        file = found[f"/etc/kubernetes/pki/{name}"]
        assert file.content == pem
        assert (file.owner, file.mode) == ("root:root", 0o600 if name.endswith(".key") else 0o644)
    assert found[userdata.KUBE_VIP_FILE].mode == 0o600


def test_kubeadm_runs_last_of_all_and_its_sentinel_hangs_on_it():
    assert read("join-worker").commands == (
        "mkdir -p /run/facet",
        "kubeadm join --config /run/kubeadm/kubeadm.yaml && touch /run/facet/bootstrap.done",
    )
    commands = read("init").commands
    assert commands[2] == "kubeadm init --config /run/kubeadm/kubeadm.yaml && touch /run/facet/bootstrap.done"
    assert "super-admin.conf" in commands[1]
    assert commands[3] == "sed -i 's#path: /etc/kubernetes/super-admin.conf#path: /etc/kubernetes/admin.conf#' " + (
        userdata.KUBE_VIP_FILE
    )


def test_the_first_control_planes_documents():
    documents = config.documents(files("init")[userdata.KUBEADM_FILE].content, "init")
    cluster, init = documents["ClusterConfiguration"], documents["InitConfiguration"]
    assert cluster["apiVersion"] == init["apiVersion"] == "kubeadm.k8s.io/v1beta4"
    assert cluster["controlPlaneEndpoint"] == "127.20.0.10:6443"
    assert cluster["apiServer"]["certSANs"] == ["127.20.0.10"]
    assert cluster["kubernetesVersion"] == "v1.34.2"
    assert cluster["networking"] == {
        "podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12", "dnsDomain": "cluster.local",
    }  # fmt: skip
    (token,) = init["bootstrapTokens"]
    assert (token["token"], token["ttl"]) == (TOKEN, "30m0s")
    assert "taints" not in init["nodeRegistration"]
    assert {"name": "provider-id", "value": NODES["init"][0].provider_id} in init["nodeRegistration"][
        "kubeletExtraArgs"
    ]


def test_a_join_pins_the_authority_and_only_a_control_plane_says_that_it_is_one():
    worker = config.documents(files("join-worker")[userdata.KUBEADM_FILE].content, "join")["JoinConfiguration"]
    found = worker["discovery"]["bootstrapToken"]
    assert found == {
        "token": TOKEN, "apiServerEndpoint": "127.20.0.10:6443", "caCertHashes": [pki.ca_pin(secrets())],
    }  # fmt: skip
    assert "controlPlane" not in worker
    assert worker["nodeRegistration"]["taints"] == [{"key": "dedicated", "effect": "NoSchedule", "value": "batch"}]
    member = config.documents(files("join-control-plane")[userdata.KUBEADM_FILE].content, "join")["JoinConfiguration"]
    assert member["controlPlane"] == {"localAPIEndpoint": {"bindPort": 6443}}


def test_a_worker_never_begins_a_cluster():
    worker = NODES["join-worker"][0]
    with pytest.raises(ValueError, match="cannot begin a cluster"):
        Kubernetes().user_data(CLUSTER, worker, prepared(), Boot.INIT)


def test_what_does_not_fit_into_guestinfo_is_refused_before_it_is_sent():
    drawn = random.Random(1)
    noise = {f"example.com/{number}": f"{drawn.getrandbits(250):x}" for number in range(2000)}
    worker = replace(NODES["join-worker"][0], labels=noise)
    with pytest.raises(BadSpec, match="use fewer labels") as refused:
        Kubernetes().user_data(CLUSTER, worker, prepared(), Boot.JOIN)
    assert refused.value.field == "labels"


def test_a_hostile_label_stays_a_label():
    worker = replace(NODES["join-worker"][0], labels={"a": "b\n- path: /etc/shadow\n  content: '#cloud-config'"})
    text = Kubernetes().user_data(CLUSTER, worker, prepared(), Boot.JOIN).user_data
    found = cloudconfig.seed(guestinfo(text, "an-instance", "a-host"))
    assert [file.path for file in found.files] == [userdata.KUBEADM_FILE]


def test_boot_data_does_not_show_itself_in_a_log():
    data = boot_data("init")
    assert "PRIVATE KEY" not in repr(data)
    assert TOKEN not in repr(data)
