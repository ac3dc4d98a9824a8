"""The three patch types, and apply as a merge. Objects are never changed in place: each function makes a new one."""

from __future__ import annotations

from typing import Any

from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj

MERGE_KEYS: dict[str, tuple[str, ...]] = {  # the list's field name -> the keys that tell its items apart
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "port"),
    "conditions": ("type",),
    "addresses": ("type",),
    "taints": ("key",),
    "ownerReferences": ("uid",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey",),
}
MERGED_SETS = {"finalizers", "podCIDRs"}
DIRECTIVES = ("$patch", "$retainKeys")


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, lists are replaced."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def strategic(target: Any, patch: Any, field: str = "") -> Any:
    """Kubernetes' own: lists of named items are merged by their key, with `$patch` and `$deleteFromPrimitiveList`."""
    if isinstance(patch, list):
        return _strategic_list(target if isinstance(target, list) else [], patch, field)
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key not in DIRECTIVES}
    result = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key in DIRECTIVES or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            result[name] = [item for item in result.get(name) or [] if item not in value]
        elif value is None or (isinstance(value, dict) and value.get("$patch") == "delete"):
            result.pop(key, None)
        else:
            result[key] = strategic(result.get(key), value, key)
    return result


def _strategic_list(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in MERGED_SETS:
        return [*target, *(item for item in patch if item not in target)]
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    key = next((key for key in MERGE_KEYS.get(field, ()) if all(isinstance(x, dict) and key in x for x in patch)), None)
    if key is None:
        return patch
    result = list(target)
    for item in patch:
        at = next((at for at, old in enumerate(result) if isinstance(old, dict) and old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if not (isinstance(old, dict) and old.get(key) == item[key])]
        elif at is None:
            result.append(strategic({}, item))
        else:
            result[at] = strategic(result[at], item)
    return result


def json_patch(target: Obj, operations: Any) -> Obj:
    """RFC 6902. Raises ApiError 422 for a path or test that does not fit."""
    if not isinstance(operations, list):
        raise ApiError(400, "a JSON patch is a list of operations")
    result: Any = target
    for operation in operations:
        kind, path = operation.get("op"), _pointer(operation.get("path", ""))
        if kind == "test":
            if _get(result, path) != operation.get("value"):
                raise ApiError(422, f"test of {operation['path']} failed")
        elif kind == "remove":
            result = _set(result, path, kind, None)
        elif kind in ("add", "replace"):
            result = _set(result, path, kind, operation.get("value"))
        elif kind in ("move", "copy"):
            value = _get(result, source := _pointer(operation.get("from", "")))
            result = _set(_set(result, source, "remove", None) if kind == "move" else result, path, "add", value)
        else:
            raise ApiError(400, f"unknown operation {kind!r}")
    if not isinstance(result, dict):
        raise ApiError(422, "the patched object is not an object")
    return result


def _pointer(text: str) -> list[str]:
    return [word.replace("~1", "/").replace("~0", "~") for word in text.split("/")[1:]]


def _get(target: Any, path: list[str]) -> Any:
    for word in path:
        try:
            target = target[int(word)] if isinstance(target, list) else target[word]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ApiError(422, f"path /{'/'.join(path)} does not exist") from error
    return target


def _set(target: Any, path: list[str], kind: str, value: Any) -> Any:
    if not path:
        return value
    word, rest = path[0], path[1:]
    if isinstance(target, list):
        return _set_item(target, word, rest, kind, value)
    if not isinstance(target, dict) or ((rest or kind != "add") and word not in target):
        raise ApiError(422, f"path .../{word} does not exist")
    result = dict(target)
    if rest:
        result[word] = _set(result[word], rest, kind, value)
    elif kind == "remove":
        del result[word]
    else:
        result[word] = value
    return result


def _set_item(target: list[Any], word: str, rest: list[str], kind: str, value: Any) -> list[Any]:
    adding = not rest and kind == "add"
    try:
        at = len(target) if word == "-" else int(word)
    except ValueError as error:
        raise ApiError(422, f"{word!r} is not an index") from error
    if not 0 <= at < len(target) + adding:
        raise ApiError(422, f"index {word} is out of bounds")
    if rest:
        return [*target[:at], _set(target[at], rest, kind, value), *target[at + 1 :]]
    if adding:
        return [*target[:at], value, *target[at:]]
    return [*target[:at], *([] if kind == "remove" else [value]), *target[at + 1 :]]
