"""Deployments, replica sets, stateful sets and jobs: as many pods as are wanted, and a status that says so."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from infra.simulator.guests.api import admission, resources, verbs
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp
from infra.simulator.guests.api.verbs import Target
from infra.simulator.guests.controllers import budgets, happenings

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
MOST_PODS = 2000  # of one workload: a simulated cluster need not carry more


def owner_of(obj: Obj) -> Obj:
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"], "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def hash_of(template: Obj) -> str:
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def make_pod(store: Store, owner: Obj, name: str, labels: dict[str, str], **spec: Any) -> None:
    """A pod from the owner's template. One that cannot be made is told as an event."""
    template, namespace = owner["spec"]["template"], owner["metadata"]["namespace"]
    metadata = {
        "name": name,
        "labels": {**(template["metadata"].get("labels") or {}), **labels},
        "annotations": template["metadata"].get("annotations") or {},
        "ownerReferences": [owner_of(owner)],
    }
    pod = {"metadata": metadata, "spec": {**template["spec"], **spec}}
    try:
        verbs.create_object(store, Target(resources.of("pods"), namespace), pod)
    except ApiError as error:
        happenings.record(store, owner, "FailedCreate", f"Error creating: {error.message}", "Warning")


def own_pods(store: Store, owner: Obj) -> list[Obj]:
    return [pod for _, pod in store.owned(owner["metadata"]["uid"], "pods")]


def deployment(store: Store, obj: Obj) -> None:
    """The replica set of the present template grows as the older ones shrink, within the strategy's bounds."""
    wanted = obj["spec"]["replicas"]
    sets = [found for _, found in store.owned(obj["metadata"]["uid"], "replicasets.apps")]
    digest = hash_of(obj["spec"]["template"])
    new = next((one for one in sets if one["metadata"]["labels"].get(HASH_LABEL) == digest), None)
    old = [one for one in sets if one is not new]
    recreate = obj["spec"]["strategy"]["type"] == "Recreate"
    if new is None:
        if not obj["spec"].get("paused"):
            _new_set(store, obj, digest, sets, 0 if recreate and any(_living(one) for one in old) else wanted)
        return
    revision = str(max(int(_revision(one)) for one in sets))
    if _revision(new) != revision and not obj["spec"].get("paused"):
        new = _annotated(store, new, str(int(revision) + 1))
    _scale(store, new, 0 if recreate and any(_living(one) for one in old) else wanted)
    available = _status_count(new, "availableReplicas")
    spare = max(0, wanted - _unavailable(obj, wanted) - available)
    for one in sorted(old, key=_revision, reverse=True):
        keep = 0 if recreate or available >= wanted else min(one["spec"]["replicas"], spare)
        spare -= keep
        _scale(store, one, keep)
    spent = [one for one in sorted(old, key=lambda one: int(_revision(one))) if not _living(one)]
    for one in spent[: max(0, len(spent) - obj["spec"]["revisionHistoryLimit"])]:
        verbs.remove(store, "replicasets.apps", one)
    _deployment_status(store, obj["metadata"]["namespace"], obj["metadata"]["name"], digest)


def _revision(replica_set_: Obj) -> str:
    annotations: dict[str, str] = replica_set_["metadata"].get("annotations") or {}
    return annotations.get(REVISION, "0")


def _living(replica_set_: Obj) -> bool:
    return bool(replica_set_["spec"]["replicas"] or _status_count(replica_set_, "replicas"))


def _status_count(obj: Obj, name: str) -> int:
    return int((obj.get("status") or {}).get(name) or 0)


def _unavailable(obj: Obj, wanted: int) -> int:
    value = (obj["spec"]["strategy"].get("rollingUpdate") or {}).get("maxUnavailable", "25%")
    return math.floor(wanted * int(value[:-1]) / 100) if isinstance(value, str) else int(value)


