"""What a pass does with the VMs of one owner: a slice at a time, one read, one verb with a list, one short write.

Every function may be said again after a kill at any line. A VM is found at the site by its key, which is our row's id,
and is believed absent only when nothing about it is in flight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from facet.operations import inflight
from facet.operations.engine import ComeAgain, Turn
from facet.operations.wakeups import wake
from infra import replicas
from infra.drivers import base
from infra.models import HostKind, Site
from scheduler import ledger
from scheduler.models import Allocation, ResourcePool

from . import hostrules, nics, sightings
from .models import VM, VmPhase
from .snapshots import marks

SLICE = 50  # VMs in one call of a driver
MOST_FAILURES = 3  # faults of the site's own about one VM before it is given up
# not_found is none of these: a folder that another cluster's end has just taken away is made anew by the next pass
FINAL = frozenset(
    {"no_space", "disk_too_small", "no_permission", "name_taken", "invalid", "no_resources", "task_hangs"}
) | {"source_gone", "snapshot_not_found"}
ACTIONS = {
    "no_space": "Free space on the datastore or delete what fills it, then ask again.",
    "disk_too_small": "Choose a flavor with a larger disk, or an image with a smaller one.",
    "source_gone": "Delete this, and ask for a clone of a VM that is there.",
    "no_permission": "Give Facet's user at the site the privileges that docs/vsphere.md lists.",
    "no_resources": "Free room on the hosts of the zone, then ask again.",
    "name_taken": "Look whose VM bears the name in the project's folder at the site, or ask for another name.",
    "file_not_found": "Look on the datastore for the files of the template, then ask again.",
    "task_hangs": "Cancel the task at the site, then delete this and ask again.",
}


@dataclass(frozen=True)
class Tasks:
    """What an owner's passes have started at the site. `running`: VMs that something is still being done to."""

    running: frozenset[UUID] = frozenset()
    failed: Mapping[UUID, base.DriverError] = field(default_factory=dict)


def settle_tasks(turn: Turn, driver: base.Driver, *, count_failures: bool = True, patient: bool = False) -> Tasks:
    """Ask after this owner's tasks and forget those that ended. After one that vanished, the world is asked by key.

    `count_failures`: a task that failed is a fault about its VM, which is given up after a few. One that does not end
    in FACET_TASK_DEADLINE_S is waited for no longer, unless `patient`: a move with its disks may take any time.
    """
    with turn.reading():
        rows = inflight.of(turn.lease)
    if not rows:
        return Tasks()
    asked = [row for row in rows if row.ended_at is None]
    states = driver.poll([row.ref for row in asked]) if asked else {}
    running = [row for row in asked if states[row.ref].state is base.TaskState.RUNNING]
    hanging = [row for row in running if not patient and _hangs(row)]
    running = [row for row in running if row not in hanging]
    ended = [row for row in rows if row not in running]
    failed = {row.about: error for row in ended if (error := _error(row, states.get(row.ref)))}
    failed |= {row.about: _hanging(row) for row in hanging}
    if ended:
        with turn.transaction():
            inflight.settle(ended)
            marks.reverts_ended(ended, failed)
            if count_failures:
                _count_failures(failed)
    return Tasks(frozenset(row.about for row in running), failed)


def _hangs(row: Any) -> bool:
    return bool(row.started_at < timezone.now() - timedelta(seconds=settings.FACET_TASK_DEADLINE_S))


def _hanging(row: Any) -> base.DriverError:
    minutes = settings.FACET_TASK_DEADLINE_S / 60
    return base.DriverError(f"The site has been at it ({row.doing}) for {minutes:.0f} minutes.", code="task_hangs")


def _error(row: Any, state: base.TaskFacts | None) -> base.DriverError | None:
    if state is not None:
        return state.error if state.state is base.TaskState.FAILED else None
    return base.DriverError(row.error, code=row.error_code) if row.error_code else None


def _count_failures(failed: Mapping[UUID, base.DriverError]) -> None:
    for vm in VM.objects.filter(pk__in=failed, deleted_at=None).exclude(phase=VmPhase.DELETING).order_by("id"):
        _failed(vm, failed[vm.id])


def _failed(vm: VM, error: base.DriverError) -> None:
    """A fault about one VM: final where the site will say it again, else after a few."""
    final = error.code in FINAL or vm.failures + 1 >= MOST_FAILURES
    reason = {"code": error.code, "sentence": error.reason, "action": ACTIONS.get(error.code, "Look at the site.")}
    changes: dict[str, Any] = {"failures": vm.failures + 1, "reason": reason}
    if final:
        changes["phase"] = VmPhase.FAILED
    VM.objects.filter(pk=vm.pk, deleted_at=None).exclude(phase=VmPhase.DELETING).update(**changes)


# --- making --------------------------------------------------------------------------------------------------------


def room(turn: Turn, site: Site, want: int = SLICE) -> int:
    """Take room to begin something about so many VMs in one call: a slice, within this tenant's part of the budget."""
    with turn.reading():
        return turn.take_room(min(SLICE, want), budget=site.budget)


