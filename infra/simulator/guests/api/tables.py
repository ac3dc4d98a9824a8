"""Tables: what `kubectl get` prints is drawn by the server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from infra.simulator.guests.api import selectors
from infra.simulator.guests.api.resources import Obj, Resource

Cells = Callable[[Obj, str], list[Any]]
NONE = "<none>"
ROLE = "node-role.kubernetes.io/"


def age(timestamp: str | None, now: float) -> str:
    """How long ago, as kubectl writes it: 5s, 3m12s, 4h5m, 3d."""
    if not timestamp:
        return "<unknown>"
    seconds = max(0, int(now - datetime.fromisoformat(timestamp).timestamp()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{days}d"


def partial(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def table(resource: Resource, found: list[Obj], now: float, include: str) -> Obj:
    columns, wide, cells = COLUMNS.get(resource.key, ("Age", "", lambda obj, old: [old]))
    first = [] if resource.key == "events" else [("Name", 0)]
    names = [*first, *((name, 0) for name in columns.split(",")), *((name, 1) for name in wide.split(",") if name)]
    rows = []
    for obj in found:
        own = [obj["metadata"]["name"]] if first else []
        row: Obj = {"cells": [*own, *cells(obj, age(obj["metadata"].get("creationTimestamp"), now))]}
        if include != "None":
            row["object"] = obj if include == "Object" else partial(obj)
        rows.append(row)
    definitions = [
        {
            "name": name.strip(),
            "type": "integer" if name in INTEGERS else "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, priority in names
    ]
    version = found[0]["metadata"].get("resourceVersion", "") if len(found) == 1 else ""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions,
        "rows": rows,
    }


INTEGERS = {"Desired", "Current", "Up-to-date", "Available", "Data", "Completions"}


def _count(obj: Obj, *path: str) -> int:
    found: Any = obj
    for word in path:
        found = (found or {}).get(word)
    return int(found or 0)


def _node(obj: Obj, old: str) -> list[Any]:
    ready = next((c["status"] for c in obj["status"].get("conditions", ()) if c["type"] == "Ready"), "Unknown")
    status = "Ready" if ready == "True" else "NotReady"
    if obj["spec"].get("unschedulable"):
        status += ",SchedulingDisabled"
    labels = obj["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(ROLE) for label in labels if label.startswith(ROLE))
    info = obj["status"].get("nodeInfo", {})
    addresses = {item["type"]: item["address"] for item in obj["status"].get("addresses", ())}
    return [
        status, ",".join(roles) or NONE, old, info.get("kubeletVersion", ""), addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE), info.get("osImage", ""), info.get("kernelVersion", ""),
        info.get("containerRuntimeVersion", ""),
    ]  # fmt: skip


def _pod(obj: Obj, old: str) -> list[Any]:
    status, total = obj.get("status", {}), len(obj["spec"]["containers"])
    ready = sum(1 for item in status.get("containerStatuses", ()) if item.get("ready"))
    phase = "Terminating" if "deletionTimestamp" in obj["metadata"] else status.get("phase", "Pending")
    if phase == "Succeeded":
        phase = "Completed"
    place = [status.get("podIP", NONE), obj["spec"].get("nodeName", NONE), NONE, NONE]
    return [f"{ready}/{total}", phase, "0", old, *place]


def _images(obj: Obj) -> list[str]:
    containers = obj["spec"]["template"]["spec"]["containers"]
    return [",".join(item["name"] for item in containers), ",".join(item["image"] for item in containers)]


def _deployment(obj: Obj, old: str) -> list[Any]:
    ready = f"{_count(obj, 'status', 'readyReplicas')}/{_count(obj, 'spec', 'replicas')}"
    counts = [_count(obj, "status", "updatedReplicas"), _count(obj, "status", "availableReplicas")]
    return [ready, *counts, old, *_images(obj), selectors.text_of(obj["spec"]["selector"])]


def _replica_set(obj: Obj, old: str) -> list[Any]:
    counts = [
        _count(obj, "spec", "replicas"),
        _count(obj, "status", "replicas"),
        _count(obj, "status", "readyReplicas"),
    ]
    return [*counts, old, *_images(obj), selectors.text_of(obj["spec"]["selector"])]


def _daemon_set(obj: Obj, old: str) -> list[Any]:
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    wanted = obj["spec"]["template"]["spec"].get("nodeSelector") or {}
    nodes = ",".join(f"{key}={value}" for key, value in wanted.items()) or NONE
    counts = [_count(obj, "status", name) for name in names]
    return [*counts, nodes, old, *_images(obj), selectors.text_of(obj["spec"]["selector"])]


def _stateful_set(obj: Obj, old: str) -> list[Any]:
    return [f"{_count(obj, 'status', 'readyReplicas')}/{_count(obj, 'spec', 'replicas')}", old, *_images(obj)]


def _job(obj: Obj, old: str) -> list[Any]:
    done = f"{_count(obj, 'status', 'succeeded')}/{_count(obj, 'spec', 'completions')}"
    ended = any(item["type"] == "Complete" for item in obj.get("status", {}).get("conditions", ()))
    return ["Complete" if ended else "Running", done, "0s" if ended else "", old, *_images(obj)]


def _service(obj: Obj, old: str) -> list[Any]:
    spec = obj["spec"]
    ports = ",".join(f"{port['port']}/{port['protocol']}" for port in spec.get("ports") or ()) or NONE
    chosen = ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items()) or NONE
    return [spec["type"], spec.get("clusterIP", NONE), NONE, ports, old, chosen]


def _event(obj: Obj, old: str) -> list[Any]:
    about = obj["involvedObject"]
    return [
        old,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about['kind'].lower()}/{about['name']}",
        obj.get("message", ""),
    ]


def _budget(obj: Obj, old: str) -> list[Any]:
    spec = obj["spec"]
    limits = [str(spec.get("minAvailable", "N/A")), str(spec.get("maxUnavailable", "N/A"))]
    return [*limits, _count(obj, "status", "disruptionsAllowed"), old]


def _csr(obj: Obj, old: str) -> list[Any]:
    kinds = [item["type"] for item in obj.get("status", {}).get("conditions", ())]
    if obj.get("status", {}).get("certificate"):
        kinds.append("Issued")
    return [old, obj["spec"]["signerName"], obj["spec"].get("username", ""), NONE, ",".join(kinds) or "Pending"]


def _binding(obj: Obj, old: str) -> list[Any]:
    return [f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}", old]


def _claim(obj: Obj, old: str) -> list[Any]:
    spec, status = obj["spec"], obj["status"]
    size = status.get("capacity", {}).get("storage", "")
    modes = ",".join(spec.get("accessModes", ()))
    return [status["phase"], spec.get("volumeName", ""), size, modes, spec.get("storageClassName", ""), "<unset>", old]


COLUMNS: dict[str, tuple[str, str, Cells]] = {
    "nodes": (
        "Status,Roles,Age,Version",
        "Internal-IP,External-IP,OS-Image,Kernel-Version,Container-Runtime",
        _node,
    ),
    "pods": ("Ready,Status,Restarts,Age", "IP,Node,Nominated Node,Readiness Gates", _pod),
    "deployments.apps": ("Ready,Up-to-date,Available,Age", "Containers,Images,Selector", _deployment),
    "replicasets.apps": ("Desired,Current,Ready,Age", "Containers,Images,Selector", _replica_set),
    "daemonsets.apps": (
        "Desired,Current,Ready,Up-to-date,Available,Node Selector,Age",
        "Containers,Images,Selector",
        _daemon_set,
    ),
    "statefulsets.apps": ("Ready,Age", "Containers,Images", _stateful_set),
    "jobs.batch": ("Status,Completions,Duration,Age", "Containers,Images", _job),
    "services": ("Type,Cluster-IP,External-IP,Port(s),Age", "Selector", _service),
    "namespaces": ("Status,Age", "", lambda obj, old: [obj.get("status", {}).get("phase", ""), old]),
    "configmaps": ("Data,Age", "", lambda obj, old: [len(obj.get("data") or {}), old]),
    "secrets": ("Type,Data,Age", "", lambda obj, old: [obj.get("type", ""), len(obj.get("data") or {}), old]),
    "events": ("Last Seen,Type,Reason,Object,Message", "", _event),
    "poddisruptionbudgets.policy": ("Min Available,Max Unavailable,Allowed Disruptions,Age", "", _budget),
    "certificatesigningrequests.certificates.k8s.io": (
        "Age,SignerName,Requestor,RequestedDuration,Condition",
        "",
        _csr,
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": ("Role,Age", "", _binding),
    "rolebindings.rbac.authorization.k8s.io": ("Role,Age", "", _binding),
    "persistentvolumeclaims": (
        "Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age",
        "",
        _claim,
    ),
}
