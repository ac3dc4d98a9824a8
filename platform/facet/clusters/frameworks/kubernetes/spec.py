"""What a cluster may be: every rule names its field and says what would do instead."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from facet.clusters.frameworks.base import BadSpec, ClusterSpec, FlavorFacts, PoolSpec, Taint
from facet.clusters.frameworks.kubernetes import names, versions

DEFAULT_POD_CIDR = "10.244.0.0/16"
DEFAULT_SERVICE_CIDR = "10.96.0.0/12"
CONTROL_PLANE_COUNTS = (1, 3, 5)
CONTROL_PLANE_VCPU = 2  # kubeadm's preflight, and so ours
CONTROL_PLANE_MEMORY_MIB = 1700
NODE_PREFIX = 24  # bits: what kube-controller-manager gives each node out of the pod network
SERVICE_PREFIXES = range(12, 29)  # kubeadm refuses a service network that is larger or smaller
MOST_LABELS = 32
MOST_TAINTS = 16
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
# What a kubelet may say of its own node (the NodeRestriction admission plugin); others of these domains are refused.
OWN_DOMAINS = ("kubernetes.io", "k8s.io")
ALLOWED_DOMAINS = ("node.kubernetes.io", "kubelet.kubernetes.io")
ALLOWED_LABELS = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")


def check(spec: ClusterSpec) -> None:
    """Raises BadSpec at the first rule that is broken."""
    check_name("name", spec.name)
    versions.check_offered(spec.version)
    if spec.control_planes not in CONTROL_PLANE_COUNTS:
        raise BadSpec(
            "control_planes", "A control plane has 1, 3 or 5 members: an even number survives no more losses."
        )
    check_control_plane_flavor(spec.control_plane_flavor)
    names.check_length(spec.name, names.CONTROL_PLANE_POOL)
    _check_pools(spec)
    _check_networks(spec)


def check_name(field: str, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadSpec(field, f"{name[:80]!r} is not a name: lower-case letters, digits and -, beginning with a letter.")


def check_control_plane_flavor(flavor: FlavorFacts) -> None:
    if flavor.vcpu < CONTROL_PLANE_VCPU or flavor.memory_mib < CONTROL_PLANE_MEMORY_MIB:
        raise BadSpec(
            "control_plane_flavor",
            f"A control plane needs {CONTROL_PLANE_VCPU} vCPU and {CONTROL_PLANE_MEMORY_MIB} MiB; "
            f"this flavor has {flavor.vcpu} vCPU and {flavor.memory_mib} MiB.",
        )


def _check_pools(spec: ClusterSpec) -> None:
    seen: set[str] = set()
    for at, pool in enumerate(spec.pools):
        check_pool(spec.name, pool, f"pools.{at}")
        if pool.name in seen:
            raise BadSpec(f"pools.{at}.name", f"Two pools are named {pool.name}.")
        seen.add(pool.name)


def check_pool(cluster: str, pool: PoolSpec, field: str) -> None:
    """One pool of workers. `field` stands before what is wrong in BadSpec."""
    check_name(f"{field}.name", pool.name)
    if pool.name == names.CONTROL_PLANE_POOL:
        raise BadSpec(f"{field}.name", f"{pool.name} stands for the control planes in nodes' names: take another.")
    names.check_length(cluster, pool.name, f"{field}.name")
    if pool.size < 0:
        raise BadSpec(f"{field}.size", "A pool has no fewer than 0 nodes.")
    check_labels(pool.labels, f"{field}.labels")
    check_taints(pool.taints, f"{field}.taints")


def check_labels(labels: Mapping[str, str], field: str) -> None:
    if len(labels) > MOST_LABELS:
        raise BadSpec(field, f"{len(labels)} labels, at most {MOST_LABELS}.")
    for key, value in labels.items():
        _check_key(key, field)
        _check_own_label(key, field)
        _check_value(value, f"{field}.{key}")


def check_taints(taints: Sequence[Taint], field: str) -> None:
    if len(taints) > MOST_TAINTS:
        raise BadSpec(field, f"{len(taints)} taints, at most {MOST_TAINTS}.")
    seen: set[tuple[str, str]] = set()
    for at, taint in enumerate(taints):
        _check_key(taint.key, f"{field}.{at}.key")
        _check_value(taint.value, f"{field}.{at}.value")
        if taint.effect not in EFFECTS:
            raise BadSpec(f"{field}.{at}.effect", f"{taint.effect[:40]!r} is not one of {', '.join(EFFECTS)}.")
        if (taint.key, taint.effect) in seen:
            raise BadSpec(f"{field}.{at}", f"The taint {taint.key}:{taint.effect} stands twice.")
        seen.add((taint.key, taint.effect))


def _check_key(key: str, field: str) -> None:
    domain, slash, name = key.rpartition("/")
    if not _PART.fullmatch(name) or (slash and (len(domain) > 253 or not _DOMAIN.fullmatch(domain))):
        raise BadSpec(field, f"{key[:80]!r} is not a key such as example.com/name or name.")


def _check_value(value: str, field: str) -> None:
    if value and not _PART.fullmatch(value):
        raise BadSpec(field, f"{value[:80]!r} is not a value: letters, digits, - _ . and at most 63 of them.")


def _check_own_label(key: str, field: str) -> None:
    domain = key.rpartition("/")[0]
    if key in ALLOWED_LABELS or _within(domain, ALLOWED_DOMAINS) or not _within(domain, (*OWN_DOMAINS, "facet.dev")):
        return
    raise BadSpec(field, f"{key[:80]} is not for pools to set: its domain belongs to the system.")


def _within(domain: str, parents: Sequence[str]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _check_networks(spec: ClusterSpec) -> None:
    pods = _network("pod_cidr", spec.pod_cidr)
    services = _network("service_cidr", spec.service_cidr)
    nodes = spec.control_planes + sum(pool.size for pool in spec.pools)
    room = 0 if pods.prefixlen > NODE_PREFIX else 2 ** (NODE_PREFIX - pods.prefixlen)
    if nodes > room:
        raise BadSpec("pod_cidr", f"{pods} has room for {room} nodes (a /{NODE_PREFIX} each), {nodes} are asked for.")
    if services.prefixlen not in SERVICE_PREFIXES:
        raise BadSpec("service_cidr", f"{services} is not between /{SERVICE_PREFIXES[0]} and /{SERVICE_PREFIXES[-1]}.")
    if pods.overlaps(services):
        raise BadSpec("service_cidr", f"{services} overlaps the pod network {pods}.")
    for field, network in (("pod_cidr", pods), ("service_cidr", services)):
        _check_apart(field, network, spec)


def _check_apart(field: str, network: ipaddress.IPv4Network, spec: ClusterSpec) -> None:
    endpoint = _endpoint(spec.endpoint_host)
    if endpoint is not None and endpoint in network:
        raise BadSpec(field, f"{network} holds the cluster's endpoint {endpoint}.")
    for text in spec.node_cidrs:
        other = _network("node_cidrs", text)
        if network.overlaps(other):
            raise BadSpec(field, f"{network} overlaps the node network {other}.")


def _network(field: str, text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        raise BadSpec(field, f"{text[:80]!r} is not an IPv4 network such as {DEFAULT_POD_CIDR}.") from None


def _endpoint(host: str) -> ipaddress.IPv4Address | None:
    """None for no host and for a host name, which only the name service can place."""
    try:
        return ipaddress.IPv4Address(host) if host else None
    except ValueError:
        if not _HOST.fullmatch(host):
            raise BadSpec("endpoint_host", f"{host[:80]!r} is neither an IPv4 address nor a host name.") from None
        return None
