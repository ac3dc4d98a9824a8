"""The contract itself: three layers, each a Protocol of repeatable verbs over lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from .errors import DriverError
from .facts import (
    Changes,
    GoneOutcome,
    ImageOutcome,
    InFlight,
    Inventory,
    NetworkFacts,
    PolicyFacts,
    Power,
    RuleFacts,
    SiteCheck,
    SnapshotFacts,
    SwitchFacts,
    TaskFacts,
    VmFacts,
    VmOutcome,
    VolumeFacts,
    VolumeOutcome,
)
from .specs import (
    AntiAffinityRule,
    AttachSpec,
    FirewallRule,
    FolderSpec,
    HostRule,
    ImageSpec,
    MoveSpec,
    NetworkSpec,
    PoolSpec,
    SizeSpec,
    SnapshotSpec,
    VmSpec,
    VolumeSnapshotSpec,
    VolumeSpec,
)


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

    def shut_down(self, keys: Iterable[UUID]) -> Mapping[UUID, VmOutcome]:
        """Ask the guests to shut down, and answer at once: off is a VmFacts, on its way down is NotReady.

        Refused `no_guest_tools` where the guest cannot be asked: only `ensure_power` stops it then.
        """

    def ensure_size(self, sizes: Mapping[UUID, SizeSpec]) -> Mapping[UUID, VmOutcome]:
        """Hot where the layer allows it. Refused: `needs_power_off` where it does not, `disk_shrinks`."""

    def ensure_names(self, names: Mapping[UUID, str]) -> Mapping[UUID, VmOutcome]:
        """Another name for what stands. Refused(name_taken) where another VM of its folder bears it."""

    def ensure_snapshots(self, specs: Sequence[SnapshotSpec]) -> Mapping[UUID, SnapshotFacts | InFlight | DriverError]:
        """By snapshot key. Twice takes one."""

    def ensure_no_snapshots(self, keys: Mapping[UUID, UUID]) -> Mapping[UUID, GoneOutcome]:
        """snapshot key -> its VM's. What is gone is done; its children stay."""

    def snapshots(self, keys: Iterable[UUID]) -> Mapping[UUID, tuple[SnapshotFacts, ...]]:
        """All snapshots of these VMs, oldest first."""

    def revert(self, vm_key: UUID, snapshot_key: UUID) -> VmOutcome:
        """Back to a snapshot. Not an ensure: whoever asks twice reverts twice."""

    def ensure_images(self, specs: Sequence[ImageSpec]) -> Mapping[UUID, ImageOutcome]: ...

    def ensure_no_images(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]: ...

    def ensure_rule(self, rule: AntiAffinityRule | HostRule) -> None:
        """Written where the VMs stand, before they are powered on. Standalone hosts have no rules."""

    def ensure_no_rule(self, name: str) -> None: ...

    def rules(self) -> tuple[RuleFacts, ...]:
        """Every rule of this installation."""

    def missing_privileges(self) -> Mapping[str, tuple[str, ...]]:
        """layer ("compute" | "network" | "storage" | "library") -> privileges that the user lacks; empty where none."""

    def console_log(self, key: UUID) -> str:
        """The guest's console, newest last. Refused `no_console` where the layer keeps none."""

    def close(self) -> None: ...


class Network(Protocol):
    """What carries traffic."""

    def isolation(self) -> str:
        """What the layer really gives: `l2`, `stateless-acl` or `stateful`."""

    def switches(self) -> tuple[SwitchFacts, ...]: ...

    def ensure_network(self, spec: NetworkSpec) -> NetworkFacts:
        """Made, named and tagged as said. Refused: `vlan_taken` where another network of that switch has the tag."""

    def ensure_no_network(self, key: UUID) -> None:
        """What is gone is done; Refused(in_use) while a NIC is on it."""

    def ensure_firewall(self, key: UUID, rules: Sequence[FirewallRule]) -> None:
        """These rules on our network, and no others. No rules: everything passes."""

    def firewall(self, key: UUID) -> tuple[FirewallRule, ...]:
        """As the layer has them."""


class Storage(Protocol):
    """What keeps data."""

    def policies(self) -> tuple[PolicyFacts, ...]: ...

    def find_volumes(self, places: Mapping[UUID, str]) -> Mapping[UUID, VolumeFacts]:
        """volume key -> the datastore that it lies on. A key that is missing from the answer was not there."""

    def ensure_volumes(self, specs: Sequence[VolumeSpec]) -> Mapping[UUID, VolumeOutcome]:
        """Made by key, and grown. Refused: `no_space`, `shrinks`."""

    def ensure_no_volumes(self, places: Mapping[UUID, str]) -> Mapping[UUID, GoneOutcome]:
        """With their snapshots. Refused(attached) while a VM has it."""

    def attach(self, specs: Sequence[AttachSpec]) -> Mapping[UUID, VolumeOutcome]:
        """Refused: `attached` where another VM has it, `not_found`, `invalid` where the VM's host does not reach it."""

    def detach(self, places: Mapping[UUID, str]) -> Mapping[UUID, VolumeOutcome]:
        """From whatever VM has them; one that none has is right."""

    def ensure_volume_snapshots(self, specs: Sequence[VolumeSnapshotSpec]) -> Mapping[UUID, VolumeOutcome]:
        """By snapshot key. Twice takes one."""

    def ensure_no_volume_snapshots(self, specs: Sequence[VolumeSnapshotSpec]) -> Mapping[UUID, GoneOutcome]:
        """By snapshot key. What is gone is done, and what is gone with its volume too."""


class Driver(Compute, Network, Storage, Protocol):
    """A zone's three layers together."""
