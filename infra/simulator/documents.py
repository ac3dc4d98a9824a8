"""Records as the simulator's API tells them: plain JSON with the field names of infra.drivers.base."""

from __future__ import annotations

import time
from typing import Any

from infra.drivers.base import DriverError
from infra.drivers.extraconfig import KEY, METADATA, USERDATA, WIPED

from .records import Datastore, Folder, Host, Network, Policy, Task, Template, Vm
from .state import State

DATACENTER = "datacenter"


def host(state: State, one: Host) -> dict[str, Any]:
    return {
        "ref": one.ref,
        "name": one.name,
        "compute_ref": one.compute,
        "vsphere_cluster": state.computes[one.compute].name,
        "cpu_cores": one.cpu_cores,
        "core_mhz": one.core_mhz,
        "memory_mib": one.memory_mib,
        "state": one.state,
        "labels": one.labels,
        "datastore_refs": one.datastores,
        "network_refs": one.networks,
    }


def datastore(state: State, one: Datastore) -> dict[str, Any]:
    return {
        "ref": one.ref,
        "name": one.name,
        "kind": one.kind,
        "capacity_gib": one.capacity_gib,
        "free_gib": state.free_gib(one),
        "accessible": one.accessible,
    }


def network(one: Network) -> dict[str, Any]:
    return {"ref": one.ref, "name": one.name, "kind": one.kind, "vlan": one.vlan or None}


def policy(one: Policy) -> dict[str, Any]:
    return {"ref": one.ref, "name": one.name, "datastore_refs": one.datastores}


def template(state: State, one: Template | Vm) -> dict[str, Any]:
    """Anything that is not Facet's own can be cloned, or copied where it is an item of a content library."""
    library = one.library if isinstance(one, Template) else ""
    above = f"/content-library/{library}" if library else path(state, state.folders[one.folder])
    return {
        "ref": one.ref,
        "name": one.name,
        "path": f"{above}/{one.name}",
        "kind": "library-item" if library else "template",
        "vcpu": one.vcpu,
        "memory_mib": one.memory_mib,
        "disk_gib": one.disk_gib,
        "datastore_refs": [] if library else [one.datastore],
        "is_template": isinstance(one, Template),
    }


def witness(one: Vm) -> bool:
    """facet.key is believed only where it is the VM's own key."""
    return one.extra.get(KEY) == one.key


def tools(one: Vm) -> bool:
    """Its guest has booted, and can be asked to shut down."""
    return one.tools and one.power == "on" and bool(one.address)


def addresses(one: Vm) -> list[str]:
    """All that its guest has told, the first one first."""
    return [one.address, *one.more_addresses] if one.address and one.power == "on" else []


def vm(one: Vm) -> dict[str, Any]:
    return {
        "ref": one.ref,
        "key": one.key,
        "name": one.name,
        "host_ref": one.host,
        "vcpu": one.vcpu,
        "memory_mib": one.memory_mib,
        "disk_gib": one.disk_gib,
        "power": one.power,
        "address": next(iter(addresses(one)), None),
        "addresses": addresses(one),
        "witness": witness(one),
        "pool_ref": one.pool,
        "folder_ref": one.folder,
        "datastore_refs": [one.datastore],
        "boot_data_present": one.extra.get(USERDATA, "") not in WIPED,
        "tools": tools(one),
    }


def detailed(one: Vm) -> dict[str, Any]:
    """What a driver needs to know before it changes a VM. Its boot data is in no answer."""
    metadata = {name: one.extra.get(name, "") for name in (METADATA, f"{METADATA}.encoding")}
    cards = {"networks": one.networks, "macs": one.macs}
    return {"vm": vm(one), "metadata": metadata, "task": one.task or None, **cards}


def task(one: Task) -> dict[str, Any]:
    failed = {"code": one.error_code, "reason": one.error_reason} if one.error_code else None
    return {"state": one.state, "progress": progress(one), "doing": one.doing, "error": failed}


def progress(one: Task) -> int:
    if one.state == "succeeded":
        return 100
    whole = max(one.ends - one.begun, 0.001)
    return max(0, min(99, int((time.time() - one.begun) / whole * 100)))


def error(one: DriverError) -> dict[str, Any]:
    return {"error": {"code": one.code, "reason": one.reason}}


def path(state: State, one: Folder) -> str:
    parts: list[str] = []
    while one.parent:
        parts.append(one.name)
        one = state.folders[one.parent]
    return "/".join(["", DATACENTER, "vm", *reversed(parts)])
