"""The life of VMs: made from a template, made right, given boot data, powered, removed.

Every verb decides from what it sees of a VM now. No verb keeps a memory of what it did before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import DriverError, GoneOutcome, NotReady, Power, Refused, VmOutcome, VmSpec
from ..extraconfig import BOOTED, USERDATA, WIPED, packed
from . import empty, properties, shape, tasks
from .finding import Finder, Named
from .machine import VM_PROPERTIES, Machine
from .rounds import Decision, LookAgain, Settled, Started, carry, look, missing
from .session import Session
from .snapshots import snapshot_of

WRITE_S = 10.0  # an edit of extraConfig takes moments
POWERED_ON = ["VmPoweredOnEvent", "DrsVmPoweredOnEvent", "vim.event.VmPoweredOnEvent", "vim.event.DrsVmPoweredOnEvent"]


# --- making --------------------------------------------------------------------------------------------------------


def ensure_vms(finder: Finder, specs: Sequence[VmSpec]) -> dict[UUID, VmOutcome]:
    by_key = {spec.key: spec for spec in specs}
    if not by_key:
        return {}
    session = finder.session
    names = finder.names({spec.folder_ref for spec in specs if not spec.fresh})
    around = shape.Surroundings(
        templates=_templates(finder, {spec.template_ref for spec in specs if not (spec.source_key or spec.guest_id)}),
        sources=finder.find({spec.source_key for spec in specs if spec.source_key is not None}),
        backings=shape.backings(session, {ref for spec in specs for ref in spec.networks}),
    )

    def decide(key: UUID, machine: Machine | None) -> Decision:
        spec = by_key[key]
        if machine is None:
            return _clone(finder, spec, names.get((spec.folder_ref, spec.name)), around)
        if machine.power is not Power.OFF:
            if shape.built(machine, spec):
                return Settled(machine.facts())  # at work: what differs is drift, and not mended under its feet
            raise Refused(f"{spec.name} was powered on before it was finished.", code="invalid")
        if not shape.built(machine, spec):
            away = shape.relocation(session, machine, spec)
            if away is not None:
                return Started(session.call(machine.obj.RelocateVM_Task, spec=away), "relocate")
        edit = shape.edit(machine, spec, around)
        if edit is None:
            return Settled(machine.facts())
        return Started(session.call(machine.obj.ReconfigVM_Task, spec=edit), "reconfigure")

    return carry(finder, by_key, decide, fresh={spec.key for spec in specs if spec.fresh})


def _templates(finder: Finder, refs: set[str]) -> dict[str, Machine]:
    objects = [finder.session.object(vim.VirtualMachine, ref) for ref in refs]
    found = properties.read(finder.session, objects, VM_PROPERTIES)
    machines = {ref: Machine.of(found[ref]) for ref in refs if ref in found}
    return {ref: machine for ref, machine in machines.items() if machine is not None}


def _clone(finder: Finder, spec: VmSpec, holder: Named | None, around: shape.Surroundings) -> Decision:
    """The name guards a clone that cannot be found by key yet: vCenter gives a name in a folder once."""
    template = None if spec.guest_id else around.template(spec)
    around.wiring(spec)
    if holder is not None and holder.key != spec.key:
        raise _name_taken(spec, holder)
    session = finder.session
    try:
        return Started(_send(session, spec, template), "clone")
    except Refused as refused:
        if refused.code != "name_taken":
            raise
        there = getattr(refused.__cause__, "object", None)
        return _look_at_holder(finder, spec, there)


def _send(session: Session, spec: VmSpec, template: Machine | None) -> Any:
    """The task that makes it: a clone, or an empty VM. Either call carries the key."""
    folder: Any = session.object(vim.Folder, spec.folder_ref)
    if template is None:
        made, where = empty.config(session, spec), shape.place(session, spec)
        return session.call(folder.CreateVM_Task, config=made, pool=where["pool"], host=where["host"])
    made = shape.clone_spec(session, spec)
    if spec.source_key is not None:
        made.config.deviceChange = shape.removals(template.foreign_disks)
    if spec.source_snapshot is not None:
        made.snapshot = snapshot_of(session, template, spec.source_snapshot)
    return session.call(template.obj.CloneVM_Task, folder=folder, name=spec.name, spec=made)


def _look_at_holder(finder: Finder, spec: VmSpec, there: Any) -> Decision:
    """DuplicateName means look: ours is adopted, one that cannot be read yet is waited for, another's is refused."""
    found = properties.read(finder.session, [there], ("config.instanceUuid",)) if there is not None else {}
    uuid = found[there._moId].get("config.instanceUuid") if there is not None and there._moId in found else None
    if uuid == str(spec.key):
        finder.learn(spec.key, there._moId)
        return LookAgain()
    raise _name_taken(spec, Named(getattr(there, "_moId", ""), UUID(uuid) if uuid else None))


