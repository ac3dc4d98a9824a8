"""The contract between the clusters room and a framework (Kubernetes, and others after it).

A framework knows how its nodes boot, how its API is asked and who may enter. It keeps no record: everything it must
remember it hands back (`Prepared`), and is handed again. Every call may be said twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Role(StrEnum):
    CONTROL_PLANE = "control-plane"
    WORKER = "worker"


class Boot(StrEnum):
    """How a node comes to its cluster: the one that begins it, or one more member of it."""

    INIT = "init"
    JOIN = "join"


class Level(StrEnum):
    """What a person may do in a cluster."""

    EDITOR = "editor"
    VIEWER = "viewer"


class BadSpec(Exception):
    """The request cannot be: `field` is the path of what is wrong, `sentence` is for the person who asked (422)."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(f"{field}: {sentence}")
        self.field = field
        self.sentence = sentence


class NotAnswering(Exception):
    """The cluster cannot answer now: come again. `code` is for programs, `sentence` for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


class ClusterRefused(Exception):
    """The cluster answered no, and will again: `status` is its HTTP status, `sentence` its words."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status = status
        self.sentence = sentence


Secrets = Mapping[str, bytes]  # PEM by name, e.g. "ca.crt", "etcd/ca.key"; the caller keeps them encrypted


@dataclass(frozen=True)
class Taint:
    key: str
    effect: str  # NoSchedule | PreferNoSchedule | NoExecute
    value: str = ""


@dataclass(frozen=True)
class FlavorFacts:
    vcpu: int
    memory_mib: int


@dataclass(frozen=True)
class PoolSpec:
    """Workers of one shape, as asked for."""

    name: str
    size: int
    flavor: FlavorFacts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True)
class ClusterSpec:
    """A cluster as asked for, before anything is held for it. `endpoint_host` is "" until an address is chosen."""

    name: str
    version: str
    control_planes: int
    control_plane_flavor: FlavorFacts
    pools: tuple[PoolSpec, ...]
    pod_cidr: str
    service_cidr: str
    endpoint_host: str = ""
    node_cidrs: tuple[str, ...] = ()  # networks of the nodes and of the endpoints, where they are known


@dataclass(frozen=True)
class NodePlan:
    """`count` nodes of one role and shape. `pool` of control planes is framework's word for them, part of names."""

    role: Role
    pool: str
    count: int
    flavor: FlavorFacts
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


@dataclass(frozen=True)
class ClusterFacts:
    """A cluster that is recorded. `endpoint_host` is an address or a name that all nodes and Facet reach."""

    id: UUID
    name: str
    tenant_id: UUID
    project_id: UUID
    version: str  # "v1.34.2"
    endpoint_host: str
    endpoint_port: int
    pod_cidr: str
    service_cidr: str
    control_planes: int
    simulated: bool = False  # as last observed


@dataclass(frozen=True)
class NodeFacts:
    """A node that is recorded. `vm_key` is the key of its VM at the site, `address` "" where not yet known."""

    id: UUID
    name: str
    role: Role
    pool: str
    vm_key: str
    address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()

    @property
    def hostname(self) -> str:
        """The guest's own name: always the node's."""
        return self.name

    @property
    def provider_id(self) -> str:
        """What ties the cluster's node to the VM at the site."""
        return f"facet://{self.vm_key}"


@dataclass(frozen=True)
class Prepared:
    """What a cluster needs before its first node boots; all of it secret, to be kept encrypted."""

    secrets: Secrets
    token: str


@dataclass(frozen=True)
class BootData:
    """What a guest reads at its first boot, as plain text. `user_data` is secret, `metadata` is not."""

    user_data: str = field(repr=False)
    metadata: str


@dataclass(frozen=True)
class NodeHealth:
    name: str
    ready: bool
    reason: str  # "" when ready
    version: str
    simulated: bool
    provider_id: str = ""
    addresses: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)  # type -> "True" | "False" | "Unknown"


@dataclass(frozen=True)
class ClusterHealth:
    """What the cluster's own API said. `code` "" means ready; else it names the first cause, `sentence` tells it."""

    answers: bool
    ready: bool
    version: str = ""
    simulated: bool = False
    nodes: tuple[NodeHealth, ...] = ()
    cni_present: bool = False
    code: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class PodLeft:
    namespace: str
    name: str
    why: str


@dataclass(frozen=True)
class Drained:
    """Nothing that must move is on the node any more."""


@dataclass(frozen=True)
class Waiting:
    """The node may not go yet. `sentence` says why; `pods` are those that still stand on it."""

    sentence: str
    pods: tuple[PodLeft, ...] = ()


@dataclass(frozen=True)
class Credential:
    """A person's way in, in PEM, valid until `expires_at` (UTC)."""

    client_certificate_data: str
    client_key_data: str = field(repr=False)
    expires_at: datetime


class Framework(Protocol):
    """One kind of cluster. Errors beside those named: NotAnswering (come again), ClusterRefused (it said no)."""

    name: str
    control_plane_pool: str  # stands for the control planes where a pool's name stands
    default_pod_cidr: str
    default_service_cidr: str

    def plan(self, asked: ClusterSpec) -> tuple[NodePlan, ...]:
        """The nodes to ask for, control planes first. Raises BadSpec naming the field."""
        ...

    def node_name(self, cluster: str, pool: str, node_id: UUID) -> str:
        """Name of VM, guest and node. Raises BadSpec where it would be too long."""
        ...

    def prepare(self, cluster: ClusterFacts) -> Prepared:
        """Keys and token, made once for a cluster; about a millisecond, no I/O."""
        ...

    def user_data(self, cluster: ClusterFacts, node: NodeFacts, prepared: Prepared, boot: Boot) -> BootData:
        """Boot data of one node, rendered when it is powered on, never stored. Raises BadSpec where it is too large."""
        ...

    def metadata(self, node: NodeFacts) -> str:
        """What tells a guest who it is; not secret, given with its machine and kept for ever."""
        ...

    def admit(self, cluster: ClusterFacts, prepared: Prepared) -> None:
        """Let nodes join for a while: the token's expiry is moved. Before each join that is pending."""
        ...

    def install(self, cluster: ClusterFacts, secrets: Secrets, manifest: str) -> int:
        """Apply an add-on's manifest (multi-document YAML); the number of objects. Raises BadSpec for a bad one."""
        ...

    def health(self, cluster: ClusterFacts, secrets: Secrets) -> ClusterHealth:
        """Asked of the cluster's own API. Never raises for a cluster that does not answer: it says so."""
        ...

    def before_remove(
        self, cluster: ClusterFacts, node: NodeFacts, secrets: Secrets, others: Sequence[str], *, force: bool = False
    ) -> Drained | Waiting:
        """One pass of taking a node out; never blocks. Drained: its VM may go. `others`: addresses of the control
        planes that stay. `force` leaves pods where they are (the caller's deadline, a node that is gone)."""
        ...

    def access(
        self, cluster: ClusterFacts, secrets: Secrets, subject: str, level: Level, lifetime: timedelta
    ) -> Credential:
        """A credential for one person, whose rights stand in the cluster before it is given out."""
        ...

    def kubeconfig(self, cluster: ClusterFacts, secrets: Secrets, credential: Credential) -> str:
        """The file that the framework's own tool reads."""
        ...

    def check_upgrade(self, current: str, target: str) -> None:
        """Raises BadSpec where `target` cannot follow `current`, with the path to take."""
        ...

    def check_version(self, version: str) -> None:
        """Raises BadSpec for a version that is malformed or older than what is offered."""
        ...
