"""Clusters booted on simulated guests from the boot data that Facet renders, and used with the real kubectl."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from facet.clusters.frameworks.base import Boot, Drained, Level, NotAnswering, Role, Taint, Waiting
from facet.clusters.frameworks.kubernetes import etcd, pki
from facet.clusters.frameworks.kubernetes.access import credential
from facet.clusters.frameworks.kubernetes.client import Client
from facet.clusters.frameworks.kubernetes.connections import Connections
from facet.clusters.frameworks.kubernetes.framework import Kubernetes, utcnow
from infra.simulator.guests.house import Machine
from tests.integration.guests import CNI, config_file, datacenter, kubectl, shop

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _real_database():
    """Nothing here knows a database: in place of the folder's fixture."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with datacenter(tmp_path_factory.mktemp("guests")) as made:
        yield made


@pytest.fixture(scope="module")
def running(site):
    """One control plane and three workers, Ready."""
    made = shop(site)
    made.framework.install(made.cluster, made.secrets, CNI.read_text())
    made.ready()
    return made


def test_a_cluster_without_a_network_says_so_and_is_ready_once_it_has_one(site):
    made = shop(site, workers=1, last=20)
    before = made.health()
    assert (before.answers, before.ready, before.code, before.cni_present) == (True, False, "no_cni", False)
    assert made.framework.install(made.cluster, made.secrets, CNI.read_text()) == 3
    after = made.ready()
    assert (after.code, after.cni_present, after.simulated) == ("", True, True)


def test_every_node_is_the_vm_that_facet_made(running):
    seen = {node.name: node for node in running.ready().nodes}
    assert set(seen) == set(running.nodes)
    for name, node in running.nodes.items():
        assert seen[name].provider_id == f"facet://{node.vm_key}"
        assert seen[name].addresses == (node.address,)


def test_kubectl_lists_the_nodes_with_an_editors_kubeconfig(running, tmp_path):
    config = config_file(tmp_path, running)
    answer = kubectl(config, "get", "nodes", "--no-headers")
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert len(lines) == 4
    assert all(line.split()[1] == "Ready" for line in lines)
    assert kubectl(config, "config", "current-context").stdout.strip() == "shop-simulated"
    assert kubectl(config, "create", "namespace", "editors").returncode == 0


def test_a_viewer_sees_nodes_and_changes_nothing(running, tmp_path):
    config = config_file(tmp_path, running, Level.VIEWER)
    assert kubectl(config, "get", "nodes").returncode == 0
    assert kubectl(config, "get", "pods", "-A").returncode == 0
    refused = kubectl(config, "create", "namespace", "viewers")
    assert refused.returncode != 0
    assert "forbidden" in refused.stderr.lower()


def test_rights_are_bound_before_a_kubeconfig_is_given(site, tmp_path):
    made = shop(site, workers=0, last=70)
    early = pki.sign_user(made.secrets, "ada", made.cluster.project_id, Level.VIEWER, HOUR, utcnow())
    config = tmp_path / "early.yaml"
    config.write_text(made.framework.kubeconfig(made.cluster, made.secrets, credential(early)))
    assert "forbidden" in kubectl(config, "get", "nodes").stderr.lower()
    config_file(tmp_path, made, Level.VIEWER)
    assert kubectl(config, "get", "nodes").returncode == 0
    assert kubectl(config, "auth", "can-i", "get", "secrets").stdout.strip() == "no"


def test_another_projects_certificate_may_nothing(running, tmp_path):
    given = pki.sign_user(running.secrets, "ada", running.cluster.id, Level.EDITOR, HOUR, utcnow())
    config = tmp_path / "stranger.yaml"
    config.write_text(running.framework.kubeconfig(running.cluster, running.secrets, credential(given)))
    answer = kubectl(config, "get", "pods")
    assert answer.returncode != 0
    assert "forbidden" in answer.stderr.lower()


