"""A cluster's certificate authorities, and the short-lived client certificates that Facet signs with them.

Everything stays in memory. ECDSA P-256 throughout: three authorities and a key pair cost under a millisecond, a leaf
less than half of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from facet.clusters.frameworks.base import Level, Secrets

AUTHORITIES = {"ca": "kubernetes", "etcd/ca": "etcd-ca", "front-proxy-ca": "front-proxy-ca"}  # file -> common name
CA_FILES = tuple(f"{name}.{end}" for name in AUTHORITIES for end in ("crt", "key"))
SERVICE_ACCOUNT_FILES = ("sa.pub", "sa.key")
CA_LIFETIME = timedelta(days=3650)
BACKDATE = timedelta(minutes=5)  # a node's clock may be behind ours
ADMIN_LIFETIME = timedelta(minutes=10)
ADMINS = "system:masters"
NAME_LIMIT = 64  # characters of a common name (RFC 5280, ub-common-name)

_NO_PASSWORD = serialization.NoEncryption()
_CA_USAGE = x509.KeyUsage(True, False, True, False, False, True, True, False, False)
_LEAF_USAGE = x509.KeyUsage(True, False, False, False, False, False, False, False, False)


@dataclass(frozen=True)
class ClientCertificate:
    certificate: bytes
    key: bytes = field(repr=False)
    not_after: datetime


def make_secrets(now: datetime) -> dict[str, bytes]:
    """The PEM files below /etc/kubernetes/pki, by their path there. `now` is aware."""
    made: dict[str, bytes] = {}
    for file, common_name in AUTHORITIES.items():
        key = ec.generate_private_key(ec.SECP256R1())
        made[f"{file}.crt"] = _authority(common_name, key, now).public_bytes(serialization.Encoding.PEM)
        made[f"{file}.key"] = _pem(key)
    pair = ec.generate_private_key(ec.SECP256R1())
    made["sa.key"] = _pem(pair)
    made["sa.pub"] = pair.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return made


def _authority(common_name: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_CA_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, _NO_PASSWORD)


def sign_client(
    secrets: Secrets,
    common_name: str,
    *,
    organizations: Sequence[str] = (),
    lifetime: timedelta,
    now: datetime,
    authority: str = "ca",
) -> ClientCertificate:
    """A new key and its certificate for TLS clients, signed by one of AUTHORITIES; it never outlives that one."""
    ca, ca_key = _load(secrets[f"{authority}.crt"], secrets[f"{authority}.key"])
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, fitting(common_name))])
    not_after = min(now + lifetime, ca.not_valid_after_utc).replace(microsecond=0)
    certificate = (
        x509.CertificateBuilder(ca.subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(max(now - BACKDATE, ca.not_valid_before_utc))
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_LEAF_USAGE, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return ClientCertificate(certificate.public_bytes(serialization.Encoding.PEM), _pem(key), not_after.astimezone(UTC))


def sign_admin(secrets: Secrets, now: datetime) -> ClientCertificate:
    """Facet's own way in: ten minutes, never given out."""
    return sign_client(secrets, "facet-admin", organizations=(ADMINS,), lifetime=ADMIN_LIFETIME, now=now)


def sign_user(
    secrets: Secrets, subject: str, project_id: object, level: Level, lifetime: timedelta, now: datetime
) -> ClientCertificate:
    """A person's certificate: its group is the project's level, so that RBAC binds groups and never names."""
    group = group_name(project_id, level)
    return sign_client(secrets, subject, organizations=(group,), lifetime=lifetime, now=now)


def sign_etcd_client(secrets: Secrets, now: datetime) -> ClientCertificate:
    return sign_client(secrets, "facet-etcd", lifetime=ADMIN_LIFETIME, now=now, authority="etcd/ca")


def group_name(project_id: object, level: Level) -> str:
    return f"facet:{project_id}:{level.value}"


def fitting(common_name: str) -> str:
    """`common_name`, cut where X.509 would refuse it; a digest of the whole keeps two long names apart."""
    if len(common_name) <= NAME_LIMIT:
        return common_name
    return f"{common_name[: NAME_LIMIT - 9]}-{hashlib.sha256(common_name.encode()).hexdigest()[:8]}"


def ca_pin(secrets: Secrets) -> str:
    """kubeadm's caCertHashes entry: SHA-256 of the CA's DER SubjectPublicKeyInfo."""
    public = x509.load_pem_x509_certificate(secrets["ca.crt"]).public_key()
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(der).hexdigest()


@lru_cache(maxsize=64)
def _load(certificate: bytes, key: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    private = serialization.load_pem_private_key(key, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an ECDSA key")
    return x509.load_pem_x509_certificate(certificate), private
