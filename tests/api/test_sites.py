"""Sites over the API: who may, what is refused, and that nothing secret ever comes back."""

import base64

import pytest
from django.db import connection

from facet.rest.secrets import CannotOpen
from infra import outside
from infra.drivers.base import Unreachable
from infra.drivers.vsphere.faults import translated
from infra.models import Site
from tests import factories, sites
from tests.factories import as_system
from tests.vcsim import run

SECRET = "an oddly chosen pass phrase: 7Tf!"
WAY = {
    "name": "dc1", "driver": "vsphere", "endpoint": "https://127.0.0.1:9/sdk", "username": "u", "password": SECRET,
}  # fmt: skip


@pytest.fixture(scope="module")
def vcsim(tmp_path_factory):
    with run.running(tmp_path_factory.mktemp("vcsim"), "-hosts", "2") as program:
        yield program


def raw_rows(table):
    with as_system(), connection.cursor() as cursor:
        cursor.execute(f"select to_jsonb(t)::text from {table} t")
        return "\n".join(row[0] for row in cursor.fetchall())


def test_credentials_are_encrypted_and_never_returned(admin):
    with sites.logged() as log:
        made = admin.post("sites", WAY, Idempotency_Key="one")
        assert made.status == 202
        id = made["site"]["id"]
        other = SECRET + " and another"
        answers = [
            made,
            admin.post("sites", WAY, Idempotency_Key="one"),
            admin.get("sites"),
            admin.patch(f"sites/{id}", {"password": other}),
            admin.get(f"sites/{id}"),
            admin.post(f"sites/{id}/check"),
            admin.post(f"sites/{id}/sync"),
            admin.post("sites/check", WAY | {"name": "dc2"}),
            admin.post("sites", WAY),
            admin.post("sites", WAY | {"name": "Bad Name", "password": SECRET}),
            admin.delete(f"sites/{id}"),
            admin.get("operations"),
            admin.get("events"),
        ]
        sites.work()
        answers += [admin.get(f"sites/{id}"), admin.get("events"), admin.get("operations")]
    logged = log.getvalue()
    rows = "".join(
        raw_rows(table)
        for table in (
            "infra_site",
            "operations_event",
            "operations_operation",
            "operations_wakeup",
            "rest_idempotencykey",
        )
    )
    hidden = base64.b64encode(SECRET.encode()).decode()
    hexed = SECRET.encode().hex()
    assert f"sites/{id}" in logged
    for place in (repr([answer.body for answer in answers]), rows, logged):
        assert SECRET not in place
        assert hidden not in place
        assert hexed not in place
    assert "password" not in made["site"]


