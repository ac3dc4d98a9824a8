"""`kubeadm init`: preflight, certificates, a new etcd cluster, the bootstrap objects, the first Node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from infra.simulator.guests import pki
from infra.simulator.guests.api import resources, verbs
from infra.simulator.guests.api.verbs import Target
from infra.simulator.guests.cluster import Cluster, Peer
from infra.simulator.guests.disk import Record
from infra.simulator.guests.kubeadm import bootstrap, config, leaves, node
from infra.simulator.guests.kubeadm.config import KubeadmError
from infra.simulator.guests.pki import PkiError

Obj = dict[str, Any]
MIN_CPUS, MIN_MEMORY_MIB = 2, 1700
API_PORT = 6443


class Machine(Peer, leaves.Disk, Protocol):
    """A guest, as kubeadm runs in it."""

    address: str  # type: ignore[assignment]  # both protocols ask for it
    record: Record

    def log(self, line: str) -> None: ...

    def new_cluster(self) -> Cluster: ...

    def enter(self, cluster: Cluster, node_name: str) -> None:
        """From now on this guest's kubelet is that node of that cluster."""

    def listen(self) -> None:
        """Start API server, etcd and, where its turn, the endpoint. Raises OSError."""

    def stop_listening(self) -> None: ...


def preflight(guest: Machine, registration: Obj) -> None:
    """What kubeadm checks of a control plane before it begins. Raises KubeadmError with every error."""
    record, ignored = guest.record, set(registration.get("ignorePreflightErrors") or ())
    errors = []
    if record.vcpu < MIN_CPUS:
        errors.append(("NumCPU", f"the number of available CPUs {record.vcpu} is less than the required {MIN_CPUS}"))
    if record.memory_mib < MIN_MEMORY_MIB:
        errors.append(("Mem", f"the system RAM ({record.memory_mib} MB) is less than the minimum {MIN_MEMORY_MIB} MB"))
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"):
        path = f"{leaves.MANIFESTS}/{name}.yaml"
        if guest.read(path) is not None:
            errors.append((f"FileAvailable--{path.replace('/', '-')}", f"{path} already exists"))
    left = [(name, words) for name, words in errors if name not in ignored and "all" not in ignored]
    if left:
        lines = "".join(f"\t[ERROR {name}]: {words}\n" for name, words in left)
        raise KubeadmError(f"[preflight] Some fatal errors occurred:\n{lines}[preflight] see ignorePreflightErrors")


def advertise(guest: Machine, endpoint: Obj | None) -> None:
    """Raises KubeadmError where the API is told to listen elsewhere than at this guest's address, port 6443."""
    given = endpoint or {}
    if given.get("advertiseAddress", guest.address) != guest.address:
        raise KubeadmError(f"bind {given['advertiseAddress']}: cannot assign requested address")
    if given.get("bindPort", API_PORT) != API_PORT:
        raise KubeadmError(f"localAPIEndpoint.bindPort: a simulated guest listens on {API_PORT} alone")


def init(guest: Machine, documents: dict[str, Obj]) -> Callable[[], int]:
    """`kubeadm init` as something that is done at once."""

    def act() -> int:
        try:
            _init(guest, documents)
        except (KubeadmError, PkiError) as error:
            guest.log(f"error execution phase: {error}")
            return 1
        return 0

    return act


def _init(guest: Machine, documents: dict[str, Obj]) -> None:
    first, cluster = documents.get("InitConfiguration", {}), documents.get("ClusterConfiguration", {})
    registration = first.get("nodeRegistration") or {}
    version = cluster.get("kubernetesVersion") or guest.record.version
    check_version(version, guest.record.version)
    preflight(guest, registration)
    advertise(guest, first.get("localAPIEndpoint"))
    for token in first.get("bootstrapTokens") or ():
        config.token_parts(token.get("token", ""))
        config.expiry(token, guest.now())
    name = registration.get("name") or guest.record.hostname
    endpoint = cluster.get("controlPlaneEndpoint") or f"{guest.address}:{API_PORT}"
    host, port = config.host_port(endpoint)
    check_endpoint(guest, host, port, version)
    guest.log(f"[init] Using Kubernetes version: {version}")
    cas = leaves.authorities(guest, cluster.get("encryptionAlgorithm") or "RSA-2048", make=True)
    registered = node.registered(guest.record, name, registration, control_plane=True, number=0)
    leaves.write(guest, name, version, cluster, cas, f"{host}:{port}")
    guest.log(
        "[certs] Generated the certificates; [kubeconfig] Wrote the kubeconfigs; [control-plane] Wrote the manifests"
    )
    _begin(guest, name, documents, pki.certificate_pem(cas["ca"].certificate), f"{host}:{port}", version, registered)
    guest.log("Your Kubernetes control-plane has initialized successfully!")


def check_version(wanted: str, kubeadm: str) -> None:
    if config.minor(wanted) > config.minor(kubeadm):
        raise KubeadmError(f"this version of kubeadm ({kubeadm}) does not deploy Kubernetes {wanted}, which is newer")
    if config.minor(wanted) < config.minor(kubeadm) - 1:
        words = f"only supports deploying clusters with the control plane version >= 1.{config.minor(kubeadm) - 1}.0"
        raise KubeadmError(f"this version of kubeadm ({kubeadm}) {words}")


def check_endpoint(guest: Machine, host: str, port: int, version: str) -> None:
    """The endpoint must be this guest's own, or one that its kube-vip can bring up while init runs."""
    virtual = leaves.virtual_address(guest)
    if (host, port) == (guest.address, API_PORT):
        return
    if virtual != (host, port):
        raise KubeadmError(f"[wait-control-plane] {host}:{port} is not served: no kube-vip manifest names it")
    raw = guest.read(f"{leaves.MANIFESTS}/kube-vip.yaml") or b""
    if config.minor(version) >= 29 and b"/etc/kubernetes/super-admin.conf" not in raw:
        words = "kube-vip may not take its lease: since v1.29 admin.conf has no rights before init has ended"
        raise KubeadmError(f"[wait-control-plane] {host}:{port} is not served: {words} (super-admin.conf has)")


def _begin(
    guest: Machine, name: str, documents: dict[str, Obj], ca_pem: bytes, endpoint: str, version: str, registered: Obj
) -> None:
    cluster = guest.new_cluster()
    cluster.add_member(name, guest.record.key)
    guest.enter(cluster, name)
    try:
        guest.listen()
    except OSError as error:
        guest.stop_listening()
        raise KubeadmError(f"[wait-control-plane] the API server has ended: {error.strerror or error}") from error
    written = {**documents.get("ClusterConfiguration", {}), "kubernetesVersion": version}
    bootstrap.fill(cluster.store, written, documents.get("InitConfiguration", {}), ca_pem, endpoint, version)
    made = verbs.create_object(cluster.store, Target(resources.of("nodes")), registered)
    bootstrap.lease(cluster.store, made)
    bootstrap.mirror_pods(cluster.store, made, manifests(guest))
    cluster.controllers.settle(guest)


def manifests(guest: Machine) -> list[Obj]:
    names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-vip")
    return [found for name in names if (found := leaves.manifest(guest, name)) is not None]
