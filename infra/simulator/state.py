"""What a simulated datacenter knows: all records in memory, with the sums and indices that verbs need, and their file.

Everything that one call changes is one transaction: `with state.writing():`, then `put` and `remove`. Nothing may be
awaited inside.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from infra.drivers.base import Refused

from .feed import Feed
from .records import (
    Change,
    Compute,
    Datastore,
    Folder,
    Host,
    Network,
    Policy,
    Pool,
    Rule,
    Switch,
    Task,
    Template,
    Vm,
    Volume,
)
from .store import Store

log = logging.getLogger(__name__)
TOLD = {Host: "host", Datastore: "datastore", Vm: "vm"}


@dataclass(frozen=True)
class _Footprint:
    """Where a record is counted. `within`: what it stands in; `name`: in which folder or pool it bears which name."""

    name: tuple[str, str] | None = None
    within: tuple[str, ...] = ()
    key: str = ""
    host: str = ""
    memory_mib: int = 0  # of the host's, while it runs
    datastore: str = ""
    disk_gib: int = 0


class State:
    def __init__(self, path: Path) -> None:
        self._store = Store(path)
        notes = self._store.notes()
        self.instance = notes.get("instance") or str(uuid4())
        self._next = int(notes.get("next", "1"))
        self.feed = Feed(self.instance, self._store.load(Change), int(notes.get("forgotten", "0")))
        self.computes = {one.ref: one for one in self._store.load(Compute)}
        self.hosts = {one.ref: one for one in self._store.load(Host)}
        self.datastores = {one.ref: one for one in self._store.load(Datastore)}
        self.networks = {one.ref: one for one in self._store.load(Network)}
        self.switches = {one.ref: one for one in self._store.load(Switch)}
        self.folders = {one.ref: one for one in self._store.load(Folder)}
        self.pools = {one.ref: one for one in self._store.load(Pool)}
        self.templates = {one.ref: one for one in self._store.load(Template)}
        self.vms = {one.ref: one for one in self._store.load(Vm)}
        self.rules = {one.ref: one for one in self._store.load(Rule)}
        self.volumes = {one.ref: one for one in self._store.load(Volume)}  # by key
        self.tasks = {one.ref: one for one in self._store.load(Task)}
        self.policies = {one.ref: one for one in self._store.load(Policy)}
        self.names: dict[tuple[str, str], str] = {}
        self.keys: dict[str, str] = {}
        self.inside: dict[str, set[str]] = defaultdict(set)
        self.memory_on_mib: dict[str, int] = defaultdict(int)  # host -> memory of what runs there
        self.used_gib: dict[str, int] = defaultdict(int)  # datastore -> disks of VMs and templates
        self.writes = 0  # calls that changed something, since this process began
        self._footprints: dict[str, _Footprint] = {}
        self._saved: dict[str, Any] = {}
        self._removed: dict[str, Any] = {}
        self._within = False
        for table in (self.folders, self.pools, self.templates, self.vms, self.volumes, self.tasks):
            for one in table.values():
                self._count(one.ref, _footprint(one))
        if "instance" not in notes:
            self._commit()

    def close(self) -> None:
        self._store.close()

    # --- changing --------------------------------------------------------------------------------------------------

    @contextmanager
    def writing(self, *, by_call: bool = False) -> Iterator[None]:
        """All changes inside are written as one when it ends, also by an exception: memory and file say the same."""
        if self._within:
            yield
            return
        self._within = True
        try:
            yield
        finally:
            self._within = False
            if self._saved or self._removed:
                self._commit()
                self.writes += by_call

    def _commit(self) -> None:
        notes = {"instance": self.instance, "next": str(self._next), "forgotten": str(self.feed.forgotten)}
        try:
            self._store.commit(self._saved.values(), self._removed.values(), notes)
        except sqlite3.Error:  # a full disk: what stands in memory is not in the file, and must not be acted on
            log.critical("The datacenter's file cannot be written; this process ends", exc_info=True)
            os._exit(1)
        self._saved.clear()
        self._removed.clear()
        self.feed.tell()

    def new_ref(self, prefix: str) -> str:
        number, self._next = self._next, self._next + 1
        return f"{prefix}-{number}"

    def put(self, record: Any) -> None:
        """This record is new or has changed. Raises Refused(name_taken) where it may not bear its name."""
        assert self._within
        footprint = _footprint(record)
        holder = self.names.get(footprint.name) if footprint.name else None
        if holder not in (None, record.ref):
            raise Refused(f"The name {footprint.name[1]!r} is taken there already.", code="name_taken")  # type: ignore[index]
        self._table(record)[record.ref] = record
        self._count(record.ref, footprint)
        self._keep(record)
        if not (isinstance(record, Vm) and record.making):
            self._note(record, gone=False)

    def remove(self, record: Any) -> None:
        assert self._within
        self._table(record).pop(record.ref, None)
        self._count(record.ref, None)
        self._saved.pop(_name(record), None)
        self._removed[_name(record)] = record
        if not (isinstance(record, Vm) and record.making):
            self._note(record, gone=True)

    def _keep(self, record: Any) -> None:
        self._saved[_name(record)] = record
        self._removed.pop(_name(record), None)

    def _table(self, record: Any) -> dict[str, Any]:
        tables: dict[type[Any], dict[str, Any]] = {
            Compute: self.computes, Host: self.hosts, Datastore: self.datastores, Network: self.networks,
            Switch: self.switches,
            Folder: self.folders, Pool: self.pools, Template: self.templates, Vm: self.vms, Rule: self.rules,
            Task: self.tasks, Volume: self.volumes, Policy: self.policies,
        }  # fmt: skip
        return tables[type(record)]

    def _note(self, record: Any, *, gone: bool) -> None:
        kind = TOLD.get(type(record))
        if kind is None:
            return
        change, forgotten = self.feed.note(kind, record.ref, gone=gone)
        self._keep(change)
        if forgotten is not None:
            self._saved.pop(_name(forgotten), None)
            self._removed[_name(forgotten)] = forgotten

    # --- counting --------------------------------------------------------------------------------------------------

    def _count(self, ref: str, new: _Footprint | None) -> None:
        old = self._footprints.pop(ref, None)
        if old is not None:
            if old.name is not None:
                self.names.pop(old.name, None)
            if old.key:
                self.keys.pop(old.key, None)
            for place in old.within:
                self.inside[place].discard(ref)
            self.memory_on_mib[old.host] -= old.memory_mib
            self.used_gib[old.datastore] -= old.disk_gib
        if new is not None:
            self._footprints[ref] = new
            if new.name is not None:
                self.names[new.name] = ref
            if new.key:
                self.keys[new.key] = ref
            for place in new.within:
                self.inside[place].add(ref)
            self.memory_on_mib[new.host] += new.memory_mib
            self.used_gib[new.datastore] += new.disk_gib
        self._tell_of_datastores(old or _Footprint(), new or _Footprint())

    def _tell_of_datastores(self, old: _Footprint, new: _Footprint) -> None:
        if not self._within or (old.datastore, old.disk_gib) == (new.datastore, new.disk_gib):
            return
        for ref in {old.datastore, new.datastore} & self.datastores.keys():
            self._note(self.datastores[ref], gone=False)

    # --- looking ---------------------------------------------------------------------------------------------------

    def vm(self, key: str) -> Vm | None:
        """A VM by its key; one that is still being made cannot be found so."""
        ref = self.keys.get(key)
        return self.vms[ref] if ref is not None else None

    def volumes_of(self, vm_ref: str) -> Iterator[Volume]:
        return (one for one in self.volumes.values() if one.vm == vm_ref)

    def free_gib(self, store: Datastore) -> int:
        return max(0, store.capacity_gib - store.others_gib - self.used_gib[store.ref])


def _name(record: Any) -> str:
    """Tells records apart, also a change from what it is about."""
    return f"{type(record).__name__} {record.ref}"


def _footprint(record: Any) -> _Footprint:
    if isinstance(record, Vm):
        return _Footprint(
            name=(record.folder, record.name),
            within=(record.folder,) if record.making else (record.folder, record.pool),
            key="" if record.making else record.key,
            host=record.host,
            memory_mib=record.memory_mib if record.power == "on" else 0,
            datastore=record.datastore,
            disk_gib=record.disk_gib,
        )
    if isinstance(record, Template):
        name = (record.folder, record.name)
        return _Footprint(name, (record.folder,), datastore=record.datastore, disk_gib=record.disk_gib)
    if isinstance(record, Folder | Pool):
        return _Footprint((record.parent, record.name), (record.parent,))
    if isinstance(record, Volume):
        return _Footprint(datastore=record.datastore, disk_gib=record.size_gib)
    if isinstance(record, Task) and record.doing == "move" and record.state == "running":
        return _arriving(record.changes)
    return _Footprint()


def _arriving(place: Mapping[str, Any]) -> _Footprint:
    """Room that a move holds at its target until it ends: the VM takes it over, or it is given back."""
    return _Footprint(
        within=(place["pool"],),
        host=place["host"],
        memory_mib=place["memory_mib"],
        datastore=place["datastore"],
        disk_gib=place["disk_gib"],
    )