def build(
    turn: Turn,
    site: Site,
    driver: base.Driver,
    vms: Sequence[VM],
    metadata: Mapping[UUID, str],
    folders: Mapping[UUID, str],
    running: Collection[UUID],
) -> list[ResourcePool]:
    """Clone and reconfigure the next of these that are not built, within the site's budget.

    Answers the pools that some of them wait for, because they do not stand at the site yet.
    """
    waiting = [vm for vm in vms if vm.phase in (VmPhase.PENDING, VmPhase.CLONING) and vm.id not in running]
    if not waiting:
        return []
    with turn.transaction():
        waiting = _locked(waiting)
        where = ledger.allocations([vm.id for vm in waiting])
        lacking = replicas.awaited([(vm.image_id, vm.zone_id) for vm in waiting])
        waiting = [vm for vm in waiting if (vm.image_id, vm.zone_id) not in lacking]
        standing = [vm for vm in waiting if vm.zone_id in folders and _pool_ref(where[vm.id]) is not None]
        most = turn.take_room(min(SLICE, len(standing)), budget=site.budget)
        unsent = {vm.id for vm in standing if vm.phase == VmPhase.PENDING}
        specs = [replace(spec, fresh=spec.key in unsent) for spec in _specs(standing[:most], where, metadata, folders)]
        sent = [spec.key for spec in specs]  # from here on a clone may be on its way, whatever becomes of this worker
        VM.objects.filter(pk__in=sent, phase=VmPhase.PENDING).update(phase=VmPhase.CLONING)
    if specs:
        turn.renew()
        outcomes = driver.ensure_vms(specs)
        with turn.transaction():
            record(turn, outcomes)
            right = _found(outcomes)
            VM.objects.filter(pk__in=right, phase=VmPhase.CLONING).update(phase=VmPhase.BUILT, reason=None, failures=0)
            _count_failures(_refused(outcomes))
    return list({where[vm.id].pool_id: where[vm.id].pool for vm in waiting if vm not in standing}.values())


def awaited(turn: Turn, vms: Sequence[VM]) -> str | None:
    """What VMs that are not made yet wait for, beside their pools: an image that no template stands for yet."""
    with turn.reading():
        found = replicas.awaited([(vm.image_id, vm.zone_id) for vm in vms if vm.phase == VmPhase.PENDING])
    return next(iter(found.values()), None)


def _locked(waiting: Sequence[VM]) -> list[VM]:
    """As they are now, locked: a drain gives those that are not sent yet other room, in another zone even."""
    rows = VM.objects.filter(pk__in=[vm.pk for vm in waiting], phase__in=[VmPhase.PENDING, VmPhase.CLONING])
    rows = rows.select_related("image__template", "network").prefetch_related(nics.rows()).order_by("id")
    now = {vm.id: vm for vm in rows.select_for_update(no_key=True, of=("self",))}
    return [now[vm.id] for vm in waiting if vm.id in now]


def _pool_ref(held: Allocation) -> str | None:
    """The pool's mirror in the vSphere cluster, or on the standalone host, where the VM has its room."""
    found: str | None = held.pool.refs.get(held.host.compute_ref)
    return found


def _specs(
    vms: Sequence[VM], where: Mapping[UUID, Allocation], metadata: Mapping[UUID, str], folders: Mapping[UUID, str]
) -> list[base.VmSpec]:
    copies = replicas.refs([(vm.image_id, vm.zone_id) for vm in vms])
    specs = [
        base.VmSpec(
            key=vm.id,
            name=vm.name,
            template_ref=copies.get((vm.image_id, vm.zone_id)) or (vm.image.template.ref if vm.image else ""),
            source_key=vm.source_id,
            source_snapshot=vm.source_snapshot_id,
            guest_id=vm.guest_id,
            folder_ref=folders[vm.zone_id],
            pool_ref=_pool_ref(where[vm.id]) or "",
            host_ref="" if where[vm.id].host.kind == HostKind.BIN else where[vm.id].host.ref,
            datastore_ref=where[vm.id].datastore.ref,
            network_ref=vm.network.ref if vm.network else None,
            vcpu=vm.vcpu,
            memory_mib=vm.memory_mib,
            disk_gib=vm.disk_gib,
            metadata=metadata[vm.id],
            guest_version=vm.image.version if vm.image is not None else "",
        )
        for vm in vms
        if vm.image is not None or vm.needs_no_image
    ]
    by_key = {vm.id: vm for vm in vms}
    return [nics.wired(spec, by_key[spec.key]) for spec in specs]


def _found(outcomes: Mapping[UUID, Any]) -> list[UUID]:
    """Write down what the site shows of these VMs; the keys of those that it shows."""
    seen = {key: facts for key, facts in outcomes.items() if isinstance(facts, base.VmFacts)}
    for vm in VM.objects.filter(pk__in=seen).order_by("id"):
        sightings.write(vm, seen[vm.id])
    return list(seen)


