"""People: what disables them, what a changed password ends, and that someone always stays platform-admin."""

import pytest
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from tests import factories
from tests.client import Api

SESSION_COOKIE = settings.SESSION_COOKIE_NAME
NEW = "another pass phrase"


def in_a_session(user):
    """A client with a console session of this user."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.id)
    session.create()
    api = Api()
    api.client.cookies[SESSION_COOKIE] = session.session_key
    return api


@pytest.fixture
def bob():
    return factories.user("bob")


def test_a_disabled_users_tokens_and_sessions_end_at_once_and_for_good(admin, bob):
    by_token, by_session = Api(factories.token_of(bob)), in_a_session(bob)
    other = in_a_session(factories.user("grace"))
    assert (by_token.get("me").status, by_session.get("me").status) == (200, 200)
    assert admin.patch(f"users/{bob.id}", {"disabled": True}).status == 200
    assert (by_token.get("me").status, by_session.get("me").status) == (401, 401)
    assert Api().post("login", {"username": "bob", "password": factories.PASSWORD}).status == 401
    assert admin.patch(f"users/{bob.id}", {"disabled": False}).status == 200
    assert (by_token.get("me").status, by_session.get("me").status) == (401, 401)
    assert Api().post("login", {"username": "bob", "password": factories.PASSWORD}).status == 201
    assert other.get("me").status == 200


def test_a_new_password_ends_what_the_old_one_began(admin, bob):
    by_token, by_session = Api(factories.token_of(bob)), in_a_session(bob)
    assert admin.patch(f"users/{bob.id}", {"password": NEW}).status == 200
    assert (by_token.get("me").status, by_session.get("me").status) == (401, 401)
    assert Api().post("login", {"username": "bob", "password": factories.PASSWORD}).status == 401
    assert Api().post("login", {"username": "bob", "password": NEW}).status == 201
    told = admin.get("events?verb=user.update")
    assert told["items"][0]["after"] == {"password": "changed"}
    assert NEW not in str(told.body)


def test_logout_ends_the_session_that_it_came_with(bob):
    api, key = in_a_session(bob), SESSION_COOKIE
    stolen = Api()
    stolen.client.cookies[key] = api.client.cookies[key].value
    assert stolen.get("me").status == 200
    assert api.post("logout").status == 204
    assert (api.get("me").status, stolen.get("me").status) == (401, 401)


def test_a_write_in_a_session_wants_a_csrf_token(bob):
    api = in_a_session(bob)
    api.client.handler.enforce_csrf_checks = True
    refused = api.post("tokens", {"name": "planted"})
    assert (refused.status, refused["code"]) == (403, "forbidden")
    assert api.get("tokens")["items"] == []


def test_what_is_said_twice_is_told_once(admin, bob):
    first = admin.patch(f"users/{bob.id}", {"email": "bob@example.org"})
    again = admin.patch(f"users/{bob.id}", {"email": "bob@example.org"})
    assert (first["generation"], again["generation"]) == (2, 2)
    assert len(admin.get("events?verb=user.update")["items"]) == 1


def test_names_are_taken_once_and_refusals_name_the_field(admin):
    assert admin.post("users", {"name": "ada", "password": NEW}).status == 201
    taken = admin.post("users", {"name": "ada", "password": NEW})
    assert (taken.status, taken["code"]) == (409, "name_taken")
    for body, field in [
        ({"name": "Ada", "password": NEW}, "name"),
        ({"name": "grace", "password": "12345678901"}, "password"),
        ({"name": "grace", "password": NEW, "email": "nowhere"}, "email"),
        ({"name": "grace", "password": NEW, "disabled": True}, "disabled"),
    ]:
        refused = admin.post("users", body)
        assert (refused.status, list(refused["errors"])) == (422, [field])
    assert {user["name"] for user in admin.get("users")["items"]} == {"root", "ada"}


def test_a_member_of_a_tenant_reads_no_users(acme, bob):
    for api in (acme.tenant_admin, acme.editor, acme.viewer):
        assert api.get("users").status == 403
        assert api.get(f"users/{bob.id}").status in (403, 404)
        assert api.patch(f"users/{bob.id}", {"disabled": True}).status in (403, 404)
        assert api.get("groups").status == 403


def test_the_last_admin_cannot_leave_by_way_of_a_group(admin, bob):
    group = admin.post("groups", {"name": "it", "users": ["bob"]})
    assert admin.post("platform/members", {"group": "it", "role": "platform-admin"}).status == 201
    me = admin.get("me")
    own = next(m for m in admin.get("platform/members")["items"] if m["principal"]["id"] == me["id"])
    by_group = Api(factories.token_of(bob))
    assert admin.delete(f"members/{own['id']}").status == 204
    for answer in (
        by_group.patch(f"groups/{group['id']}", {"users": []}),
        by_group.delete(f"groups/{group['id']}"),
        by_group.patch(f"users/{bob.id}", {"disabled": True}),
    ):
        assert (answer.status, answer["code"]) == (409, "last_admin")
    assert [user["name"] for user in by_group.get(f"groups/{group['id']}")["users"]] == ["bob"]


def test_a_group_gives_its_users_their_role_while_they_are_in_it(admin, acme, bob):
    api = Api(factories.token_of(bob))
    group = admin.post("groups", {"name": "devs", "users": ["bob"]})
    acme.tenant_admin.post(f"projects/{acme.project.id}/members", {"group": "devs", "role": "project-viewer"})
    assert api.get(f"projects/{acme.project.id}").status == 200
    assert admin.patch(f"groups/{group['id']}", {"users": []}).status == 200
    assert api.get(f"projects/{acme.project.id}").status == 404
    assert admin.patch(f"groups/{group['id']}", {"users": ["nobody"]}).status == 422
    assert admin.delete(f"groups/{group['id']}").status == 204
    assert acme.tenant_admin.get(f"projects/{acme.project.id}/members?role=project-viewer")["items"] != []
