"""TLS of a client that trusts one authority alone and shows a certificate that was never on a disk."""

from __future__ import annotations

import os
import ssl

from facet.clusters.frameworks.kubernetes.pki import ClientCertificate


def context(authority: bytes, client: ClientCertificate) -> ssl.SSLContext:
    """Verifies name and chain against `authority` (PEM) only: the system's authorities are not loaded."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_verify_locations(cadata=authority.decode())
    _load(made, client)
    return made


def _load(made: ssl.SSLContext, client: ClientCertificate) -> None:
    """ssl reads keys from files only; a memfd is one that lives in memory and goes with its descriptor."""
    descriptor = os.memfd_create("facet", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, client.certificate + client.key)
        made.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