def test_the_password_is_sealed_for_this_site_alone(admin):
    admin.post("sites", WAY)
    admin.post("sites", WAY | {"name": "dc2"})
    one, two = Site.objects.order_by("name")
    assert bytes(one.password_sealed) != bytes(two.password_sealed)
    assert SECRET.encode() not in bytes(one.password_sealed)
    two.password_sealed = one.password_sealed
    with pytest.raises(CannotOpen):
        outside.connection_of(two)
    assert outside.connection_of(one).password == SECRET


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"driver": "openstack"}, "driver"),
        ({"driver": None}, "driver"),
        ({"endpoint": "http://vcenter.example.org/sdk"}, "endpoint"),
        ({"endpoint": "http://127.0.0.1/sdk"}, "endpoint"),
        ({"endpoint": "vcenter.example.org"}, "endpoint"),
        ({"endpoint": "https://"}, "endpoint"),
        ({"endpoint": "https://[::1/sdk"}, "endpoint"),
        ({"endpoint": "https://vcenter.example.org:99999/sdk"}, "endpoint"),
        ({"endpoint": "https://u:p@vcenter.example.org/sdk"}, "endpoint"),
        ({"endpoint": "https://vcenter.example.org/sdk?a=b"}, "endpoint"),
        ({"endpoint": "https://vcenter.example.org/s dk"}, "endpoint"),
        ({"endpoint": "file:///etc/passwd"}, "endpoint"),
        ({"endpoint": "https://" + "a" * 300}, "endpoint"),
        ({"endpoint": "https://" + "a" * 64 + ".example.org/sdk"}, "endpoint"),
        ({"endpoint": "https://vcenter..example.org/sdk"}, "endpoint"),
        ({"endpoint": "https://./sdk"}, "endpoint"),
        ({"endpoint": "https://%31/sdk"}, "endpoint"),
        ({"endpoint": 7}, "endpoint"),
        ({"driver": "simulator", "endpoint": "http://10.0.0.1:8802"}, "endpoint"),
        ({"ca_pem": "no certificate"}, "ca_pem"),
        ({"ca_pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}, "ca_pem"),
        ({"ca_pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "ca_pem"),
        ({"ca_pem": ["x"]}, "ca_pem"),
        ({"name": "DC 1"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"username": "u" * 256}, "username"),
        ({"password": "p" * 1025}, "password"),
        ({"password": 5}, "password"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_a_site_is_422_and_names_the_field(admin, change, field):
    for path in ("sites", "sites/check"):
        refused = admin.post(path, WAY | change)
        assert (refused.status, list(refused["errors"])) == (422, [field]), refused
    assert not Site.objects.exists()


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "[fd00::1]:8443", "vcenter.example.org.", "VCENTER", "esx_1.lab", "münchen.example"]
)
def test_what_can_be_the_address_of_a_site_is_taken(admin, host):
    assert admin.post("sites", WAY | {"endpoint": f"https://{host}/sdk"}).status == 202


def test_a_name_that_dns_cannot_have_is_unreachable_and_no_fault(admin):
    answer = admin.post("sites/check", WAY | {"driver": "simulator", "endpoint": "https://xn--0/"})
    assert (answer.status, answer["ok"], answer["problem"]["code"]) == (200, False, "unreachable")
    with pytest.raises(Unreachable), translated("https://a..b"):
        "a..b".encode("idna")


def test_a_change_is_checked_as_a_new_site_is(admin):
    id = admin.post("sites", WAY)["site"]["id"]
    for change in ({"endpoint": "http://127.0.0.1/sdk"}, {"ca_pem": "x"}, {"driver": "simulator"}, {"name": "dc2"}):
        assert admin.patch(f"sites/{id}", change).status == 422
    assert admin.get(f"sites/{id}")["generation"] == 1


def test_only_certificates_of_a_pem_are_kept(admin, vcsim):
    made = admin.post("sites", WAY | {"ca_pem": f"# a comment\n{vcsim.ca_pem}# and more\n"})
    assert made.status == 202
    assert Site.objects.get().ca_pem.strip() == vcsim.ca_pem.strip()
    (fingerprint,) = made["site"]["ca_sha256"]
    assert len(fingerprint) == 64
    assert "ca_pem" not in made["site"]


def test_a_name_is_taken_once_and_free_again_when_the_site_is_gone(admin):
    id = admin.post("sites", WAY)["site"]["id"]
    assert admin.post("sites", WAY)["code"] == "name_taken"
    assert admin.delete(f"sites/{id}").status == 202
    assert admin.patch(f"sites/{id}", {"username": "v"}).status == 409
    assert admin.post(f"sites/{id}/sync").status == 409
    assert admin.post(f"sites/{id}/resume").status == 409
    sites.work()
    assert admin.get(f"sites/{id}").status == 404
    assert admin.get(f"sites/{id}/hosts").status == 404
    assert admin.post("sites", WAY).status == 202


def test_a_stale_if_match_is_refused(admin):
    id = admin.post("sites", WAY)["site"]["id"]
    seen = admin.get(f"sites/{id}").headers["ETag"]
    assert admin.patch(f"sites/{id}", {"username": "v"}, If_Match=seen).status == 202
    stale = admin.patch(f"sites/{id}", {"username": "w"}, If_Match=seen)
    assert (stale.status, stale["current"]["username"]) == (412, "v")


def test_one_key_registers_one_site(admin):
    first = admin.post("sites", WAY, Idempotency_Key="k")
    again = admin.post("sites", WAY, Idempotency_Key="k")
    assert (first.status, again.body) == (202, first.body)
    assert Site.objects.count() == 1


def test_a_site_with_zones_stays(admin):
    site = sites.registered()
    sites.carved(site)
    refused = admin.delete(f"sites/{site.id}")
    assert (refused.status, refused["code"]) == (409, "in_use")
    assert refused["holders"] == [{"kind": "zone", "name": "az1"}]
    assert admin.get(f"sites/{site.id}")["phase"] == "active"


def test_a_way_is_tried_before_it_is_saved(admin, vcsim):
    way = {
        "name": "dc9", "driver": "vsphere", "endpoint": vcsim.endpoint, "username": vcsim.username,
        "password": vcsim.password, "ca_pem": vcsim.ca_pem,
    }  # fmt: skip
    good = admin.post("sites/check", way)
    assert (good.status, good["ok"], good["simulated"], good["problem"]) == (200, True, True, None)
    assert good["product"]
    bad = admin.post("sites/check", way | {"password": "wrong"})
    assert (bad.status, bad["ok"], bad["problem"]["code"]) == (200, False, "bad_credentials")
    assert not Site.objects.exists()


def test_no_transaction_is_open_while_a_site_is_tried(admin, monkeypatch):
    seen = []

    class Watching:
        def __init__(self, way):
            assert way.password == SECRET

        def check(self):
            seen.append(connection.in_atomic_block)
            raise Unreachable("It does not answer.")

        def close(self):
            seen.append("closed")

    monkeypatch.setattr("infra.views.sites.factory.connect", Watching)
    id = admin.post("sites", WAY)["site"]["id"]
    assert admin.post(f"sites/{id}/check")["ok"] is False
    assert admin.post("sites/check", WAY)["ok"] is False
    assert seen == [False, "closed"] * 2


def test_only_it_sees_and_changes_sites(admin, acme):
    site = sites.registered()
    auditor = factories.person("auditor", "auditor")
    parts = ("hosts", "datastores", "networks", "templates")
    reads = ["sites", f"sites/{site.id}", *(f"sites/{site.id}/{part}" for part in parts)]
    for path in reads:
        assert auditor.get(path).status == 200
        for person in (acme.tenant_admin, acme.editor, acme.viewer):
            assert person.get(path).status == 403, path
    for person in (acme.tenant_admin, acme.editor, acme.viewer, auditor):
        for verb in ("check", "sync", "resume"):
            assert person.post(f"sites/{site.id}/{verb}").status == 403
        assert person.post("sites", WAY).status == 403
        assert person.post("sites/check", WAY).status == 403
        assert person.patch(f"sites/{site.id}", {}).status == 403
        assert person.delete(f"sites/{site.id}").status == 403


def test_parts_are_paged_and_filtered(admin):
    site = sites.registered(found=sites.world([sites.host(n, rack=n % 2) for n in range(1, 8)]))
    sites.carved(site, rack=1)
    path = f"sites/{site.id}/hosts"
    page = admin.get(f"{path}?page_size=3")
    assert len(page["items"]) == 3
    rest = admin.get(f"{path}?page_size=50&cursor={page['next']}")
    assert len({row["id"] for row in page["items"] + rest["items"]}) == 7
    assert {row["vsphere_cluster"] for row in admin.get(f"{path}?zone=az1")["items"]} == {"rack-1"}
    assert [row["name"] for row in admin.get(f"{path}?name=host-2.example.org")["items"]] == ["host-2.example.org"]
    assert admin.get(f"{path}?zone=nowhere").status == 422
    assert admin.get(f"{path}?zone=%00").status == 422
    (store,) = admin.get(f"sites/{site.id}/datastores?name=ssd-1")["items"]
    assert [zone["name"] for zone in store["zones"]] == ["az1"]
    assert [row["vlan"] for row in admin.get(f"sites/{site.id}/networks?name=lan")["items"]] == [7]
