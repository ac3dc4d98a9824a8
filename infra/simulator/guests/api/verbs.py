"""Create, update, patch and delete: one object at a time, with the preconditions that clients send."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from infra.simulator.guests.api import admission, errors, patch
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.message import Request
from infra.simulator.guests.api.resources import Obj, Resource
from infra.simulator.guests.api.store import Store, stamp

MERGES = {
    "application/json-patch+json": patch.json_patch,
    "application/merge-patch+json": patch.merge,
    "application/strategic-merge-patch+json": patch.strategic,
    "application/apply-patch+yaml": patch.strategic,
}
KEPT = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "generateName", "resourceVersion")
ORPHAN = "facet.dev/orphan"  # a mark on what is being removed: its dependents stay


@dataclass(frozen=True)
class Target:
    """What a path names."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def find(store: Store, target: Target) -> Obj:
    obj = store.get(target.resource.key, target.namespace, target.name)
    if obj is None:
        raise errors.not_found(target.resource, target.name)
    return obj


def create(store: Store, target: Target, request: Request) -> Obj:
    """A new object from the request's body. Raises ApiError 400, 404, 409, 422."""
    return create_object(store, target, request.object(), dry=request.dry)


def create_object(store: Store, target: Target, obj: Obj, *, dry: bool = False) -> Obj:
    resource = target.resource
    if obj.get("kind", resource.kind) != resource.kind:
        raise ApiError(400, f"the object's kind {obj['kind']} is not {resource.kind}")
    namespace = obj["metadata"].get("namespace") or target.namespace
    if resource.namespaced and namespace != target.namespace:
        raise ApiError(400, "the namespace of the provided object does not match the namespace sent on the request")
    metadata = {key: value for key, value in obj["metadata"].items() if key not in ("uid", "resourceVersion")}
    obj = admission.admit(store, resource, {**obj, "metadata": {**metadata, "namespace": target.namespace}})
    if resource.key == "secrets":
        obj = _encoded(obj)
    if store.get(resource.key, target.namespace, obj["metadata"]["name"]) is not None:
        raise errors.already_exists(resource, obj["metadata"]["name"])
    if dry:
        return {**obj, "metadata": {"uid": "", "creationTimestamp": stamp(store.now()), **obj["metadata"]}}
    return store.create(resource.key, obj)


def _encoded(secret: Obj) -> Obj:
    """stringData becomes data."""
    plain = secret.get("stringData") or {}
    data = {**(secret.get("data") or {}), **{k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}}
    return {**{key: value for key, value in secret.items() if key != "stringData"}, "data": data}


def replace(store: Store, target: Target, request: Request) -> Obj:
    return change(store, target, find(store, target), request.object(), dry=request.dry)


def patched(store: Store, target: Target, request: Request) -> tuple[Obj, bool]:
    """The object after the patch, and whether it was created (server-side apply of what was not there)."""
    kind = request.content_type()
    function: Any = MERGES.get(kind)
    if function is None or (target.resource.custom and "strategic" in kind):
        raise ApiError(415, f"the patch type {kind} is not supported here")
    old = store.get(target.resource.key, target.namespace, target.name)
    if old is None:
        if "apply-patch" not in kind:
            raise errors.not_found(target.resource, target.name)
        obj = request.object()
        named = {**obj, "metadata": {**obj["metadata"], "name": target.name}}
        return create_object(store, target, named, dry=request.dry), True
    difference = request.parsed()
    new = function(old, difference)
    if not (isinstance(difference, dict) and (difference.get("metadata") or {}).get("resourceVersion")):
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": ""}}
    return change(store, target, old, new, dry=request.dry), False


def change(store: Store, target: Target, old: Obj, new: Obj, *, dry: bool = False) -> Obj:
    """Put `new` in the place of `old`. Raises ApiError 409 where it was made from another version."""
    resource, metadata = target.resource, dict(new["metadata"])
    if metadata.get("name", target.name) != target.name:
        raise ApiError(400, "the name of the object does not match the name on the URL")
    version = metadata.get("resourceVersion") or old["metadata"]["resourceVersion"]
    if version != old["metadata"]["resourceVersion"]:
        why = "the object has been modified; please apply your changes to the latest version and try again"
        raise errors.conflict(resource, target.name, why)
    if metadata.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
        raise errors.conflict(resource, target.name, "the UID in the precondition does not match")
    metadata.update({key: old["metadata"][key] for key in KEPT if key in old["metadata"]})
    metadata["name"] = target.name
    if resource.namespaced:
        metadata["namespace"] = target.namespace
    fixed = {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    if target.subresource in ("status", "approval"):
        new = {**old, "status": new.get("status", {})}
    elif "status" in resource.subresources:
        new = {**new, **fixed, "metadata": metadata, **({"status": old["status"]} if "status" in old else {})}
    else:
        new = {**new, **fixed, "metadata": metadata}
    if resource.key == "secrets":
        new = _encoded(new)
    if new.get("spec") != old.get("spec") and "generation" in old["metadata"]:
        new["metadata"]["generation"] = old["metadata"]["generation"] + 1
    if dry:
        return new
    if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
        return store.remove(resource.key, store.update(resource.key, old, new))
    return store.update(resource.key, old, new)


def delete(store: Store, target: Target, options: Obj, *, dry: bool = False) -> Obj:
    """Remove the object, or mark it where finalizers hold it. Raises ApiError 404, 409."""
    obj = find(store, target)
    wanted = options.get("preconditions") or {}
    if wanted.get("uid", obj["metadata"]["uid"]) != obj["metadata"]["uid"]:
        raise errors.conflict(target.resource, target.name, "the UID in the precondition does not match")
    version = obj["metadata"]["resourceVersion"]
    if wanted.get("resourceVersion", version) != version:
        raise errors.conflict(target.resource, target.name, "the resourceVersion in the precondition does not match")
    if dry:
        return obj
    return remove(store, target.resource.key, obj, orphan=options.get("propagationPolicy") == "Orphan")


def remove(store: Store, resource: str, obj: Obj, *, orphan: bool = False) -> Obj:
    if orphan:
        for kind, dependent in list(store.owned(obj["metadata"]["uid"])):
            owners = [ref for ref in dependent["metadata"]["ownerReferences"] if ref["uid"] != obj["metadata"]["uid"]]
            metadata = {**dependent["metadata"], "ownerReferences": owners}
            store.update(kind, dependent, {**dependent, "metadata": metadata})
    if not obj["metadata"].get("finalizers") and resource != "namespaces":
        return store.remove(resource, obj)
    if "deletionTimestamp" in obj["metadata"]:
        return obj
    metadata = {**obj["metadata"], "deletionTimestamp": stamp(store.now()), "deletionGracePeriodSeconds": 0}
    marked = {**obj, "metadata": metadata}
    if resource == "namespaces":
        marked["status"] = {"phase": "Terminating"}
    return store.update(resource, obj, marked)
