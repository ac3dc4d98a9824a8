"""From keys to VMs. A VM's key is its instanceUuid; a moref is a cache that each read checks again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pyVmomi import vim

from ..base import NotReady, Refused, Unreachable
from . import properties
from .machine import VM_PROPERTIES, Machine
from .session import CONNECTIONS, Session

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Named:
    """A VM in a folder. `key` is None while vCenter is still making it."""

    id: str
    key: UUID | None


class Finder:
    """Finds VMs by key with few calls, and asks for many at once."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._ids: dict[UUID, str] = {}
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self._closed = False

    def learn(self, key: UUID, id: str) -> None:
        self._ids[key] = id

    def find(self, keys: Iterable[UUID]) -> dict[UUID, Machine]:
        """VMs by key; a key that is missing was not there at that moment. Raises NotReady for one not readable yet."""
        wanted = list(dict.fromkeys(keys))
        found = self._read({key: self._ids[key] for key in wanted if key in self._ids})
        strangers = [key for key in wanted if key not in found]
        refs = dict(zip(strangers, self.together(self._search, strangers), strict=True))
        found |= self._read({key: ref for key, ref in refs.items() if ref is not None})
        return found

    def names(self, folder_refs: Collection[str]) -> dict[tuple[str, str], Named]:
        """(folder, name) -> the VM there, for every VM in these folders, also those whose clone is not finished."""
        answer: dict[tuple[str, str], Named] = {}
        for ref in folder_refs:
            folder = self.session.object(vim.Folder, ref)
            try:
                listed = properties.read_below(
                    self.session, folder, "childEntity", vim.VirtualMachine, ("name", "config.instanceUuid")
                )
            except Refused as refused:
                if refused.code != "not_found":
                    raise
                continue  # whoever clones into it hears so
            for one in listed:
                uuid = one.get("config.instanceUuid")
                key = UUID(uuid) if uuid else None
                answer[ref, one.get("name", "")] = Named(one.id, key)
                if key is not None:
                    self._ids.setdefault(key, one.id)
        return answer

    def together(self, ask: Callable[[T], R], items: Collection[T]) -> list[R]:
        """`ask` of every item, some at a time; the answers in the order of the items.

        No more of one batch than there are connections wait at once: another batch has its turn among them.
        """
        if len(items) < 2:
            return [ask(item) for item in items]
        asked: list[Future[R]] = []
        waiting: set[Future[R]] = set()
        try:
            for item in items:
                if len(waiting) >= CONNECTIONS:
                    waiting = wait(waiting, return_when=FIRST_COMPLETED).not_done
                asked.append(self._pool().submit(ask, item))
                waiting.add(asked[-1])
            return [one.result() for one in asked]
        except (CancelledError, RuntimeError) as error:  # closed in the middle
            if isinstance(error, RuntimeError) and not self._closed:
                raise
            raise Unreachable("This session was given back.", code="session_lost") from error

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="vsphere")
            return self._threads

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._threads is not None:
                self._threads.shutdown(wait=False, cancel_futures=True)  # and kept: it takes nothing new

    def _search(self, key: UUID) -> str | None:
        index = self.session.content.searchIndex
        vm = self.session.call(index.FindByUuid, uuid=str(key), vmSearch=True, instanceUuid=True)
        return vm._moId if vm is not None else None

    def _read(self, refs: Mapping[UUID, str]) -> dict[UUID, Machine]:
        objects: list[Any] = [self.session.object(vim.VirtualMachine, ref) for ref in refs.values()]
        read = properties.read(self.session, objects, VM_PROPERTIES)
        found: dict[UUID, Machine] = {}
        for key, ref in refs.items():
            machine = Machine.of(read[ref]) if ref in read else None
            if machine is not None and machine.key == key:
                found[key] = machine
                self._ids[key] = ref
            elif machine is None and ref in read:
                raise NotReady(f"The VM {read[ref].get('name', ref)} cannot be read yet.")
            else:
                self._ids.pop(key, None)
        return found
