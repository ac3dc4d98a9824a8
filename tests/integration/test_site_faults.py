"""A site that cannot be reached as it should: it says why, keeps trying at a bounded pace, and nothing else suffers."""

import socket
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from facet.operations import engine, wakeups
from facet.operations.models import Circuit, Wakeup
from infra import outside, reconcile
from infra.drivers import base
from infra.models import Site
from tests import sites
from tests.factories import as_system
from tests.vcsim import run

SECRET = "an oddly chosen pass phrase: 7Tf!"


@pytest.fixture
def vcsim(tmp_path):
    with run.running(tmp_path, "-hosts", "2", password=SECRET) as program:
        yield program


@pytest.fixture(autouse=True)
def _no_driver_stays():
    yield
    with as_system():
        ids = list(Site.objects.values_list("id", flat=True))
    for id in ids:
        outside.forget(id)


@pytest.fixture
def told():
    """Everything that is logged."""
    with sites.logged() as text:
        yield text.getvalue


def fault(admin, vcsim, tmp_path, kind):
    """A site with this fault; the code that it should show."""
    match kind:
        case "password":
            return {"password": SECRET + "x"}, "bad_credentials"
        case "certificate":
            other = tmp_path / "other"
            other.mkdir()
            with run.running(other, "-hosts", "1") as another:
                return {"ca_pem": another.ca_pem}, "bad_certificate"
        case "endpoint":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                return {"endpoint": f"https://127.0.0.1:{free.getsockname()[1]}/sdk"}, "unreachable"


