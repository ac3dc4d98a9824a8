from tenants.models import Token
from tests import factories
from tests.client import Api


def test_a_token_is_stored_hashed_and_shown_once(admin):
    answer = admin.post("tokens", {"name": "laptop"})
    assert answer.status == 201
    text = answer["token"]
    with factories.as_system():
        row = Token.objects.get(pk=answer["id"])
        assert bytes(row.sha256) != text.encode()
        assert len(bytes(row.sha256)) == 32
    assert text not in str(admin.get("tokens").body)
    assert Api(text).get("me").status == 200


def test_a_replayed_token_request_does_not_show_the_secret_again(admin):
    first = admin.post("tokens", {"name": "a"}, Idempotency_Key="k-1")
    again = admin.post("tokens", {"name": "a"}, Idempotency_Key="k-1")
    assert first.status == 201
    assert (again.status, again["code"]) == (409, "secret_shown_once")


def test_an_expired_token_is_nobody(admin):
    text = admin.post("tokens", {"expires_in_s": 3600})["token"]
    with factories.as_system():
        Token.objects.update(expires_at="2020-01-01T00:00:00Z")
    answer = Api(text).get("me")
    assert (answer.status, answer["code"]) == (401, "not_authenticated")


def test_a_service_account_acts_with_its_token(acme):
    account = acme.tenant_admin.post(
        f"projects/{acme.project.id}/service-accounts", {"name": "ci", "role": "project-editor"}
    )
    assert account.status == 201
    secret = acme.tenant_admin.post(f"service-accounts/{account['id']}/tokens", {})
    me = Api(secret["token"]).get("me")
    assert me["kind"] == "service-account"
    assert me["roles"] == [
        {
            "role": "project-editor",
            "tenant": {"id": str(acme.tenant.id), "name": "acme"},
            "project": {"id": str(acme.project.id), "name": "web"},
        }
    ]


def test_disabling_a_user_ends_their_tokens(admin):
    bob = factories.user("bob")
    text = factories.token_of(bob)
    assert Api(text).get("me").status == 200
    assert admin.patch(f"users/{bob.id}", {"disabled": True}).status == 200
    assert Api(text).get("me").status == 401