def _name_taken(spec: VmSpec, holder: Named) -> DriverError:
    if holder.key is None:
        return NotReady(f"A VM named {spec.name} is being made.")
    return Refused(f"Another VM in the folder is named {spec.name}.", code="name_taken")


# --- boot data -----------------------------------------------------------------------------------------------------


def ensure_boot_data(finder: Finder, boot: Mapping[UUID, str | None]) -> dict[UUID, DriverError | None]:
    machines = look(finder, boot)

    def write(key: UUID) -> Any:
        machine = machines.get(key)
        if isinstance(machine, NotReady):
            return machine
        try:
            return _write_boot_data(finder, machine, key, boot[key])
        except DriverError as error:
            return error

    started = dict(zip(boot, finder.together(write, list(boot)), strict=True))
    answer: dict[UUID, DriverError | None] = {key: one for key, one in started.items() if isinstance(one, DriverError)}
    refs = {key: str(one._moId) for key, one in started.items() if one is not None and key not in answer}
    ended = tasks.wait(finder.session, list(refs.values()), WRITE_S)
    return {key: answer.get(key, ended[refs[key]] if key in refs else None) for key in boot}


def _write_boot_data(finder: Finder, machine: Machine | None, key: UUID, text: str | None) -> Any:
    """The task that writes, or None where nothing is to be written."""
    if machine is None:
        raise missing(key)
    if text is None:
        if all(machine.extra.get(name, "") in WIPED for name in (USERDATA, f"{USERDATA}.encoding")):
            return None
        values = {USERDATA: "", f"{USERDATA}.encoding": ""}
        if machine.power is not Power.OFF:
            values[BOOTED] = str(key)
    else:
        if _has_been_on(finder, machine):
            raise Refused(f"{machine.name} has been powered on: boot data comes too late.", code="already_booted")
        if machine.user_data == text:
            return None
        values = packed(USERDATA, text)
    edit = vim.vm.ConfigSpec(extraConfig=shape.extra_config(values))
    return finder.session.call(machine.obj.ReconfigVM_Task, spec=edit)


def _has_been_on(finder: Finder, machine: Machine) -> bool:
    """Whether a VM has ever run, whoever powered it.

    vCenter clears bootTime when a VM goes off, so a VM that is off is asked for its history: the event log, which a
    power-on by hand enters too. Logs are pruned (30 days by default); a VM that was on and whose boot data was wiped
    bears our mark as well, written with the wipe. A copy of the mark in a hand-made clone holds the wrong key.
    """
    if machine.power is not Power.OFF or machine.extra.get(BOOTED) == str(machine.key):
        return True
    of_this = vim.event.EventFilterSpec.ByEntity(entity=machine.obj, recursion="self")
    wanted = vim.event.EventFilterSpec(entity=of_this, eventTypeId=POWERED_ON)
    return bool(finder.session.call(finder.session.content.eventManager.QueryEvents, filter=wanted))


# --- power ---------------------------------------------------------------------------------------------------------


def ensure_power(finder: Finder, wanted: Mapping[UUID, Power]) -> dict[UUID, VmOutcome]:
    session = finder.session

    def decide(key: UUID, machine: Machine | None) -> Decision:
        if machine is None:
            raise missing(key)
        if machine.power is wanted[key]:
            return Settled(machine.facts())
        if machine.template:
            raise Refused(f"{machine.name} is a template.", code="invalid")
        if wanted[key] is Power.ON:
            return Started(session.call(machine.obj.PowerOnVM_Task), "power on")
        if wanted[key] is Power.OFF:
            return Started(session.call(machine.obj.PowerOffVM_Task), "power off")
        if machine.power is Power.OFF:
            raise Refused(f"{machine.name} is off: only a running VM can be suspended.", code="invalid")
        return Started(session.call(machine.obj.SuspendVM_Task), "suspend")

    return carry(finder, wanted, decide)


# --- going ---------------------------------------------------------------------------------------------------------


def ensure_no_vms(finder: Finder, keys: Iterable[UUID]) -> dict[UUID, GoneOutcome]:
    session = finder.session

    def decide(_: UUID, machine: Machine | None) -> Decision:
        if machine is None:
            return Settled(None)
        if machine.power is not Power.OFF:
            return Started(session.call(machine.obj.PowerOffVM_Task), "power off")
        if machine.foreign_disks:  # never destroyed with the VM: while one cannot be detached, the VM stays
            edit = shape.detachment(machine.foreign_disks)
            return Started(session.call(machine.obj.ReconfigVM_Task, spec=edit), "detach disks")
        return Started(session.call(machine.obj.Destroy_Task), "destroy")

    return carry(finder, list(keys), decide)
