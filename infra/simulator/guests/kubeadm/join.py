"""`kubeadm join`: find the cluster by its token, trust it by the CA's pin, get a certificate, become a Node."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from infra.simulator.guests import pki
from infra.simulator.guests.api.message import Request
from infra.simulator.guests.cloudconfig import Loader
from infra.simulator.guests.cluster import Cluster, Peer
from infra.simulator.guests.kubeadm import bootstrap, config, leaves, node
from infra.simulator.guests.kubeadm.config import KubeadmError
from infra.simulator.guests.kubeadm.init import Machine, advertise, manifests, preflight
from infra.simulator.guests.pki import PkiError

Obj = dict[str, Any]
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
KUBELET_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"


class Joiner(Machine, Protocol):
    """A guest that may call others."""

    join_timeout_s: float

    def dial(self, host: str, port: int) -> tuple[Cluster, Peer] | None:
        """Whose API answers there now."""

    async def came_up(self, host: str, port: int, timeout_s: float) -> None:
        """Wait until something begins to answer there, or so long."""


@dataclass(frozen=True)
class Refused(Exception):
    """The API answered, and not with 2xx."""

    code: int
    message: str


def call(
    cluster: Cluster,
    host: Peer,
    method: str,
    path: str,
    *,
    token: str = "",
    peer: Obj | None = None,
    body: Obj | None = None,
) -> Obj:
    """One request to the API's own handler. Raises Refused."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if method == "PATCH":
        headers["content-type"] = "application/merge-patch+json"
    raw = json.dumps(body).encode() if body is not None else b""
    response = cluster.api.answer(host, Request.of(method, path, headers, raw), peer)
    answered: Obj = json.loads(response.body)
    if response.status >= 300:
        raise Refused(response.status, str(answered.get("message", "")))
    return answered


async def join(guest: Joiner, documents: dict[str, Obj]) -> Callable[[], int]:
    """Wait until the cluster answers with a signature for our token; the rest is done at once."""
    try:
        wanted = _wanted(documents)
        await _reach(guest, wanted)
    except KubeadmError as error:
        return _failed(guest, error)

    def act() -> int:
        try:
            _join(guest, wanted)
        except (KubeadmError, PkiError) as error:
            return _failed(guest, error)()
        except Refused as error:
            return _failed(guest, KubeadmError(error.message))()
        return 0

    return act


def _failed(guest: Joiner, error: Exception) -> Callable[[], int]:
    def act() -> int:
        guest.log(f"error execution phase: {error}")
        return 1

    return act


@dataclass(frozen=True)
class Wanted:
    """A JoinConfiguration, taken apart."""

    host: str
    port: int
    token_id: str
    token_secret: str
    pins: tuple[str, ...]
    registration: Obj
    control_plane: Obj | None

    @property
    def token(self) -> str:
        return f"{self.token_id}.{self.token_secret}"


def _wanted(documents: dict[str, Obj]) -> Wanted:
    document = documents.get("JoinConfiguration")
    if document is None:
        raise KubeadmError("no JoinConfiguration was found")
    discovery = (document.get("discovery") or {}).get("bootstrapToken") or {}
    token_id, secret = config.token_parts(discovery.get("token", ""))
    pins = tuple(discovery.get("caCertHashes") or ())
    if not pins and not discovery.get("unsafeSkipCAVerification"):
        raise KubeadmError("discovery.bootstrapToken.caCertHashes: Required value: or set unsafeSkipCAVerification")
    for pin in pins:
        if not config.PIN.fullmatch(pin):
            raise KubeadmError(f"discovery.bootstrapToken.caCertHashes: {pin!r} is not sha256:<hex>")
    if not discovery.get("apiServerEndpoint"):
        raise KubeadmError("discovery.bootstrapToken: Required value: apiServerEndpoint is not set")
    host, port = config.host_port(discovery["apiServerEndpoint"])
    registration = document.get("nodeRegistration") or {}
    return Wanted(host, port, token_id, secret, pins, registration, document.get("controlPlane"))


