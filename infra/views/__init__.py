"""Views: shape in, one call, answer out."""

from __future__ import annotations

from .catalogue import AddonEndpoint, FlavorEndpoint, ImageEndpoint, VersionEndpoint
from .receipts import Inspected, receipt
from .replicas import ImageReplicaEndpoint, ImageReplicasEndpoint
from .sites import (
    CheckEndpoint,
    DatastoreEndpoint,
    HostEndpoint,
    NetworkEndpoint,
    SiteEndpoint,
    SitePartEndpoint,
    TemplateEndpoint,
    first_contact,
)
from .zones import (
    StorageClassEndpoint,
    StorageClassView,
    UnmanagedVmEndpoint,
    ZoneEndpoint,
    ZoneStorageClassEndpoint,
)

__all__ = [
    "AddonEndpoint",
    "CheckEndpoint",
    "DatastoreEndpoint",
    "FlavorEndpoint",
    "HostEndpoint",
    "ImageEndpoint",
    "ImageReplicaEndpoint",
    "ImageReplicasEndpoint",
    "Inspected",
    "NetworkEndpoint",
    "SiteEndpoint",
    "SitePartEndpoint",
    "StorageClassEndpoint",
    "StorageClassView",
    "TemplateEndpoint",
    "UnmanagedVmEndpoint",
    "VersionEndpoint",
    "ZoneEndpoint",
    "ZoneStorageClassEndpoint",
    "first_contact",
    "receipt",
]
