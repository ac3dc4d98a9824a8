"""kubeadm's configuration, v1beta4 (kubeadm 1.31 and later), and its bootstrap tokens."""

from __future__ import annotations

import re
import secrets as random
from typing import Any

import yaml

from facet.clusters.frameworks.base import ClusterFacts, NodeFacts, Role

Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
API_VERSION = "kubeadm.k8s.io/v1beta4"
TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
TOKEN_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"  # noqa: S105 an alphabet
TOKEN_TTL = "30m0s"  # noqa: S105 a duration
TOKEN_GROUP = "system:bootstrappers:kubeadm:default-node-token"  # noqa: S105 a group
DNS_DOMAIN = "cluster.local"
# kube-vip's static pod lies in the manifests' folder before kubeadm runs; without this the preflight of a join refuses.
MANIFESTS_ARE_OURS = "DirAvailable--etc-kubernetes-manifests"


def new_token() -> str:
    """A bootstrap token, `[a-z0-9]{6}.[a-z0-9]{16}`, from the system's source of randomness."""
    drawn = [random.choice(TOKEN_LETTERS) for _ in range(22)]
    return "".join(drawn[:6]) + "." + "".join(drawn[6:])


def split_token(token: str) -> tuple[str, str]:
    """(id, secret). Raises ValueError, which never repeats the token."""
    match = TOKEN.fullmatch(token)
    if match is None:
        raise ValueError("a bootstrap token has the form [a-z0-9]{6}.[a-z0-9]{16}")
    return match[1], match[2]


def init_documents(cluster: ClusterFacts, node: NodeFacts, token: str) -> str:
    """InitConfiguration and ClusterConfiguration of the first control plane, as YAML text."""
    split_token(token)
    init = {
        "apiVersion": API_VERSION,
        "kind": "InitConfiguration",
        "bootstrapTokens": [
            {"token": token, "ttl": TOKEN_TTL, "groups": [TOKEN_GROUP], "usages": ["signing", "authentication"]}
        ],
        "localAPIEndpoint": _local_endpoint(cluster, node),
        "nodeRegistration": _registration(node),
    }
    return _text(init, _cluster_configuration(cluster))


def join_document(cluster: ClusterFacts, node: NodeFacts, token: str, pin: str) -> str:
    """JoinConfiguration of a worker or of a further control plane, as YAML text."""
    split_token(token)
    bootstrap = {"token": token, "apiServerEndpoint": _endpoint(cluster), "caCertHashes": [pin]}
    join: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "JoinConfiguration",
        "discovery": {"bootstrapToken": bootstrap},
        "nodeRegistration": _registration(node),
    }
    if node.role is Role.CONTROL_PLANE:
        join["controlPlane"] = {"localAPIEndpoint": _local_endpoint(cluster, node)}
    return _text(join)


def _cluster_configuration(cluster: ClusterFacts) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterConfiguration",
        "clusterName": cluster.name,
        "kubernetesVersion": cluster.version,
        "controlPlaneEndpoint": _endpoint(cluster),
        "networking": {
            "podSubnet": cluster.pod_cidr,
            "serviceSubnet": cluster.service_cidr,
            "dnsDomain": DNS_DOMAIN,
        },
        "apiServer": {"certSANs": [cluster.endpoint_host]},
        "encryptionAlgorithm": "ECDSA-P256",
    }


def _endpoint(cluster: ClusterFacts) -> str:
    host = f"[{cluster.endpoint_host}]" if ":" in cluster.endpoint_host else cluster.endpoint_host
    return f"{host}:{cluster.endpoint_port}"


def _local_endpoint(cluster: ClusterFacts, node: NodeFacts) -> dict[str, Any]:
    """kube-vip moves an address and no port, so every API server listens on the endpoint's own. Without an address
    kubeadm takes that of the default route."""
    endpoint: dict[str, Any] = {"bindPort": cluster.endpoint_port}
    return {"advertiseAddress": node.address, **endpoint} if node.address else endpoint


def _registration(node: NodeFacts) -> dict[str, Any]:
    arguments = [{"name": "provider-id", "value": node.provider_id}]
    if node.labels:
        labels = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
        arguments.insert(0, {"name": "node-labels", "value": labels})
    registration: dict[str, Any] = {"name": node.name, "kubeletExtraArgs": arguments}
    if node.role is Role.CONTROL_PLANE:  # no `taints`: kubeadm then sets its own, NoSchedule for control planes
        registration["ignorePreflightErrors"] = [MANIFESTS_ARE_OURS]
    else:
        registration["taints"] = [
            {"key": taint.key, "effect": taint.effect} | ({"value": taint.value} if taint.value else {})
            for taint in node.taints
        ]
    return registration


def _text(*documents: dict[str, Any]) -> str:
    return "---\n".join(yaml.dump(document, Dumper=Dumper, sort_keys=False) for document in documents)
