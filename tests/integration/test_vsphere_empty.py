"""A vCenter whose process was killed and that comes back empty, as after a restore of an old backup, or another one."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from facet.operations.models import Circuit, Wakeup
from facet.workloads.models import VM
from infra import outside
from infra.models import Site
from tests import ground, room, work
from tests.contract import vsphere_site
from tests.factories import as_system

from .test_clusters import held
from .test_vsphere_faults import OTHERS, names_at

VMS = 8
WRITES = {"CloneVM_Task", "Destroy_Task", "CreateFolder", "CreateResourcePool", "ReconfigVM_Task", "PowerOnVM_Task",
          "PowerOffVM_Task", "RelocateVM_Task"}  # fmt: skip


@pytest.fixture
def certificate(tmp_path):
    """One that outlives the process: another certificate would already be refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vcsim")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "cert.pem").write_bytes(pem)
    (tmp_path / "vcsim-ca.pem").write_bytes(pem)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )  # fmt: skip
    return ["-cert", str(tmp_path / "cert.pem"), "-key", str(tmp_path / "key.pem")]


@contextmanager
def vcenter(folder, certificate, instance, address="127.0.0.1:0"):
    flags = [*certificate, "-instance-uuid", instance, "-guest-network", "10.77.0.0/16", "-l", address]
    with vsphere_site.running(folder, *flags) as site:
        yield site


@pytest.fixture
def land(tmp_path, certificate):
    """VMs at a vCenter that has been killed since."""
    with vcenter(tmp_path, certificate, "one") as site:
        found = ground.carved(site)
        asked = [
            found.editor.post(f"{found.project}/vms", {"name": f"db-{n}", "zones": found.zones, "flavor": "small"})
            for n in range(VMS)
        ]
        for one in asked:
            work.succeed(found.editor, one)
        assert len(names_at(site)) == VMS + len(OTHERS)
        site.by_hand.program.process.kill()
        site.by_hand.program.process.wait(10)
        late = found.editor.post(f"{found.project}/vms", {"name": "late", "zones": found.zones, "flavor": "small"})
        assert late.status == 202
    yield found
    with as_system():
        ids = list(Site.objects.values_list("id", flat=True))
    for id in ids:
        outside.forget(id)


def address(land):
    return land.site.connection.endpoint.removeprefix("https://").removesuffix("/sdk")


def vms(land):
    return {vm["name"]: vm for vm in land.editor.get(f"{land.project}/vms")["items"]}


def look(land):
    """A complete look, and everything else that is due, again and again."""
    with as_system():
        Circuit.objects.all().delete()
    operation = work.done(land.it, land.it.post(f"sites/{land.site_id}/sync"))
    for _ in range(3):
        with as_system():
            Wakeup.objects.update(due_at="2020-01-01T00:00:00Z")
        work.until(lambda: not Wakeup.objects.filter(due_at="2020-01-01T00:00:00Z", lease_until=None).exists())
    return operation


def untouched(land, again):
    """Nothing was made, changed or removed there, no row of ours is gone, and everything is still held."""
    assert names_at(again) == OTHERS
    assert not WRITES & again.by_hand.program.calls().keys()
    with as_system():
        assert VM.objects.filter(deleted_at=None, delete_asked_at=None).count() == VMS + 1
    room.check_books()


@pytest.mark.parametrize(("instance", "reason"), [("one", "fewer_vms"), ("two", "another_site")])
def test_an_empty_vcenter_is_left_to_a_person(land, tmp_path, certificate, instance, reason):
    before = held()
    with vcenter(tmp_path, certificate, instance, address(land)) as again:
        look(land)
        shown = land.it.get(f"sites/{land.site_id}")
        assert (shown["held_back"], shown["reason"]["code"]) == (True, reason)
        events = land.it.get("events?verb=site.held_back")["items"]
        assert [event["after"]["code"] for event in events] == [reason]  # told once
        untouched(land, again)
        look(land)
        untouched(land, again)
        assert held() == before
        assert land.editor.get(f"vms/{vms(land)['late']['id']}")["reason"]["code"] == "site_held_back"

        work.succeed(land.it, land.it.post(f"sites/{land.site_id}/resume"))
        look(land)
        assert {vm["reason"]["code"] for name, vm in vms(land).items() if name != "late"} == {"machine_missing"}
        assert names_at(again) == OTHERS  # a VM at rest is not made anew because it is missing
        for vm in vms(land).values():
            work.succeed(land.editor, land.editor.delete(f"vms/{vm['id']}"))
        assert names_at(again) == OTHERS
    assert held()["vms"] == held()["allocations"] == held()["vcpu_on_hosts"] == 0
    room.check_books()
