"""A VM that is made of nothing: hardware with an empty disk, for whoever installs a system in it."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from ..base import Refused, VmSpec
from . import properties, shape
from .machine import GIB
from .session import Session

CONTROLLER = 1000


def config(session: Session, spec: VmSpec) -> Any:
    """The ConfigSpec of the call that makes it; its cards and its metadata come with the edit after it."""
    store = session.object(vim.Datastore, spec.datastore_ref)
    found = properties.read(session, [store], ("name",)).get(spec.datastore_ref)
    if found is None:
        raise Refused(f"The vCenter does not know the datastore {spec.datastore_ref}.", code="not_found")
    home = f"[{found.get('name')}]"
    return vim.vm.ConfigSpec(
        name=spec.name,
        guestId=spec.guest_id,
        instanceUuid=str(spec.key),
        numCPUs=spec.vcpu,
        memoryMB=spec.memory_mib,
        files=vim.vm.FileInfo(vmPathName=home),
        extraConfig=shape.witness(spec),
        deviceChange=[_controller(), _disk(spec.disk_gib)],
    )


def _controller() -> Any:
    made = vim.vm.device.ParaVirtualSCSIController(key=CONTROLLER, busNumber=0, sharedBus="noSharing")
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=made)


def _disk(disk_gib: int) -> Any:
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    size = disk_gib * GIB
    made = vim.vm.device.VirtualDisk(
        key=-1, controllerKey=CONTROLLER, unitNumber=0, backing=backing, capacityInBytes=size, capacityInKB=size // 1024
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=made)
