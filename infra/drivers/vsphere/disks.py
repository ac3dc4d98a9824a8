"""First Class Disks by key, and who has them. A disk's name is its volume's key: vCenter gives it an id of its own.

Where two bear one key (a making that was said again before the first was seen), the attached or the older one counts,
and the others are `more`: whoever makes the volume right removes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pyVmomi import vim, vmodl

from ..base import Refused, VolumeFacts
from . import properties
from .finding import Finder
from .machine import disk_bytes

DEVICES = ("config.instanceUuid", "config.hardware.device")
MIB_OF_GIB = 1024


@dataclass(frozen=True)
class Holder:
    """A VM that has a disk, and the device by which it does."""

    key: UUID
    vm: Any
    device: Any


@dataclass(frozen=True)
class Disk:
    key: UUID
    id: str
    store: Any
    size_mib: int
    holder: Holder | None
    snapshots: Mapping[str, str] = field(default_factory=dict)  # description -> id, the oldest first
    more: tuple[str, ...] = ()  # ids of others that bear its key, and that nobody has

    def facts(self) -> VolumeFacts:
        return VolumeFacts(
            ref=self.id,
            key=self.key,
            size_gib=-(-self.size_mib // MIB_OF_GIB),
            datastore_ref=str(self.store._moId),
            attached_to=None if self.holder is None else self.holder.key,
            snapshots=tuple(key for text in self.snapshots if (key := _uuid(text)) is not None),
        )


class Disks:
    """Finds disks by key. What it remembers is names of ids alone, which never change."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._session = finder.session
        self._names: dict[tuple[str, str], str] = {}  # (datastore, disk id) -> name

    @property
    def manager(self) -> Any:
        """Raises Refused(not_supported) for a vCenter that knows no First Class Disks."""
        found = self._session.content.vStorageObjectManager
        if found is None:
            raise Refused("This vCenter knows no First Class Disks.", code="not_supported")
        return found

    def store(self, ref: str) -> Any:
        return self._session.object(vim.Datastore, ref)

    def find(self, places: Mapping[UUID, str]) -> dict[UUID, Disk]:
        """A key that is missing was not there at that moment."""
        found: dict[UUID, Disk] = {}
        by_store: dict[str, list[UUID]] = defaultdict(list)
        for key, ref in places.items():
            by_store[ref].append(key)
        for ref, keys in by_store.items():
            found |= self._on(ref, keys)
        return found

    def _on(self, ref: str, keys: Collection[UUID]) -> dict[UUID, Disk]:
        store = self.store(ref)
        wanted = {str(key): key for key in keys}
        listed = [one.id for one in self._session.call(self.manager.ListVStorageObject, datastore=store)]
        asked = [id for id in listed if self._names.get((ref, id), "") in ("", *wanted)]
        read = [one for one in self._finder.together(lambda id: self._read(store, id), asked) if one is not None]
        self._names |= {(ref, one.id.id): str(one.name) for one in read}
        bearers: dict[UUID, list[Any]] = defaultdict(list)
        for one in read:
            if one.name in wanted:
                bearers[wanted[one.name]].append(one)
        holders = self._holders(store) if bearers else {}
        return {key: self._chosen(store, key, configs, holders) for key, configs in bearers.items()}

    def _chosen(self, store: Any, key: UUID, configs: list[Any], holders: Mapping[str, Holder]) -> Disk:
        first, *others = sorted(configs, key=lambda one: (one.id.id not in holders, one.createTime, one.id.id))
        holder = holders.get(first.id.id)
        size_mib = int(first.capacityInMB)
        if holder is not None:  # grown through its VM: the device is asked first
            size_mib = max(size_mib, disk_bytes(holder.device) >> 20)
        return Disk(
            key=key,
            id=first.id.id,
            store=store,
            size_mib=size_mib,
            holder=holder,
            snapshots=self._snapshots(store, first.id),
            more=tuple(one.id.id for one in others if one.id.id not in holders),
        )

    def _read(self, store: Any, id: str) -> Any:
        """The disk's configuration; None for one that went meanwhile."""
        try:
            named = vim.vslm.ID(id=id)
            return self._session.call(self.manager.RetrieveVStorageObject, id=named, datastore=store).config
        except Refused as refused:
            if isinstance(refused.__cause__, vim.fault.NotFound | vim.fault.FileNotFound):
                return None
            raise

    def _snapshots(self, store: Any, id: Any) -> dict[str, str]:
        """None of a vCenter before 6.7, whose API cannot take one."""
        try:
            info = self._session.call(self.manager.RetrieveSnapshotInfo, id=id, datastore=store)
        except Refused as refused:
            if isinstance(refused.__cause__, vmodl.fault.MethodNotFound):
                return {}
            raise
        return {str(one.description): str(one.id.id) for one in info.snapshots or () if one.id is not None}

    def _holders(self, store: Any) -> dict[str, Holder]:
        """disk id -> who has it, of all VMs that have a file on this datastore."""
        found: dict[str, Holder] = {}
        for one in properties.read_below(self._session, store, "vm", vim.VirtualMachine, DEVICES):
            key = _uuid(str(one.get("config.instanceUuid", "")))
            if key is not None:
                found |= {id: Holder(key, one.obj, device) for id, device in _first_class(one)}
        return found


def _first_class(found: properties.Found) -> Iterator[tuple[str, Any]]:
    for device in found.get("config.hardware.device", ()):
        named = getattr(device, "vDiskId", None)
        if named is not None:
            yield str(named.id), device


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
