"""Disks with a life of their own: First Class Disks. docs/adr/0014-volumes.md says why those."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pyVmomi import vim, vmodl

from ..base import (
    AttachSpec,
    DriverError,
    GoneOutcome,
    InFlight,
    NotReady,
    Refused,
    TaskState,
    VolumeFacts,
    VolumeOutcome,
    VolumeSnapshotSpec,
    VolumeSpec,
)
from . import shape, tasks
from .disks import MIB_OF_GIB, Disk, Disks, Holder
from .machine import Machine
from .parts import Parts
from .rounds import ROUNDS, Settled, Started, look, missing

Decide = Callable[[UUID, Disk | None], Settled | Started]


class Volumes(Parts):
    """See infra.drivers.base."""

    _disks: Disks

    def find_volumes(self, places: Mapping[UUID, str]) -> Mapping[UUID, VolumeFacts]:
        return {key: disk.facts() for key, disk in self._disks.find(places).items()}

    def ensure_volumes(self, specs: Sequence[VolumeSpec]) -> Mapping[UUID, VolumeOutcome]:
        by_key = {spec.key: spec for spec in specs}

        def decide(key: UUID, disk: Disk | None) -> Settled | Started:
            spec = by_key[key]
            if disk is None:
                return self._create(spec)
            if disk.more:
                return self._delete(disk, disk.more[0])
            have_gib = disk.facts().size_gib
            if have_gib > spec.size_gib:
                raise Refused(f"The volume has {have_gib} GiB, and cannot shrink.", code="shrinks")
            return Settled(disk.facts()) if have_gib == spec.size_gib else self._grow(disk, spec.size_gib)

        return self._carry({spec.key: spec.datastore_ref for spec in specs}, decide)

    def ensure_no_volumes(self, places: Mapping[UUID, str]) -> Mapping[UUID, GoneOutcome]:
        def decide(_: UUID, disk: Disk | None) -> Settled | Started:
            if disk is None:
                return Settled(None)
            if disk.holder is not None:
                raise Refused(f"A VM has the volume {disk.key}.", code="attached")
            if disk.snapshots:
                return self._delete_snapshot(disk, next(iter(disk.snapshots.values())))
            return self._delete(disk, next(iter(disk.more), disk.id))

        return self._carry(places, decide)

    def attach(self, specs: Sequence[AttachSpec]) -> Mapping[UUID, VolumeOutcome]:
        by_key = {spec.key: spec for spec in specs}
        machines = look(self._finder, {spec.vm_key for spec in specs})

        def decide(key: UUID, disk: Disk | None) -> Settled | Started:
            vm_key = by_key[key].vm_key
            if disk is None:
                raise _unknown(key)
            if disk.holder is not None:
                if disk.holder.key != vm_key:
                    raise Refused(f"Another VM has the volume {key}.", code="attached")
                return Settled(disk.facts())
            machine = machines.get(vm_key)
            if isinstance(machine, NotReady):
                raise machine
            if machine is None:
                raise missing(vm_key)
            return self._attach(disk, machine)

        return self._carry({spec.key: spec.datastore_ref for spec in specs}, decide)

    def detach(self, places: Mapping[UUID, str]) -> Mapping[UUID, VolumeOutcome]:
        def decide(key: UUID, disk: Disk | None) -> Settled | Started:
            if disk is None:
                raise _unknown(key)
            return Settled(disk.facts()) if disk.holder is None else self._detach(disk.holder)

        return self._carry(places, decide)

    def ensure_volume_snapshots(self, specs: Sequence[VolumeSnapshotSpec]) -> Mapping[UUID, VolumeOutcome]:
        def decide(spec: VolumeSnapshotSpec, disk: Disk | None) -> Settled | Started:
            if disk is None:
                raise _unknown(spec.volume_key)
            if str(spec.key) in disk.snapshots:
                return Settled(disk.facts())
            return self._snapshot(disk, spec.key)

        return self._one_by_one(specs, decide)

    def ensure_no_volume_snapshots(self, specs: Sequence[VolumeSnapshotSpec]) -> Mapping[UUID, GoneOutcome]:
        def decide(spec: VolumeSnapshotSpec, disk: Disk | None) -> Settled | Started:
            if disk is None or str(spec.key) not in disk.snapshots:
                return Settled(None)
            return self._delete_snapshot(disk, disk.snapshots[str(spec.key)])

        return self._one_by_one(specs, decide)

    # --- acts ------------------------------------------------------------------------------------------------------

    def _create(self, spec: VolumeSpec) -> Started:
        backing = vim.vslm.CreateSpec.DiskFileBackingSpec(
            datastore=self._disks.store(spec.datastore_ref), provisioningType="thin"
        )
        made = vim.vslm.CreateSpec(
            name=str(spec.key),
            keepAfterDeleteVm=True,
            capacityInMB=spec.size_gib * MIB_OF_GIB,
            backingSpec=backing,
        )
        if spec.policy_ref:
            made.profile = [vim.vm.DefinedProfileSpec(profileId=spec.policy_ref)]
        return Started(self._session.call(self._disks.manager.CreateDisk_Task, spec=made), "create a volume")

    def _grow(self, disk: Disk, size_gib: int) -> Started:
        """Through its VM, where one has it: a running one takes that as well."""
        if disk.holder is None:
            extend = self._disks.manager.ExtendDisk_Task
            mib = size_gib * MIB_OF_GIB
            task = self._session.call(extend, id=_id(disk.id), datastore=disk.store, newCapacityInMB=mib)
            return Started(task, "grow a volume")
        device = disk.holder.device
        device.capacityInBytes = size_gib << 30
        device.capacityInKB = size_gib << 20
        change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)
        edit = vim.vm.ConfigSpec(deviceChange=[change])
        return Started(self._session.call(disk.holder.vm.ReconfigVM_Task, spec=edit), "grow a volume")

    def _attach(self, disk: Disk, machine: Machine) -> Started:
        """On the first SCSI controller: a VM with several would have to be told."""
        if machine.template:
            raise Refused(f"{machine.name} is a template.", code="invalid")
        scsi = [one for one in machine.devices if isinstance(one, vim.vm.device.VirtualSCSIController)]
        on = {"controllerKey": scsi[0].key} if scsi else {}
        attach = machine.obj.AttachDisk_Task
        return Started(self._session.call(attach, diskId=_id(disk.id), datastore=disk.store, **on), "attach a volume")

    def _detach(self, holder: Holder) -> Started:
        edit = shape.detachment((holder.device,))
        return Started(self._session.call(holder.vm.ReconfigVM_Task, spec=edit), "detach a volume")

    def _delete(self, disk: Disk, id: str) -> Started:
        remove = self._disks.manager.DeleteVStorageObject_Task
        return Started(self._session.call(remove, id=_id(id), datastore=disk.store), "remove a volume")

    def _snapshot(self, disk: Disk, key: UUID) -> Started:
        take = self._disks.manager.VStorageObjectCreateSnapshot_Task
        try:
            task = self._session.call(take, id=_id(disk.id), datastore=disk.store, description=str(key))
        except Refused as refused:
            if isinstance(refused.__cause__, vmodl.fault.MethodNotFound):
                raise Refused("A vCenter before 6.7 takes no snapshots of volumes.", code="not_supported") from refused
            raise
        return Started(task, "snapshot a volume")

    def _delete_snapshot(self, disk: Disk, id: str) -> Started:
        remove = self._disks.manager.DeleteSnapshot_Task
        task = self._session.call(remove, id=_id(disk.id), datastore=disk.store, snapshotId=_id(id))
        return Started(task, "remove a snapshot of a volume")

    # --- rounds ----------------------------------------------------------------------------------------------------

    def _one_by_one(
        self,
        specs: Sequence[VolumeSnapshotSpec],
        decide: Callable[[VolumeSnapshotSpec, Disk | None], Settled | Started],
    ) -> dict[UUID, Any]:
        """Two snapshots of one volume are two acts on it, so each has rounds of its own."""
        answer: dict[UUID, Any] = {}
        for spec in specs:
            outcomes = self._carry(
                {spec.volume_key: spec.datastore_ref},
                lambda _, disk, spec=spec: decide(spec, disk),  # type: ignore[misc]  # mypy: a default in a lambda
            )
            answer[spec.key] = outcomes[spec.volume_key]
        return answer

    def _carry(self, places: Mapping[UUID, str], decide: Decide) -> dict[UUID, Any]:
        """As rounds.carry does for VMs: look at all, one act for each, ask after all tasks, look again."""
        outcomes: dict[UUID, Any] = {}
        pending = dict(places)
        for number in range(ROUNDS):
            if not pending:
                break
            try:
                seen = self._disks.find(pending)
            except DriverError as error:
                if number == 0:
                    raise
                return outcomes | dict.fromkeys(pending, error)
            started: dict[UUID, Started] = {}
            for key in pending:
                try:
                    act = decide(key, seen.get(key))
                except DriverError as error:
                    act = Settled(error)
                if isinstance(act, Settled):
                    outcomes[key] = act.outcome
                else:
                    started[key] = act
            outcomes |= self._unfinished(started)
            pending = {key: ref for key, ref in pending.items() if key not in outcomes}
        return outcomes | {key: NotReady("The volume changes under our hands: look again.") for key in pending}

    def _unfinished(self, started: Mapping[UUID, Started]) -> dict[UUID, InFlight | DriverError]:
        """What is still at work, or has failed."""
        refs = {key: str(act.task._moId) for key, act in started.items()}
        flying = {key: InFlight(ref, started[key].doing) for key, ref in refs.items()}
        try:
            states = tasks.look(self._session, list(refs.values())) if refs else {}
        except DriverError:  # the work goes on all the same, and its refs must not be lost
            return dict(flying)
        answer: dict[UUID, InFlight | DriverError] = {}
        for key, ref in refs.items():
            facts = states[ref].facts
            if facts.state is TaskState.RUNNING:
                answer[key] = flying[key]
            elif facts.error is not None:
                answer[key] = facts.error
        return answer


def _id(id: str) -> Any:
    return vim.vslm.ID(id=id)


def _unknown(key: UUID) -> Refused:
    return Refused(f"There is no volume with the key {key}.", code="not_found")
