"""The certificates, kubeconfigs and static pod manifests that kubeadm writes on a control plane."""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Any, Protocol

import yaml

from infra.simulator.guests import pki
from infra.simulator.guests.cloudconfig import Loader
from infra.simulator.guests.kubeadm.config import KubeadmError, host_port
from infra.simulator.guests.pki import Authority, PkiError

Obj = dict[str, Any]
ETC = "/etc/kubernetes"
PKI = f"{ETC}/pki"
MANIFESTS = f"{ETC}/manifests"
CA_NAMES = {"ca": "kubernetes", "etcd/ca": "etcd-ca", "front-proxy-ca": "front-proxy-ca"}
REPOSITORY = "simulated"


class Disk(Protocol):
    """The guest's disk and what names it."""

    address: str

    def read(self, path: str) -> bytes | None: ...

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None: ...

    def now(self) -> float: ...


def authorities(guest: Disk, algorithm: str, *, make: bool) -> dict[str, Authority]:
    """The three CAs on the guest's disk; with `make` those that are wholly missing are made. Raises PkiError."""
    found = {}
    for name, common_name in CA_NAMES.items():
        crt, key = guest.read(f"{PKI}/{name}.crt"), guest.read(f"{PKI}/{name}.key")
        if crt is None and key is None and make:
            made = pki.self_signed(common_name, pki.new_key(algorithm), guest.now())
            crt, key = pki.certificate_pem(made.certificate), pki.key_pem(made.key)
            guest.write(f"{PKI}/{name}.crt", crt)
            guest.write(f"{PKI}/{name}.key", key, 0o600)
        found[name] = pki.load_authority(f"{PKI}/{name}", crt, key, guest.now())
    _service_account_pair(guest, algorithm, make=make)
    return found


def _service_account_pair(guest: Disk, algorithm: str, *, make: bool) -> None:
    raw, public = guest.read(f"{PKI}/sa.key"), guest.read(f"{PKI}/sa.pub")
    if raw is None and public is None and make:
        key = pki.new_key(algorithm)
        raw, public = pki.key_pem(key), pki.public_pem(key)
        guest.write(f"{PKI}/sa.key", raw, 0o600)
        guest.write(f"{PKI}/sa.pub", public)
    key = pki.load_key(f"{PKI}/sa.key", raw)
    if public is None or public.split() != pki.public_pem(key).split():
        raise PkiError(f"{PKI}/sa.pub does not fit sa.key")


def service_address(cluster: Obj) -> str:
    subnet = str((cluster.get("networking") or {}).get("serviceSubnet") or "10.96.0.0/12").split(",")[0]
    try:
        return str(ipaddress.ip_network(subnet)[1])
    except ValueError as error:
        raise KubeadmError(f"networking.serviceSubnet: {error}") from error


def write(guest: Disk, node: str, version: str, cluster: Obj, cas: dict[str, Authority], endpoint: str) -> None:
    """Everything that a control plane has of its own. endpoint: host:port, what its kubeconfigs name."""
    algorithm = cluster.get("encryptionAlgorithm") or "RSA-2048"
    domain = (cluster.get("networking") or {}).get("dnsDomain") or "cluster.local"
    given = (cluster.get("apiServer") or {}).get("certSANs") or []
    host = host_port(endpoint)[0]
    services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    api_names = [node, *services, service_address(cluster), guest.address, host, *given]
    etcd_names = [node, "localhost", guest.address, "127.0.0.1", "::1"]
    masters = "system:masters"
    for path, ca, name, groups, sans in (
        ("apiserver", "ca", "kube-apiserver", (), api_names),
        ("apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client", (masters,), ()),
        ("apiserver-etcd-client", "etcd/ca", "kube-apiserver-etcd-client", (), ()),
        ("etcd/server", "etcd/ca", node, (), etcd_names),
        ("etcd/peer", "etcd/ca", node, (), etcd_names),
        ("etcd/healthcheck-client", "etcd/ca", "kube-etcd-healthcheck-client", (), ()),
        ("front-proxy-client", "front-proxy-ca", "front-proxy-client", (), ()),
    ):
        key = pki.new_key(algorithm)
        etcd = path.startswith("etcd/") and bool(sans)
        leaf = pki.issue(
            cas[ca], key.public_key(), name, guest.now(), organizations=groups, sans=sans,
            server=bool(sans), client=etcd or not sans,
        )  # fmt: skip
        guest.write(f"{PKI}/{path}.crt", pki.certificate_pem(leaf))
        guest.write(f"{PKI}/{path}.key", pki.key_pem(key), 0o600)
    _kubeconfigs(guest, node, cas["ca"], endpoint, algorithm, version)
    _manifests(guest, version, cluster)