def _refused(outcomes: Mapping[UUID, Any]) -> dict[UUID, base.DriverError]:
    return {key: error for key, error in outcomes.items() if isinstance(error, base.Refused)}


def record(turn: Turn, outcomes: Mapping[UUID, Any]) -> None:
    """Keep the refs of the tasks that a verb has begun. In a transaction."""
    inflight.record(
        turn.lease,
        [
            inflight.Started(outcome.ref, key, outcome.doing, owner=key if key in turn.along else None)
            for key, outcome in outcomes.items()
            if isinstance(outcome, base.InFlight)
        ],
    )


# --- power ---------------------------------------------------------------------------------------------------------


def boot(turn: Turn, driver: base.Driver, user_data: Mapping[UUID, str]) -> None:
    """Give built VMs their boot data and power them on. Nothing of the text is kept.

    Said again after a kill: a VM that has been on refuses boot data, and is only powered.
    """
    turn.renew()
    given = driver.ensure_boot_data(dict(user_data))
    right = [key for key, error in given.items() if error is None or error.code == "already_booted"]
    hostrules.keep(turn, driver, right)
    turn.renew()
    outcomes = driver.ensure_power(dict.fromkeys(right, base.Power.ON)) if right else {}
    refused = {key: error for key, error in _refused(given).items() if key not in right}
    with turn.transaction():
        record(turn, outcomes)
        _powered(outcomes)
        lost = _count_but_lost(refused | _refused(outcomes))
    look_for(turn, lost)


def power_on(turn: Turn, driver: base.Driver, keys: Iterable[UUID]) -> None:
    """Power on again what has booted before and is found off meanwhile. Raises ComeAgain where one is lost."""
    wanted = dict.fromkeys(keys, base.Power.ON)
    if not wanted:
        return
    turn.renew()
    outcomes = driver.ensure_power(wanted)
    with turn.transaction():
        record(turn, outcomes)
        _powered(outcomes)
        begun = [key for key, outcome in outcomes.items() if not isinstance(outcome, base.DriverError)]
        VM.objects.filter(pk__in=begun, phase=VmPhase.RUNNING).update(booted_at=timezone.now())
        lost = _count_but_lost(_refused(outcomes))
    look_for(turn, lost)


def _count_but_lost(refused: Mapping[UUID, base.DriverError]) -> int:
    """Count these failures; but a VM that had stood and is not found is no fault: how many such. In a transaction."""
    lost = [key for key, error in refused.items() if error.code == "not_found"]
    _count_failures({key: error for key, error in refused.items() if key not in lost})
    return len(lost)


def look_for(turn: Turn, lost: int) -> None:
    """Only a complete look, which knows how many are missing at once, may find a VM lost: that is asked for."""
    if lost and turn.lease.site_id is not None:
        with turn.context(turn.lease.tenant_id):  # of its own: no pass locks another's wakeup beside its own
            wake("site", turn.lease.site_id, site_id=turn.lease.site_id)
        raise ComeAgain(f"The site does not know {lost} machines that it had shown: it is looked at as a whole.")


def _powered(outcomes: Mapping[UUID, base.VmOutcome]) -> None:
    on = _found(outcomes)
    now = timezone.now()
    VM.objects.filter(pk__in=on, phase=VmPhase.BUILT).update(phase=VmPhase.RUNNING, booted_at=now, reason=None)


def look(turn: Turn, driver: base.Driver, vms: Sequence[VM]) -> frozenset[UUID]:
    """Ask the site about these VMs by their keys and write down what it shows; answers the keys it does not know."""
    turn.renew()
    seen = driver.find_vms([vm.id for vm in vms])
    with turn.transaction():
        _found(seen)
    return frozenset(vm.id for vm in vms if vm.id not in seen)


def wipe(turn: Turn, driver: base.Driver, vms: Sequence[VM]) -> base.Refused | None:
    """Take the boot data, which holds keys, off VMs that need it no more; answers why one may not be written to."""
    refusal = None
    for start in range(0, len(vms), SLICE):
        turn.renew()
        errors = driver.ensure_boot_data({vm.id: None for vm in vms[start : start + SLICE]})
        done = [key for key, error in errors.items() if error is None]
        refusal = refusal or next((error for error in errors.values() if isinstance(error, base.Refused)), None)
        with turn.transaction():
            VM.objects.filter(pk__in=done, wiped_at=None).update(wiped_at=timezone.now())
    return refusal


def begin_again(vm: VM) -> None:
    """A VM that is gone from the site is made anew under its key, on the room that it holds. In a transaction."""
    VM.objects.filter(pk=vm.pk, deleted_at=None).exclude(phase=VmPhase.DELETING).update(
        phase=VmPhase.PENDING, external_ref=None, power="", address=None, addresses=[], booted_at=None, wiped_at=None,
        seen_at=None, missing_at=None, failures=0, reason=None,
    )  # fmt: skip
