"""Who may not see or do what, on every path and method of the schema: a new endpoint is covered by being there."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from tenants.access import OPEN_TO_ALL, VERBS
from tenants.models import Role, User
from tests import factories
from tests.api import described, world
from tests.api.described import Call
from tests.client import Answer, Api

KNOWN = {"zone": "az1", "zones": ["az1"], "site": "dc1", "selector": {"vsphere_cluster": "rack-2"}}


def body_of(call: Call):
    """The least that the call takes, or None where it takes nothing."""
    return None if call.body is None else described.minimal(call.body, KNOWN)


def asked(person: User, call: Call, id: UUID | None = None, method: str = "") -> Answer:
    """The answer to the call, said with a token of its own: some calls end the token that they come with."""
    return Api(factories.token_of(person)).call(method or call.method, call.at(id), body_of(call))


def methods(call: Call) -> Iterable[str]:
    return ("GET", "HEAD") if call.method == "GET" else (call.method,)


def ids_for(call: Call, *places: world.Ids) -> list[UUID | None]:
    """The ids to say this call with; fails for a kind of object that the world has none of."""
    if call.kind is None:
        return [None]
    found: list[UUID | None] = [id for ids in places for id in ids.get(call.kind, ())]
    assert found, f"{call}: tests/api/world.py makes no object of kind {call.kind}"
    return found


def told(answer: Answer) -> str:
    """Everything that an answer says, headers included."""
    return f"{dict(answer.headers)} {answer.body!r}"


def test_a_foreign_object_is_not_found():
    """404 for another tenant's, whoever asks and however; 403 for what is the platform's; nothing of it in any list."""
    it, platform = world.platform()
    mine, rival = world.belongings(it, "acme"), world.belongings(it, "rival")
    before, faults = world.fingerprints(rival.tenant), []
    foreign = {kind for of in (rival.ids, rival.whole) for kind in of}
    for call in described.calls():
        for id in ids_for(call, rival.ids, rival.whole, platform):
            for short, person in mine.people.items():
                for method in methods(call):
                    answer = asked(person, call, id, method)
                    text = told(answer)
                    if call.kind in foreign:
                        right = answer.status == 404
                    elif call.verb is None or call.verb in OPEN_TO_ALL:
                        right = answer.status < 500
                    else:
                        may = Role.TENANT_ADMIN in VERBS[call.verb] if short == "admin" else True
                        right = answer.status in (200, 403, 404) if may and call.method == "GET" else answer.status in (403, 404)
                    leaks = [one for one in rival.everything() - {str(id)} if one in text] + ["rival"] * ("rival" in text)
                    if not right or leaks:
                        faults.append(f"{short}: {method} {call.at(id)}: {answer.status} {leaks or answer.body}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(rival.tenant)) == []


def test_a_viewer_may_not_write():
    it, platform = world.platform()
    mine = world.belongings(it, "acme")
    before, faults = world.fingerprints(mine.tenant), []
    for call in described.writes():
        if call.verb is None or call.verb in OPEN_TO_ALL or Role.PROJECT_VIEWER in VERBS[call.verb]:
            continue
        whole = mine.whole if call.kind == "tenants" else {}
        for id in ids_for(call, mine.ids, whole, platform):
            answer = asked(mine.people["viewer"], call, id)
            if answer.status != 403:
                faults.append(f"{call}: {answer}")
    assert not faults, "\n".join(faults)
    assert world.changed(before, world.fingerprints(mine.tenant)) == []
