"""Manifests of ours: the virtual address of the control planes, and who may do what in a cluster."""

from __future__ import annotations

from typing import Any

import yaml

from facet.clusters.frameworks.base import ClusterFacts, Level
from facet.clusters.frameworks.kubernetes.pki import group_name

# The name of kube-vip's image as its project publishes it. A node pulls it at boot; an installation with a mirror
# passes its own name.
KUBE_VIP_IMAGE = "ghcr.io/kube-vip/kube-vip:v0.9.2"
ADMIN_CONF = "/etc/kubernetes/admin.conf"
SUPER_ADMIN_CONF = "/etc/kubernetes/super-admin.conf"
VIEWER_ROLE = "facet:viewer"
Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Manifest = dict[str, Any]


def kube_vip(cluster: ClusterFacts, *, image: str = KUBE_VIP_IMAGE, interface: str = "") -> str:
    """A static pod that holds the cluster's endpoint on one living control plane, as YAML text.

    interface: of the guest; "" lets kube-vip take that of the default route.
    """
    environment = {
        "address": cluster.endpoint_host,
        "port": str(cluster.endpoint_port),
        "vip_arp": "true",
        "cp_enable": "true",
        "cp_namespace": "kube-system",
        "vip_leaderelection": "true",
        "vip_leasename": "plndr-cp-lock",
        "vip_leaseduration": "15",
        "vip_renewdeadline": "10",
        "vip_retryperiod": "2",
    }
    if interface:
        environment["vip_interface"] = interface
    container = {
        "name": "kube-vip",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["manager"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
        "volumeMounts": [{"name": "kubeconfig", "mountPath": ADMIN_CONF}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-vip", "namespace": "kube-system"},
        "spec": {
            "hostNetwork": True,
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}],
            "containers": [container],
            "volumes": [{"name": "kubeconfig", "hostPath": {"path": ADMIN_CONF}}],
        },
    }
    return yaml.dump(pod, Dumper=Dumper, sort_keys=False)


def access_rules(project_id: object) -> list[Manifest]:
    """RBAC of a project's people: editors are cluster-admin; viewers view, and see nodes, namespaces and volumes."""
    editors, viewers = group_name(project_id, Level.EDITOR), group_name(project_id, Level.VIEWER)
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": VIEWER_ROLE},
            "rules": [
                _read("", "nodes", "namespaces", "persistentvolumes"),
                _read("storage.k8s.io", "storageclasses"),
            ],
        },
        _binding(editors, "cluster-admin", editors),
        _binding(viewers, "view", viewers),
        _binding(f"{viewers}:cluster", VIEWER_ROLE, viewers),
    ]


def _read(group: str, *resources: str) -> Manifest:
    return {"apiGroups": [group], "resources": list(resources), "verbs": ["get", "list", "watch"]}


def _binding(name: str, role: str, group: str) -> Manifest:
    rbac = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": rbac, "kind": "Group", "name": group}],
    }
