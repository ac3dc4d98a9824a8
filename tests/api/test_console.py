"""The console shows what the REST API would, to whom it would; and nothing runs in it that is not ours."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client, override_settings

from facet.operations.models import Event
from facet.workloads.models import Network, Volume
from tests import factories, landscape


def session(name, client=None):
    client = client or Client()
    answer = client.post("/login", {"name": name, "password": factories.PASSWORD})
    assert answer.status_code == 302, answer.content.decode()
    return client


def text(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, f"{path}: {answer.status_code}"
    return answer.content.decode()


@pytest.fixture
def world(admin):
    """Two tenants with a cluster each in one zone, and one more project of acme."""
    acme, other = factories.office("acme"), factories.office("other")
    zone = landscape.site()
    shop = landscape.cluster(acme.project, zone, "shop")
    rival = landscape.cluster(other.project, zone, "rival")
    backend = factories.project(acme.tenant, "backend", {})
    lair = landscape.cluster(backend, zone, "lair")
    for one in (shop, rival, lair):
        landscape.operation(one, "failed", problem={"detail": f"{one.name} went wrong", "code": "x"})
    return {"acme": acme, "other": other, "zone": zone, "shop": shop, "rival": rival, "lair": lair}


def pages_of(cluster):
    with factories.as_system():
        operation = landscape.Operation.objects.get(target_id=cluster.id)
    return [f"/clusters/{cluster.id}", f"/projects/{cluster.project_id}", f"/operations/{operation.id}"]


def test_an_anonymous_caller_is_sent_to_log_in_and_comes_back(world):
    anyone = Client()
    for path in ["/", "/operations?show=open", f"/sites/{world['zone'].site_id}", *pages_of(world["shop"])]:
        answer = anyone.get(path)
        assert (answer.status_code, answer.content) == (302, b""), path
        assert anyone.get(answer["Location"]).status_code == 200
    asked = anyone.get("/operations?show=open")["Location"]
    form = anyone.get(asked).content.decode()
    wanted = re.search(r'name="next" value="([^"]*)"', form).group(1)
    answer = anyone.post("/login", {"name": "root", "password": factories.PASSWORD, "next": wanted})
    assert answer["Location"] == "/operations?show=open"


def test_a_refreshing_page_is_sent_to_log_in_as_a_whole():
    answer = Client().get("/operations", headers={"HX-Request": "true"})
    assert answer["HX-Redirect"] == "/login?next=%2Foperations"


@pytest.mark.parametrize(
    "next_page", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil", ""]
)
def test_login_leads_to_no_foreign_page(admin, next_page):
    answer = Client().post("/login", {"name": "root", "password": factories.PASSWORD, "next": next_page})
    assert answer["Location"] == "/"


def test_a_tenant_sees_its_own_and_nothing_of_others(world):
    ada = session("acme-admin")
    home = text(ada, "/")
    for word in ("acme/web", "acme/backend", "shop", "lair", "shop went wrong"):
        assert word in home, word
    for word in ("other", "rival", "dc1", "127.0.0.1:8802"):
        assert word not in home, word
    for path in pages_of(world["shop"]):
        text(ada, path)
    for path in [*pages_of(world["rival"]), f"/tenants/{world['other'].tenant.id}"]:
        assert "rival" not in text(ada, path, 404)
    assert "rival" not in text(ada, "/operations")


def test_a_member_of_one_project_sees_nothing_of_another_of_the_same_tenant(world):
    viewer = session("acme-viewer")
    for path in ["/", "/operations", "/operations?show=failed", f"/tenants/{world['acme'].tenant.id}"]:
        assert "backend" not in text(viewer, path), path
        assert "lair" not in text(viewer, path), path
    for path in pages_of(world["lair"]):
        text(viewer, path, 404)
    listed = world["acme"].viewer.get("operations")["items"]
    assert {row["target"]["name"] for row in listed} == {"shop"}
    assert {row["target"]["name"] for row in world["acme"].viewer.get("events")["items"]}.isdisjoint({"backend"})


def test_the_operation_that_a_page_goes_on_from_must_be_ones_own(world):
    ada = session("acme-admin")
    foreign = pages_of(world["rival"])[2].rpartition("/")[2]
    assert text(ada, f"/operations?before={foreign}").count("cluster.create") == 2
    text(ada, "/operations?before=nonsense&show=nonsense")


def test_sites_are_for_it(world):
    site = f"/sites/{world['zone'].site_id}"
    assert "site.read" in text(session("acme-admin"), site, 403)
    page = text(session("root"), site)
    for word in ("dc1", "host-1", "az1", "simulated"):
        assert word in page
    home = text(session("root"), "/")
    for word in ("dc1", "az1", "acme", "other", "shop", "rival"):
        assert word in home, word


def test_a_cluster_page_says_what_is_simulated_and_how_to_connect(world):
    page = text(session("acme-editor"), f"/clusters/{world['shop'].id}")
    assert "simulated" in page
    assert "no container runs in it" in page
    assert "facet cluster kubeconfig shop --project acme/web &gt; shop.yaml" in page
    assert "https://127.44.1.10:6443" in page
    with factories.as_system():
        names = list(world["shop"].nodes.values_list("name", flat=True))
    assert len(names) == 4
    assert all(name in page for name in names)


def test_who_may_not_have_a_kubeconfig_is_not_told_how(world):
    factories.person("watcher", "auditor")
    assert "facet cluster kubeconfig" not in text(session("watcher"), f"/clusters/{world['shop'].id}")


def test_operations_are_paged_newest_first(world, monkeypatch):
    monkeypatch.setattr("facet.console.reading.PAGE", 2)
    ada = session("acme-admin")
    landscape.operation(world["shop"], "running")
    first = text(ada, "/operations")
    assert first.count("cluster.create") == 2
    older = re.search(r'href="(/operations\?before=[^"]*)"', first).group(1)
    second = text(ada, older)
    assert second.count("cluster.create") == 1
    assert "Older operations" not in second
    assert text(ada, "/operations?show=open").count("cluster.create") == 1


def test_a_post_without_a_csrf_token_is_refused(admin):
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/login", {"name": "root", "password": factories.PASSWORD}).status_code == 403
    form = strict.get("/login").content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form).group(1)
    given = {"name": "root", "password": factories.PASSWORD, "csrfmiddlewaretoken": token}
    assert strict.post("/login", given).status_code == 302
    assert strict.post("/logout").status_code == 403
    text(strict, "/")


def test_logout_ends_the_session_and_asks_for_a_post(admin):
    client = session("root")
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    assert client.get("/logout").status_code == 405
    text(client, "/")
    assert client.post("/logout").status_code == 302
    client.cookies[settings.SESSION_COOKIE_NAME] = cookie
    assert client.get("/").status_code == 302


def test_a_login_begins_a_session_of_its_own(admin):
    factories.user("ada")
    client = session("root")
    first = client.cookies[settings.SESSION_COOKIE_NAME].value
    session("ada", client)
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != first
    late = Client()
    late.cookies[settings.SESSION_COOKIE_NAME] = first
    assert late.get("/").status_code == 302
    with factories.as_system():
        assert Event.objects.filter(verb="login", target_name__in=["root", "ada"]).count() == 2


def test_a_disabled_user_has_no_session(admin):
    ada = factories.user("ada")
    client = session("ada")
    text(client, "/")
    assert admin.patch(f"users/{ada.id}", {"disabled": True}).status == 200
    assert client.get("/").status_code == 302


def test_wrong_passwords_are_refused_and_throttled():
    factories.user("ada")
    for status in [401] * 10 + [429]:
        answer = Client().post("/login", {"name": "ada", "password": "guess"})
        assert answer.status_code == status
        assert b'value="ada"' in answer.content
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize("name", ["", "x" * 64, "a\x00b", "<script>alert(1)</script>"])
def test_hostile_names_are_refused_and_never_echoed_raw(name):
    answer = Client().post("/login", {"name": name, "password": "x"})
    assert answer.status_code in (401, 422)
    assert b"<script>alert" not in answer.content


def test_every_page_has_strict_headers(world):
    ada = session("acme-admin")
    for client, path in [
        (Client(), "/login"), (Client(), "/nowhere"), (ada, "/"), (ada, f"/clusters/{uuid4()}"),
        *((ada, path) for path in pages_of(world["shop"])),
    ]:  # fmt: skip
        answer = client.get(path)
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        page = answer.content.decode()
        assert not re.search(r"<style|style=|<script>|\son[a-z]+=|javascript:", page), path
        assert not re.search(r'(src|href)="(https?:)?//', page), path
    assert ada.get("/")["Cache-Control"] == "private, no-store"
    assert "script-src 'self';" in Client().get("/api/docs")["Content-Security-Policy"]


def test_hostile_text_of_others_is_shown_as_text(world):
    evil = "<img src=x onerror=alert(1)>"
    landscape.operation(world["shop"], "failed", problem={"detail": evil, "code": "x"})
    for path in ("/", "/operations", f"/clusters/{world['shop'].id}"):
        page = text(session("acme-admin"), path)
        assert evil not in page
        assert "&lt;img src=x" in page


def test_an_unknown_address_is_a_page(admin):
    assert "There is no such page" in text(Client(), "/nowhere", 404)
    assert Client().post("/").status_code == 405
    assert Client().get("/api/nowhere")["Content-Type"] == "application/problem+json"


def test_static_files_are_served_and_are_our_own():
    for path in ("/static/console/facet.css", "/static/console/facet.svg", "/static/django_htmx/htmx-2.min.js"):
        assert Client().get(path).status_code == 200, path


@override_settings(
    FACET_TRUSTED_PROXIES=["10.0.0.0/8"], SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    ALLOWED_HOSTS=["facet.example"],
)  # fmt: skip
@pytest.mark.parametrize(("peer", "status"), [("10.0.0.7", 302), ("192.0.2.7", 403)])
def test_a_form_is_taken_through_a_proxy_that_ends_tls_and_through_no_other(admin, peer, status):
    browser = Client(enforce_csrf_checks=True, headers={"host": "facet.example"}, REMOTE_ADDR=peer)
    through = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
    token = re.search(
        r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get("/login", headers=through).content.decode()
    ).group(1)
    given = {"name": "root", "password": factories.PASSWORD, "csrfmiddlewaretoken": token}
    answer = browser.post(
        "/login", given, headers=through | {"Origin": "https://facet.example", "Referer": "https://facet.example/login"}
    )
    assert answer.status_code == status


def test_a_project_shows_its_machines_and_what_differs_at_the_site(world):
    acme, zone = world["acme"], world["zone"]
    drift = [{"field": "vcpu", "wanted": 2, "seen": "<script>8", "since": "2026-01-01T00:00:00Z"}]
    landscape.machine(acme.project, zone, "steady")
    landscape.machine(acme.project, zone, "changed", drift=drift)
    landscape.machine(world["other"].project, zone, "foreign")
    with factories.as_system():
        owner = {"tenant": acme.tenant, "project": acme.project, "zone": zone}
        Volume.objects.create(**owner, name="data", size_gib=20)
        Network.objects.create(**owner, name="inside", cidr="10.1.0.0/24")
    page = text(session("acme-admin"), f"/projects/{acme.project.id}")
    assert page.index("changed") < page.index("steady")
    assert page.count("drift: vcpu") == 1
    assert "asked for 2, seen &lt;script&gt;8" in page
    for word in ("volume of 20 GiB", "10.1.0.0/24"):
        assert word in page, word
    assert "foreign" not in page
