"""The verbs about VMs. Each takes many and answers one outcome for each: {vm}, {task, doing}, {gone} or {error}.

A VM that is as it is asked to be is answered and not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from uuid import uuid4

from infra.drivers.base import DriverError, NotReady, Refused
from infra.drivers.extraconfig import USERDATA, WIPED

from . import admission, documents, drs
from .acts import Acts, Document
from .admission import known
from .moments import described
from .records import Template, Vm

POWER_TASKS = {"on": "power_on", "off": "power_off", "suspended": "suspend"}


class Machines(Acts):
    def find(self, keys: Iterable[str]) -> Document:
        found = ((key, self._state.vm(key)) for key in keys)
        return {key: documents.detailed(vm) for key, vm in found if vm is not None}

    def clone(self, asked: list[Document]) -> Document:
        """By key. A name that is taken in the folder is an error with `holder`: its VM's key, null while it is made."""
        return self._each({one["key"]: one for one in asked}, lambda key, one: self._clone(one))

    def reconfigure(self, changes: Mapping[str, Document]) -> Document:
        return self._each(changes, self._reconfigure)

    def guestinfo(self, userdata: Mapping[str, Document | None]) -> Document:
        """Put or (None) wipe boot data. What a VM that has ever been on would never read is refused."""
        return self._each(userdata, self._guestinfo)

    def power(self, wanted: Mapping[str, str]) -> Document:
        return self._each(wanted, self._power)

    def move(self, places: Mapping[str, Document]) -> Document:
        """Live where it runs: the guest sees nothing of it. A move that is at work already is the answer."""
        return self._each(places, self._move)

    def destroy(self, keys: Iterable[str]) -> Document:
        return self._each(dict.fromkeys(keys), lambda key, _: self._destroy(key))

    # --- one at a time ---------------------------------------------------------------------------------------------

    def _clone(self, asked: Document) -> Document:
        state = self._state
        name, folder = asked["name"], known(state.folders, asked["folder_ref"], "folder")
        template = self._source(asked)
        holder = state.names.get((folder.ref, name))
        if holder is not None:
            return self._duplicate(name, holder)
        if asked["key"] in state.keys:
            raise Refused(f"There is a VM with the key {asked['key']}.", code="name_taken")
        vm = Vm(
            ref=state.new_ref("vm"),
            key=asked["key"],
            name=name,
            machine=str(uuid4()),
            folder=folder.ref,
            pool=asked["pool_ref"],
            host=asked["host_ref"] or drs.chosen(state, asked["pool_ref"]),
            of_drs=not asked["host_ref"],
            datastore=asked["datastore_ref"],
            network=asked["network_ref"] or "",
            vcpu=int(asked["vcpu"]),
            memory_mib=int(asked["memory_mib"]),
            disk_gib=int(asked["disk_gib"]),
            extra=dict(asked["extra"]),
            version=template.version if template is not None else "",
            making=True,
            more_networks=list(asked.get("more_networks", ())),
            bare=template is None,
        )
        self._refuse("clone", vm.name)
        admission.goes_together(state, vm)
        admission.standing(state.hosts[vm.host])
        admission.guestinfo(vm.extra)
        if template is not None and vm.disk_gib < template.disk_gib:
            raise Refused(
                f"The disk of {vm.disk_gib} GiB is smaller than the template's {template.disk_gib} GiB.",
                code="disk_too_small",
            )
        admission.fits_datastore(state, vm.datastore, vm.disk_gib)
        state.put(vm)
        try:
            return self._answer(vm, self._tasks.begin("clone", vm))
        except DriverError:
            state.remove(vm)
            raise

    def _source(self, asked: Document) -> Template | Vm | None:
        """What a VM is made of: a template, or a VM by its key (at one of its snapshots); None for an empty one."""
        if asked.get("guest_id"):
            return None
        if not asked.get("source_key"):
            return self._template(asked["template_ref"])
        found = self._state.vm(asked["source_key"])
        if found is None:
            raise Refused("The VM that it is to be a clone of is gone.", code="source_gone")
        if asked.get("source_snapshot") and described(found, asked["source_snapshot"]) is None:
            raise Refused(f"{found.name} has no such snapshot.", code="snapshot_not_found")
        if found.task:
            raise NotReady(f"{found.name} is busy: another task is at work on it.")
        return found

    def _template(self, ref: str) -> Template | Vm:
        found = self._state.templates.get(ref) or self._state.vms.get(ref)
        if found is None or (isinstance(found, Vm) and found.making):
            raise Refused(f"The datacenter does not know the template {ref}.", code="not_found")
        if isinstance(found, Template) and found.library:
            raise Refused(f"{found.name} is an item of a content library: it becomes a template first.", code="invalid")
        return found

    def _duplicate(self, name: str, holder: str) -> Document:
        vm = self._state.vms.get(holder)
        key = vm.key if vm is not None and not vm.making else None
        refused = documents.error(Refused(f"Another thing in the folder is named {name}.", code="name_taken"))
        return refused | {"holder": {"key": key, "in_flight": vm is not None and vm.making}}

    def _reconfigure(self, key: str, changes: Document) -> Document:
        vm = self._found(key)
        if "disk_gib" in changes and int(changes["disk_gib"]) < vm.disk_gib:
            raise Refused(f"The disk of {vm.name} cannot shrink.", code="invalid")
        if vm.power == "on" and changes.keys() - {"extra"}:
            raise Refused(f"{vm.name} is on: its size stays as it is.", code="invalid")
        for ref in changes.get("networks", ()):
            known(self._state.networks, ref, "network")
        admission.guestinfo(changes.get("extra", {}))
        self._refuse("reconfigure", vm.name)
        return self._answer(vm, self._tasks.begin("reconfigure", vm, changes))

    def _guestinfo(self, key: str, values: Document | None) -> Document:
        vm = self._found(key)
        names = (USERDATA, f"{USERDATA}.encoding")
        wanted = {name: str((values or {}).get(name, "")) for name in names}
        if values is not None and vm.has_been_on:
            raise Refused(f"{vm.name} has been powered on: boot data comes too late.", code="already_booted")
        if values is None and all(vm.extra.get(name, "") in WIPED for name in names):
            return {"vm": documents.vm(vm)}
        if all(vm.extra.get(name, "") == wanted[name] for name in names):
            return {"vm": documents.vm(vm)}
        admission.guestinfo(wanted)
        self._refuse("guestinfo", vm.name)
        if vm.task:
            raise NotReady(f"{vm.name} is busy: another task is at work on it.")
        if values is None:
            vm.extra = {name: value for name, value in vm.extra.items() if name not in names}
        else:
            vm.extra |= wanted
        self._state.put(vm)
        return {"vm": documents.vm(vm)}

    def _power(self, key: str, wanted: str) -> Document:
        vm = self._found(key)
        if vm.power == wanted:
            return {"vm": documents.vm(vm)}
        if wanted not in POWER_TASKS:
            raise Refused(f"A VM is on, off or suspended, and never {wanted!r}.", code="invalid")
        if wanted == "suspended" and vm.power == "off":
            raise Refused(f"{vm.name} is off: only a running VM can be suspended.", code="invalid")
        if wanted == "on":
            if vm.of_drs:
                drs.settle(self._state, vm)
            admission.fits_host(self._state, vm)
        self._refuse(POWER_TASKS[wanted], vm.name)
        return self._answer(vm, self._tasks.begin(POWER_TASKS[wanted], vm))

    def _move(self, key: str, place: Document) -> Document:
        vm = self._found(key)
        at_work = self._state.tasks.get(vm.task)
        if at_work is not None and at_work.doing == "move":
            return self._answer(vm, at_work)
        there = replace(vm, host=place["host_ref"], datastore=place["datastore_ref"], pool=place["pool_ref"])
        if there == vm:
            return {"vm": documents.vm(vm)}
        admission.arrives(self._state, vm, there)
        self._refuse("move", vm.name)
        changes = {
            "host": there.host,
            "datastore": there.datastore,
            "pool": there.pool,
            "memory_mib": vm.memory_mib if vm.power == "on" and there.host != vm.host else 0,
            "disk_gib": vm.disk_gib if there.datastore != vm.datastore else 0,
        }
        return self._answer(vm, self._tasks.begin("move", vm, changes))

    def _destroy(self, key: str) -> Document:
        vm = self._state.vm(key)
        if vm is None:
            return {"gone": True}
        if vm.power != "off":
            raise NotReady(f"{vm.name} is not off.")
        if any(self._state.volumes_of(vm.ref)):
            raise NotReady(f"{vm.name} has volumes: they are detached first.")
        self._refuse("destroy", vm.name)
        task = self._tasks.begin("destroy", vm)
        return {"gone": True} if task is None else {"task": task.ref, "doing": task.doing}
