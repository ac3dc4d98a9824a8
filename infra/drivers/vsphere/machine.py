"""One VM as a read found it, and what of it Facet wants to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from pyVmomi import vim

from ..addresses import reachable
from ..base import Power, VmFacts
from ..extraconfig import KEY, METADATA, USERDATA, WIPED, unpacked
from .properties import Found
from .session import ref_of

HEAVY = (  # nine tenths of a read
    "config.hardware.device",
    "config.extraConfig",
    "config.files.vmPathName",
    "guest.net",
)
LIGHT = (
    "name",
    "config.instanceUuid",
    "config.template",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.changeVersion",
    "config.modified",
    "runtime.powerState",
    "runtime.host",
    "guest.ipAddress",
    "guest.toolsRunningStatus",
    "resourcePool",
    "parent",
    "parentVApp",
    "datastore",
)
VM_PROPERTIES = LIGHT + HEAVY
POWER = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
GIB = 1 << 30
TOOLS_RUN = "guestToolsRunning"


@dataclass(frozen=True)
class Machine:
    """A VM whose configuration can be read. Devices are pyVmomi's own."""

    obj: Any
    key: UUID
    name: str
    vcpu: int
    memory_mib: int
    devices: tuple[Any, ...]
    extra: Mapping[str, str]
    power: Power
    host: str
    pool: Any
    folder: Any
    datastores: tuple[str, ...]
    addresses: tuple[str, ...]
    template: bool
    vmx: str
    change_version: str | None
    tools: bool

    @classmethod
    def of(cls, found: Found) -> Machine | None:
        """None while the VM cannot be read yet: it is still being made, or its host is away."""
        uuid, host = found.get("config.instanceUuid"), found.get("runtime.host")
        if not uuid or host is None:
            return None
        power = POWER.get(str(found.get("runtime.powerState")), Power.OFF)
        return cls(
            obj=found.obj,
            key=UUID(uuid),
            name=unquote(found.get("name", "")),
            vcpu=int(found.get("config.hardware.numCPU", 0)),
            memory_mib=int(found.get("config.hardware.memoryMB", 0)),
            devices=tuple(found.get("config.hardware.device", ())),
            extra={one.key: str(one.value) for one in found.get("config.extraConfig", ())},  # the last value counts
            power=power,
            host=host._moId,
            pool=found.get("resourcePool"),
            folder=found.get("parent") or found.get("parentVApp"),
            datastores=tuple(store._moId for store in found.get("datastore", ())),
            addresses=_addresses(found) if power is Power.ON else (),
            template=bool(found.get("config.template")),
            vmx=str(found.get("config.files.vmPathName", "")),
            change_version=found.get("config.changeVersion") or None,
            tools=power is Power.ON and found.get("guest.toolsRunningStatus") == TOOLS_RUN,
        )

    @property
    def id(self) -> str:
        return str(self.obj._moId)

    @property
    def address(self) -> str | None:
        return next(iter(self.addresses), None)

    @property
    def witness(self) -> bool:
        """facet.key is believed only where it is the VM's own key: a clone made by hand copies it."""
        return self.extra.get(KEY) == str(self.key)

    @property
    def disks(self) -> tuple[Any, ...]:
        return tuple(one for one in self.devices if isinstance(one, vim.vm.device.VirtualDisk))

    @property
    def own_disks(self) -> tuple[Any, ...]:
        """Disks that go with the VM: files in its own folder, that are not First Class Disks.

        The datastore's part of the path is left out: a VM's disks may lie on another one under the same folder name.
        """
        home = _folder(self.vmx)
        return tuple(one for one in self.disks if not _first_class(one) and _folder(_file(one)) == home)

    @property
    def foreign_disks(self) -> tuple[Any, ...]:
        own = {disk.key for disk in self.own_disks}
        return tuple(disk for disk in self.disks if disk.key not in own)

    @property
    def disk_gib(self) -> int:
        return -(-sum(disk_bytes(disk) for disk in self.own_disks) // GIB)

    @property
    def cards(self) -> tuple[Any, ...]:
        """The network cards in the order in which they were added."""
        found = [one for one in self.devices if isinstance(one, vim.vm.device.VirtualEthernetCard)]
        return tuple(sorted(found, key=lambda one: one.key))

    @property
    def macs(self) -> tuple[str, ...]:
        return tuple(str(card.macAddress or "") for card in self.cards)

    @property
    def user_data(self) -> str | None:
        return unpacked(self.extra, USERDATA)

    @property
    def metadata(self) -> str | None:
        return unpacked(self.extra, METADATA)

    def facts(self) -> VmFacts:
        return VmFacts(
            ref=self.id,
            key=self.key,
            name=self.name,
            host_ref=self.host,
            vcpu=self.vcpu,
            memory_mib=self.memory_mib,
            disk_gib=self.disk_gib,
            power=self.power,
            address=self.address,
            witness=self.witness,
            pool_ref=ref_of(self.pool, vim.ResourcePool) if self.pool is not None else None,
            folder_ref=ref_of(self.folder, vim.Folder) if self.folder is not None else None,
            datastore_refs=self.datastores,
            boot_data_present=self.extra.get(USERDATA, "") not in WIPED,
            addresses=self.addresses,
            tools=self.tools,
        )


def _addresses(found: Found) -> tuple[str, ...]:
    """All that the tools tell, the primary one first; that one alone where no card was read."""
    told = [str(text) for card in found.get("guest.net", ()) for text in card.ipAddress or ()]
    return reachable([str(found.get("guest.ipAddress") or ""), *told])


def disk_bytes(disk: Any) -> int:
    return int(disk.capacityInBytes or disk.capacityInKB * 1024)


def _file(disk: Any) -> str:
    return str(getattr(disk.backing, "fileName", "") or "")


def _folder(path: str) -> str:
    """`name` of `[datastore] name/disk.vmdk`."""
    return path.partition("] ")[2].rpartition("/")[0]


def _first_class(disk: Any) -> bool:
    return getattr(disk, "vDiskId", None) is not None