def everything_kept():
    """Every row of every table of ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'django_migrations'"
        )
        tables = [row[0] for row in cursor.fetchall()]
    text = []
    with as_system(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"select t::text from {table} t")
            text += [row[0] for row in cursor.fetchall()]
    return "\n".join(text)


@pytest.mark.parametrize("kind", ["password", "certificate", "endpoint"])
def test_a_site_says_what_is_wrong_and_no_secret_appears(admin, vcsim, tmp_path, told, kind):
    good = sites.add_vcenter(admin, vcsim, "good")
    changes, code = fault(admin, vcsim, tmp_path, kind)
    answers = [sites.add_vcenter(admin, vcsim, "bad", **changes)]
    bad = answers[0]["site"]["id"]
    for _ in range(3):  # an unreachable site is tried a second time before its operation fails
        with as_system():
            Circuit.objects.all().delete()
            Wakeup.objects.update(due_at=timezone.now())
        sites.work(most=3)

    shown = admin.get(f"sites/{bad}")
    assert (shown["phase"], shown["reason"]["code"]) == ("failing", code)
    assert shown["reason"]["sentence"]
    assert shown["reason"]["action"]
    operation = admin.get(f"operations/{answers[0]['operation']['id']}")
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", code)
    checked = admin.post(f"sites/{bad}/check")
    assert (checked.status, checked["ok"], checked["problem"]["code"]) == (200, False, code)
    assert admin.get(f"sites/{good['site']['id']}")["phase"] == "active"

    events = admin.get("events?page_size=500")
    assert [e["after"]["code"] for e in events["items"] if e["verb"] == "site.failing"] == [code]  # told once
    paths = [f"sites/{bad}", "sites", "operations", f"sites/{good['site']['id']}"]
    said = [repr(a.body) for a in (*answers, good, shown, operation, checked, events, *map(admin.get, paths))]
    assert bad in told()
    for password in (SECRET, SECRET + "x"):
        assert password not in "".join(said)
        assert password not in everything_kept()
        assert password not in told()


def due(kind, key):
    with as_system():
        row = Wakeup.objects.get(kind=kind, key=key)
    return (row.due_at - timezone.now()).total_seconds()


def test_a_wrong_password_is_tried_again_before_it_locks_the_account(admin, vcsim):
    bad = sites.add_vcenter(admin, vcsim, password="wrong")["site"]["id"]
    sites.work()
    assert 180 / 5 < due("site", bad) <= reconcile.LOGIN_AGAIN_S


def test_an_unreachable_site_backs_off_within_a_bound(admin):
    bad = admin.post(
        "sites", {"name": "bad", "driver": "vsphere", "endpoint": "https://127.0.0.1:9/sdk", "username": "u"}
    )["site"]["id"]
    for _ in range(12):
        with as_system():
            Circuit.objects.all().delete()
            Wakeup.objects.update(due_at=timezone.now())
        assert engine.take_next()
        assert 0 < due("site", bad) <= engine.LONGEST_BACK_OFF_S
    with as_system():
        Circuit.objects.all().delete()
        assert Wakeup.objects.get(key=bad).attempts == 12


def test_a_site_that_is_put_right_is_active_again(admin, vcsim):
    bad = sites.add_vcenter(admin, vcsim, password="wrong")["site"]["id"]
    sites.work()
    changed = admin.patch(f"sites/{bad}", {"password": vcsim.password})
    assert (changed.status, changed["site"]["generation"]) == (202, 2)
    sites.work()
    shown = admin.get(f"sites/{bad}")
    assert (shown["phase"], shown["reason"], shown["observed_generation"]) == ("active", None, 2)
    assert admin.get(f"operations/{changed['operation']['id']}")["phase"] == "succeeded"


@contextmanager
def meanwhile(monkeypatch, act):
    """`act` happens while the site is being asked, once."""
    connect = outside.factory.connect
    acts = [act]

    def connected(way):
        driver = connect(way)
        inventory = driver.inventory

        def looked():
            found = inventory()
            if acts:
                acts.pop()()
            return found

        driver.inventory = looked
        return driver

    with monkeypatch.context() as patch:
        patch.setattr(outside.factory, "connect", connected)
        yield


def test_a_site_deleted_while_it_is_looked_at_goes(admin, vcsim, monkeypatch):
    id = sites.add_vcenter(admin, vcsim)["site"]["id"]
    asked = []
    with meanwhile(monkeypatch, lambda: asked.append(admin.delete(f"sites/{id}"))):
        assert engine.take_next()
    assert asked[0].status == 202
    assert Site.objects.get(pk=id).phase == "deleting"
    assert admin.get(f"operations/{asked[0]['operation']['id']}")["phase"] == "pending"
    sites.work()
    assert admin.get(f"sites/{id}").status == 404
    assert bytes(Site.objects.get(pk=id).password_sealed) == b""
    assert admin.get(f"operations/{asked[0]['operation']['id']}")["phase"] == "succeeded"


def test_a_site_changed_while_it_is_looked_at_is_looked_at_again(admin, vcsim, monkeypatch):
    id = sites.add_vcenter(admin, vcsim)["site"]["id"]
    asked = []
    change = {"password": "wrong"}
    with meanwhile(monkeypatch, lambda: asked.append(admin.patch(f"sites/{id}", change))):
        assert engine.take_next()
    assert admin.get(f"sites/{id}")["observed_generation"] == 0
    sites.work()
    assert admin.get(f"sites/{id}")["reason"]["code"] == "bad_credentials"
    assert admin.get(f"operations/{asked[0]['operation']['id']}")["phase"] == "failed"


def test_yesterdays_failure_does_not_mark_a_site_that_was_put_right(admin, vcsim, monkeypatch):
    id = sites.add_vcenter(admin, vcsim, password="wrong")["site"]["id"]
    asked = []
    failing = reconcile._failing

    def late(*args):
        asked.append(admin.patch(f"sites/{id}", {"password": vcsim.password}))
        return failing(*args)

    with monkeypatch.context() as patch:
        patch.setattr(reconcile, "_failing", late)
        assert engine.take_next()
    assert admin.get(f"sites/{id}")["phase"] == "pending"
    assert admin.get(f"operations/{asked[0]['operation']['id']}")["phase"] == "pending"
    sites.work()
    assert admin.get(f"sites/{id}")["phase"] == "active"


def test_a_new_generation_closes_the_old_session(admin, vcsim):
    id = UUID(sites.add_vcenter(admin, vcsim)["site"]["id"])
    sites.work()
    with as_system():
        old = Site.objects.get(pk=id)
        before = outside.driver_of(old)
    admin.patch(f"sites/{id}", {"username": vcsim.username})
    with as_system():
        after = outside.driver_of(Site.objects.get(pk=id))
        assert outside.driver_of(old) is after  # who read the row earlier does not go back
    assert after is not before
    with pytest.raises(base.Unreachable):
        before.check()
    assert after.check().product


def test_a_sync_asked_for_during_a_look_waits_for_the_next(admin, vcsim, monkeypatch):
    id = sites.add_vcenter(admin, vcsim)["site"]["id"]
    asked = []
    with meanwhile(monkeypatch, lambda: asked.append(admin.post(f"sites/{id}/sync"))):
        assert engine.take_next()
    assert admin.get(f"operations/{asked[0]['operation']['id']}")["phase"] == "pending"
    with as_system():
        assert Wakeup.objects.get(key=id).due_at <= timezone.now() + timedelta(seconds=1)
    sites.work()
    assert admin.get(f"operations/{asked[0]['operation']['id']}")["phase"] == "succeeded"


def test_a_worker_that_lost_its_turn_writes_nothing_of_its_look(admin, vcsim, monkeypatch):
    id = sites.add_vcenter(admin, vcsim)["site"]["id"]

    def stolen():
        with as_system():
            Wakeup.objects.filter(key=id).update(turn=Wakeup.objects.get(key=id).turn + 1000)

    with meanwhile(monkeypatch, stolen):
        assert engine.run(wakeups.take()) is None
    assert admin.get(f"sites/{id}/hosts")["items"] == []
    assert admin.get(f"sites/{id}")["phase"] == "pending"
