"""Namespaces and custom resource definitions: what they bring along, and what goes with them."""

from __future__ import annotations

from infra.simulator.guests.api import resources, verbs
from infra.simulator.guests.api.message import Host
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store, stamp
from infra.simulator.guests.api.verbs import Target

CA = "/etc/kubernetes/pki/ca.crt"


def namespace(store: Store, obj: Obj, host: Host) -> None:
    """A new namespace gets its default account and the cluster's CA; a dying one is emptied and then goes."""
    name = obj["metadata"]["name"]
    if "deletionTimestamp" in obj["metadata"]:
        for resource, inside in list(store.in_namespace(name)):
            if store.get(resource, name, inside["metadata"]["name"]) is not None:
                verbs.remove(store, resource, inside)
        if not any(True for _ in store.in_namespace(name)):
            store.remove("namespaces", obj)
        return
    if store.get("serviceaccounts", name, "default") is None:
        verbs.create_object(store, Target(resources.of("serviceaccounts"), name), {"metadata": {"name": "default"}})
    if store.get("configmaps", name, "kube-root-ca.crt") is None:
        data = {"ca.crt": (host.read(CA) or b"").decode()}
        made = {"metadata": {"name": "kube-root-ca.crt"}, "data": data}
        verbs.create_object(store, Target(resources.of("configmaps"), name), made)


def definition(store: Store, obj: Obj) -> None:
    """A custom resource definition is established at once."""
    now = stamp(store.now())
    if (obj.get("status") or {}).get("conditions"):
        return
    conditions = [
        {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now}
        for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
    ]
    names = obj["spec"]["names"]
    names = {"singular": names["kind"].lower(), "listKind": names["kind"] + "List", **names}
    stored = [version["name"] for version in obj["spec"]["versions"] if version.get("storage")]
    status = {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}
    store.update("customresourcedefinitions.apiextensions.k8s.io", obj, {**obj, "status": status})
