"""Whatever people send wrong is refused with the name of what is wrong, and leaves nothing behind.

The cases are made from the schema: a new endpoint is covered by being there. Its valid body is tried too, last of all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from facet.clusters.models import Cluster, ClusterPhase
from facet.workloads.models import VM, VM_KIND, VmPhase
from tests.api import described, world
from tests.api.bodies import KNOWN, valid
from tests.api.described import Call
from tests.client import Answer, Api
from tests.factories import as_system

TOLERATED = ("tenants_loginfailure", "django_session")
LONG = 10_000
ABSURD = 10**30
BAD_NAMES = ("Bad Name", "-a", "a-", "1a", "a_b", "ä", "a\n", "a" * 64, "")
NESTED = 100
RAW = {
    "cut off": b"{",
    "no JSON": b"a=b",
    "not UTF-8": b'{"name": "\xff"}',
    "NaN": b'{"name": NaN}',
    "beyond all bounds": b'{"name": 1e400}',
    "a list": b"[]",
    "a text": b'"x"',
    "a number": b"7",
    "a boolean": b"true",
    "null": b"null",
    "nested objects": b'{"name": ' * NESTED + b"1" + b"}" * NESTED,
    "nested lists": b"[" * NESTED + b"]" * NESTED,
    "deeper than any stack": b"[" * 100_000,
    "two high surrogates": rb'{"name": "\ud800\ud800"}',
    "half of a pair as a key": rb'{"\udc00": 1}',
}
WRONG_IDS = ("not-an-id", "0", "%00", "%F0%9F%92%A9", "..%2F..", "x" * LONG)
WRONG_SIZES = ("", "0", "-1", "1.5", "x", "501", str(ABSURD), "%D9%A3")
WRONG_CURSORS = ("x", "%C3%A9", "MTIz", "A" * LONG, "MjAyNnx4")
WRONG_TAGS = ("nonsense", 'W/"1"', '"0"', "", "x" * LONG)
WRONG_KEYS = ("", "k" * 256, "\t")


def fits(schema: dict[str, Any], text: str) -> bool:
    """The schema takes this text; patterns end where the text does."""
    if not text:
        return schema.get("blank", False) or not schema.get("minLength", 0)
    form = schema.get("pattern", "").replace("$", r"\Z")
    return bool(re.search(form, text)) and len(text) <= schema.get("maxLength", LONG)


def wrong_values(schema: dict[str, Any]) -> Iterator[Any]:
    """What a field of this schema must not take."""
    kind = described.type_of(schema)
    others = {
        "string": "x", "integer": 7, "number": 7, "boolean": True, "array": ["x"], "object": {"vcpu": "x"},
    }  # fmt: skip
    likes = {kind, "number", "integer"} if kind in ("number", "integer") else {kind}
    yield from (value for other, value in others.items() if other not in likes)
    if not described.nullable(schema):
        yield None
    match kind:
        case "string":
            yield from ("a\x00b", "\ud800", "\udc00\ud800")
            yield "x" * max(LONG, schema.get("maxLength", 0) + 1)
            yield from (name for name in BAD_NAMES if not fits(schema, name))
            yield from () if "enum" not in schema else ("nonsense",)
        case "integer" | "number":
            yield from ("7", schema["minimum"] - 1, schema["maximum"] + 1, -ABSURD, ABSURD, 1e300)
            yield from (1.5, 7.0) if kind == "integer" else ()
        case "boolean":
            yield from (0, "true", "yes")
        case "array":
            yield from ([None], [["x"]], {"0": "x"})
            yield [described.minimal(schema["items"], KNOWN)] * (schema["maxItems"] + 1)
        case "object":
            yield [{}]


def unknown_fields(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Fields that an object of this schema must not have. Where names are free, those of numbers are resources."""
    free = schema.get("additionalProperties")
    if "properties" in schema:
        yield "colour", "red"
    elif free is not None:
        yield "a bad name", described.minimal(free, KNOWN)
        if described.type_of(free) == "integer":
            yield "colour", described.minimal(free, KNOWN)


def dotted(at: described.Field) -> str:
    return ".".join(map(str, at))


def cases(call: Call) -> Iterator[tuple[str, Any, Any]]:
    """(the field that is wrong, the value, the whole body)."""
    schema, body = call.body, valid(call)
    assert schema is not None
    every = list(described.fields(schema, KNOWN))
    for at, field in every:
        for value in wrong_values(field):
            yield dotted(at), value, described.with_field(schema, KNOWN, body, at, value)
    for at, field in [((), schema), *every]:
        for name, value in unknown_fields(field):
            around = described.minimal(field, KNOWN) if at else body
            yield dotted((*at, name)), value, described.with_field(schema, KNOWN, body, at, around | {name: value})


def says(answer: Answer, field: str) -> bool:
    """The refusal names the field, or a part of it, or what it is a part of."""
    named = answer.body.get("errors", {})
    return any(f"{one}.".startswith(f"{field}.") or f"{field}.".startswith(f"{one}.") for one in named)


def refused(answer: Answer) -> bool:
    return answer.is_problem and answer.status in (400, 422)


