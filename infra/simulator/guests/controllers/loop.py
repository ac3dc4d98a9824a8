"""What a write sets going: each changed object is put on a list, and settling works the list off until it is empty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from infra.simulator.guests.api import verbs
from infra.simulator.guests.api.message import Host
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store
from infra.simulator.guests.controllers import budgets, daemons, garbage, nodes, pods, replicas, signing, volumes

Key = tuple[str, str, str]  # resource key, namespace, name
OWNERS = {
    "ReplicaSet": "replicasets.apps", "DaemonSet": "daemonsets.apps", "StatefulSet": "statefulsets.apps",
    "Job": "jobs.batch", "Deployment": "deployments.apps",
}  # fmt: skip
CNI_LABEL = ("facet.dev/addon", "cni")


class Controllers:
    """All controllers of one cluster. `node_up` says whether a Node's machine is running now."""

    def __init__(self, store: Store, node_up: Callable[[Obj], bool]) -> None:
        self.store = store
        self._node_up = node_up
        self._due: dict[Key, None] = {}
        self._dependents_of: list[Obj] = []  # what has been removed, and whose dependents must follow
        self._pods_on: dict[str, set[tuple[str, str]]] | None = None
        store.changed = self._heed
        self._reconcile: dict[str, Callable[[Obj, Host], None]] = {
            "namespaces": lambda obj, host: garbage.namespace(store, obj, host),
            "nodes": lambda obj, host: nodes.refresh(store, obj, up=node_up(obj), cni=self.has_cni()),
            "pods": lambda obj, host: pods.place(store, obj, self.pods_on()),
            "deployments.apps": lambda obj, host: replicas.deployment(store, obj),
            "replicasets.apps": lambda obj, host: replicas.replica_set(store, obj),
            "statefulsets.apps": lambda obj, host: replicas.stateful_set(store, obj),
            "jobs.batch": lambda obj, host: replicas.job(store, obj),
            "daemonsets.apps": lambda obj, host: daemons.daemon_set(store, obj),
            "poddisruptionbudgets.policy": lambda obj, host: self._budget(obj),
            "persistentvolumeclaims": lambda obj, host: volumes.bind(store, obj),
            "certificatesigningrequests.certificates.k8s.io": lambda obj, host: signing.sign(store, obj, host),
            "customresourcedefinitions.apiextensions.k8s.io": lambda obj, host: garbage.definition(store, obj),
        }

    def has_cni(self) -> bool:
        """Does a DaemonSet labelled as the CNI add-on stand in kube-system?"""
        found = self.store.list("daemonsets.apps", "kube-system")
        return any((obj["metadata"].get("labels") or {}).get(CNI_LABEL[0]) == CNI_LABEL[1] for obj in found)

    def pods_on(self) -> dict[str, set[tuple[str, str]]]:
        """The pods of each node, as (namespace, name)."""
        if self._pods_on is None:
            self._pods_on = defaultdict(set)
            for pod in self.store.list("pods"):
                self._count(pod, set.add)
        return self._pods_on

    def _count(self, pod: Obj, act: Callable[[set[tuple[str, str]], tuple[str, str]], None]) -> None:
        if self._pods_on is not None and pod["spec"].get("nodeName"):
            act(self._pods_on[pod["spec"]["nodeName"]], (pod["metadata"]["namespace"], pod["metadata"]["name"]))

    def refresh_nodes(self) -> None:
        """A machine has come or gone, or the CNI: look at every node again."""
        for node in self.store.list("nodes"):
            self._add("nodes", node)

    def _heed(self, resource: str, old: Obj | None, new: Obj | None) -> None:
        obj = new or old
        if obj is None:
            return
        if resource in self._reconcile and new is not None:
            self._add(resource, new)
        if new is None:
            self._dependents_of.append(obj)
        if resource == "pods":
            self._heed_pod(obj, old, new)
        elif resource == "nodes":
            self._heed_node(old, new)
        elif resource == "daemonsets.apps" and (old is None or new is None):
            self.refresh_nodes()
        elif resource in ("replicasets.apps",):
            self._add_owner(obj)
        elif resource in ("storageclasses.storage.k8s.io",):
            for claim in self.store.list("persistentvolumeclaims"):
                self._add("persistentvolumeclaims", claim)

    def _heed_pod(self, pod: Obj, old: Obj | None, new: Obj | None) -> None:
        if old is not None:
            self._count(old, set.discard)
        if new is not None:
            self._count(new, set.add)
        self._add_owner(pod)
        for budget in self.store.list("poddisruptionbudgets.policy", pod["metadata"]["namespace"]):
            self._add("poddisruptionbudgets.policy", budget)

    def _heed_node(self, old: Obj | None, new: Obj | None) -> None:
        """Pods follow a node's readiness; daemons follow its coming, its labels and taints; the waiting try again."""
        before, after = nodes.facts(old), nodes.facts(new)
        if before == after:
            return
        name = (new or old or {})["metadata"]["name"]
        for namespace, pod_name in sorted(self.pods_on().get(name, ())):
            self._due["pods", namespace, pod_name] = None
        for daemon in self.store.list("daemonsets.apps"):
            self._add("daemonsets.apps", daemon)
        if after is not None and after.schedulable:
            for pod in self.store.list("pods"):
                if not pod["spec"].get("nodeName"):
                    self._add("pods", pod)

    def _add(self, resource: str, obj: Obj) -> None:
        self._due[resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]] = None

    def _add_owner(self, obj: Obj) -> None:
        for ref in obj["metadata"].get("ownerReferences") or ():
            if ref["kind"] in OWNERS:
                self._due[OWNERS[ref["kind"]], obj["metadata"]["namespace"], ref["name"]] = None

    def _budget(self, obj: Obj) -> None:
        self.store.update("poddisruptionbudgets.policy", obj, {**obj, "status": budgets.status(self.store, obj)})

    def settle(self, host: Host) -> None:
        while self._due or self._dependents_of:
            if self._dependents_of:
                self._collect(self._dependents_of.pop())
                continue
            key = next(iter(self._due))
            del self._due[key]
            obj = self.store.get(*key)
            if obj is not None and not ("deletionTimestamp" in obj["metadata"] and key[0] != "namespaces"):
                self._reconcile[key[0]](obj, host)

    def _collect(self, gone: Obj) -> None:
        """Remove what only the removed one owned; a removed node takes its pods along."""
        uid = gone["metadata"]["uid"]
        for resource, obj in list(self.store.owned(uid)):
            owners = [ref for ref in obj["metadata"]["ownerReferences"] if ref["uid"] != uid]
            if owners:
                self.store.update(resource, obj, {**obj, "metadata": {**obj["metadata"], "ownerReferences": owners}})
            else:
                verbs.remove(self.store, resource, obj)
        if gone.get("kind") == "Node":
            for namespace, name in sorted(self.pods_on().get(gone["metadata"]["name"], ())):
                pod = self.store.get("pods", namespace, name)
                if pod is not None:
                    self.store.remove("pods", pod)
