"""Kept connections to the clusters' APIs, each with a certificate of ten minutes that Facet makes for itself."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

import httpx

from facet.clusters.frameworks.base import ClusterFacts, Secrets
from facet.clusters.frameworks.kubernetes import etcd, pki, tls
from facet.clusters.frameworks.kubernetes.client import Client, open_http

KEPT = 256  # clusters; a context and its connection are about 100 kB
RENEW_BEFORE = timedelta(minutes=3)  # longer than any call takes


@dataclass(frozen=True)
class _Kept:
    client: Client
    until: datetime


class Connections:
    """Clients by cluster, endpoint and authority. Safe for threads."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], _Kept] = OrderedDict()
        self._lock = Lock()

    def client(self, cluster: ClusterFacts, secrets: Secrets) -> Client:
        """A client with the rights of system:masters, for the next minutes. No I/O: the first call connects."""
        url = base_url(cluster.endpoint_host, cluster.endpoint_port)
        key = (str(cluster.id), url, hashlib.sha256(secrets["ca.crt"]).hexdigest())
        now = self._clock()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.until > now:
                self._kept.move_to_end(key)
                return kept.client
        signed = pki.sign_admin(secrets, now)
        client = Client(open_http(url, tls.context(secrets["ca.crt"], signed)))
        with self._lock:
            self._kept[key] = _Kept(client, signed.not_after - RENEW_BEFORE)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                # Not closed: another thread may be in the middle of a call. Its sockets go with its last user.
                self._kept.popitem(last=False)
        return client

    def etcd(self, address: str, secrets: Secrets) -> httpx.Client:
        """A client for etcd on one control plane; the caller closes it."""
        signed = pki.sign_etcd_client(secrets, self._clock())
        return open_http(base_url(address, etcd.PORT), tls.context(secrets["etcd/ca.crt"], signed))


def base_url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
