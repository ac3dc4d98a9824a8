"""The real kubectl on a simulated cluster: what a team does on its first day."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from facet.clusters.frameworks.base import Role
from tests.integration.guests import CNI, Shop, config_file, datacenter, kubectl, shop

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:1"}]}
"""
BUDGET = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec: {minAvailable: 5, selector: {matchLabels: {app: web}}}
"""
SYSTEM_PODS = (
    "coredns", "etcd", "facet-cni", "kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler",
    "kube-vip",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _real_database():
    """Nothing here knows a database: in place of the folder's fixture."""


@dataclass
class Person:
    """Somebody with a kubeconfig."""

    config: Path
    shop: Shop

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints; it must end well."""
        answer = kubectl(self.config, *arguments, stdin=stdin)
        assert answer.returncode == 0, f"kubectl {' '.join(arguments)}: {answer.stderr}"
        return answer.stdout

    def fail(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl complains of; it must not end well."""
        answer = kubectl(self.config, *arguments, stdin=stdin)
        assert answer.returncode != 0, answer.stdout
        return answer.stderr

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """A table of `kubectl get` as rows by column."""
        head, *lines = self.run("get", *arguments).splitlines()
        heads = list(re.finditer(r"\S+(?: \S+)*", head))  # two spaces part two columns
        ends = [*(one.start() for one in heads[1:]), None]
        return [
            {one.group(): line[one.start() : end].strip() for one, end in zip(heads, ends, strict=True)}
            for line in lines
        ]

    def objects(self, *arguments: str) -> list[dict]:
        return json.loads(self.run("get", *arguments, "-o", "json"))["items"]


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    with datacenter(tmp_path_factory.mktemp("guests")) as site:
        made = shop(site)
        made.framework.install(made.cluster, made.secrets, CNI.read_text())
        made.ready()
        yield Person(config_file(tmp_path_factory.mktemp("ada"), made), made)


@pytest.fixture
def namespace(person):
    person.run("create", "namespace", "shop")
    yield "shop"
    person.run("delete", "namespace", "shop", "--timeout=20s")


def pods_on(person: Person, node: str) -> list[str]:
    found = person.objects("pods", "-n", "shop", "--field-selector", f"spec.nodeName={node}")
    return [pod["metadata"]["name"] for pod in found]


def test_kubectl_works(person):
    assert "Server Version: v1.34.2+simulated" in person.run("version")
    assert person.run("get", "--raw", "/readyz") == "ok"
    _nodes_and_system_pods_are_listed(person)
    assert person.run("create", "namespace", "shop") == "namespace/shop created\n"
    _a_deployment_is_rolled_out_and_scaled(person)
    _a_worker_is_drained_and_taken_back(person)
    assert 'deployment.apps "web" deleted' in person.run("delete", "-f", "-", stdin=WEB)
    assert person.objects("pods", "-n", "shop") == []
    assert 'namespace "shop" deleted' in person.run("delete", "namespace", "shop", "--timeout=20s")
    assert "NotFound" in person.fail("get", "namespace", "shop")


def _nodes_and_system_pods_are_listed(person: Person) -> None:
    nodes = {row["NAME"]: row for row in person.table("nodes", "-o", "wide")}
    assert set(nodes) == set(person.shop.nodes)
    for name, node in person.shop.nodes.items():
        row = nodes[name]
        assert (row["STATUS"], row["VERSION"], row["INTERNAL-IP"]) == ("Ready", "v1.34.2", node.address)
        assert row["ROLES"] == ("control-plane" if node.role is Role.CONTROL_PLANE else "<none>")
    pods = person.table("pods", "-A")
    assert {row["STATUS"] for row in pods} == {"Running"}
    assert {name for name in SYSTEM_PODS if any(row["NAME"].startswith(name) for row in pods)} == set(SYSTEM_PODS)


def _a_deployment_is_rolled_out_and_scaled(person: Person) -> None:
    assert person.run("apply", "-f", "-", stdin=WEB) == "deployment.apps/web created\n"
    assert person.run("apply", "-f", "-", stdin=WEB) == "deployment.apps/web unchanged\n"
    assert "successfully rolled out" in person.run("rollout", "status", "-n", "shop", "deployment/web")
    assert person.run("scale", "-n", "shop", "deployment/web", "--replicas=6") == "deployment.apps/web scaled\n"
    assert "successfully rolled out" in person.run("rollout", "status", "-n", "shop", "deployment/web")
    (row,) = person.table("deployments", "-n", "shop")
    assert (row["NAME"], row["READY"], row["AVAILABLE"]) == ("web", "6/6", "6")
    workers = {name for name, node in person.shop.nodes.items() if node.role is Role.WORKER}
    assert {pod["spec"]["nodeName"] for pod in person.objects("pods", "-n", "shop")} == workers


def _a_worker_is_drained_and_taken_back(person: Person) -> None:
    name = next(name for name, node in person.shop.nodes.items() if node.role is Role.WORKER)
    assert person.run("cordon", name) == f"node/{name} cordoned\n"
    status = {row["NAME"]: row["STATUS"] for row in person.table("nodes")}
    assert status[name] == "Ready,SchedulingDisabled"
    assert f"node/{name} drained" in person.run("drain", name, "--ignore-daemonsets", "--timeout=20s")
    assert pods_on(person, name) == []
    assert "successfully rolled out" in person.run("rollout", "status", "-n", "shop", "deployment/web")
    assert len(person.objects("pods", "-n", "shop")) == 6
    assert person.run("uncordon", name) == f"node/{name} uncordoned\n"
    assert {row["STATUS"] for row in person.table("nodes")} == {"Ready"}
    described = person.run("describe", "node", name)
    for part in (
        "facet.dev/simulated=true",
        "NodeReady",
        f"facet://{person.shop.nodes[name].vm_key}",
        "HolderIdentity",
    ):
        assert part in described
    assert any(row["REASON"] == "Scheduled" for row in person.table("events", "-n", "shop"))


def test_what_no_simulation_can_do_is_refused_in_a_sentence(person, namespace):
    person.run("apply", "-f", "-", stdin=WEB)
    for arguments in (
        ("logs", "deployment/web"),
        ("exec", "deployment/web", "--", "ls"),
        ("port-forward", "deployment/web", "8080:80"),
    ):
        assert "this is a simulated cluster" in person.fail("-n", namespace, *arguments)
    assert "a simulated cluster serves a part of Kubernetes" in person.fail("get", "--raw", "/apis/example.com/v1/none")


def test_a_drain_waits_for_a_budget_and_says_so(person, namespace):
    person.run("apply", "-f", "-", stdin=WEB)
    person.run("apply", "-f", "-", stdin=BUDGET)
    name = next(name for name, node in person.shop.nodes.items() if node.role is Role.WORKER and pods_on(person, name))
    said = person.fail("drain", name, "--ignore-daemonsets", "--timeout=1s")
    assert "violate the pod's disruption budget" in said
    assert pods_on(person, name)
    person.run("delete", "pdb", "web", "-n", namespace)
    person.run("drain", name, "--ignore-daemonsets", "--timeout=20s")
    assert pods_on(person, name) == []
    person.run("uncordon", name)


def test_a_bad_manifest_names_its_field_and_makes_nothing(person, namespace):
    said = person.fail("apply", "-f", "-", stdin=WEB.replace("replicas: 3", "replicas: -1"))
    assert "spec.replicas" in said
    assert person.objects("deployments", "-n", namespace) == []
    said = person.fail("create", "-f", "-", stdin=WEB.replace("namespace: shop", "namespace: nowhere"))
    assert 'namespaces "nowhere" not found' in said
