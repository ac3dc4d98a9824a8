"""What is asked of a site: frozen values that say how a thing shall be."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID


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
    """A VM to be made on a host and a datastore: cloned from a template or a VM, or empty; then of this size.

    Source: `template_ref`; or `source_key`, a VM of ours (at the snapshot `source_snapshot`, where one is named); or
    neither: an empty VM of the guest type `guest_id`. In a zone that DRS places `host_ref` is "", and the
    pool is the target. `network_ref` is its first NIC's network; `more_networks`
    those of the others, in order. It has exactly these NICs; with no `network_ref` those that its source has.

    `metadata` is cloud-init's metadata text (instance-id, local-hostname; nothing secret); it stays for ever. A MAC of
    its cards stands in it as `mac_of_card` says, and is put in once the card is there.
    `guest_version` is what the image is said to carry (simulated guests report it as their kubeadm's version).
    `fresh`: nobody has ever been about to make it: it need not be looked for by its key first; its name still guards.
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
    more_networks: tuple[str, ...] = ()
    source_key: UUID | None = None
    source_snapshot: UUID | None = None
    guest_id: str = ""
    fresh: bool = False

    @property
    def networks(self) -> tuple[str, ...]:
        """Of all its NICs, in order."""
        return () if self.network_ref is None else (self.network_ref, *self.more_networks)


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
class HostRule:
    """Keep these VMs on these hosts. `must` binds restarts by HA too; else it is preferred.

    `beside`: those that are in it already stay in it, but for `leaving`.
    """

    name: str
    vm_keys: tuple[UUID, ...]
    host_refs: tuple[str, ...]
    must: bool = True
    beside: bool = False
    leaving: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class SizeSpec:
    """Another size for a VM that stands. Disks grow and never shrink."""

    vcpu: int
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """A snapshot of a VM, under a key of ours."""

    key: UUID
    vm_key: UUID
    name: str
    with_memory: bool = False


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """A copy of a template where others can be cloned from it. Its source: a template or a library item."""

    key: UUID
    name: str
    template_ref: str
    folder_ref: str
    pool_ref: str
    host_ref: str
    datastore_ref: str


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network of its own on a switch, tagged with `vlan`. The key stands in its description."""

    key: UUID
    name: str
    switch_ref: str
    vlan: int


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """One line of a network's filter, in order: the first that matches counts; what none matches passes.

    `direction`: "in" to its VMs, "out" of them. `protocol`: "tcp" | "udp" | "icmp" | "any". `remote`: CIDR of the other
    side, "" for any. `ports`: of the receiving side, both ends included; None for all.
    """

    action: str  # "allow" | "deny"
    direction: str
    protocol: str = "any"
    remote: str = ""
    ports: tuple[int, int] | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume of this size on a datastore; one that is smaller grows. `policy_ref` "": the datastore's default."""

    key: UUID
    name: str
    size_gib: int
    datastore_ref: str
    policy_ref: str = ""


@dataclass(frozen=True, slots=True)
class AttachSpec:
    """A volume, where it lies, and the VM that shall have it."""

    key: UUID
    datastore_ref: str
    vm_key: UUID


@dataclass(frozen=True, slots=True)
class VolumeSnapshotSpec:
    """A snapshot of a volume, under a key of ours, and where the volume lies."""

    key: UUID
    volume_key: UUID
    datastore_ref: str


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
