"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.resources import Obj

Test = Callable[[Obj], bool]
SET = re.compile(r"^(?P<key>[^\s!=(),]+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)$")
EQUAL = re.compile(r"^(?P<key>[^\s!=(),]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=,]*)$")
PRESENT = re.compile(r"^(?P<no>!?)\s*(?P<key>[^\s!=(),]+)$")


def labels(text: str) -> Test:
    """A label selector in text (`a=b,c in (d,e),!f`). Raises ApiError 400."""
    tests = [_requirement(part.strip()) for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    return lambda obj: all(test(obj["metadata"].get("labels") or {}) for test in tests)


def _requirement(part: str) -> Callable[[Mapping[str, str]], bool]:
    if found := SET.match(part):
        key, wanted = found["key"], {value.strip() for value in found["values"].split(",")}
        return (lambda has: has.get(key) in wanted) if found["op"] == "in" else (lambda has: has.get(key) not in wanted)
    if found := EQUAL.match(part):
        key, value = found["key"], found["value"]
        return (lambda has: has.get(key) != value) if found["op"] == "!=" else (lambda has: has.get(key) == value)
    if found := PRESENT.match(part):
        key, absent = found["key"], bool(found["no"])
        return lambda has: (key in has) != absent
    raise ApiError(400, f"unable to parse requirement: {part!r}")


def matches(selector: Obj | None, has: Mapping[str, str] | None) -> bool:
    """A LabelSelector object (matchLabels, matchExpressions) against labels. None selects nothing."""
    if selector is None:
        return False
    has = has or {}
    if any(has.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(item, has) for item in selector.get("matchExpressions") or ())


def _expression(item: Obj, has: Mapping[str, str]) -> bool:
    key, operator, values = item["key"], item["operator"], item.get("values") or []
    if operator == "In":
        return has.get(key) in values
    if operator == "NotIn":
        return has.get(key) not in values
    return (key in has) == (operator == "Exists")


def fields(text: str) -> Test:
    """A field selector (`spec.nodeName=a,status.phase!=Running`). A field that is not there reads as ''."""
    tests = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        found = EQUAL.match(part)
        if found is None:
            raise ApiError(400, f"invalid field selector: {part!r}")
        tests.append((found["key"].split("."), found["value"], found["op"] != "!="))
    return lambda obj: all((_at(obj, path) == value) == equal for path, value, equal in tests)


def _at(obj: Any, path: list[str]) -> str:
    for word in path:
        obj = obj.get(word) if isinstance(obj, dict) else None
    if obj is None:
        return ""
    return str(obj).lower() if isinstance(obj, bool) else str(obj)


def text_of(selector: Obj | None) -> str:
    """A LabelSelector as text, for scale's status and for tables."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for item in selector.get("matchExpressions") or ():
        operator, values = item["operator"], ",".join(item.get("values") or ())
        word = {"Exists": item["key"], "DoesNotExist": "!" + item["key"]}.get(operator)
        parts.append(word or f"{item['key']} {operator.lower()} ({values})")
    return ",".join(parts)
