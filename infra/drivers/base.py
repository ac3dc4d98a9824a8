"""The contract between Facet and a layer of infrastructure: verbs over lists of frozen values.

Every verb may be said twice. An `ensure_*` of what is already right makes no write. Verbs that take several items
answer a mapping from key to outcome; the fault of one item never fails the others. A verb raises only what concerns
the whole site (`Unreachable`, or `Refused` for bad credentials).

Refs are opaque strings (a moref of vSphere, a row id of the simulator): a cache for finding things fast, never a key.
Keys are UUIDs of ours, given in the very first call that creates the object.

Units stand in names: `_mib` and `_gib` are binary, `_mhz` is megahertz, `_s` seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class DriverError(Exception):
    """What a driver says when a verb has not done its work. Carries a sentence for people, never a secret."""

    code = "driver_error"

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code


class NotReady(DriverError):
    """Nothing is wrong: come again later."""

    code = "not_ready"


class Refused(DriverError):
    """The layer said no and will say no again: fail with this reason.

    Codes in use: `bad_credentials`, `bad_certificate`, `no_permission`, `not_found`, `name_taken`, `no_space`,
    `no_resources`, `invalid`, `already_booted`, `disk_too_small`, `fault`.
    """

    code = "refused"


class Unreachable(DriverError):
    """The site does not answer: wait, and tell the operator. Codes: `unreachable`, `timeout`, `session_lost`."""

    code = "unreachable"


class Power(StrEnum):
    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"


class HostState(StrEnum):
    UP = "up"
    MAINTENANCE = "maintenance"
    DOWN = "down"


# --- what is there -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A hypervisor. `compute_ref` is its vSphere cluster's, or its own standalone compute resource's."""

    ref: str
    name: str
    compute_ref: str
    vsphere_cluster: str  # name of its vSphere cluster; "" for a standalone host
    cpu_cores: int
    core_mhz: int
    memory_mib: int
    state: HostState
    labels: Mapping[str, str] = field(default_factory=dict)
    datastore_refs: tuple[str, ...] = ()
    network_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatastoreFacts:
    ref: str
    name: str
    kind: str
    capacity_gib: int
    free_gib: int
    accessible: bool = True


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    ref: str
    name: str
    kind: str  # "network" | "distributed" | "opaque"
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class TemplateFacts:
    """Anything a VM can be cloned from. `path` is its inventory path, unique at the site."""

    ref: str
    name: str
    path: str
    vcpu: int
    memory_mib: int
    disk_gib: int
    datastore_refs: tuple[str, ...] = ()
    is_template: bool = True


@dataclass(frozen=True, slots=True)
class VmFacts:
    """A VM as the layer shows it. `key` is its instanceUuid; `witness` says that facet.key equals it (it is ours)."""

    ref: str
    key: UUID
    name: str
    host_ref: str
    vcpu: int
    memory_mib: int
    disk_gib: int
    power: Power
    address: str | None = None
    witness: bool = False
    pool_ref: str | None = None
    folder_ref: str | None = None
    datastore_refs: tuple[str, ...] = ()
    boot_data_present: bool = False  # guestinfo.userdata is set and not wiped


@dataclass(frozen=True, slots=True)
class Inventory:
    """A complete look at a site. `cursor` starts `changes()` from this very state."""

    hosts: tuple[HostFacts, ...]
    datastores: tuple[DatastoreFacts, ...]
    networks: tuple[NetworkFacts, ...]
    templates: tuple[TemplateFacts, ...]
    vms: tuple[VmFacts, ...]
    cursor: str
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What moved since a cursor. `resync` True: the cursor is lost, take an `inventory()`."""

    cursor: str
    hosts: tuple[HostFacts, ...] = ()
    datastores: tuple[DatastoreFacts, ...] = ()
    vms: tuple[VmFacts, ...] = ()
    gone_refs: tuple[str, ...] = ()
    resync: bool = False


@dataclass(frozen=True, slots=True)
class SiteCheck:
    """What a first contact found. `instance_id` names the vCenter (its instanceUuid) or the simulator's file."""

    product: str
    version: str
    instance_id: str
    simulated: bool
    address_network: str = ""  # the loopback network of a simulator's guests; endpoints come from its .1-.15


