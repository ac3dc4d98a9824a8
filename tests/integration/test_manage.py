"""What an operator runs: the first admin, the doctor, another key."""

from __future__ import annotations

import io
import json
import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client

from facet.management.commands import doctor, rotate_keys
from facet.rest import secrets
from infra import outside
from infra.models import Site
from tenants import first_admin
from tenants.models import Member
from tests import factories
from tests.client import Api

PASSWORD = "a decent pass phrase"


def said(command, *arguments):
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def test_the_first_admin_is_made_by_a_link_that_works_once():
    link = urlsplit(said("init", "--url", "https://facet.example.org").strip())
    assert (link.netloc, link.path) == ("facet.example.org", "/welcome")
    token = parse_qs(link.query)["token"][0]
    browser = Client()
    assert browser.get("/welcome", {"token": "guessed"}).status_code == 403
    assert b"password" in browser.get("/welcome", {"token": token}).content
    form = {"token": token, "name": "boss", "password": PASSWORD, "again": "another pass phrase"}
    assert browser.post("/welcome", form).status_code == 422
    assert browser.post("/welcome", form | {"password": "short", "again": "short"}).status_code == 422
    assert browser.post("/welcome", form | {"again": PASSWORD}).headers["Location"] == "/login"
    assert Api().post("login", {"username": "boss", "password": PASSWORD}).status == 201
    with factories.as_system():
        assert [member.role for member in Member.objects.all()] == ["platform-admin"]
    assert browser.post("/welcome", form | {"name": "second", "again": PASSWORD}).status_code == 409
    assert browser.get("/welcome", {"token": token}).status_code == 409
    with pytest.raises(CommandError, match="an admin already"):
        said("init")


def test_an_old_link_makes_nobody_an_admin(monkeypatch):
    token = first_admin.invitation()
    monkeypatch.setattr(first_admin, "LIFE", first_admin.LIFE * 0)
    answer = Client().post("/welcome", {"token": token, "name": "late", "password": PASSWORD, "again": PASSWORD})
    assert answer.status_code == 403


def test_the_doctor_names_what_is_wrong_and_the_fix(settings, tmp_path):
    out = io.StringIO()
    with pytest.raises(CommandError) as refused:
        call_command("doctor", stdout=out)
    told = out.getvalue()
    assert str(refused.value) == "1 things are wrong.", told  # the tests run without a doorbell
    assert "ok     role        logged in as facet_app, bound by row-level security" in told
    assert "WRONG  doorbell    Redis does not answer" in told
    ring = tmp_path / "keys.json"
    ring.write_text(Path(settings.FACET_KEYS_FILE).read_text())
    ring.chmod(0o644)
    settings.FACET_KEYS_FILE, settings.SECRET_KEY, settings.FACET_BIND = str(ring), "short", "0.0.0.0"
    out = io.StringIO()
    with pytest.raises(CommandError, match="4 things are wrong"):
        call_command("doctor", stdout=out)
    told = out.getvalue()
    assert "chmod 600" in told
    assert "openssl rand" in told
    assert "FACET_TLS_CERT" in told


def test_the_doctor_sees_a_clock_that_is_wrong(monkeypatch):
    assert doctor.clock() == "as the database's"
    monkeypatch.setattr(doctor.time, "time", lambda: 1_000_000_000.0)
    with pytest.raises(doctor.Wrong, match="NTP"):
        doctor.clock()


def test_every_sealed_column_is_sealed_anew():
    known = {(sealed.model, sealed.column) for sealed in rotate_keys.SEALED}
    there = {(model, field.name) for model in apps.get_models() for field in model._meta.fields}
    assert known == {(model, name) for model, name in there if name.endswith("_sealed")}


@pytest.fixture
def own_ring(settings, tmp_path):
    """A ring of this test's own, so that no other test meets its keys."""
    ring = tmp_path / "keys.json"
    secrets.Ring.make(ring)
    settings.FACET_KEYS_FILE = str(ring)
    secrets.forget_ring()
    yield ring
    secrets.forget_ring()


def test_a_new_key_seals_everything_anew_and_older_values_still_open(own_ring):
    with factories.as_system():
        site = Site(name="dc1", driver="simulator", endpoint="http://127.0.0.1:1", username="facet")
        site.password_sealed = secrets.seal(b"the password", owner=outside.owner(site.id))
        site.save()
    old = bytes(site.password_sealed)
    assert "1 values are sealed anew with key k2" in said("rotate_keys")
    with factories.as_system():
        site.refresh_from_db()
    assert bytes(site.password_sealed).startswith(b"k2:")
    assert secrets.unseal(site.password_sealed, owner=outside.owner(site.id)) == b"the password"
    assert secrets.unseal(old, owner=outside.owner(site.id)) == b"the password"
    assert stat.S_IMODE(own_ring.stat().st_mode) == 0o600
    assert json.loads(own_ring.read_text())["current"] == "k2"
    assert "0 values are sealed anew" in said("rotate_keys", "--keep")


def test_a_process_that_read_the_ring_before_opens_what_the_new_key_sealed(own_ring):
    secrets.seal(b"warm", owner="x:1")  # this process has read the ring now
    secrets.Ring.add(own_ring)
    sealed = secrets.Ring.read(own_ring).seal(b"new", "x:1")
    assert secrets.unseal(sealed, owner="x:1") == b"new"


def test_a_ring_that_cannot_be_written_is_a_sentence(own_ring, settings):
    settings.FACET_KEYS_FILE = str(own_ring.parent / "missing" / "keys.json")
    with pytest.raises(CommandError, match="rotate-keys --keep"):
        said("rotate_keys")
