"""What every endpoint shares."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from tests.client import Api


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