async def _reach(guest: Joiner, wanted: Wanted) -> None:
    """Return as soon as cluster-info carries a signature for our token. Raises KubeadmError after the deadline."""
    loop = asyncio.get_running_loop()
    end, wait, told = loop.time() + guest.join_timeout_s, FIRST_WAIT_S, ""
    while True:
        why = _not_yet(guest, wanted)
        if not why:
            return
        if why != told:
            guest.log(f"[discovery] {why}, will try again")
            told = why
        left = end - loop.time()
        if left <= 0:
            raise KubeadmError(f"couldn't validate the identity of the API Server: {why}: timed out")
        await guest.came_up(wanted.host, wanted.port, min(wait, left))
        wait = min(wait * 2, LONGEST_WAIT_S)


def _not_yet(guest: Joiner, wanted: Wanted) -> str:
    found = guest.dial(wanted.host, wanted.port)
    if found is None:
        return f"Failed to request cluster-info: dial tcp {wanted.host}:{wanted.port}: connect: connection refused"
    try:
        info = _cluster_info(*found)
    except Refused as error:
        return f"Failed to request cluster-info: {error.message}"
    if bootstrap.JWS + wanted.token_id not in info["data"]:
        return f'The cluster-info ConfigMap does not yet contain a JWS signature for token ID "{wanted.token_id}"'
    return ""


def _cluster_info(cluster: Cluster, host: Peer) -> Obj:
    return call(cluster, host, "GET", "/api/v1/namespaces/kube-public/configmaps/cluster-info")


def _join(guest: Joiner, wanted: Wanted) -> None:
    found = guest.dial(wanted.host, wanted.port)
    if found is None:
        raise KubeadmError(f"dial tcp {wanted.host}:{wanted.port}: connect: connection refused")
    cluster, host = found
    ca_pem = _trusted(cluster, host, wanted)
    cluster_config = _cluster_config(cluster, host, wanted)
    name = wanted.registration.get("name") or guest.record.hostname
    _check_node(guest, cluster, host, wanted, name, cluster_config)
    if wanted.control_plane is not None:
        _control_plane(guest, cluster, wanted, name, cluster_config, ca_pem)
    _kubelet(guest, cluster, host, wanted, name, ca_pem)
    guest.log(f"This node has joined the cluster as {name}")


def _trusted(cluster: Cluster, host: Peer, wanted: Wanted) -> bytes:
    """The CA of cluster-info, once the token's signature, our pin and the server's certificate agree on it."""
    data = _cluster_info(cluster, host)["data"]
    if not pki.jws_fits(
        data[bootstrap.JWS + wanted.token_id], data["kubeconfig"], wanted.token_id, wanted.token_secret
    ):
        raise KubeadmError(
            "failed to verify JWS signature of received cluster info object, can't trust this API Server"
        )
    info = yaml.load(data["kubeconfig"], Loader=Loader)  # noqa: S506 it is the safe loader, in C
    pem = base64.b64decode(info["clusters"][0]["cluster"]["certificate-authority-data"])
    ca = pki.load_certificate("cluster-info's CA", pem)
    if wanted.pins and pki.pin(ca) not in wanted.pins:
        raise KubeadmError(
            f"cluster CA found in cluster-info ConfigMap is invalid: public key {pki.pin(ca)} not pinned"
        )
    leaf = pki.load_certificate("the API server's certificate", host.read(f"{leaves.PKI}/apiserver.crt"))
    if not pki.is_issued_by(leaf, ca):
        raise KubeadmError("x509: certificate signed by unknown authority")
    if wanted.host not in pki.names_of(leaf):
        raise KubeadmError(f"x509: certificate is not valid for {wanted.host}")
    return pem


def _cluster_config(cluster: Cluster, host: Peer, wanted: Wanted) -> Obj:
    path = "/api/v1/namespaces/kube-system/configmaps/kubeadm-config"
    text = call(cluster, host, "GET", path, token=wanted.token)["data"]["ClusterConfiguration"]
    found: Obj = yaml.load(text, Loader=Loader)  # noqa: S506 it is the safe loader, in C
    return found


