"""The verbs about volumes: disks that outlive their VMs. Each takes many, answers {volume}, {gone} or {error} for each.

They take no time, and so begin no task. Who has a volume is the ref of a VM; one that is gone has nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from infra.drivers.base import NotReady, Refused

from . import admission
from .acts import Acts
from .admission import known
from .records import Vm, Volume

Document = dict[str, Any]


class Volumes(Acts):
    def find(self, keys: Iterable[str]) -> Document:
        """By key; who is not there is missing."""
        found = ((key, self._state.volumes.get(key)) for key in keys)
        return {key: self._shown(one)["volume"] for key, one in found if one is not None}

    def ensure(self, wanted: Mapping[str, Document]) -> Document:
        return self._each(wanted, self._ensure)

    def remove(self, keys: Iterable[str]) -> Document:
        return self._each(dict.fromkeys(keys), lambda key, _: self._remove(key))

    def attach(self, pairs: Mapping[str, str]) -> Document:
        """volume key -> VM key."""
        return self._each(pairs, self._attach)

    def detach(self, keys: Iterable[str]) -> Document:
        return self._each(dict.fromkeys(keys), lambda key, _: self._detach(key))

    def release(self, keys: Iterable[str]) -> Document:
        """Take from these VMs, by key, every volume that they have."""
        return self._each(dict.fromkeys(keys), lambda key, _: self._release(key))

    def snapshot(self, wanted: Mapping[str, str]) -> Document:
        """snapshot key -> volume key."""
        return self._each(wanted, self._snapshot)

    def no_snapshot(self, gone: Mapping[str, str]) -> Document:
        """snapshot key -> volume key."""
        return self._each(gone, self._no_snapshot)

    # --- one at a time ---------------------------------------------------------------------------------------------

    def _ensure(self, key: str, wanted: Document) -> Document:
        state, size_gib = self._state, int(wanted["size_gib"])
        there = state.volumes.get(key)
        if there is not None and there.size_gib == size_gib:
            return self._shown(there)
        if there is not None and there.size_gib > size_gib:
            raise Refused(f"The volume has {there.size_gib} GiB, and cannot shrink.", code="shrinks")
        store = known(state.datastores, wanted["datastore"] if there is None else there.datastore, "datastore")
        self._refuse("volume", str(wanted["name"]))
        admission.fits_datastore(state, store.ref, size_gib - (0 if there is None else there.size_gib))
        made = there or Volume(key, str(wanted["name"]), size_gib, store.ref)
        made.size_gib = size_gib
        state.put(made)
        return self._shown(made)

    def _remove(self, key: str) -> Document:
        there = self._state.volumes.get(key)
        if there is None:
            return {"gone": True}
        holder = self._holder(there)
        if holder is not None:
            raise Refused(f"{holder.name} has the volume {there.name}.", code="attached")
        self._refuse("no_volume", there.name)
        self._state.remove(there)
        return {"gone": True}

    def _attach(self, key: str, vm_key: str) -> Document:
        state, volume, vm = self._state, self._volume(key), self._found(vm_key)
        holder = self._holder(volume)
        if holder is vm:
            return self._shown(volume)
        if holder is not None:
            raise Refused(f"{holder.name} has the volume {volume.name}.", code="attached")
        if volume.datastore not in state.hosts[vm.host].datastores:
            store, host = state.datastores[volume.datastore], state.hosts[vm.host]
            raise Refused(f"The host {host.name} does not mount the datastore {store.name}.", code="invalid")
        if vm.task:
            raise NotReady(f"{vm.name} is busy: another task is at work on it.")
        self._refuse("attach", volume.name)
        volume.vm = vm.ref
        state.put(volume)
        return self._shown(volume)

    def _detach(self, key: str) -> Document:
        volume = self._volume(key)
        holder = self._holder(volume)
        if holder is not None:
            if holder.task:
                raise NotReady(f"{holder.name} is busy: another task is at work on it.")
            self._refuse("detach", volume.name)
            volume.vm = ""
            self._state.put(volume)
        return self._shown(volume)

    def _release(self, key: str) -> Document:
        vm = self._state.vm(key)
        for volume in list(self._state.volumes_of(vm.ref)) if vm is not None else []:
            self._detach(volume.ref)
        return {"gone": True}

    def _snapshot(self, key: str, volume_key: str) -> Document:
        volume = self._volume(volume_key)
        if key not in volume.snapshots:
            self._refuse("volume_snapshot", volume.name)
            volume.snapshots = [*volume.snapshots, key]
            self._state.put(volume)
        return self._shown(volume)

    def _no_snapshot(self, key: str, volume_key: str) -> Document:
        volume = self._state.volumes.get(volume_key)
        if volume is not None and key in volume.snapshots:
            self._refuse("no_volume_snapshot", volume.name)
            volume.snapshots = [one for one in volume.snapshots if one != key]
            self._state.put(volume)
        return {"gone": True}

    def _volume(self, key: str) -> Volume:
        return known(self._state.volumes, key, "volume")

    def _holder(self, volume: Volume) -> Vm | None:
        return self._state.vms.get(volume.vm)

    def _shown(self, volume: Volume) -> Document:
        holder = self._holder(volume)
        return {
            "volume": {
                "ref": volume.ref,
                "size_gib": volume.size_gib,
                "datastore_ref": volume.datastore,
                "attached_to": None if holder is None else holder.key,
                "snapshots": volume.snapshots,
            }
        }
