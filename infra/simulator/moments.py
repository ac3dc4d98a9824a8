"""How a VM was at a moment, as its record keeps it: what the tasks of snapshots do when they end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from infra.drivers.base import Refused

from .records import Vm

Document = dict[str, Any]


def shown(one: Document) -> Document:
    return {name: one[name] for name in ("ref", "name", "description", "with_memory", "created_at")}


def described(vm: Vm, description: str) -> Document | None:
    """The oldest of a VM's snapshots with this description."""
    return next((one for one in vm.snapshots if one["description"] == description), None)


def take(vm: Vm, changes: Mapping[str, object]) -> None:
    with_memory = bool(changes["with_memory"]) and vm.power == "on"
    kept = {
        "vcpu": vm.vcpu, "memory_mib": vm.memory_mib, "disk_gib": vm.disk_gib, "extra": dict(vm.extra),
        "network": vm.network, "more_networks": list(vm.more_networks), "power": vm.power if with_memory else "off",
    }  # fmt: skip
    about = {"ref": changes["ref"], "name": changes["name"], "description": changes["description"]}
    vm.snapshots = [*vm.snapshots, about | {"with_memory": with_memory, "created_at": time.time()} | {"kept": kept}]


def forget(vm: Vm, description: object) -> None:
    vm.snapshots = [one for one in vm.snapshots if one["description"] != description]


def go_back(vm: Vm, description: object) -> None:
    """Its hardware as it was then. It is off; whoever calls powers it on where the snapshot has its memory."""
    there = described(vm, str(description))
    if there is None:
        raise Refused(f"The snapshot of {vm.name} went away meanwhile.", code="snapshot_not_found")
    kept = there["kept"]
    for name in ("vcpu", "memory_mib", "disk_gib", "network"):
        setattr(vm, name, kept[name])
    vm.extra, vm.more_networks = dict(kept["extra"]), list(kept["more_networks"])
    vm.power, vm.address, vm.more_addresses = kept["power"], "", []
