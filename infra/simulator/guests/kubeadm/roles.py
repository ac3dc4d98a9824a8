"""The roles and bindings that an API server and kubeadm make: those that people and clients lean on.

As in Kubernetes `edit` and `view` see no nodes and `view` no secrets. The node authorizer is not simulated; its part of
the work is a plain binding of system:nodes.
"""

from __future__ import annotations

from typing import Any

from infra.simulator.guests.api.resources import Obj

READ = ["get", "list", "watch"]
WRITE = ["create", "delete", "deletecollection", "patch", "update"]
ALL = [*READ, *WRITE]
CSR = "certificates.k8s.io"
RBAC = "rbac.authorization.k8s.io"
CORE = [
    "pods",
    "services",
    "endpoints",
    "configmaps",
    "serviceaccounts",
    "persistentvolumeclaims",
    "replicationcontrollers",
]
OTHERS = [
    (["apps"], ["deployments", "deployments/scale", "replicasets", "replicasets/scale", "statefulsets",
                "statefulsets/scale", "daemonsets", "controllerrevisions"]),
    (["batch"], ["jobs", "cronjobs"]),
    (["policy"], ["poddisruptionbudgets"]),
    (["networking.k8s.io"], ["networkpolicies", "ingresses"]),
    (["autoscaling"], ["horizontalpodautoscalers"]),
    (["discovery.k8s.io"], ["endpointslices"]),
]  # fmt: skip
NODE_GROUP = "system:bootstrappers:kubeadm:default-node-token"


def rule(groups: list[str], names: list[str], verbs: list[str], only: list[str] | None = None) -> Obj:
    made: Obj = {"apiGroups": groups, "resources": names, "verbs": verbs}
    return {**made, "resourceNames": only} if only else made


def paths(*names: str) -> Obj:
    return {"nonResourceURLs": list(names), "verbs": ["get"]}


VIEW = [
    rule([""], [*CORE, "events", "namespaces", "limitranges", "resourcequotas", "pods/log", "pods/status"], READ),
    *(
        rule(groups, [*names, *(f"{name}/status" for name in names if "/" not in name)], READ)
        for groups, names in OTHERS
    ),
]
EDIT = [
    *VIEW,
    rule([""], [*CORE, "secrets", "events", "pods/eviction", "pods/exec", "pods/attach", "pods/portforward"], ALL),
    rule([""], ["serviceaccounts/token"], ["create"]),
    rule([""], ["secrets"], READ),
    *(rule(groups, names, ALL) for groups, names in OTHERS),
]
ADMIN = [
    *EDIT,
    rule([RBAC], ["roles", "rolebindings"], ALL),
    rule(["authorization.k8s.io"], ["localsubjectaccessreviews"], ["create"]),
]
NODE = [
    rule([""], ["nodes", "nodes/status"], ["create", "get", "list", "watch", "patch", "update"]),
    rule([""], ["pods", "services", "configmaps", "secrets", "persistentvolumeclaims", "persistentvolumes"], READ),
    rule([""], ["events"], ["create", "patch", "update"]),
    rule(["coordination.k8s.io"], ["leases"], ["create", "get", "patch", "update"]),
    rule([CSR], ["certificatesigningrequests"], ["create", *READ]),
]
SELF_REVIEWS = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def _role(name: str, rules: list[Obj], namespace: str = "") -> Obj:
    metadata: Obj = {"name": name, "labels": LABELS}
    return {"metadata": {**metadata, "namespace": namespace} if namespace else metadata, "rules": rules}


CLUSTER_ROLES = [
    _role("cluster-admin", [rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}]),
    _role("admin", ADMIN),
    _role("edit", EDIT),
    _role("view", VIEW),
    _role("system:basic-user", [
        rule(["authorization.k8s.io"], SELF_REVIEWS, ["create"]),
        rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    ]),
    _role("system:discovery", [
        paths("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
              "/version", "/version/"),
    ]),
    _role("system:public-info-viewer", [paths("/healthz", "/livez", "/readyz", "/version", "/version/")]),
    _role("system:node", NODE),
    _role("system:node-bootstrapper", [rule([CSR], ["certificatesigningrequests"], ["create", *READ])]),
    _role("system:certificates.k8s.io:certificatesigningrequests:nodeclient",
          [rule([CSR], ["certificatesigningrequests/nodeclient"], ["create"])]),
    _role("system:kube-controller-manager", [rule(["*"], ["*"], ["*"])]),
    _role("system:kube-scheduler", [rule([""], ["pods", "nodes", "pods/binding"], ALL)]),
    _role("kubeadm:get-nodes", [rule([""], ["nodes"], ["get"])]),
]  # fmt: skip

ROLES = [
    _role("kubeadm:bootstrap-signer-clusterinfo", [rule([""], ["configmaps"], ["get"], ["cluster-info"])],
          "kube-public"),
    _role("kubeadm:nodes-kubeadm-config", [rule([""], ["configmaps"], ["get"], ["kubeadm-config"])], "kube-system"),
    _role("kubeadm:kubelet-config", [rule([""], ["configmaps"], ["get"], ["kubelet-config"])], "kube-system"),
    _role("kube-proxy", [rule([""], ["configmaps"], ["get"], ["kube-proxy"])], "kube-system"),
]  # fmt: skip


def _binding(name: str, role: str, *subjects: tuple[str, str], kind: str = "ClusterRole", namespace: str = "") -> Obj:
    metadata: dict[str, Any] = {"name": name, "labels": LABELS}
    return {
        "metadata": {**metadata, "namespace": namespace} if namespace else metadata,
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": what, "name": who, "apiGroup": RBAC} for what, who in subjects],
    }


SIGNER = "kubeadm:bootstrap-signer-clusterinfo"
CLUSTER_BINDINGS = [
    _binding("cluster-admin", "cluster-admin", ("Group", "system:masters")),
    _binding("kubeadm:cluster-admins", "cluster-admin", ("Group", "kubeadm:cluster-admins")),
    _binding("system:basic-user", "system:basic-user", ("Group", "system:authenticated")),
    _binding("system:discovery", "system:discovery", ("Group", "system:authenticated")),
    _binding("system:public-info-viewer", "system:public-info-viewer",
             ("Group", "system:authenticated"), ("Group", "system:unauthenticated")),
    _binding("system:node", "system:node", ("Group", "system:nodes")),
    _binding("system:kube-controller-manager", "system:kube-controller-manager",
             ("User", "system:kube-controller-manager")),
    _binding("system:kube-scheduler", "system:kube-scheduler", ("User", "system:kube-scheduler")),
    _binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", ("Group", NODE_GROUP)),
    _binding("kubeadm:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
             ("Group", NODE_GROUP)),
    _binding("kubeadm:get-nodes", "kubeadm:get-nodes", ("Group", NODE_GROUP)),
]  # fmt: skip
BINDINGS = [
    _binding(SIGNER, SIGNER, ("User", "system:anonymous"), kind="Role", namespace="kube-public"),
    *(
        _binding(name, name, ("Group", NODE_GROUP), ("Group", "system:nodes"), kind="Role", namespace="kube-system")
        for name in ("kubeadm:nodes-kubeadm-config", "kubeadm:kubelet-config", "kube-proxy")
    ),
]
