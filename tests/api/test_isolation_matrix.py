"""Who may not see or do what, on every path and method of the schema: a new endpoint is covered by being there."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest

from tenants.access import OPEN_TO_ALL, VERBS
from tenants.models import Role
from tests.api import described, world
from tests.api.described import Call
from tests.client import Answer

KNOWN = {"zone": "az1", "zones": ["az1"], "site": "dc1", "selector": {"vsphere_cluster": "rack-2"}}
ROLES = {
    "admin": Role.TENANT_ADMIN,
    "editor": Role.PROJECT_EDITOR,
    "viewer": Role.PROJECT_VIEWER,
    "ci": Role.PROJECT_EDITOR,
}


def body_of(call: Call) -> Any:
    """The least that the call takes; None where it takes nothing."""
    return None if call.body is None else described.minimal(call.body, KNOWN)


def asked(who: Any, call: Call, id: UUID | None = None, method: str = "", query: str = "") -> Answer:
    """The answer to the call, said with a token of its own: some calls end the token that they come with."""
    return world.client(who).call(method or call.method, call.at(id) + query, body_of(call))


def ids_for(call: Call, *places: world.Ids) -> list[UUID | None]:
    """The ids to say this call with. Fails for a kind of object that the world has none of."""
    if call.kind is None:
        return [None]
    found: list[UUID | None] = [id for ids in places for id in ids.get(call.kind, ())]
    assert found, f"{call}: tests/api/world.py makes no object of kind {call.kind}"
    return found


def open_to(call: Call, role: str) -> bool:
    """The table lets this role do it, somewhere."""
    return call.verb is None or call.verb in OPEN_TO_ALL or role in VERBS[call.verb]


def shown_of(foreign: world.Belongings, answer: Answer, *known: UUID | None) -> list[str]:
    """Ids and names of theirs that an answer shows, headers included; `known`: what was in the question."""
    text = f"{dict(answer.headers)} {answer.body!r}"
    return [one for one in (foreign.everything() | {foreign.name}) - set(map(str, known)) if one in text]


@pytest.fixture
def it_and_platform():
    return world.platform()


def test_a_foreign_object_is_not_found(it_and_platform):
    """404 for what is another tenant's, whoever asks and however; 403 for the platform's; and nothing of it shows."""
    it, platform = it_and_platform
    mine, theirs = world.belongings(it, "acme"), world.belongings(it, "rival")
    foreign = theirs.ids.keys() | theirs.whole.keys()
    before, faults = world.fingerprints(theirs.tenant), []
    for call in described.calls():
        for id in ids_for(call, theirs.ids, theirs.whole, platform):
            for short, person in mine.people.items():
                for method in ("GET", "HEAD") if call.method == "GET" else (call.method,):
                    answer = asked(person, call, id, method)
                    if call.kind in foreign:
                        right = answer.status == 404 and (method == "HEAD" or answer["code"] == "not_found")
                    elif open_to(call, ROLES[short]):
                        right = answer.status < 500
                    else:
                        right = answer.status in (403, 404)
                    shown = shown_of(theirs, answer, id)
                    if not right or shown:
                        faults.append(f"{short}: {method} {call.at(id)}: {answer.status} {shown or answer.body}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(theirs.tenant)) == []


def test_a_filter_finds_nothing_foreign(it_and_platform):
    it, _ = it_and_platform
    mine, theirs = world.belongings(it, "acme"), world.belongings(it, "rival")
    values = [ids[0] for of in (theirs.ids, theirs.whole) for ids in of.values()] + [f"{theirs.name}-web", theirs.name]
    faults = []
    for call in described.calls():
        if call.kind is not None or not open_to(call, Role.TENANT_ADMIN):
            continue
        for field in set(call.filters) - {"cursor", "page_size"}:
            for value in values:
                answer = asked(mine.people["admin"], call, query=f"?{field}={value}")
                if answer.status not in (200, 422) or (answer.status == 200 and shown_of(theirs, answer)):
                    faults.append(f"{call}?{field}={value}: {answer}")
    assert not faults, "\n".join(faults)


def test_a_body_reaches_nothing_foreign(it_and_platform):
    """Ids of theirs in every field that takes a text, said about one's own."""
    it, _ = it_and_platform
    mine, theirs = world.belongings(it, "acme"), world.belongings(it, "rival")
    but = (*world.MOVING, "infra_host", "infra_datastore", "infra_endpoint")  # where one's own claims are counted too
    before, faults = world.fingerprints(theirs.tenant, but), []
    values = [ids[0] for of in (theirs.ids, theirs.whole) for ids in of.values()]
    for call in described.writes():
        if call.body is None or call.verb is None or not open_to(call, Role.TENANT_ADMIN):
            continue
        for id in ids_for(call, mine.ids, mine.whole)[:1]:
            texts = [at for at, field in described.fields(call.body, KNOWN) if described.type_of(field) == "string"]
            for at, value in itertools.product(texts, values):
                body = described.with_field(call.body, KNOWN, body_of(call), at, str(value))
                answer = world.client(mine.people["admin"]).call(call.method, call.at(id), body)
                shown = shown_of(theirs, answer, value)
                if answer.status >= 500 or shown:
                    faults.append(f"{call} {at}: {answer.status} {shown}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(theirs.tenant, but)) == []


def test_an_editor_finds_nothing_of_another_project_of_its_tenant(it_and_platform):
    it, _ = it_and_platform
    mine = world.belongings(it, "acme")
    theirs = world.in_project(it, mine.tenant, "rival")
    before, faults = world.fingerprints(mine.tenant), []
    for call in described.calls():
        if call.kind is not None and call.kind not in theirs.ids:
            continue
        for id in ids_for(call, theirs.ids):
            answer = asked(mine.people["editor"], call, id)
            shown = shown_of(theirs, answer, id, mine.tenant.id)
            if (id is not None and answer.status != 404) or shown:
                faults.append(f"{call}: {answer.status} {shown or answer.body}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(mine.tenant)) == []


def test_a_viewer_may_not_write(it_and_platform):
    """403 for every write that the table of roles does not give to a viewer."""
    it, platform = it_and_platform
    mine = world.belongings(it, "acme")
    refused = [call for call in described.writes() if not open_to(call, Role.PROJECT_VIEWER)]
    before, faults = world.fingerprints(), []
    for call in refused:
        whole = mine.whole if call.kind == "tenants" else {}
        for id in ids_for(call, mine.ids, whole, platform):
            answer = asked(mine.people["viewer"], call, id)
            if (answer.status, answer.is_problem) != (403, True):
                faults.append(f"{call}: {answer}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints()) == []
    assert {call.verb for call in described.writes()} - {call.verb for call in refused} == {
        None, "me", "own-token", "placement.ask", "cluster.kubeconfig",
    }  # fmt: skip
