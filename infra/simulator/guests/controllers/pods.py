"""Pods: bound to a node that takes them, and running as soon as that node is ready."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from infra.simulator.guests.api import selectors
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp
from infra.simulator.guests.controllers import happenings, nodes

SIMULATED = "facet.dev/simulated"
PodsOn = Mapping[str, set[tuple[str, str]]]
OPERATORS = {"In", "NotIn", "Exists", "DoesNotExist"}


def tolerates(spec: Obj, taint: Obj) -> bool:
    for item in spec.get("tolerations") or ():
        if item.get("effect") not in (None, "", taint["effect"]) or item.get("key") not in (None, "", taint["key"]):
            continue
        if item.get("operator", "Equal") == "Exists" or item.get("value", "") == taint.get("value", ""):
            return True
    return False


def takes(node: Obj, spec: Obj) -> bool:
    """Do the node's taints, and the pod's node selector and required node affinity, allow it there?"""
    if any(
        taint["effect"] in ("NoSchedule", "NoExecute") and not tolerates(spec, taint)
        for taint in node["spec"].get("taints") or ()
    ):
        return False
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return affinity is None or any(_term(term, node) for term in affinity.get("nodeSelectorTerms") or ())


def _term(term: Obj, node: Obj) -> bool:
    fields = {"metadata.name": node["metadata"]["name"]}
    known = [item for item in term.get("matchExpressions") or () if item["operator"] in OPERATORS]
    return selectors.matches({"matchExpressions": known}, node["metadata"].get("labels")) and selectors.matches(
        {"matchExpressions": term.get("matchFields") or ()}, fields
    )


def place(store: Store, pod: Obj, pods_on: PodsOn) -> None:
    """Bind a pod that has no node, and bring its status up to date."""
    if not pod["spec"].get("nodeName"):
        chosen = _choose(store, pod, pods_on)
        if chosen is None:
            _cannot_place(store, pod)
            return
        name = chosen["metadata"]["name"]
        pod = store.update("pods", pod, {**pod, "spec": {**pod["spec"], "nodeName": name}})
        where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        happenings.record(store, pod, "Scheduled", f"Successfully assigned {where} to {name}")
    node = store.get("nodes", "", pod["spec"]["nodeName"])
    if node is not None:
        _run(store, pod, node)


def _choose(store: Store, pod: Obj, pods_on: PodsOn) -> Obj | None:
    """The node with the fewest pods of those that take this one; apart from its like where it asks for that."""
    shunned = _shunned(store, pod)
    fit = [
        node
        for node in store.list("nodes")
        if not node["spec"].get("unschedulable")
        and nodes.condition(node).get("status") == "True"
        and node["metadata"]["name"] not in shunned
        and takes(node, pod["spec"])
    ]
    return min(fit, key=lambda node: len(pods_on.get(node["metadata"]["name"], ())), default=None)


def _shunned(store: Store, pod: Obj) -> set[str]:
    """The nodes that a required pod anti-affinity by host name rules out."""
    apart = ((pod["spec"].get("affinity") or {}).get("podAntiAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    found = set()
    for term in apart or ():
        if term.get("topologyKey") == "kubernetes.io/hostname":
            for other in store.list("pods", pod["metadata"]["namespace"]):
                if selectors.matches(term.get("labelSelector"), other["metadata"].get("labels")):
                    found.add(other["spec"].get("nodeName", ""))
    return found


def _cannot_place(store: Store, pod: Obj) -> None:
    total = len(store.list("nodes"))
    words = f"0/{total} nodes are available: none is ready, schedulable and tolerated by this pod."
    was = next((item for item in pod["status"].get("conditions") or () if item["type"] == "PodScheduled"), {})
    if was.get("message") == words:
        return
    waiting = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": words,
        "lastTransitionTime": stamp(store.now()),
    }  # fmt: skip
    store.update("pods", pod, {**pod, "status": {**pod["status"], "phase": "Pending", "conditions": [waiting]}})
    happenings.record(store, pod, "FailedScheduling", words, "Warning")


def _run(store: Store, pod: Obj, node: Obj) -> None:
    status = pod["status"]
    if status.get("phase") in ("Succeeded", "Failed"):
        return
    host_network = bool(pod["spec"].get("hostNetwork"))
    up, ready = nodes.condition(node).get("status") != "Unknown", nodes.is_ready(node)
    runs = up and (ready or host_network)
    phase = "Running" if runs or status.get("phase") == "Running" else "Pending"
    if runs and any(ref["kind"] == "Job" for ref in pod["metadata"].get("ownerReferences") or ()):
        phase = "Succeeded"
    was = next((item for item in status.get("conditions") or () if item["type"] == "Ready"), {})
    if status.get("phase") == phase and was.get("status") == str(runs and phase == "Running"):
        return
    annotations = {**(pod["metadata"].get("annotations") or {}), SIMULATED: "true"}
    fresh = _status(store, pod, node, phase, runs)
    metadata = {**pod["metadata"], "annotations": annotations}
    store.update("pods", pod, {**pod, "metadata": metadata, "status": fresh})


def _status(store: Store, pod: Obj, node: Obj, phase: str, runs: bool) -> Obj:
    now, done = stamp(store.now()), phase == "Succeeded"
    started = pod["status"].get("startTime", now)
    state: Obj = {"waiting": {"reason": "ContainerCreating"}}
    if done:
        state = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now}}
    elif phase == "Running":
        state = {"running": {"startedAt": started}}
    ready = runs and not done
    containers = [
        {
            "name": item["name"], "image": item["image"], "imageID": f"simulated://{item['image']}",
            "containerID": f"simulated://{pod['metadata']['uid']}/{item['name']}", "restartCount": 0,
            "ready": ready, "started": ready, "state": state, "lastState": {},
        }
        for item in pod["spec"]["containers"]
    ]  # fmt: skip
    truth = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    host = next((a["address"] for a in node["status"].get("addresses", ()) if a["type"] == "InternalIP"), "")
    address = host if pod["spec"].get("hostNetwork") else _address(pod, node)
    return {
        "phase": phase, "qosClass": "BestEffort", "startTime": started, "hostIP": host, "containerStatuses": containers,
        "hostIPs": [{"ip": host}], "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [
            {"type": kind, "status": str(value), "lastProbeTime": None, "lastTransitionTime": now}
            for kind, value in truth.items()
        ],
    }  # fmt: skip


def _address(pod: Obj, node: Obj) -> str:
    """An address of the node's pod network; a value only, nothing listens there."""
    base = node["spec"].get("podCIDR", "10.244.0.0/24").rsplit(".", 1)[0]
    return f"{base}.{2 + hashlib.sha256(pod['metadata']['uid'].encode()).digest()[0] % 250}"