def _kubeconfigs(guest: Disk, node: str, ca: Authority, endpoint: str, algorithm: str, version: str) -> None:
    users = {
        "admin.conf": ("kubernetes-admin", ("kubeadm:cluster-admins",)),
        "super-admin.conf": ("kubernetes-super-admin", ("system:masters",)),
        "controller-manager.conf": ("system:kube-controller-manager", ()),
        "scheduler.conf": ("system:kube-scheduler", ()),
        "kubelet.conf": (f"system:node:{node}", ("system:nodes",)),
    }
    for name, (user, groups) in users.items():
        key = pki.new_key(algorithm)
        leaf = pki.issue(ca, key.public_key(), user, guest.now(), organizations=groups)
        text = kubeconfig(ca, f"https://{endpoint}", user, pki.certificate_pem(leaf), pki.key_pem(key))
        guest.write(f"{ETC}/{name}", text, 0o600)


def kubeconfig(
    ca: Authority | None, server: str, user: str, certificate: bytes, key: bytes, ca_pem: bytes = b""
) -> bytes:
    """JSON, which is YAML."""
    pem = pki.certificate_pem(ca.certificate) if ca else ca_pem
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "kubernetes", "cluster": {"server": server, "certificate-authority-data": _b64(pem)}}
            ],
            "users": [
                {"name": user, "user": {"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)}}
            ],
            "contexts": [{"name": f"{user}@kubernetes", "context": {"cluster": "kubernetes", "user": user}}],
            "current-context": f"{user}@kubernetes",
        }
    ).encode()


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _manifests(guest: Disk, version: str, cluster: Obj) -> None:
    repository = cluster.get("imageRepository") or REPOSITORY
    images = {
        name: f"{repository}/{name}:{version}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    }
    for name, image in {**images, "etcd": f"{repository}/etcd:simulated"}.items():
        guest.write(f"{MANIFESTS}/{name}.yaml", json.dumps(static_pod(name, image)).encode(), 0o600)


def static_pod(name: str, image: str) -> Obj:
    labels = {"component": name, "tier": "control-plane"}
    spec = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "containers": [{"name": name, "image": image}],
    }
    metadata = {"name": name, "namespace": "kube-system", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def manifest(guest: Disk, name: str) -> Obj | None:
    """A static pod's manifest on the disk; None where there is none or it is no pod."""
    raw = guest.read(f"{MANIFESTS}/{name}.yaml")
    try:
        found = yaml.load(raw, Loader=Loader) if raw else None  # noqa: S506 it is the safe loader, in C
    except yaml.YAMLError:
        return None
    return found if isinstance(found, dict) and found.get("kind") == "Pod" else None


def virtual_address(guest: Disk) -> tuple[str, int] | None:
    """The endpoint that the guest's kube-vip manifest names in its env `address` and `port`."""
    pod = manifest(guest, "kube-vip")
    if pod is None:
        return None
    env = {
        item["name"]: str(item.get("value", "")) for box in pod["spec"]["containers"] for item in box.get("env") or ()
    }
    if not env.get("address"):
        return None
    return env["address"].partition("/")[0], int(env.get("port") or 6443)
