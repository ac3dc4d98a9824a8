"""Snapshots of VMs: how a VM was at a moment. They stand in its record, the oldest first, and go with it.

What a snapshot keeps is the VM's hardware, its extraConfig and its power; the files of a guest are no part of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from infra.drivers.base import NotReady, Refused

from .acts import Acts, Document
from .moments import described, shown


class Snapshots(Acts):
    def snapshots(self, keys: Iterable[str]) -> Document:
        """VM key -> its snapshots; a VM that is not there is missing."""
        found = ((key, self._state.vm(key)) for key in keys)
        return {key: {"snapshots": [shown(one) for one in vm.snapshots]} for key, vm in found if vm is not None}

    def snapshot(self, wanted: Mapping[str, Document]) -> Document:
        """snapshot key -> {vm, name, description, with_memory}. By its description it is found, before one is made."""
        return self._each(wanted, self._snapshot)

    def no_snapshot(self, gone: Mapping[str, Document]) -> Document:
        """snapshot key -> {vm, description}."""
        return self._each(gone, self._no_snapshot)

    def revert(self, reverts: Mapping[str, str]) -> Document:
        """VM key -> the description of the snapshot to go back to."""
        return self._each(reverts, self._revert)

    # --- one at a time ---------------------------------------------------------------------------------------------

    def _snapshot(self, key: str, wanted: Document) -> Document:
        vm = self._found(wanted["vm"])
        there = described(vm, wanted["description"])
        if there is not None:
            return {"snapshot": shown(there)}
        self._refuse("snapshot", vm.name)
        changes = {"ref": self._state.new_ref("snapshot")} | {
            name: wanted[name] for name in ("name", "description", "with_memory")
        }
        task = self._tasks.begin("snapshot", vm, changes)
        if task is not None:
            return {"task": task.ref, "doing": task.doing}
        made = described(vm, wanted["description"])
        if made is None:
            raise NotReady(f"The snapshot {wanted['name']} of {vm.name} cannot be seen yet.")
        return {"snapshot": shown(made)}

    def _no_snapshot(self, key: str, gone: Document) -> Document:
        vm = self._state.vm(gone["vm"])
        if vm is None or described(vm, gone["description"]) is None:
            return {"gone": True}
        self._refuse("no_snapshot", vm.name)
        task = self._tasks.begin("no_snapshot", vm, {"description": gone["description"]})
        return {"gone": True} if task is None else {"task": task.ref, "doing": task.doing}

    def _revert(self, key: str, description: str) -> Document:
        vm = self._found(key)
        if described(vm, description) is None:
            raise Refused(f"{vm.name} has no such snapshot.", code="snapshot_not_found")
        self._refuse("revert", vm.name)
        return self._answer(vm, self._tasks.begin("revert", vm, {"description": description}))