# --- what shall be there -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FolderSpec:
    """A place for VMs. Found by `ref`, else by its name `<name> (<id suffix>)` below its parent."""

    key: UUID
    name: str
    parent_ref: str | None  # None: below the site's VM root
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class PoolPart:
    """A pool in one compute resource (vSphere cluster or standalone host). None as a limit means no limit."""

    compute_ref: str
    parent_ref: str | None  # None: below the compute resource's root pool
    ref: str | None = None
    cpu_reserved_mhz: int = 0
    memory_reserved_mib: int = 0
    cpu_limit_mhz: int | None = None
    memory_limit_mib: int | None = None


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """A resource pool, mirrored once for each compute resource that its zone touches."""

    key: UUID
    name: str
    parts: tuple[PoolPart, ...]
    expandable: bool = False


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A VM to be cloned from a template onto a host and a datastore, and reconfigured to this size.

    `metadata` is cloud-init's metadata text (instance-id, local-hostname; nothing secret); it stays for ever.
    `guest_version` is what the image is said to carry (simulated guests report it as their kubeadm's version).
    """

    key: UUID
    name: str
    template_ref: str
    folder_ref: str
    pool_ref: str
    host_ref: str
    datastore_ref: str
    network_ref: str | None
    vcpu: int
    memory_mib: int
    disk_gib: int
    metadata: str
    guest_version: str = ""


@dataclass(frozen=True, slots=True)
class MoveSpec:
    """A VM and where it shall stand. Its own disks go to `datastore_ref` when they are not there.

    `pool_ref` is a pool of the host's compute resource: a VM that comes from another one needs it.
    """

    key: UUID
    host_ref: str
    datastore_ref: str
    pool_ref: str


@dataclass(frozen=True, slots=True)
class AntiAffinityRule:
    """Keep these VMs on different hosts. The name holds the owner's id, so that it can be found again."""

    name: str
    vm_keys: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class InFlight:
    """The work has been accepted and goes on without us; ask `poll([ref])`."""

    ref: str
    doing: str = ""


class TaskState(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    VANISHED = "vanished"  # nobody knows this ref any more: ask the world by key


@dataclass(frozen=True, slots=True)
class TaskFacts:
    state: TaskState
    progress: int | None = None  # percent
    error: DriverError | None = None


VmOutcome = VmFacts | InFlight | DriverError
GoneOutcome = None | InFlight | DriverError  # None: seen gone


class Compute(Protocol):
    """Hosts, pools, folders and VMs."""

    def check(self) -> SiteCheck:
        """Log in and say what is there. Raises Unreachable or Refused(bad_credentials | bad_certificate)."""

    def inventory(self) -> Inventory:
        """Everything that placement and observation need, complete or not at all."""

    def changes(self, cursor: str, wait_s: float) -> Changes:
        """What moved since `cursor`; waits up to `wait_s` for something to say."""

    def poll(self, refs: Sequence[str]) -> Mapping[str, TaskFacts]:
        """The state of every ref, in one read."""

    def find_vms(self, keys: Iterable[UUID]) -> Mapping[UUID, VmFacts]:
        """VMs by key. A key that is missing from the answer was not there at that moment."""

    def ensure_folder(self, spec: FolderSpec) -> str: ...

    def ensure_no_folder(self, ref: str) -> None:
        """Remove an EMPTY folder; one that is gone is done; one that holds something is Refused(in_use)."""

    def ensure_pool(self, spec: PoolSpec) -> Mapping[str, str]:
        """compute_ref -> pool ref, for every part."""

    def ensure_no_pool(self, refs: Iterable[str]) -> None:
        """Remove pools that hold no VM and no child pool; what is gone is done."""

    def ensure_vms(self, specs: Sequence[VmSpec]) -> Mapping[UUID, VmOutcome]:
        """Cloned and reconfigured, not powered on. A VmFacts means: it is right. InFlight: come when it ends."""

    def ensure_boot_data(self, boot: Mapping[UUID, str | None]) -> Mapping[UUID, DriverError | None]:
        """Put cloud-init user-data (None: wipe it). Refused(already_booted) for a VM that has ever been on."""

    def ensure_power(self, wanted: Mapping[UUID, Power]) -> Mapping[UUID, VmOutcome]: ...

    def ensure_moved(self, moves: Sequence[MoveSpec]) -> Mapping[UUID, VmOutcome]:
        """Live where it runs. A VmFacts says that it stands there; InFlight: come when it ends. Twice moves once.

        While any move of a VM is at work, whoever asked for it and wherever it leads, the answer is that one, InFlight.
        Refused: `not_found` for a key or ref that leads nowhere, `invalid` for what does not belong together (a host
        that does not reach the datastore or the network, a pool of another compute resource), `no_resources` or
        `no_space` for a target in maintenance or without room. NotReady: the target is down, or the VM is busy.
        """

    def ensure_no_vms(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        """Powered off, foreign disks detached, destroyed."""

    def ensure_rule(self, rule: AntiAffinityRule) -> None: ...

    def ensure_no_rule(self, name: str) -> None: ...

    def console_log(self, key: UUID) -> str:
        """The guest's console, newest last; '' where the layer keeps none."""

    def close(self) -> None: ...


class Network(Protocol):
    """What carries traffic."""

    def isolation(self) -> str:
        """What the layer really gives: `l2`, `stateless-acl` or `stateful`."""


class Storage(Protocol):
    """What keeps data."""

    def policies(self) -> tuple[str, ...]: ...


class Driver(Compute, Network, Storage, Protocol):
    """A zone's three layers together."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a site. `ca_pem` is the only trust anchor; verification is never off."""

    driver: str
    endpoint: str
    username: str
    password: str = field(repr=False)
    ca_pem: str = ""
    installation: str = ""  # this Facet's id: root folders and pools carry it
    call_timeout_s: float = 20.0
