"""Shutting guests down, and changing the size of what stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra.drivers.base import NotReady, Refused

from . import admission, documents
from .acts import Acts, Document
from .records import Vm

SIZE = ("vcpu", "memory_mib", "disk_gib")


class Lifecycle(Acts):
    def shut_down(self, keys: Iterable[str]) -> Document:
        """Ask the guests; one that is off already is answered and not asked."""
        return self._each(dict.fromkeys(keys), lambda key, _: self._shut_down(key))

    def resize(self, sizes: Mapping[str, Document]) -> Document:
        """vCPUs and memory grow while it runs where its template allows that, disks always; nothing shrinks so."""
        return self._each(sizes, self._resize)

    def rename(self, names: Mapping[str, str]) -> Document:
        """Another name within its folder."""
        return self._each(names, self._rename)

    def _rename(self, key: str, name: str) -> Document:
        vm = self._found(key)
        if vm.name != name:
            if (vm.folder, name) in self._state.names:
                raise Refused(f"Another VM in the folder is named {name}.", code="name_taken")
            self._refuse("rename", vm.name)
            vm.name = name
            self._state.put(vm)
        return {"vm": documents.vm(vm)}

    def _shut_down(self, key: str) -> Document:
        vm = self._found(key)
        if vm.power == "off":
            return {"vm": documents.vm(vm)}
        if not documents.tools(vm):
            raise Refused(f"The guest of {vm.name} has no tools that could be asked.", code="no_guest_tools")
        self._refuse("shut_down", vm.name)
        if vm.deaf:
            raise NotReady(f"The guest of {vm.name} has been asked to shut down.")
        if self._tasks.begin("shut_down", vm) is not None:
            raise NotReady(f"The guest of {vm.name} is on its way down.")
        return {"vm": documents.vm(vm)}

    def _resize(self, key: str, size: Document) -> Document:
        vm = self._found(key)
        wanted = {name: int(size[name]) for name in SIZE}
        changes = {name: value for name, value in wanted.items() if value != getattr(vm, name)}
        if not changes:
            return {"vm": documents.vm(vm)}
        if wanted["disk_gib"] < vm.disk_gib:
            raise Refused(f"The disk of {vm.name} has {vm.disk_gib} GiB, and cannot shrink.", code="disk_shrinks")
        if min(wanted.values()) < 1:
            raise Refused(f"{vm.name}: a VM has a vCPU and memory.", code="invalid")
        if _is_cold(vm, changes):
            raise Refused(f"{vm.name} is {vm.power}: this size needs it off.", code="needs_power_off")
        admission.grows(self._state, vm, changes)
        self._refuse("resize", vm.name)
        return self._answer(vm, self._tasks.begin("resize", vm, changes))


def _is_cold(vm: Vm, changes: Mapping[str, int]) -> bool:
    if vm.power == "off":
        return False
    of_hardware = {name: value for name, value in changes.items() if name != "disk_gib"}
    shrinks = any(value < getattr(vm, name) for name, value in of_hardware.items())
    return vm.power == "suspended" or shrinks or bool(of_hardware and not vm.hot_add)
