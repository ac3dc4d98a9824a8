"""The API as its own schema describes it: every path and method, and bodies made from the request schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.urls import resolve
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

BASE = "/api/v1/"
ANY_ID = "00000000-0000-7000-8000-000000000000"
TEXTS = ("x1", "v1.34.2", "x@example.org")  # one of them is of every form that a schema names
Field = tuple[str | int, ...]  # where a field stands in a body


@dataclass(frozen=True)
class Call:
    """One method of one path. `path` is below /api/v1, with its parameters in braces."""

    method: str
    path: str
    schema: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def kind(self) -> str | None:
        """What the id in the path is of: the segment before it."""
        found = re.findall(r"([a-z-]+)/\{", self.path)
        return found[-1] if found else None

    def at(self, id: Any) -> str:
        return re.sub(r"\{\w+\}", str(id), self.path)

    @property
    def body(self) -> dict[str, Any] | None:
        """The schema of the request's body, if it has one."""
        content = self.schema.get("requestBody", {}).get("content", {})
        return resolved(content["application/json"]["schema"]) if content else None

    @property
    def filters(self) -> dict[str, str]:
        """What may stand in the query, and its type."""
        parameters = self.schema.get("parameters", ())
        return {one["name"]: type_of(one["schema"]) for one in parameters if one["in"] == "query"}

    @property
    def headers(self) -> list[str]:
        return [one["name"] for one in self.schema.get("parameters", ()) if one["in"] == "header"]

    @property
    def verb(self) -> str | None:
        """What tenants.access calls it; None where anyone may."""
        view = resolve(BASE + self.at(ANY_ID)).func
        action = view.actions[self.method.lower()]
        return None if action in view.cls.public else view.cls.verbs[action]


@cache
def document() -> dict[str, Any]:
    """As it is served."""
    found: dict[str, Any] = json.loads(OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True)))
    return found


def calls() -> list[Call]:
    """Every method of every path."""
    return [
        Call(method.upper(), path.removeprefix(BASE), schema)
        for path, methods in document()["paths"].items()
        for method, schema in methods.items()
        if method != "parameters"
    ]


def writes() -> list[Call]:
    return [call for call in calls() if call.method != "GET"]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema without its detours; of alternatives the first, with "blank" or null where another is that."""
    while True:
        if "$ref" in schema:
            schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "oneOf" in schema or "allOf" in schema:
            ways = schema.get("oneOf") or schema["allOf"]
            rest = {key: value for key, value in schema.items() if key not in ("oneOf", "allOf")}
            schema = rest | resolved(ways[0]) | {"blank": any(way.get("maxLength") == 0 for way in ways)}
            if any(way.get("type") == "null" for way in ways):
                schema |= {"type": [type_of(schema), "null"]}
        else:
            return schema


def type_of(schema: dict[str, Any]) -> str:
    """string | integer | number | boolean | array | object | any"""
    found = schema.get("type", "any")
    return found if isinstance(found, str) else next(one for one in found if one != "null")


def nullable(schema: dict[str, Any]) -> bool:
    return "null" in schema.get("type", ())


def minimal(schema: dict[str, Any], known: dict[str, Any], name: str = "") -> Any:
    """The least that the schema takes; `known`: values for fields by name, where only some are good."""
    schema = resolved(schema)
    if name in known and type_of(schema) in ("any", _type_of_value(known[name])):
        return known[name]
    if "enum" in schema:
        return schema["enum"][0]
    match type_of(schema):
        case "string":
            return next(text for text in TEXTS if re.search(schema.get("pattern", ""), text))
        case "integer" | "number":
            return max(schema.get("minimum", 0), 1)
        case "boolean":
            return False
        case "array":
            return [minimal(schema["items"], known)]
        case "object":
            fields = schema.get("properties", {})
            return {field: minimal(fields[field], known, field) for field in schema.get("required", ())}
    return {}


def _type_of_value(value: Any) -> str:
    return {str: "string", int: "integer", list: "array", dict: "object"}[type(value)]


def fields(schema: dict[str, Any], known: dict[str, Any], at: Field = ()) -> Iterator[tuple[Field, dict[str, Any]]]:
    """Every field of a body, however deep, and its schema; of a list its first, of a free object one of any name."""
    schema = resolved(schema)
    inner: dict[Any, Any] = {}
    match type_of(schema):
        case "object" if "properties" in schema:
            inner = schema["properties"]
        case "object" if "additionalProperties" in schema:
            inner = {known.get("free", "a"): schema["additionalProperties"]}
        case "array":
            inner = {0: schema["items"]}
    for name, field in inner.items():
        yield (*at, name), resolved(field)
        yield from fields(field, known, (*at, name))


def with_field(schema: dict[str, Any], known: dict[str, Any], body: Any, at: Field, value: Any) -> Any:
    """`body` with `value` at this field; what must stand around it is made as small as can be."""
    schema = resolved(schema)
    if not at:
        return value
    name, rest = at[0], at[1:]
    if type_of(schema) == "array":
        inner = minimal(schema["items"], known) if rest else None
        return [with_field(schema["items"], known, inner, rest, value)]
    below = schema.get("properties", {}).get(name) or schema.get("additionalProperties", {})
    inner = (body or {}).get(name)
    if rest and inner is None:
        inner = minimal(below, known, str(name))
    return (body or {}) | {name: with_field(below, known, inner, rest, value)}
