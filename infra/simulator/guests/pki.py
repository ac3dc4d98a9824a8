"""Keys, certificates and signatures, as kubeadm and the API server make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
LEAF_DAYS = 365
CA_DAYS = 3650


class PkiError(Exception):
    """A key, certificate or signature is not what it should be; the text says which."""


@dataclass(frozen=True)
class Authority:
    certificate: x509.Certificate
    key: PrivateKey


def new_key(algorithm: str = "ECDSA-P256") -> PrivateKey:
    """algorithm: kubeadm's `encryptionAlgorithm` (ECDSA-P256 | ECDSA-P384 | RSA-2048 | RSA-3072 | RSA-4096)."""
    kind, _, size = algorithm.partition("-")
    if kind == "ECDSA":
        return ec.generate_private_key(ec.SECP384R1() if size == "P384" else ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(size))


def key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def public_pem(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def load_certificate(name: str, pem: bytes | None) -> x509.Certificate:
    if pem is None:
        raise PkiError(f"couldn't load {name}: no such file")
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise PkiError(f"couldn't load {name}: {error}") from error


def load_key(name: str, pem: bytes | None) -> PrivateKey:
    if pem is None:
        raise PkiError(f"couldn't load {name}: no such file")
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as error:
        raise PkiError(f"couldn't load {name}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise PkiError(f"couldn't load {name}: neither an ECDSA nor an RSA key")
    return key


def load_authority(name: str, crt: bytes | None, key: bytes | None, now: float) -> Authority:
    """A CA whose key fits its certificate and which is valid at `now` (seconds of the epoch)."""
    certificate, private = load_certificate(f"{name}.crt", crt), load_key(f"{name}.key", key)
    if certificate.public_key() != private.public_key():
        raise PkiError(f"{name}.key does not fit {name}.crt")
    check_validity(f"{name}.crt", certificate, now)
    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        raise PkiError(f"{name}.crt is not a CA certificate")
    return Authority(certificate, private)


def check_validity(name: str, certificate: x509.Certificate, now: float) -> None:
    at = datetime.fromtimestamp(now, UTC)
    if at < certificate.not_valid_before_utc:
        raise PkiError(f"{name} is not valid before {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}")
    if at > certificate.not_valid_after_utc:
        raise PkiError(f"{name} has expired on {certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}")


def pin(certificate: x509.Certificate) -> str:
    """kubeadm's caCertHashes entry: sha256 over the DER SubjectPublicKeyInfo."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return "sha256:" + hashlib.sha256(spki).hexdigest()


def self_signed(common_name: str, key: PrivateKey, now: float) -> Authority:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    start = datetime.fromtimestamp(now, UTC)
    usage = x509.KeyUsage(True, False, True, False, False, True, False, False, False)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start - timedelta(minutes=5))
        .not_valid_after(start + timedelta(days=CA_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def issue(
    ca: Authority,
    public_key: Any,
    common_name: str,
    now: float,
    *,
    organizations: Sequence[str] = (),
    sans: Sequence[str] = (),
    server: bool = False,
    client: bool = True,
    seconds: float = LEAF_DAYS * 86400,
) -> x509.Certificate:
    """A leaf certificate: usages as asked, never outliving its CA, valid from when the CA is (as kubeadm's are)."""
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    end = min(datetime.fromtimestamp(now + seconds, UTC), ca.certificate.not_valid_after_utc)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * server + [ExtendedKeyUsageOID.CLIENT_AUTH] * client
    builder = (
        x509.CertificateBuilder(ca.certificate.subject, subject, public_key, x509.random_serial_number())
        .not_valid_before(ca.certificate.not_valid_before_utc)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(True, False, True, False, False, False, False, False, False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
    )
    if sans:
        general = [_general_name(name) for name in dict.fromkeys(sans)]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    return builder.sign(ca.key, hashes.SHA256())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def names_of(certificate: x509.Certificate) -> set[str]:
    """Its DNS names and IP addresses, as text."""
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {*san.get_values_for_type(x509.DNSName), *map(str, san.get_values_for_type(x509.IPAddress))}


def is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


# signatures of tokens


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def detached_jws(payload: str, token_id: str, token_secret: str) -> str:
    """The signature that cluster-info carries for a bootstrap token: HS256, its payload left out."""
    header = b64url(json.dumps({"alg": "HS256", "kid": token_id}, separators=(",", ":")).encode())
    signed = f"{header}.{b64url(payload.encode())}".encode()
    return f"{header}..{b64url(hmac.digest(f'{token_id}.{token_secret}'.encode(), signed, 'sha256'))}"


def jws_fits(jws: str, payload: str, token_id: str, token_secret: str) -> bool:
    return hmac.compare_digest(jws.encode(), detached_jws(payload, token_id, token_secret).encode())


def sign_jwt(claims: dict[str, Any], key: PrivateKey) -> str:
    algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
    signed = ".".join(b64url(json.dumps(part).encode()) for part in ({"alg": algorithm, "typ": "JWT"}, claims))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    else:
        raw = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{b64url(raw)}"


def read_jwt(token: str, public: Any) -> dict[str, Any] | None:
    """The claims of a token signed by `public`'s private key; None for any other text."""
    try:
        header, body, raw = token.split(".")
        signed, signature = f"{header}.{body}".encode(), unb64url(raw)
        if isinstance(public, ec.EllipticCurvePublicKey):
            half = len(signature) // 2
            dss = utils.encode_dss_signature(
                int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
            )
            public.verify(dss, signed, ec.ECDSA(hashes.SHA256()))
        else:
            public.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        claims = json.loads(unb64url(body))
    except (ValueError, InvalidSignature):
        return None
    return claims if isinstance(claims, dict) else None
