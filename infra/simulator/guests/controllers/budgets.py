"""Pod disruption budgets: what an eviction may not break."""

from __future__ import annotations

import math
from typing import Any

from infra.simulator.guests.api import selectors
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store

BUDGETS = "poddisruptionbudgets.policy"


def check(store: Store, pod: Obj) -> None:
    """Raises ApiError 429 where evicting `pod` would break a budget, 500 where two budgets cover it."""
    metadata = pod["metadata"]
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return
    found = [
        budget
        for budget in store.list(BUDGETS, metadata["namespace"])
        if selectors.matches(budget["spec"].get("selector"), metadata.get("labels"))
    ]
    if len(found) > 1:
        raise ApiError(
            500, "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    if found and is_ready(pod) and status(store, found[0])["disruptionsAllowed"] < 1:
        name = found[0]["metadata"]["name"]
        cause = {"reason": "DisruptionBudget", "message": f"The disruption budget {name} does not allow it now"}
        words = "Cannot evict pod as it would violate the pod's disruption budget."
        raise ApiError(429, words, details={"causes": [cause], "retryAfterSeconds": 5})


def is_ready(pod: Obj) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def status(store: Store, budget: Obj) -> Obj:
    """A budget's status: how many of its pods are ready, must be, and may go."""
    spec, namespace = budget["spec"], budget["metadata"]["namespace"]
    pods = [
        pod
        for pod in store.list("pods", namespace)
        if selectors.matches(spec.get("selector"), pod["metadata"].get("labels"))
    ]
    healthy, expected = sum(map(is_ready, pods)), _expected(store, pods)
    if spec.get("maxUnavailable") is not None:
        desired = expected - _share(spec["maxUnavailable"], expected)
    else:
        desired = _share(spec.get("minAvailable", 1), expected)
    return {
        "currentHealthy": healthy,
        "desiredHealthy": max(0, desired),
        "expectedPods": expected,
        "disruptionsAllowed": max(0, healthy - max(0, desired)),
        "observedGeneration": budget["metadata"].get("generation", 1),
    }


def _expected(store: Store, pods: list[Obj]) -> int:
    """How many pods their owners want; a pod without an owner counts for itself."""
    owners: dict[str, int] = {}
    for pod in pods:
        owner = next((ref for ref in pod["metadata"].get("ownerReferences") or () if ref.get("controller")), None)
        key = {"ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps"}.get((owner or {}).get("kind", ""))
        found = store.get(key, pod["metadata"]["namespace"], owner["name"]) if key and owner else None
        owners[owner["uid"] if owner else pod["metadata"]["uid"]] = found["spec"].get("replicas", 1) if found else 1
    return sum(owners.values())


def _share(value: Any, whole: int) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return math.ceil(whole * int(value[:-1]) / 100)
    return int(value)