def _new_set(store: Store, obj: Obj, digest: str, sets: list[Obj], replicas: int) -> None:
    template, metadata = obj["spec"]["template"], obj["metadata"]
    labels = {**(template["metadata"].get("labels") or {}), HASH_LABEL: digest}
    selector = obj["spec"]["selector"]
    revision = str(max((int(_revision(one)) for one in sets), default=0) + 1)
    made = {
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "labels": labels,
            "annotations": {**_copied(metadata), REVISION: revision},
            "ownerReferences": [owner_of(obj)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH_LABEL: digest}},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }
    verbs.create_object(store, Target(resources.of("replicasets.apps"), metadata["namespace"]), made)
    _annotate_deployment(store, obj, revision)
    happenings.record(
        store, obj, "ScalingReplicaSet", f"Scaled up replica set {made['metadata']['name']} to {replicas}"
    )


def _copied(metadata: Obj) -> dict[str, str]:
    """What a replica set takes over of its deployment's annotations: the cause of a change, for `rollout history`."""
    annotations = metadata.get("annotations") or {}
    return {key: value for key, value in annotations.items() if key == "kubernetes.io/change-cause"}


def _annotated(store: Store, replica_set_: Obj, revision: str) -> Obj:
    annotations = {**(replica_set_["metadata"].get("annotations") or {}), REVISION: revision}
    changed = {**replica_set_, "metadata": {**replica_set_["metadata"], "annotations": annotations}}
    return store.update("replicasets.apps", replica_set_, changed)


def _annotate_deployment(store: Store, obj: Obj, revision: str) -> None:
    annotations = {**(obj["metadata"].get("annotations") or {}), REVISION: revision}
    store.update("deployments.apps", obj, {**obj, "metadata": {**obj["metadata"], "annotations": annotations}})


def _scale(store: Store, replica_set_: Obj, replicas: int) -> None:
    if replica_set_["spec"]["replicas"] != replicas:
        metadata = {**replica_set_["metadata"], "generation": replica_set_["metadata"].get("generation", 1) + 1}
        changed = {**replica_set_, "metadata": metadata, "spec": {**replica_set_["spec"], "replicas": replicas}}
        store.update("replicasets.apps", replica_set_, changed)


def _deployment_status(store: Store, namespace: str, name: str, digest: str) -> None:
    obj = store.get("deployments.apps", namespace, name)
    if obj is None:
        return
    sets = [found for _, found in store.owned(obj["metadata"]["uid"], "replicasets.apps")]
    new = next((one for one in sets if one["metadata"]["labels"].get(HASH_LABEL) == digest), None)
    if new is None:
        return
    total, ready = (sum(_status_count(one, field) for one in sets) for field in ("replicas", "readyReplicas"))
    wanted, updated = obj["spec"]["replicas"], _status_count(new, "replicas")
    status: Obj = {"observedGeneration": obj["metadata"].get("generation", 1)}
    counts = {
        "replicas": total, "updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": max(0, wanted - ready),
    }  # fmt: skip
    status.update({key: value for key, value in counts.items() if value})
    done = updated == wanted == ready == total
    available = ready >= wanted - _unavailable(obj, wanted)
    status["conditions"] = [
        _condition(
            store, obj, "Available", available, "MinimumReplicas" + ("Available" if available else "Unavailable")
        ),
        _condition(store, obj, "Progressing", True, "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"),
    ]
    obj = store.update("deployments.apps", obj, {**obj, "status": status})
    if (obj["metadata"].get("annotations") or {}).get(REVISION) != _revision(new):
        _annotate_deployment(store, obj, _revision(new))


def _condition(store: Store, obj: Obj, kind: str, value: bool, reason: str) -> Obj:
    for was in (obj.get("status") or {}).get("conditions") or ():
        if (was["type"], was["status"], was["reason"]) == (kind, str(value), reason):
            return dict(was)
    now = stamp(store.now())
    times = {"lastUpdateTime": now, "lastTransitionTime": now}
    return {"type": kind, "status": str(value), **times, "reason": reason, "message": reason}


