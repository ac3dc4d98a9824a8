"""The objects that stand in a cluster once `kubeadm init` has ended."""

from __future__ import annotations

import base64
import json
from typing import Any

import yaml

from infra.simulator.guests import pki
from infra.simulator.guests.api import resources, verbs
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store
from infra.simulator.guests.api.verbs import Target
from infra.simulator.guests.controllers import nodes
from infra.simulator.guests.kubeadm import config, roles
from infra.simulator.guests.kubeadm.leaves import REPOSITORY, service_address

RBAC = "rbac.authorization.k8s.io"
NAMESPACES = ("default", "kube-system", "kube-public", nodes.LEASED_IN)
JWS = "jws-kubeconfig-"
COREDNS = "v1.12.1"


def put(store: Store, resource: str, obj: Obj, namespace: str = "") -> Obj:
    """Create what is not there yet."""
    return store.get(resource, namespace, obj["metadata"]["name"]) or verbs.create_object(
        store, Target(resources.of(resource), namespace), obj
    )


def fill(store: Store, cluster: Obj, init: Obj, ca_pem: bytes, endpoint: str, version: str) -> None:
    """Namespaces, RBAC, kubeadm's config maps, bootstrap tokens, and the system's workloads."""
    for name in NAMESPACES:
        put(store, "namespaces", {"metadata": {"name": name}})
    for resource, found in (
        (f"clusterroles.{RBAC}", roles.CLUSTER_ROLES),
        (f"clusterrolebindings.{RBAC}", roles.CLUSTER_BINDINGS),
        (f"roles.{RBAC}", roles.ROLES),
        (f"rolebindings.{RBAC}", roles.BINDINGS),
    ):
        for obj in found:
            put(store, resource, obj, obj["metadata"].get("namespace", ""))
    _config_maps(store, cluster, ca_pem, endpoint)
    for token in init.get("bootstrapTokens") or ():
        put(store, "secrets", _token_secret(token, store.now()), "kube-system")
    _workloads(store, cluster, version)


def _config_maps(store: Store, cluster: Obj, ca_pem: bytes, endpoint: str) -> None:
    def config_map(namespace: str, name: str, **data: str) -> None:
        put(store, "configmaps", {"metadata": {"name": name}, "data": data}, namespace)

    data: dict[str, Any] = {
        "server": f"https://{endpoint}",
        "certificate-authority-data": base64.b64encode(ca_pem).decode(),
    }
    info = {
        "apiVersion": "v1", "kind": "Config", "clusters": [{"name": "", "cluster": data}], "contexts": [],
        "current-context": "", "preferences": {}, "users": [],
    }  # fmt: skip
    config_map("kube-public", "cluster-info", kubeconfig=yaml.safe_dump(info))
    text = {"ClusterConfiguration": yaml.safe_dump(cluster)}
    put(store, "configmaps", {"metadata": {"name": "kubeadm-config"}, "data": text}, "kube-system")
    kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "cgroupDriver": "systemd"}
    config_map("kube-system", "kubelet-config", kubelet=yaml.safe_dump(kubelet))
    proxy = {"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration"}
    put(
        store,
        "configmaps",
        {"metadata": {"name": "kube-proxy"}, "data": {"config.conf": yaml.safe_dump(proxy)}},
        "kube-system",
    )
    put(
        store,
        "configmaps",
        {"metadata": {"name": "coredns"}, "data": {"Corefile": ".:53 {\n    errors\n}\n"}},
        "kube-system",
    )


def _token_secret(token: Obj, now: float) -> Obj:
    token_id, secret = config.token_parts(token.get("token", ""))
    usages = token.get("usages") or ["signing", "authentication"]
    groups = token.get("groups") or [roles.NODE_GROUP]
    data = {"token-id": token_id, "token-secret": secret, "auth-extra-groups": ",".join(groups)}
    data.update({f"usage-bootstrap-{usage}": "true" for usage in usages})
    end = config.expiry(token, now)
    if end:
        data["expiration"] = end
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {
        "metadata": {"name": f"bootstrap-token-{token_id}"},
        "type": "bootstrap.kubernetes.io/token",
        "data": encoded,
    }


def signed(info: Obj, tokens: dict[str, dict[str, str]]) -> Obj:
    """cluster-info as it reads now: signed by every live token that may sign."""
    plain = {key: value for key, value in (info.get("data") or {}).items() if not key.startswith(JWS)}
    for token_id, token in tokens.items():
        if token.get("usage-bootstrap-signing") == "true":
            plain[JWS + token_id] = pki.detached_jws(
                plain.get("kubeconfig", ""), token_id, token.get("token-secret", "")
            )
    return {**info, "data": plain}


def _workloads(store: Store, cluster: Obj, version: str) -> None:
    repository = cluster.get("imageRepository") or REPOSITORY
    first = service_address(cluster)
    https = [{"name": "https", "port": 443, "targetPort": 6443, "protocol": "TCP"}]
    put(
        store, "services", {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": first, "ports": https}}, "default"
    )
    dns = {"selector": {"k8s-app": "kube-dns"}, "clusterIP": first.rsplit(".", 1)[0] + ".10"}
    dns["ports"] = [{"name": "dns", "port": 53, "protocol": "UDP"}]  # type: ignore[assignment]  # a literal
    put(
        store,
        "services",
        {"metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}}, "spec": dns},
        "kube-system",
    )
    for name in ("kube-proxy", "coredns", "bootstrap-signer", "node-controller"):
        put(store, "serviceaccounts", {"metadata": {"name": name}}, "kube-system")
    proxy = _workload(
        "kube-proxy", f"{repository}/kube-proxy:{version}", hostNetwork=True, tolerations=[{"operator": "Exists"}]
    )
    put(store, "daemonsets.apps", proxy, "kube-system")
    tolerated = [
        {"key": "CriticalAddonsOnly", "operator": "Exists"},
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
    ]
    if not (cluster.get("dns") or {}).get("disabled"):
        coredns = _workload("coredns", f"{repository}/coredns:{COREDNS}", "kube-dns", tolerations=tolerated)
        coredns["spec"]["replicas"] = 2
        put(store, "deployments.apps", coredns, "kube-system")


def _workload(name: str, image: str, app: str = "", **spec: Any) -> Obj:
    labels = {"k8s-app": app or name}
    pod = {"serviceAccountName": name, "containers": [{"name": name, "image": image}], **spec}
    template = {"metadata": {"labels": labels}, "spec": {"nodeSelector": {"kubernetes.io/os": "linux"}, **pod}}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def lease(store: Store, node: Obj) -> None:
    """A kubelet's sign of life; when it last told one is computed when it is read."""
    name, uid = node["metadata"]["name"], node["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40}
    put(store, nodes.LEASES, {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec}, nodes.LEASED_IN)


def mirror_pods(store: Store, node: Obj, manifests: list[Obj]) -> None:
    """The static pods of a control plane, as its kubelet mirrors them."""
    name = node["metadata"]["name"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"], "controller": True}
    for pod in manifests:
        metadata = pod.get("metadata") or {}
        made = {
            "metadata": {
                "name": f"{metadata.get('name', 'static')}-{name}",
                "labels": metadata.get("labels") or {},
                "annotations": {"kubernetes.io/config.mirror": name, "kubernetes.io/config.source": "file"},
                "ownerReferences": [owner],
            },
            "spec": {**json.loads(json.dumps(pod["spec"])), "nodeName": name, "tolerations": [{"operator": "Exists"}]},
        }
        put(store, "pods", made, "kube-system")
