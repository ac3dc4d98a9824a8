"""Authorities and certificates, held against openssl."""

from __future__ import annotations

import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from facet.clusters.frameworks.base import BadSpec, Level
from facet.clusters.frameworks.kubernetes import kubeadm, pki
from facet.clusters.frameworks.kubernetes.framework import Kubernetes
from infra.simulator.guests.kubeadm import leaves
from tests.unit.frameworks.examples import CLUSTER, NOW, secrets
from tests.unit.guests.userdata import Cluster

HOUR = timedelta(hours=1)


def openssl(*arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=False)
    return (done.stdout + done.stderr).decode()


@pytest.fixture(scope="module")
def made():
    return Kubernetes(clock=lambda: NOW).prepare(CLUSTER).secrets


@pytest.mark.parametrize(("name", "common_name"), sorted(pki.AUTHORITIES.items()))
def test_an_authority_is_one_and_five_minutes_old(made, name, common_name):
    found = x509.load_pem_x509_certificate(made[f"{name}.crt"])
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == common_name
    assert found.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert found.not_valid_after_utc > NOW + timedelta(days=3649)
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = serialization.load_pem_private_key(made[f"{name}.key"], None)
    assert key.public_key() == found.public_key()


def test_authorities_differ_and_no_two_clusters_share_one(made):
    again = pki.make_secrets(NOW)
    assert len({made[f"{name}.key"] for name in pki.AUTHORITIES}) == 3
    assert not set(made.values()) & set(again.values())


def test_openssl_verifies_what_we_sign(made, tmp_path):
    ca, leaf = tmp_path / "ca.crt", tmp_path / "leaf.crt"
    ca.write_bytes(made["ca.crt"])
    leaf.write_bytes(pki.sign_user(made, "ada", CLUSTER.project_id, Level.EDITOR, HOUR, NOW).certificate)
    at = str(int(NOW.timestamp()))
    verify = ("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(ca))
    assert openssl(*verify, "-attime", at, str(leaf)).strip() == f"{leaf}: OK"
    late = str(int((NOW + timedelta(hours=2)).timestamp()))
    assert "certificate has expired" in openssl(*verify, "-attime", late, str(leaf))
    assert "error" in openssl("verify", "-purpose", "sslserver", "-CAfile", str(ca), "-attime", at, str(leaf))
    ca.write_bytes(made["etcd/ca.crt"])
    assert "error" in openssl(*verify, "-attime", at, str(leaf))


def test_a_persons_certificate_carries_the_projects_group_and_no_more(made):
    signed = pki.sign_user(made, "ada", CLUSTER.project_id, Level.VIEWER, HOUR, NOW)
    found = x509.load_pem_x509_certificate(signed.certificate)
    groups = [one.value for one in found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    assert groups == [f"facet:{CLUSTER.project_id}:viewer"]
    assert found.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert found.not_valid_after_utc == signed.not_after == NOW + HOUR
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert "PRIVATE" not in repr(signed)


def test_our_own_way_in_lasts_ten_minutes(made):
    found = x509.load_pem_x509_certificate(pki.sign_admin(made, NOW).certificate)
    assert found.not_valid_after_utc - NOW == timedelta(minutes=10)
    assert found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"


def test_no_certificate_outlives_its_authority(made):
    end = x509.load_pem_x509_certificate(made["ca.crt"]).not_valid_after_utc
    signed = pki.sign_user(made, "ada", CLUSTER.project_id, Level.EDITOR, HOUR, end - timedelta(minutes=1))
    assert signed.not_after == end


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(seconds=-1), timedelta(hours=24, seconds=1)])
def test_a_kubeconfig_lasts_a_day_at_most(made, lifetime):
    with pytest.raises(BadSpec) as refused:
        Kubernetes().access(CLUSTER, made, "ada", Level.EDITOR, lifetime)
    assert refused.value.field == "lifetime_s"


def test_long_names_stay_apart_within_x509s_limit():
    one, two = pki.fitting("a" * 80 + "1"), pki.fitting("a" * 80 + "2")
    assert one != two
    assert len(one) == len(two) == 64
    assert pki.fitting("ada") == "ada"


def test_the_pin_is_what_openssl_makes_of_it():
    pem = secrets()["ca.crt"]
    public = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=pem, capture_output=True, check=True).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public, capture_output=True, check=True
    )
    digest = openssl("dgst", "-sha256", stdin=der.stdout).split()[-1]
    assert pki.ca_pin(secrets()) == f"sha256:{digest}"


def test_tokens_have_kubeadms_form_and_a_bad_one_is_not_repeated():
    assert len({kubeadm.new_token() for _ in range(50)}) == 50
    kubeadm.split_token(kubeadm.new_token())
    with pytest.raises(ValueError) as refused:
        kubeadm.split_token("abcdef.SECRET")
    assert "SECRET" not in str(refused.value)


def test_a_guests_api_server_bears_kubeadms_names(site):
    """kubeadm makes the leaves on the node; the simulated one gives them the names that it would."""
    cluster = Cluster(site.vip())
    key = site.works("shop-cp", cluster.init("shop-cp"))
    pem = site.house.disk.read(key, f"{leaves.PKI}/apiserver.crt")
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"shop-cp", "kubernetes", "kubernetes.default.svc.cluster.local"} <= set(
        names.get_values_for_type(x509.DNSName)
    )
    addresses = {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    assert {cluster.endpoint, site.house.address(key), "10.96.0.1"} <= addresses
