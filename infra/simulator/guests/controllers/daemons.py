"""Daemon sets: one pod on every node that takes it, cordoned or not."""

from __future__ import annotations

from infra.simulator.guests.api import admission
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store
from infra.simulator.guests.controllers import budgets, nodes, pods, replicas

TOLERATED = [
    {"key": key, "operator": "Exists", "effect": effect}
    for key, effect in (
        (nodes.NOT_READY, "NoExecute"),
        (nodes.UNREACHABLE, "NoExecute"),
        (nodes.NOT_READY, "NoSchedule"),
        (nodes.UNREACHABLE, "NoSchedule"),
        (nodes.UNSCHEDULABLE, "NoSchedule"),
    )
]
HASH_LABEL = "controller-revision-hash"


def daemon_set(store: Store, obj: Obj) -> None:
    template = obj["spec"]["template"]
    spec = {**template["spec"], "tolerations": [*(template["spec"].get("tolerations") or ()), *TOLERATED]}
    digest = replicas.hash_of(template)
    fit = {node["metadata"]["name"] for node in store.list("nodes") if pods.takes(node, spec)}
    have: dict[str, Obj] = {}
    for pod in replicas.own_pods(store, obj):
        node = pod["spec"].get("nodeName", "")
        if node in have or node not in fit or pod["metadata"]["labels"].get(HASH_LABEL) != digest:
            store.remove("pods", pod)
        else:
            have[node] = pod
    for node in sorted(fit - set(have)):
        name = f"{obj['metadata']['name']}-{admission.suffix()}"
        replicas.make_pod(store, obj, name, {HASH_LABEL: digest}, nodeName=node, tolerations=spec["tolerations"])
    own = replicas.own_pods(store, obj)
    ready = sum(map(budgets.is_ready, own))
    status = {
        "desiredNumberScheduled": len(fit), "currentNumberScheduled": len(own), "numberMisscheduled": 0,
        "updatedNumberScheduled": len(own), "numberReady": ready, "numberAvailable": ready,
        "numberUnavailable": len(fit) - ready, "observedGeneration": obj["metadata"].get("generation", 1),
    }  # fmt: skip
    store.update("daemonsets.apps", obj, {**obj, "status": status})