def _check_node(guest: Joiner, cluster: Cluster, host: Peer, wanted: Wanted, name: str, cluster_config: Obj) -> None:
    """Raises KubeadmError for a name in use and for versions that do not go together."""
    version, own = cluster_config["kubernetesVersion"], guest.record.version
    if config.minor(own) > config.minor(version):
        raise KubeadmError(f"[ERROR KubeletVersion]: the kubelet {own} is newer than the control plane {version}")
    if wanted.control_plane is not None and config.minor(own) != config.minor(version):
        raise KubeadmError(f"this version of kubeadm ({own}) does not deploy a control plane of Kubernetes {version}")
    try:
        there = call(cluster, host, "GET", f"/api/v1/nodes/{name}", token=wanted.token)
    except Refused as error:
        if error.code != 404:
            raise
        return
    if any(item["type"] == "Ready" and item["status"] == "True" for item in there["status"].get("conditions", ())):
        raise KubeadmError(f'a Node with name "{name}" and status "Ready" already exists in the cluster')


def _control_plane(
    guest: Joiner, cluster: Cluster, wanted: Wanted, name: str, cluster_config: Obj, ca_pem: bytes
) -> None:
    preflight(guest, wanted.registration)
    advertise(guest, (wanted.control_plane or {}).get("localAPIEndpoint"))
    endpoint = cluster_config.get("controlPlaneEndpoint")
    if not endpoint:
        raise KubeadmError(
            "unable to add a new control plane instance to a cluster without a stable controlPlaneEndpoint"
        )
    cas = leaves.authorities(guest, cluster_config.get("encryptionAlgorithm") or "RSA-2048", make=False)
    if cas["ca"].certificate != pki.load_certificate("cluster-info's CA", ca_pem):
        raise KubeadmError("ca.crt on this machine is not the cluster's")
    host, port = config.host_port(endpoint)
    leaves.write(guest, name, cluster_config["kubernetesVersion"], cluster_config, cas, f"{host}:{port}")
    cluster.add_member(name, guest.record.key)
    guest.enter(cluster, name)
    try:
        guest.listen()
    except OSError as error:
        guest.stop_listening()
        raise KubeadmError(f"[wait-control-plane] the API server has ended: {error.strerror or error}") from error


def _kubelet(guest: Joiner, cluster: Cluster, host: Peer, wanted: Wanted, name: str, ca_pem: bytes) -> None:
    """TLS bootstrap by the token, then the Node as system:node:<name>."""
    key = pki.new_key()
    subject = x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{name}"),
    ])  # fmt: skip
    request = x509.CertificateSigningRequestBuilder(subject).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    body = {
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": KUBELET_SIGNER,
            "usages": ["digital signature", "client auth"],
        },
    }
    asked = call(cluster, host, "POST", CSRS, token=wanted.token, body=body)
    certificate = (asked.get("status") or {}).get("certificate")
    if not certificate:
        raise KubeadmError("timed out waiting for the kubelet's certificate: its request was not approved")
    server = f"https://{wanted.host}:{wanted.port}"
    text = leaves.kubeconfig(
        None, server, f"system:node:{name}", base64.b64decode(certificate), pki.key_pem(key), ca_pem
    )
    guest.write(f"{leaves.ETC}/kubelet.conf", text, 0o600)
    guest.write(f"{leaves.PKI}/ca.crt", ca_pem)
    guest.enter(cluster, name)
    number = len(cluster.store.list("nodes"))
    control_plane = wanted.control_plane is not None
    made = node.registered(guest.record, name, wanted.registration, control_plane=control_plane, number=number)
    peer = {"subject": ((("organizationName", "system:nodes"),), (("commonName", f"system:node:{name}"),))}
    try:
        stored = call(cluster, host, "POST", "/api/v1/nodes", peer=peer, body=made)
    except Refused as error:
        if error.code != 409:
            raise
        stored = call(
            cluster, host, "PATCH", f"/api/v1/nodes/{name}/status", peer=peer, body={"status": made["status"]}
        )
    bootstrap.lease(cluster.store, stored)
    if control_plane:
        bootstrap.mirror_pods(cluster.store, stored, manifests(guest))
        cluster.controllers.settle(host)