def test_a_wrong_ca_and_an_expired_certificate_are_refused(running, tmp_path):
    other = pki.make_secrets(utcnow())
    given = running.framework.access(running.cluster, running.secrets, "ada", Level.EDITOR, HOUR)
    wrong_server = stranger(tmp_path, running, given, secrets=other)
    assert "certificate signed by unknown authority" in wrong_server
    foreign = pki.sign_user(other, "ada", running.cluster.project_id, Level.EDITOR, HOUR, utcnow())
    assert "tls: unknown certificate authority" in stranger(tmp_path, running, credential(foreign))
    long_ago = Kubernetes(clock=lambda: datetime.now(UTC) - timedelta(seconds=2))
    old = long_ago.access(running.cluster, running.secrets, "ada", Level.EDITOR, timedelta(seconds=1))
    assert old.expires_at < datetime.now(UTC)
    assert "tls: expired certificate" in stranger(tmp_path, running, old)


def stranger(folder: Path, made, given, secrets=None) -> str:
    """What kubectl says to a person who is not let in."""
    config = folder / "stranger.yaml"
    config.write_text(made.framework.kubeconfig(made.cluster, secrets or made.secrets, given))
    answer = kubectl(config, "get", "nodes")
    assert answer.returncode != 0
    assert not answer.stdout
    return answer.stderr


def test_facet_itself_enters_by_the_right_authority_and_with_a_living_certificate_alone(running):
    other = pki.make_secrets(utcnow())
    health = Kubernetes().health(
        running.cluster, {**running.secrets, "ca.crt": other["ca.crt"], "ca.key": other["ca.key"]}
    )
    assert (health.answers, health.code) == (False, "foreign_certificate")
    expired = Kubernetes(clock=lambda: datetime.now(UTC) - timedelta(minutes=10, seconds=2))
    assert expired.health(running.cluster, running.secrets).code == "unreachable"


def test_a_wrong_pin_never_joins(running):
    forged = replace(running.prepared, secrets={**running.secrets, "ca.crt": pki.make_secrets(utcnow())["ca.crt"]})
    before = {node.name for node in running.health().nodes}
    intruder = replace(running, prepared=forged, nodes={})
    with pytest.raises(AssertionError, match=r"(?i)sha256|pin|hash|public key"):
        intruder.boot(Role.WORKER, Boot.JOIN)
    assert {node.name for node in running.health().nodes} == before


def test_labels_and_taints_of_a_pool_stand_on_its_nodes(site):
    made = shop(site, workers=0, last=30)
    taint = Taint("dedicated", "NoSchedule", "batch")
    node = made.boot(Role.WORKER, Boot.JOIN, pool="batch", labels={"example.com/kind": "batch"}, taints=(taint,))
    client = Connections(utcnow).client(made.cluster, made.secrets)
    found = client.node(node.name)
    assert found["metadata"]["labels"]["example.com/kind"] == "batch"
    assert {"key": "dedicated", "value": "batch", "effect": "NoSchedule"} in found["spec"]["taints"]


def test_a_drained_worker_is_gone_and_a_budget_is_waited_for(site, tmp_path):
    made = shop(site, workers=2, last=40)
    made.framework.install(made.cluster, made.secrets, CNI.read_text())
    made.ready()
    config = config_file(tmp_path, made)
    assert kubectl(config, "apply", "-f", "-", stdin=GUARDED).returncode == 0
    client: Client = Connections(utcnow).client(made.cluster, made.secrets)
    pods = client.items("/api/v1/namespaces/default/pods")
    victim = made.nodes[pods[0]["spec"]["nodeName"]]
    waiting = made.framework.before_remove(made.cluster, victim, made.secrets, ())
    assert isinstance(waiting, Waiting)
    assert victim.name in waiting.sentence
    assert "budget" in waiting.pods[0].why
    assert client.node(victim.name)["spec"]["unschedulable"] is True
    assert kubectl(config, "delete", "pdb", "guarded").returncode == 0
    while isinstance(made.framework.before_remove(made.cluster, victim, made.secrets, ()), Waiting):
        pass
    assert victim.name not in {node.name for node in made.health().nodes}
    assert made.framework.before_remove(made.cluster, victim, made.secrets, ()) == Drained()


