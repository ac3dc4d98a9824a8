"""Claims of volumes: bound at once where their storage class stands. The volume is a value; no disk is behind it."""

from __future__ import annotations

from infra.simulator.guests.api import resources, verbs
from infra.simulator.guests.api.resources import Obj
from infra.simulator.guests.api.store import Store
from infra.simulator.guests.api.verbs import Target

CLASSES = "storageclasses.storage.k8s.io"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def bind(store: Store, claim: Obj) -> None:
    if claim["status"].get("phase") == "Bound":
        return
    storage = _class(store, claim["spec"].get("storageClassName"))
    if storage is None:
        return
    name, size = f"pvc-{claim['metadata']['uid']}", (claim["spec"].get("resources") or {}).get("requests") or {}
    metadata = claim["metadata"]
    volume = {
        "metadata": {"name": name, "annotations": {"facet.dev/simulated": "true"}, "ownerReferences": [_owner(claim)]},
        "spec": {
            "capacity": size, "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
            "storageClassName": storage, "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": {
                "kind": "PersistentVolumeClaim", "name": metadata["name"], "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "csi": {"driver": "simulated.facet.dev", "volumeHandle": metadata["uid"]},
        },
        "status": {"phase": "Bound"},
    }  # fmt: skip
    verbs.create_object(store, Target(resources.of("persistentvolumes")), volume)
    spec = {**claim["spec"], "volumeName": name, "storageClassName": storage}
    status = {"phase": "Bound", "capacity": size, "accessModes": volume["spec"]["accessModes"]}  # type: ignore[index]  # a literal
    store.update("persistentvolumeclaims", claim, {**claim, "spec": spec, "status": status})


def _owner(claim: Obj) -> Obj:
    metadata = claim["metadata"]
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": metadata["name"], "uid": metadata["uid"]}


def _class(store: Store, name: str | None) -> str | None:
    if name:
        return name if store.get(CLASSES, "", name) else None
    for storage in store.list(CLASSES):
        if (storage["metadata"].get("annotations") or {}).get(DEFAULT) == "true":
            return str(storage["metadata"]["name"])
    return None
