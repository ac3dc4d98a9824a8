"""VMs of a project, and the folder that a project has in each zone."""

from __future__ import annotations

from .drains import Drain, DrainPhase
from .networks import Address, Firewall, Network, Nic
from .phases import ObjectPhase
from .storage import Snapshot, Volume
from .vms import VM, VM_KIND, ProjectFolder, VmPhase

__all__ = [
    "VM",
    "VM_KIND",
    "Address",
    "Drain",
    "DrainPhase",
    "Firewall",
    "Network",
    "Nic",
    "ObjectPhase",
    "ProjectFolder",
    "Snapshot",
    "VmPhase",
    "Volume",
]
