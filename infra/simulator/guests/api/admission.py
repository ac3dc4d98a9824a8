"""Defaults and checks that an object meets before it is stored: the part of them that clients lean on."""

from __future__ import annotations

import re
import secrets
from typing import Any

from infra.simulator.guests.api import errors, selectors
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj, Resource
from infra.simulator.guests.api.store import Store

SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PATH_SEGMENT_GROUPS = {"rbac.authorization.k8s.io"}  # their names may hold colons and capitals
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own: no vowels, nothing that reads as another
WORKLOADS = {"deployments.apps", "replicasets.apps", "daemonsets.apps", "statefulsets.apps", "jobs.batch"}
REPLICATED = {"deployments.apps", "replicasets.apps", "statefulsets.apps"}
SPEC_GENERATION = WORKLOADS | {"cronjobs.batch", "poddisruptionbudgets.policy", "networkpolicies.networking.k8s.io"}
TOLERATED_S = 300


def suffix() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(5))


def check_name(resource: Resource, name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise errors.invalid(resource, "", "metadata.name", "Required value: name or generateName is required")
    if resource.group in PATH_SEGMENT_GROUPS:
        good = name not in (".", "..") and "/" not in name and "%" not in name
    elif resource.key in ("namespaces", "services"):
        good = bool(LABEL.fullmatch(name))
    else:
        good = bool(SUBDOMAIN.fullmatch(name))
    if not good:
        raise errors.invalid(resource, name, "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 name')


def admit(store: Store, resource: Resource, obj: Obj) -> Obj:
    """`obj` with its defaults, for a create. Raises ApiError 422 or 404 (its namespace is not there)."""
    metadata = dict(obj["metadata"])
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"] + suffix()
    check_name(resource, metadata.get("name"))
    if resource.namespaced:
        _check_namespace(store, resource, metadata)
    else:
        metadata.pop("namespace", None)
    if resource.key in SPEC_GENERATION or (resource.custom and "spec" in obj):
        metadata["generation"] = 1
    obj = {**obj, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    default = DEFAULTS.get(resource.key)
    return default(store, resource, obj) if default else obj


def _check_namespace(store: Store, resource: Resource, metadata: Obj) -> None:
    namespace = store.get("namespaces", "", metadata["namespace"])
    if namespace is None:
        raise ApiError(404, f'namespaces "{metadata["namespace"]}" not found', details={"kind": "namespaces"})
    if "deletionTimestamp" in namespace["metadata"]:
        words = f"unable to create new content in namespace {metadata['namespace']} because it is being terminated"
        raise ApiError(403, f'{resource.key} "{metadata["name"]}" is forbidden: {words}')


def _namespace(store: Store, resource: Resource, obj: Obj) -> Obj:
    metadata = obj["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    spec = {"finalizers": ["kubernetes"]}
    return {**obj, "metadata": {**metadata, "labels": labels}, "spec": spec, "status": {"phase": "Active"}}


def _spec(resource: Resource, obj: Obj) -> Obj:
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        raise errors.invalid(resource, obj["metadata"]["name"], "spec", "Required value")
    return spec


def pod_spec(resource: Resource, name: str, spec: Any, field: str, restart: str = "Always") -> Obj:
    """A pod's spec with its defaults. Raises ApiError 422."""
    containers = spec.get("containers") if isinstance(spec, dict) else None
    if not isinstance(containers, list) or not containers:
        raise errors.invalid(resource, name, f"{field}.containers", "Required value")
    for at, item in enumerate(containers):
        for wanted in ("name", "image"):
            if not isinstance(item, dict) or not item.get(wanted):
                raise errors.invalid(resource, name, f"{field}.containers[{at}].{wanted}", "Required value")
    defaults = {
        "restartPolicy": restart, "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "securityContext": {}, "schedulerName": "default-scheduler",
    }  # fmt: skip
    return {**defaults, **spec, "containers": [_container(item) for item in containers]}


def _container(item: Obj) -> Obj:
    tag = item["image"].rpartition("/")[2].partition(":")[2]
    pull = "Always" if tag in ("", "latest") and "@" not in item["image"] else "IfNotPresent"
    container = {"imagePullPolicy": pull, "resources": {}, **item}
    if "ports" in item:
        container["ports"] = [{"protocol": "TCP", **port} for port in item["ports"]]
    return container


def _pod(store: Store, resource: Resource, obj: Obj) -> Obj:
    spec = pod_spec(resource, obj["metadata"]["name"], _spec(resource, obj), "spec")
    spec.setdefault("serviceAccountName", "default")
    tolerations = list(spec.get("tolerations") or ())
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(item.get("key") in (taint, None) for item in tolerations):
            wait = {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATED_S}
            tolerations.append(wait)
    return {
        **obj,
        "spec": {**spec, "tolerations": tolerations},
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    }


def _workload(store: Store, resource: Resource, obj: Obj) -> Obj:
    name, spec = obj["metadata"]["name"], dict(_spec(resource, obj))
    template = spec.get("template")
    if not isinstance(template, dict):
        raise errors.invalid(resource, name, "spec.template", "Required value")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if resource.key != "jobs.batch":
        if not isinstance(spec.get("selector"), dict):
            raise errors.invalid(resource, name, "spec.selector", "Required value")
        if not selectors.matches(spec["selector"], labels):
            why = f"Invalid value: {labels}: `selector` does not match template `labels`"
            raise errors.invalid(resource, name, "spec.template.metadata.labels", why)
    restart = "OnFailure" if resource.key == "jobs.batch" else "Always"
    inner = pod_spec(resource, name, template.get("spec"), "spec.template.spec", restart)
    spec["template"] = {**template, "metadata": template.get("metadata") or {}, "spec": inner}
    if resource.key in REPLICATED:
        spec.setdefault("replicas", 1)
        if not isinstance(spec["replicas"], int) or spec["replicas"] < 0:
            raise errors.invalid(resource, name, "spec.replicas", "must be greater than or equal to 0")
    for field, value in WORKLOAD_DEFAULTS.get(resource.key, {}).items():
        if spec.get(field) in (None, "", {}):
            spec[field] = value
    return {**obj, "spec": spec, "status": obj.get("status") or {}}


WORKLOAD_DEFAULTS: dict[str, Obj] = {
    "deployments.apps": {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
    },
    "daemonsets.apps": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
        "revisionHistoryLimit": 10,
    },
    "statefulsets.apps": {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady", "serviceName": "",
    },
    "jobs.batch": {
        "completions": 1, "parallelism": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": False,
    },
}  # fmt: skip


def _service(store: Store, resource: Resource, obj: Obj) -> Obj:
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **_spec(resource, obj)}
    if spec["type"] != "ExternalName":
        spec.setdefault("clusterIP", _free_service_address(store))
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    ports = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or ()]
    return {**obj, "spec": {**spec, "ports": ports}, "status": {"loadBalancer": {}}}


def _free_service_address(store: Store) -> str:
    """The service network's next address: it begins where the service `kubernetes` stands."""
    taken = {item["spec"].get("clusterIP") for item in store.list("services")}
    first = store.get("services", "default", "kubernetes")
    base = first["spec"]["clusterIP"].rsplit(".", 2)[0] if first else "10.96"
    return next(
        f"{base}.{at // 254}.{at % 254 + 1}"
        for at in range(100, 65000)
        if f"{base}.{at // 254}.{at % 254 + 1}" not in taken
    )


def _secret(store: Store, resource: Resource, obj: Obj) -> Obj:
    return {"type": "Opaque", **obj}


def _role_binding(store: Store, resource: Resource, obj: Obj) -> Obj:
    if not isinstance(obj.get("roleRef"), dict) or not obj["roleRef"].get("name"):
        raise errors.invalid(resource, obj["metadata"]["name"], "roleRef.name", "Required value")
    return obj


def _claim(store: Store, resource: Resource, obj: Obj) -> Obj:
    return {**obj, "spec": {"volumeMode": "Filesystem", **_spec(resource, obj)}, "status": {"phase": "Pending"}}


def _node(store: Store, resource: Resource, obj: Obj) -> Obj:
    return {**obj, "spec": obj.get("spec") or {}, "status": obj.get("status") or {}}


DEFAULTS = {
    "namespaces": _namespace,
    "nodes": _node,
    "pods": _pod,
    "services": _service,
    "secrets": _secret,
    "persistentvolumeclaims": _claim,
    "clusterrolebindings.rbac.authorization.k8s.io": _role_binding,
    "rolebindings.rbac.authorization.k8s.io": _role_binding,
    **dict.fromkeys(WORKLOADS, _workload),
}