def replica_set(store: Store, obj: Obj) -> None:
    pods, wanted = own_pods(store, obj), min(obj["spec"]["replicas"], MOST_PODS)
    name = obj["metadata"]["name"]
    for _ in range(wanted - len(pods)):
        make_pod(store, obj, f"{name}-{admission.suffix()}", {})
    for pod in sorted(pods, key=budgets.is_ready)[: max(0, len(pods) - wanted)]:
        store.remove("pods", pod)
    pods = own_pods(store, obj)
    ready = sum(map(budgets.is_ready, pods))
    status = {
        "replicas": len(pods),
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": ready,
        "availableReplicas": ready,
    }
    status["observedGeneration"] = obj["metadata"].get("generation", 1)
    store.update("replicasets.apps", obj, {**obj, "status": status})


def stateful_set(store: Store, obj: Obj) -> None:
    """Pods `name-0` to `name-(n-1)` of the present template, with their claims."""
    name, namespace = obj["metadata"]["name"], obj["metadata"]["namespace"]
    wanted, digest = min(obj["spec"]["replicas"], MOST_PODS), hash_of(obj["spec"]["template"])
    names = [f"{name}-{at}" for at in range(wanted)]
    label = "controller-revision-hash"
    for pod in own_pods(store, obj):
        if pod["metadata"]["name"] not in names or pod["metadata"]["labels"].get(label) != digest:
            store.remove("pods", pod)
    for pod_name in names:
        if store.get("pods", namespace, pod_name) is None:
            volumes = _claims(store, obj, pod_name)
            labels = {label: digest, "statefulset.kubernetes.io/pod-name": pod_name}
            extra = {"volumes": [*(obj["spec"]["template"]["spec"].get("volumes") or ()), *volumes]} if volumes else {}
            make_pod(store, obj, pod_name, labels, hostname=pod_name, **extra)
    pods = own_pods(store, obj)
    ready = sum(map(budgets.is_ready, pods))
    counts = dict.fromkeys(("replicas", "currentReplicas", "updatedReplicas"), len(pods))
    counts.update(dict.fromkeys(("readyReplicas", "availableReplicas"), ready))
    revision = {"currentRevision": f"{name}-{digest}", "updateRevision": f"{name}-{digest}", "collisionCount": 0}
    generation = {"observedGeneration": obj["metadata"].get("generation", 1)}
    store.update("statefulsets.apps", obj, {**obj, "status": {**counts, **revision, **generation}})


def _claims(store: Store, obj: Obj, pod_name: str) -> list[Obj]:
    volumes = []
    for template in obj["spec"].get("volumeClaimTemplates") or ():
        name, namespace = template["metadata"]["name"], obj["metadata"]["namespace"]
        claim = f"{name}-{pod_name}"
        if store.get("persistentvolumeclaims", namespace, claim) is None:
            made = {"metadata": {"name": claim}, "spec": template["spec"]}
            verbs.create_object(store, Target(resources.of("persistentvolumeclaims"), namespace), made)
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim}})
    return volumes


def job(store: Store, obj: Obj) -> None:
    """As many pods as completions; a simulated one has done its work when it runs."""
    name, uid, status = obj["metadata"]["name"], obj["metadata"]["uid"], dict(obj.get("status") or {})
    labels = {"batch.kubernetes.io/job-name": name, "job-name": name, "batch.kubernetes.io/controller-uid": uid}
    pods, wanted = own_pods(store, obj), min(obj["spec"]["completions"] or 1, MOST_PODS)
    if not obj["spec"].get("suspend"):
        for _ in range(wanted - len(pods)):
            make_pod(store, obj, f"{name}-{admission.suffix()}", labels)
    pods = own_pods(store, obj)
    done = sum(1 for pod in pods if pod["status"].get("phase") == "Succeeded")
    now = stamp(store.now())
    status.setdefault("startTime", now)
    status.update({"active": len(pods) - done, "succeeded": done, "ready": 0})
    if done >= wanted and "completionTime" not in status:
        status["completionTime"] = now
        status["conditions"] = [{"type": "Complete", "status": "True", "lastTransitionTime": now, "lastProbeTime": now}]
    store.update("jobs.batch", obj, {**obj, "status": status})
