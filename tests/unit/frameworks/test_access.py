"""A person's way in: rights first, then a certificate, then a file that says what it leads to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from facet.clusters.frameworks.base import BadSpec, Level, NotAnswering
from facet.clusters.frameworks.kubernetes import addons, manifests
from facet.clusters.frameworks.kubernetes.framework import Kubernetes
from tests.unit.frameworks.examples import CLUSTER, NOW, secrets

HOUR = timedelta(hours=1)


def test_no_certificate_is_signed_while_the_cluster_does_not_answer():
    away = replace(CLUSTER, endpoint_host="127.0.0.1", endpoint_port=1)
    with pytest.raises(NotAnswering):
        Kubernetes().access(away, secrets(), "ada", Level.EDITOR, HOUR)


def test_a_viewer_reads_and_an_editor_rules_and_both_by_group():
    rules = manifests.access_rules(CLUSTER.project_id)
    roles = {item["metadata"]["name"]: item for item in rules if item["kind"] == "ClusterRole"}
    assert all(rule["verbs"] == ["get", "list", "watch"] for rule in roles["facet:viewer"]["rules"])
    assert not any("secrets" in rule["resources"] for rule in roles["facet:viewer"]["rules"])
    bound = {
        (item["roleRef"]["name"], item["subjects"][0]["name"]) for item in rules if item["kind"] == "ClusterRoleBinding"
    }
    editors, viewers = f"facet:{CLUSTER.project_id}:editor", f"facet:{CLUSTER.project_id}:viewer"
    assert bound == {("cluster-admin", editors), ("view", viewers), ("facet:viewer", viewers)}
    assert {item["subjects"][0]["kind"] for item in rules if item["kind"] == "ClusterRoleBinding"} == {"Group"}


def test_a_kubeconfig_of_a_simulated_cluster_says_so():
    framework = Kubernetes(clock=lambda: NOW)
    text = framework.exec_kubeconfig(replace(CLUSTER, simulated=True), secrets(), ["cluster", "token", "shop"])
    config = yaml.safe_load(text)
    assert config["current-context"] == "shop-simulated"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.20.0.10:6443"
    user = config["users"][0]["user"]
    assert list(user) == ["exec"]
    assert user["exec"]["args"] == ["cluster", "token", "shop"]
    assert "PRIVATE" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no object"),
        ("---\n---\n", "holds no object"),
        ("a: [", "not YAML"),
        ("- a", "Document 1 is not an object"),
        ("kind: Pod\n", "no apiVersion"),
        ("apiVersion: v1\n", "no kind"),
        ("apiVersion: v1\nkind: Pod\n", "no metadata.name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n", "no metadata.name"),
        ("apiVersion: v1\nkind: List\nitems: [7]\n", "An item of document 1"),
    ],
)
def test_a_bad_manifest_says_where(text, said):
    with pytest.raises(BadSpec, match=said) as refused:
        addons.read(text)
    assert refused.value.field == "manifest"


def test_what_others_need_is_applied_first():
    text = "\n---\n".join(
        f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}"
        for kind in ("DaemonSet", "CustomResourceDefinition", "ServiceAccount", "Namespace")
    )
    assert [item["kind"] for item in addons.read(text)] == [
        "Namespace", "CustomResourceDefinition", "DaemonSet", "ServiceAccount",
    ]  # fmt: skip
