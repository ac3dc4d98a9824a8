"""Nodes: what their kubelets and the node controller would report. Nothing ticks; heartbeats are computed when read."""

from __future__ import annotations

from dataclasses import dataclass

from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp
from infra.simulator.guests.controllers import happenings

HEARTBEAT_S = 10
LEASES, LEASED_IN = "leases.coordination.k8s.io", "kube-node-lease"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
NO_CNI = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


@dataclass(frozen=True)
class Facts:
    """What others' decisions about a node rest on."""

    ready: str  # the status of its condition Ready
    schedulable: bool
    labels: tuple[tuple[str, str], ...]
    taints: tuple[tuple[str, str, str], ...]


def condition(node: Obj, kind: str = "Ready") -> Obj:
    return next((item for item in node.get("status", {}).get("conditions") or () if item["type"] == kind), {})


def is_ready(node: Obj) -> bool:
    return condition(node).get("status") == "True"


def facts(node: Obj | None) -> Facts | None:
    if node is None:
        return None
    taints = tuple((item["key"], item.get("value", ""), item["effect"]) for item in node["spec"].get("taints") or ())
    labels = tuple(sorted((node["metadata"].get("labels") or {}).items()))
    return Facts(condition(node).get("status", ""), not node["spec"].get("unschedulable"), labels, taints)


def refresh(store: Store, node: Obj, *, up: bool, cni: bool) -> None:
    """Write what has changed: readiness, and the taints that follow from it and from a cordon."""
    if not up:
        ready = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    elif cni:
        ready = ("True", "KubeletReady", "kubelet is posting ready status (simulated)")
    else:
        ready = ("False", "KubeletNotReady", NO_CNI)
    was = condition(node)
    conditions = list(node.get("status", {}).get("conditions") or ())
    if (was.get("status"), was.get("reason")) != ready[:2]:
        conditions = [_condition(store, node, kind, up) for kind in PRESSURES]
        conditions.append(_made("Ready", ready, stamp(store.now())))
        happenings.record(store, node, *_happening(ready[0], node))
    wanted = {UNREACHABLE: ready[0] == "Unknown", NOT_READY: ready[0] == "False"}
    taints = [item for item in node["spec"].get("taints") or () if item["key"] not in (*wanted, UNSCHEDULABLE)]
    for key, stands in wanted.items():
        if stands:
            taints += [{"key": key, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    if node["spec"].get("unschedulable"):
        taints.append({"key": UNSCHEDULABLE, "effect": "NoSchedule"})
    spec = {key: value for key, value in node["spec"].items() if key != "taints"}
    if taints:
        spec["taints"] = taints
    status = {**node["status"], "conditions": conditions}
    store.update("nodes", node, {**node, "spec": spec, "status": status})


def _happening(status: str, node: Obj) -> tuple[str, str]:
    reason = "NodeReady" if status == "True" else "NodeNotReady"
    return reason, f"Node {node['metadata']['name']} status is now: {reason}"


def _condition(store: Store, node: Obj, kind: str, up: bool) -> Obj:
    healthy = ("False", *PRESSURES[kind])
    unknown = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    values = healthy if up else unknown
    was = condition(node, kind)
    since = was["lastTransitionTime"] if was.get("status") == values[0] else stamp(store.now())
    return _made(kind, values, since)


def _made(kind: str, values: tuple[str, str, str], since: str) -> Obj:
    status, reason, message = values
    times = {"lastHeartbeatTime": since, "lastTransitionTime": since}
    return {"type": kind, "status": status, **times, "reason": reason, "message": message}


def present(node: Obj, now: float) -> Obj:
    """The node as it reads now: a running kubelet has just told its status."""
    if condition(node).get("status") in ("", "Unknown", None):
        return node
    beat = stamp(now - now % HEARTBEAT_S)
    beaten = [
        {**item, "lastHeartbeatTime": max(beat, item["lastTransitionTime"])} for item in node["status"]["conditions"]
    ]
    return {**node, "status": {**node["status"], "conditions": beaten}}


def present_lease(lease: Obj, node: Obj | None, now: float) -> Obj:
    """A node's lease as it reads now: renewed by a kubelet that runs, grown old with one that does not."""
    if node is None or condition(node).get("status") in ("", None):
        return lease
    silent = condition(node)["status"] == "Unknown"
    renewed = condition(node)["lastTransitionTime"] if silent else stamp(now - now % HEARTBEAT_S)
    return {**lease, "spec": {**lease["spec"], "renewTime": renewed.replace("Z", ".000000Z")}}