def short(value: Any) -> str:
    return repr(value)[:80]


@pytest.fixture
def here():
    """IT's client, and ids of every kind."""
    it, platform = world.platform()
    acme = world.belongings(it, "acme")
    with as_system():
        Cluster.objects.update(phase=ClusterPhase.READY, initialized_at=timezone.now())
        own = VM.objects.filter(owner_kind=VM_KIND, project=acme.project)
        own.update(phase=VmPhase.RUNNING, adopted=True)
        acme.ids["vms"] = list(own.values_list("id", flat=True))  # a cluster's machine takes nothing
    return it, platform | acme.whole | acme.ids


def path_of(call: Call, ids: world.Ids) -> str:
    return call.at(ids[call.kind][0] if call.kind else "")


def raw(api: Api, method: str, path: str, body: bytes) -> Answer:
    answer = api.client.generic(
        method, f"/api/v1/{path}", data=body, content_type="application/json", headers=api.headers
    )
    return Answer(answer)


def test_bad_input_names_the_field_and_holds_nothing(here):
    it, ids = here
    faults, tried = [], 0
    takers = [call for call in described.calls() if call.body is not None]
    before = world.fingerprints(but=TOLERATED)
    for call in takers:
        path = path_of(call, ids)
        for field, value, body in cases(call):
            answer, tried = it.call(call.method, path, body), tried + 1
            if not refused(answer) or not says(answer, field):
                faults.append(f"{call}: {field} = {short(value)}: {answer.status} {answer.body}")
        for name, text in RAW.items():
            answer, tried = raw(it, call.method, path, text), tried + 1
            if not refused(answer):
                faults.append(f"{call}: {name}: {answer.status} {answer.body}")
        after = world.fingerprints(but=TOLERATED)
        faults += [f"{call}: left something in {table}" for table in world.changed(before, after)]
        before = after
    assert not faults, f"{len(faults)} of {tried}\n" + "\n".join(faults)
    for call in reversed(takers):  # tenants before projects: a project's pool is cut from its tenant's
        if call.kind == "vms":
            with as_system():
                VM.objects.update(resizing=None)  # what the call before has asked of it
        answer = it.call(call.method, path_of(call, ids), valid(call))
        silent = call.path.endswith("/kubeconfig") and answer.status == 409  # nothing answers at its address
        alone = call.path.endswith("/transfer") and answer.status == 422 and list(answer["errors"]) == ["to"]
        nobodys = call.path.endswith("/adopt") and answer.status == 422 and list(answer["errors"]) == ["vm"]
        there = call.path.endswith("/replicas") and answer.status == 409 and answer["code"] == "not_needed"
        if answer.status >= 300 and not (silent or alone or nobodys or there):  # (no other pool, no VM of another's)
            faults.append(f"{call}: the valid body of these tests is none: {answer}")
    assert not faults, "\n".join(faults)


def test_an_id_that_is_none_or_nobodys_is_not_found(here):
    it, _ = here
    faults = []
    before = world.fingerprints(but=TOLERATED)
    for call in described.calls():
        for id in (*WRONG_IDS, described.ANY_ID) if call.kind else ():
            answer = it.call(call.method, call.at(id), valid(call) if call.body else None)
            if answer.status != 404 or not answer.is_problem:
                faults.append(f"{call.method} {call.at(id)[:120]}: {answer}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(but=TOLERATED)) == []


def wrong_queries(call: Call) -> Iterator[tuple[str, str, bool]]:
    """(parameter, value as it stands in the address, whether it must be refused)."""
    known = {"page_size": WRONG_SIZES, "cursor": WRONG_CURSORS}
    for name, kind in call.filters.items():
        yield name, "%00", True
        if name in known:
            yield from ((name, value, True) for value in known[name])
        else:
            strict = kind != "string" or name.endswith("_id")
            yield from ((name, value, strict) for value in ("nonsense", "%F0%9F%92%A9", "x" * LONG, "%FF"))


def test_a_bad_filter_or_page_is_refused_by_name(here):
    it, ids = here
    faults = []
    for call in described.calls():
        for name, value, must in wrong_queries(call):
            answer = it.call(call.method, f"{path_of(call, ids)}?{name}={value}")
            named = refused(answer) and says(answer, name)
            if not named and (must or answer.status != 200):
                faults.append(f"{call}?{name}={value[:60]}: {answer}")
    assert not faults, "\n".join(faults)


def test_a_bad_header_is_refused_and_changes_nothing(here):
    it, ids = here
    faults = []
    before = world.fingerprints(but=TOLERATED)
    for call in described.calls():
        for header, values, status in (("If-Match", WRONG_TAGS, 412), ("Idempotency-Key", WRONG_KEYS, 422)):
            for value in values if header in call.headers else ():
                body = valid(call) if call.body else None
                answer = it.call(call.method, path_of(call, ids), body, **{header.replace("-", "_"): value})
                if answer.status != status or not answer.is_problem:
                    faults.append(f"{call} {header}: {value[:60]!r}: {answer}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(but=TOLERATED)) == []
