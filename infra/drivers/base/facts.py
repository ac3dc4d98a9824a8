"""What a site shows: frozen values. Refs are a cache for finding things fast, never a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from .errors import DriverError


class Power(StrEnum):
    ON = "on"
    OFF = "off"
    SUSPENDED = "suspended"


class HostState(StrEnum):
    UP = "up"
    MAINTENANCE = "maintenance"
    DOWN = "down"


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
    kind: str = "template"  # "template" | "vm" | "library-item" (of a content library: it becomes a template first)


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
    addresses: tuple[str, ...] = ()  # all that its guest has told; `address` is the first
    tools: bool = False  # its guest answers to the layer's tools: it can be asked to shut down


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


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """A snapshot of a VM. `key` is ours, and stands in its description; None for one that somebody else took."""

    ref: str
    key: UUID | None
    name: str
    created_at: datetime
    with_memory: bool = False


@dataclass(frozen=True, slots=True)
class SwitchFacts:
    """A virtual switch on which networks can be made, and the hosts that it reaches."""

    ref: str
    name: str
    host_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyFacts:
    """A storage policy, and the datastores that satisfy it now."""

    ref: str
    name: str
    datastore_refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VolumeFacts:
    """A disk with a life of its own. `key` is ours; `attached_to` the key of the VM that has it."""

    ref: str
    key: UUID
    size_gib: int
    datastore_ref: str
    attached_to: UUID | None = None
    snapshots: tuple[UUID, ...] = ()  # keys of ours


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """A placement rule as the layer has it. `kind`: "apart" | "hosts". In `compute_ref`, a vSphere cluster."""

    name: str
    kind: str
    compute_ref: str
    vm_keys: tuple[UUID, ...] = ()
    host_refs: tuple[str, ...] = ()
    enabled: bool = True


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
VolumeOutcome = VolumeFacts | InFlight | DriverError
ImageOutcome = TemplateFacts | InFlight | DriverError
