from tests import factories
from tests.client import Api


def test_logins_are_throttled_and_logout_ends_the_token():
    factories.user("ada")
    good = Api().post("login", {"username": "ada", "password": factories.PASSWORD})
    assert good.status == 201
    me = Api(good["token"])
    assert me.get("me")["name"] == "ada"
    assert me.post("logout").status == 204
    assert me.get("me").status == 401
    wrong = [Api().post("login", {"username": "ada", "password": "guess"}) for _ in range(12)]
    assert [answer.status for answer in wrong] == [401] * 10 + [429] * 2
    assert int(wrong[-1].headers["Retry-After"]) > 0
    assert Api().post("login", {"username": "ada", "password": factories.PASSWORD}).status == 429


def test_an_unknown_name_and_a_wrong_password_say_the_same():
    factories.user("ada")
    unknown = Api().post("login", {"username": "nobody", "password": "x"})
    wrong = Api().post("login", {"username": "ada", "password": "x"})
    assert (unknown.status, unknown["detail"]) == (wrong.status, wrong["detail"])


def test_the_last_platform_admin_stays(admin):
    me = admin.get("me")
    answer = admin.patch(f"users/{me['id']}", {"disabled": True})
    assert (answer.status, answer["code"]) == (409, "last_admin")
    member = admin.get("platform/members")["items"][0]
    assert admin.delete(f"members/{member['id']}").status == 409


def test_weak_passwords_are_refused_by_name(admin):
    answer = admin.post("users", {"name": "ada", "password": "short"})
    assert (answer.status, list(answer["errors"])) == (422, ["password"])
