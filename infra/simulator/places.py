"""The verbs about folders, resource pools and rules. What is as it is asked to be is answered and not touched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from infra.drivers.base import Refused

from . import admission
from .admission import known
from .faults import Faults
from .records import Folder, Pool, Rule
from .state import State

Document = dict[str, Any]


class Places:
    def __init__(self, state: State, faults: Faults) -> None:
        self._state = state
        self._faults = faults

    # --- folders ---------------------------------------------------------------------------------------------------

    def folder(self, name: str, parent_ref: str | None, ref: str | None) -> Document:
        """The folder `ref` where it stands, else the one of this name below its parent, else a new one."""
        state = self._state
        if ref in state.folders:
            return {"ref": ref}
        parent = known(state.folders, parent_ref, "folder") if parent_ref else root_folder(state)
        holder = state.names.get((parent.ref, name))
        if holder in state.folders:
            return {"ref": holder}
        if holder is not None:
            raise Refused(f"Another thing in the folder is named {name}.", code="name_taken")
        self._refuse("folder", name)
        with state.writing(by_call=True):
            made = Folder(state.new_ref("group"), name, parent.ref)
            state.put(made)
        return {"ref": made.ref}

    def no_folder(self, ref: str) -> Document:
        state = self._state
        folder = state.folders.get(ref)
        if folder is None:
            return {}
        if state.inside[ref] or not folder.parent:
            raise Refused(f"The folder {folder.name} is not empty.", code="in_use")
        self._refuse("no_folder", folder.name)
        with state.writing(by_call=True):
            state.remove(folder)
        return {}

    # --- pools -----------------------------------------------------------------------------------------------------

    def pool(self, name: str, expandable: bool, parts: Iterable[Document]) -> Document:
        """compute_ref -> pool ref. All parts, or as many as could be done before one was refused."""
        with self._state.writing(by_call=True):
            return {part["compute_ref"]: self._pool(name, expandable, part) for part in parts}

    def _pool(self, name: str, expandable: bool, part: Document) -> str:
        state = self._state
        compute = known(state.computes, part["compute_ref"], "compute resource")
        parent = known(state.pools, part["parent_ref"] or compute.root_pool, "resource pool")
        ref = part["ref"] if part["ref"] in state.pools else state.names.get((parent.ref, name))
        there = state.pools[ref] if ref is not None else None
        wanted = Pool(
            ref=there.ref if there else "",
            name=there.name if there else name,
            parent=there.parent if there else parent.ref,
            compute=compute.ref,
            cpu_reserved_mhz=int(part["cpu_reserved_mhz"]),
            memory_reserved_mib=int(part["memory_reserved_mib"]),
            cpu_limit_mhz=-1 if part["cpu_limit_mhz"] is None else int(part["cpu_limit_mhz"]),
            memory_limit_mib=-1 if part["memory_limit_mib"] is None else int(part["memory_limit_mib"]),
            expandable=expandable,
        )
        if there == wanted:
            return wanted.ref
        self._refuse("pool", name)
        if there is None:
            wanted = replace(wanted, ref=state.new_ref("resgroup"))
        state.put(wanted)
        try:
            admission.reservations(state, wanted)
        except Refused:
            state.put(there) if there else state.remove(wanted)
            raise
        return wanted.ref

    def no_pool(self, refs: Iterable[str]) -> Document:
        """Those that are empty go; `in_use` names the others."""
        state = self._state
        full = []
        with state.writing(by_call=True):
            for pool in [state.pools[ref] for ref in refs if ref in state.pools]:
                if state.inside[pool.ref] or pool.parent in state.computes:
                    full.append(pool.name)
                    continue
                self._refuse("no_pool", pool.name)
                state.remove(pool)
        if full:
            raise Refused(f"Still in use: {', '.join(sorted(full))}.", code="in_use")
        return {}

    # --- rules -----------------------------------------------------------------------------------------------------

    def rule(
        self, name: str, vm_keys: Iterable[str], host_refs: Iterable[str] | None = None, must: bool = True,
        beside: bool = False, leaving: Iterable[str] = (),
    ) -> Document:  # fmt: skip
        """The VMs of these keys that are there stay apart, a rule of fewer than two is none; or on these hosts.

        `beside`: those that are in the rule already stay in it, but for `leaving`.
        """
        known_rule = self._state.rules.get(name)
        also = set(known_rule.vm_keys) - set(leaving) if beside and known_rule is not None else set()
        there = sorted({key for key in also | set(vm_keys) if key in self._state.keys})
        hosts = sorted(known(self._state.hosts, ref, "host").ref for ref in host_refs or ())
        if len(there) < (2 if host_refs is None else 1):
            return self.no_rule(name)
        wanted = Rule(name, there, hosts, bool(must))
        if self._state.rules.get(name) != wanted:
            self._refuse("rule", name)
            with self._state.writing(by_call=True):
                self._state.put(wanted)
        return {}

    def rules(self) -> Document:
        """Each once for every vSphere cluster where VMs of it stand."""
        return {"rules": [told for rule in self._state.rules.values() for told in self._told(rule)]}

    def _told(self, rule: Rule) -> Iterable[Document]:
        state = self._state
        standing = {key: vm for key in rule.vm_keys if (vm := state.vm(key)) is not None}
        for compute in sorted({state.hosts[vm.host].compute for vm in standing.values()}):
            yield {
                "name": rule.ref,
                "kind": "hosts" if rule.hosts else "apart",
                "compute_ref": compute,
                "vm_keys": [key for key, vm in standing.items() if state.hosts[vm.host].compute == compute],
                "host_refs": [ref for ref in rule.hosts if state.hosts[ref].compute == compute],
            }

    def no_rule(self, name: str) -> Document:
        rule = self._state.rules.get(name)
        if rule is not None:
            self._refuse("no_rule", name)
            with self._state.writing(by_call=True):
                self._state.remove(rule)
        return {}

    def _refuse(self, verb: str, name: str) -> None:
        error = self._faults.of_item(verb, "error", name)
        if error is not None:
            raise error


def root_folder(state: State) -> Folder:
    return next(folder for folder in state.folders.values() if not folder.parent)
