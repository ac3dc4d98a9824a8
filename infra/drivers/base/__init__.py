"""The contract between Facet and a layer of infrastructure: verbs over lists of frozen values.

Every verb may be said twice. An `ensure_*` of what is already right makes no write. Verbs that take several items
answer a mapping from key to outcome; the fault of one item never fails the others. A verb raises only what concerns
the whole site (`Unreachable`, or `Refused` for bad credentials).

Refs are opaque strings (a moref of vSphere, a row id of the simulator): a cache for finding things fast, never a key.
Keys are UUIDs of ours, given in the very first call that creates the object.

Units stand in names: `_mib` and `_gib` are binary, `_mhz` is megahertz, `_s` seconds.
"""

from __future__ import annotations

from .cards import mac_of_card, names_cards, with_macs
from .contract import Compute, Driver, Network, Storage
from .errors import DriverError, NotReady, Refused, Unreachable
from .facts import (
    Changes,
    DatastoreFacts,
    GoneOutcome,
    HostFacts,
    HostState,
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
    TaskState,
    TemplateFacts,
    VmFacts,
    VmOutcome,
    VolumeFacts,
    VolumeOutcome,
)
from .specs import (
    AntiAffinityRule,
    AttachSpec,
    Connection,
    FirewallRule,
    FolderSpec,
    HostRule,
    ImageSpec,
    MoveSpec,
    NetworkSpec,
    PoolPart,
    PoolSpec,
    SizeSpec,
    SnapshotSpec,
    VmSpec,
    VolumeSnapshotSpec,
    VolumeSpec,
)

__all__ = [
    "AntiAffinityRule",
    "AttachSpec",
    "Changes",
    "Compute",
    "Connection",
    "DatastoreFacts",
    "Driver",
    "DriverError",
    "FirewallRule",
    "FolderSpec",
    "GoneOutcome",
    "HostFacts",
    "HostRule",
    "HostState",
    "ImageOutcome",
    "ImageSpec",
    "InFlight",
    "Inventory",
    "MoveSpec",
    "Network",
    "NetworkFacts",
    "NetworkSpec",
    "NotReady",
    "PolicyFacts",
    "PoolPart",
    "PoolSpec",
    "Power",
    "Refused",
    "RuleFacts",
    "SiteCheck",
    "SizeSpec",
    "SnapshotFacts",
    "SnapshotSpec",
    "Storage",
    "SwitchFacts",
    "TaskFacts",
    "TaskState",
    "TemplateFacts",
    "Unreachable",
    "VmFacts",
    "VmOutcome",
    "VmSpec",
    "VolumeFacts",
    "VolumeOutcome",
    "VolumeSnapshotSpec",
    "VolumeSpec",
    "mac_of_card",
    "names_cards",
    "with_macs",
]
