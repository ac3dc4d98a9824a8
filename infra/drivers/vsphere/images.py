"""Copies of templates where others can be cloned from them: VMs under a key of ours, marked as templates at the end.

The key travels in the call that makes the copy, as a VM's does, and the name in its folder guards one in flight. An
item of a content library is deployed first, which no key travels with: it is found by its name, and given the key then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import GoneOutcome, ImageOutcome, ImageSpec, NotReady, Refused, TemplateFacts
from ..extraconfig import KEY
from . import properties, shape
from .finding import Named
from .library import REF
from .machine import VM_PROPERTIES, Machine
from .parts import Parts
from .rounds import Decision, LookAgain, Settled, Started, carry
from .session import Session


class Images(Parts):
    """See infra.drivers.base."""

    def ensure_images(self, specs: Sequence[ImageSpec]) -> Mapping[UUID, ImageOutcome]:
        by_key = {spec.key: spec for spec in specs}
        names = self._finder.names({spec.folder_ref for spec in specs})
        session, library = self._session, self._library

        def decide(key: UUID, machine: Machine | None) -> Decision:
            spec = by_key[key]
            if machine is None:
                holder = names.get((spec.folder_ref, spec.name))
                if spec.template_ref.startswith(REF):
                    return Started(_mark(session, spec, holder.id if holder else library.deploy(spec)), "deploy image")
                return Started(_copy(session, spec, holder), "copy image")
            if machine.template:
                return Settled(_facts(machine))
            if spec.datastore_ref not in machine.datastores:
                there = vim.vm.RelocateSpec(datastore=session.object(vim.Datastore, spec.datastore_ref))
                return Started(session.call(machine.obj.RelocateVM_Task, spec=there), "relocate")
            session.call(machine.obj.MarkAsTemplate)
            return LookAgain()

        return carry(self._finder, by_key, decide)

    def ensure_no_images(self, keys: Iterable[UUID]) -> Mapping[UUID, GoneOutcome]:
        session = self._session

        def decide(_: UUID, machine: Machine | None) -> Decision:
            if machine is None:
                return Settled(None)
            if not machine.witness:
                raise Refused(f"{machine.name} is no copy of ours.", code="invalid")
            return Started(session.call(machine.obj.Destroy_Task), "destroy")

        return carry(self._finder, list(keys), decide)


def _copy(session: Session, spec: ImageSpec, holder: Named | None) -> Any:
    if holder is not None and holder.key is None:
        raise NotReady(f"{spec.name} is being made.")
    if holder is not None and holder.key != spec.key:
        raise Refused(f"Another VM in the folder is named {spec.name}.", code="name_taken")
    source = session.object(vim.VirtualMachine, spec.template_ref)
    found = properties.read(session, [source], VM_PROPERTIES).get(spec.template_ref)
    if found is None or Machine.of(found) is None:
        raise Refused(f"The vCenter does not know the template {spec.template_ref}.", code="not_found")
    made = vim.vm.CloneSpec(
        location=vim.vm.RelocateSpec(
            host=session.object(vim.HostSystem, spec.host_ref),
            datastore=session.object(vim.Datastore, spec.datastore_ref),
            pool=session.object(vim.ResourcePool, spec.pool_ref),
        ),
        powerOn=False,
        template=False,  # marked when it stands as it shall: a template cannot be moved
        config=vim.vm.ConfigSpec(instanceUuid=str(spec.key), extraConfig=shape.extra_config({KEY: str(spec.key)})),
    )
    folder: Any = session.object(vim.Folder, spec.folder_ref)
    try:
        return session.call(source.CloneVM_Task, folder=folder, name=spec.name, spec=made)
    except Refused as refused:
        if refused.code == "name_taken":
            raise NotReady(f"{spec.name} appeared meanwhile: look again.") from refused
        raise


def _mark(session: Session, spec: ImageSpec, ref: str) -> Any:
    """Give what was deployed our key. It was found by the name that the request gave it, which holds that key's end."""
    vm: Any = session.object(vim.VirtualMachine, ref)
    found = properties.read(session, [vm], VM_PROPERTIES).get(ref)
    machine = Machine.of(found) if found is not None else None
    if machine is None or machine.witness:
        raise Refused(f"Another VM in the folder is named {spec.name}.", code="name_taken")
    ours = vim.vm.ConfigSpec(instanceUuid=str(spec.key), extraConfig=shape.extra_config({KEY: str(spec.key)}))
    return session.call(vm.ReconfigVM_Task, spec=ours)


def _facts(machine: Machine) -> TemplateFacts:
    """A copy is found by its key or its ref; its path is its name alone."""
    return TemplateFacts(
        ref=machine.id,
        name=machine.name,
        path=machine.name,
        vcpu=machine.vcpu,
        memory_mib=machine.memory_mib,
        disk_gib=machine.disk_gib,
        datastore_refs=machine.datastores,
    )