def test_three_control_planes_lose_one_with_its_etcd_member(site):
    made = shop(site, control_planes=3, workers=0, last=50)
    made.framework.install(made.cluster, made.secrets, CNI.read_text())
    made.ready()
    first = next(iter(made.nodes.values()))
    others = made.addresses(Role.CONTROL_PLANE, but=first.name)
    assert made.framework.before_remove(made.cluster, first, made.secrets, others) == Drained()
    with Connections(utcnow).etcd(others[0], made.secrets) as http:
        assert {member.name for member in etcd.list_members(http)} == set(made.nodes) - {first.name}
    site.run(site.house.destroy(first.vm_key))
    assert {node.name for node in made.ready().nodes} == set(made.nodes) - {first.name}
    again = made.framework.before_remove(made.cluster, first, made.secrets, others)
    assert again == Drained()


def test_a_second_control_plane_answers_at_the_endpoint_when_the_first_dies(site, tmp_path):
    made = shop(site, control_planes=3, workers=1, last=60)
    made.framework.install(made.cluster, made.secrets, CNI.read_text())
    made.ready()
    config = config_file(tmp_path, made)
    first, second, third = (node for node in made.nodes.values() if node.role is Role.CONTROL_PLANE)
    site.run(site.house.power_off(first.vm_key))
    late = made.health()
    assert (late.answers, late.ready, late.code) == (True, False, "nodes_not_ready")
    assert first.name in late.sentence
    assert kubectl(config, "create", "namespace", "web").returncode == 0
    others = [second.address, third.address]
    assert made.framework.before_remove(made.cluster, first, made.secrets, others, force=True) == Drained()
    site.run(site.house.destroy(first.vm_key))
    del made.nodes[first.name]
    assert {node.name for node in made.ready().nodes} == set(made.nodes)
    # Two members are left: one alone is no majority, and nobody pretends that it were.
    site.run(site.house.power_off(second.vm_key))
    assert made.health().answers is False
    assert kubectl(config, "get", "nodes", "--request-timeout=3s").returncode != 0
    site.run(site.house.power_on(Machine(second.vm_key, second.name, 2, 2048, made.cluster.version), {}))
    made.ready()
    # A control plane that comes later joins what is there, and never begins a second cluster.
    made.framework.admit(made.cluster, made.prepared)
    fourth = made.boot(Role.CONTROL_PLANE, Boot.JOIN)
    with Connections(utcnow).etcd(third.address, made.secrets) as http:
        assert {member.name for member in etcd.list_members(http)} == {second.name, third.name, fourth.name}
    assert kubectl(config, "get", "namespace", "web").returncode == 0


def test_etcd_answers_nobody_without_a_certificate_of_its_own_authority(running):
    first = next(iter(running.nodes.values()))
    other = pki.make_secrets(utcnow())
    forged = {**running.secrets, "etcd/ca.key": other["etcd/ca.key"], "etcd/ca.crt": other["etcd/ca.crt"]}
    with Connections(utcnow).etcd(first.address, forged) as http, pytest.raises(NotAnswering):
        etcd.list_members(http)
    with Connections(utcnow).etcd(first.address, running.secrets) as http:
        assert [member.name for member in etcd.list_members(http)] == [first.name]


def test_without_another_control_plane_a_member_is_not_removed(running):
    first = next(iter(running.nodes.values()))
    with pytest.raises(NotAnswering, match="No other control plane"):
        running.framework.before_remove(running.cluster, first, running.secrets, (), force=True)
    assert first.name in {node.name for node in running.health().nodes}


GUARDED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: guarded}
spec:
  replicas: 1
  selector: {matchLabels: {app: guarded}}
  template:
    metadata: {labels: {app: guarded}}
    spec: {containers: [{name: web, image: example.com/web}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: guarded}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: guarded}}
"""
