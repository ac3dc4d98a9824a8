"""Sites and what stands in them. All platform tables: closed by access.py, not by row-level security.

Host and Datastore carry the counters that the ledger guards: `claimed + unmanaged <= limit + overdrawn` is the last
wall. Only observation raises `overdrawn`; a grant needs `claimed + unmanaged + asked <= limit`. `changed` is the id of
the transaction that wrote the row last: a look reads only what is newer than the look before.
"""

from __future__ import annotations

from .catalogue import Addon, Flavor, Image, ImageReplica, ReplicaPhase, Template
from .networks import Endpoint, NetworkOffer, PhysicalNetwork, Vlan
from .room import Datastore, Host, HostKind, HostState, StorageClass, StoragePolicy, UnmanagedVm
from .sites import DriftPolicy, Installation, Placement, Site, SitePhase, Zone, ZonePhase

__all__ = [
    "Addon",
    "Datastore",
    "DriftPolicy",
    "Endpoint",
    "Flavor",
    "Host",
    "HostKind",
    "HostState",
    "Image",
    "ImageReplica",
    "Installation",
    "NetworkOffer",
    "PhysicalNetwork",
    "Placement",
    "ReplicaPhase",
    "Site",
    "SitePhase",
    "StorageClass",
    "StoragePolicy",
    "Template",
    "UnmanagedVm",
    "Vlan",
    "Zone",
    "ZonePhase",
]
