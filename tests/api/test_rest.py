"""What every endpoint shares."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.db import OperationalError, connection, connections
from django.urls import get_resolver

from facet.rest.endpoint import Endpoint
from facet.rest.paging import Pages
from facet.rest.schema import SENTENCES
from tenants import credentials
from tenants.access import OPEN_TO_ALL, VERBS
from tenants.models import Member, Tenant
from tests import factories
from tests.api import described, world
from tests.client import Api
from tests.factories import as_system

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def test_a_stale_if_match_is_refused_with_the_current_object(admin):
    made = admin.post("tenants", {"name": "acme"})
    seen = admin.get(f"tenants/{made['id']}").headers["ETag"]
    assert admin.patch(f"tenants/{made['id']}", {"description": "one"}, If_Match=seen).status == 200
    stale = admin.patch(f"tenants/{made['id']}", {"description": "two"}, If_Match=seen)
    assert (stale.status, stale["current"]["description"]) == (412, "one")
    assert admin.patch(f"tenants/{made['id']}", {"description": "three"}).status == 200


def test_the_same_key_answers_the_same_and_another_body_is_refused(admin):
    first = admin.post("tenants", {"name": "acme"}, Idempotency_Key="abc")
    again = admin.post("tenants", {"name": "acme"}, Idempotency_Key="abc")
    other = admin.post("tenants", {"name": "other"}, Idempotency_Key="abc")
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert (other.status, other["code"]) == (422, "idempotency_mismatch")


def test_a_refusal_is_not_kept(admin):
    taken = admin.post("tenants", {"name": "acme"})
    assert admin.post("tenants", {"name": "acme"}, Idempotency_Key="k").status == 409
    admin.delete(f"tenants/{taken['id']}")
    assert admin.post("tenants", {"name": "acme"}, Idempotency_Key="k").status == 201


def test_one_key_in_parallel_does_the_work_once(admin):
    def ask(_):
        try:
            return admin.post("tenants", {"name": "acme"}, Idempotency_Key="once")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer["id"] for answer in answers}) == 1


def test_lists_page_by_cursor(admin):
    for number in range(7):
        admin.post("tenants", {"name": f"t{number}"})
    seen, cursor = [], None
    while True:
        page = admin.get(f"tenants?page_size=3{f'&cursor={cursor}' if cursor else ''}")
        assert len(page["items"]) <= 3
        seen += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"t{number}" for number in range(7)]
    assert admin.get("tenants?page_size=0").status == 422
    assert admin.get("tenants?cursor=%C3%A9").status == 422
    assert [t["name"] for t in admin.get("tenants?name=t3")["items"]] == ["t3"]


def test_every_refusal_is_a_problem_document(admin):
    for answer, status, code in [
        (Api().get("tenants"), 401, "not_authenticated"),
        (Api("facet_nonsense").get("me"), 401, "not_authenticated"),
        (admin.get("tenants/01a20e18-7042-7c65-b272-220c4bf7f572"), 404, "not_found"),
        (admin.get("nowhere"), 404, "not_found"),
        (admin.get("tenants/not-an-id"), 404, "not_found"),
        (admin.put("tenants", {}), 405, "method_not_allowed"),
        (admin.post("tenants", {"name": "Bad Name"}), 422, "invalid"),
        (admin.post("tenants", {"name": "a\x00b"}), 422, "invalid"),
        (admin.post("tenants", {"name": "ok", "colour": "red"}), 422, "invalid"),
        (admin.post("tenants", ["not", "an", "object"]), 422, "invalid"),
    ]:
        assert (answer.status, answer["code"]) == (status, code), answer
        assert answer.is_problem
        assert answer["request_id"] == answer.headers["X-Request-Id"]


def test_a_body_that_is_not_json_is_malformed(admin):
    for body in ("{", "NaN", "[" * 1000, '"\\ud800"'):
        response = admin.client.generic(
            "POST", "/api/v1/tenants", data=body, content_type="application/json", headers=admin.headers
        )
        assert response.status_code in (400, 422), body
    wrong = admin.client.generic(
        "POST", "/api/v1/tenants", data="a=b", content_type="text/plain", headers=admin.headers
    )
    assert wrong.status_code == 415


def test_options_is_no_method_here_and_says_which_are(admin):
    for who, path in ((admin, "tenants"), (Api(), "tenants"), (admin, "login")):
        answer = who.call("OPTIONS", path)
        assert (answer.status, answer["code"], "POST" in answer.headers["Allow"]) == (405, "method_not_allowed", True)


def test_a_body_longer_than_the_limit_is_refused_unread(admin, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = admin.post("tenants", {"name": "acme", "description": "x" * 1000})
    assert (answer.status, answer["code"], answer.is_problem) == (413, "too_large", True)


def test_a_name_of_another_host_is_refused_and_no_fault(admin):
    response = admin.client.get("/api/v1/me", headers=admin.headers | {"Host": "evil example"})
    assert response.status_code == 400


def test_rows_of_one_instant_are_paged_without_gap_or_repetition(admin):
    for number in range(7):
        admin.post("tenants", {"name": f"t{number}"})
    with as_system():
        Tenant.objects.update(created_at="2026-01-01T00:00:00Z")
    seen, cursor = [], ""
    while True:
        page = admin.get(f"tenants?page_size=2{cursor}")
        seen += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(seen) == [f"t{number}" for number in range(7)]


def test_a_database_that_fails_at_the_commit_is_a_503_and_not_a_fault(admin, monkeypatch):
    """The answer was ready; the transaction was not. Without this the client would be told of a success."""

    def fails():
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_commit", fails)
    answer = admin.post("tenants", {"name": "acme"})
    monkeypatch.undo()
    assert (answer.status, answer["code"], answer.is_problem) == (503, "unavailable", True)
    connection.close()
    assert admin.get("tenants")["items"] == []


def test_what_has_gone_when_the_work_is_committed_is_a_conflict_and_not_a_fault(admin, acme, monkeypatch):
    """Foreign keys are judged at the commit: the group was there when it was looked up."""
    group = factories.group("staff")
    commit = connection._commit

    def commits_later():
        with connections["owner"].cursor() as cursor:
            cursor.execute("set local lock_timeout = '2s'; delete from tenants_group where id = %s", [group.id])
        commit()

    monkeypatch.setattr(connection, "_commit", commits_later)
    answer = admin.post(f"tenants/{acme.tenant.id}/members", {"group": "staff", "role": "tenant-admin"})
    monkeypatch.undo()
    assert (answer.status, answer["code"], answer.is_problem) == (409, "conflict", True)
    assert [row["principal"]["kind"] for row in admin.get(f"tenants/{acme.tenant.id}/members")["items"]] == ["user"]


def test_every_action_has_a_verb_that_the_table_of_roles_knows():
    """Without one it would be a fault (500) at the first request, or open to everyone."""
    known = set(VERBS) | OPEN_TO_ALL
    seen = 0
    for pattern in routes(get_resolver().url_patterns):
        view = getattr(pattern.callback, "cls", None)
        if view is None or not issubclass(view, Endpoint):
            continue
        for action in set(pattern.callback.actions.values()) - view.public:
            assert view.verbs.get(action) in known, f"{pattern.pattern}: {view.__name__}.{action}"
            seen += 1
    assert seen > 50


def routes(patterns):
    for pattern in patterns:
        yield from routes(pattern.url_patterns) if hasattr(pattern, "url_patterns") else [pattern]


def test_the_page_about_the_api_says_what_is_so(settings):
    page = PAGE.read_text()
    for named in (
        f"{Pages.page_size} rows when nothing is said, {Pages.max_page_size} at most",
        f"longer than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20} MiB",
        f"{credentials.DEFAULT_LIFE.days} days when nothing is said",
    ):
        assert named in page, named
    assert (credentials.LOGIN_LIFE.days, credentials.LONGEST_LIFE.days) == (1, 366)
    statuses = {int(one) for row in re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE) for one in row.split(", ")}
    assert statuses == {int(status) for status in SENTENCES} - {406}


def test_whatever_can_be_changed_has_an_etag_and_refuses_a_stale_one():
    it, ids = world.platform()
    mine = world.belongings(it, "acme")
    changed = [call for call in described.calls() if call.method in ("PATCH", "PUT")]
    assert len(changed) > 8
    for call in changed:
        of = mine.ids | ({"tenants": mine.whole["tenants"]}) | ids
        path = call.at(of[call.kind][0])
        body = described.minimal(call.body, {"zone": "az1"})
        assert it.get(path).headers.get("ETag"), call
        stale = it.call(call.method, path, body, If_Match='"stale"')
        assert (stale.status, stale["current"]) == (412, it.get(path).body), call
        assert it.call(call.method, path, body, If_Match="*").status != 412, call


def test_rights_come_first_also_where_they_are_looked_up_when_reading():
    """Before the body is judged and before an earlier answer is told again: also for who has lost them meanwhile."""
    it, _ = world.platform()
    owned, other = world.belongings(it, "acme"), world.belongings(it, "shop")
    path, asked = f"projects/{owned.project.id}/vms", {"name": "db", "zones": ["az1"]}
    editor, viewer, foreign = (
        world.client(person) for person in (owned.people["editor"], owned.people["viewer"], other.people["editor"])
    )
    for body in ({"name": 3}, asked):
        assert [who.post(path, body).status for who in (viewer, foreign, Api())] == [403, 404, 401]
    first = editor.post(path, asked, Idempotency_Key="once")
    assert (first.status, editor.post(path, asked, Idempotency_Key="once").body) == (202, first.body)
    with as_system():
        Member.objects.filter(user=owned.people["editor"]).delete()
    assert editor.post(path, asked, Idempotency_Key="once").status == 404
