"""VMs that Facet did not make and manages from now on; and VMs that it gives back.

Nothing on the VM is changed: its key is its own instanceUuid, and it stays where it stands. What it takes there is
another's no more in the same transaction that claims it, so that no host is counted twice, and none too little.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from facet.operations import events
from facet.operations import services as operations
from facet.operations.models import Inflight
from facet.rest.access import Actor
from facet.rest.fields import valid_name
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken, NotFound
from infra import bins, outside, unmanaged
from infra.drivers import base
from infra.models import Datastore, Host, UnmanagedVm, Zone
from scheduler import ledger
from scheduler.core.ask import Ask, Placement, Plan
from scheduler.models import Move, ResourcePool
from scheduler.services import pools_for
from tenants.models import Project

from . import standing
from .models import VM, VM_KIND, VmPhase, Volume

ROLE = "vm"
WHY = {"adopted": "as it stood"}


@dataclass(frozen=True)
class Wish:
    """Whom somebody wants to adopt, for which project, as what; and the driver that can be asked about it."""

    zone: Zone
    project: Project
    key: UUID
    name: str
    driver: base.Driver


@dataclass(frozen=True)
class Adopted:
    """A VM that is ours now, what it holds and where."""

    vm: VM
    pool: ResourcePool
    host: Host
    datastore: Datastore


# --- whom ----------------------------------------------------------------------------------------------------------


def wish(*, zone: Zone, vm: str, project: str, name: str = "") -> Wish:
    """Reads alone. Raises Invalid naming the field."""
    found = candidate(zone, vm)
    return Wish(zone, _project(project), found.key, _name(name, found.name), outside.driver_of(zone.site))


def candidate(zone: Zone, said: str) -> UnmanagedVm:
    """The unmanaged VM of this ref, key or name on a host of the zone. Raises Invalid."""
    which = Q(ref=said) | Q(name=said)
    with suppress(ValueError):  # it is no key
        which |= Q(key=UUID(said))
    there = UnmanagedVm.objects.filter(which, host__in=bins.hosts_of(zone))
    rows = list(there.order_by("ref")[:20])
    if not rows:
        raise Invalid({"vm": f"There is no unmanaged VM {said} on the hosts of zone {zone.name}."})
    if len(rows) > 1:
        refs = [row.ref for row in rows]
        raise Invalid({"vm": f"{said} is ambiguous; say one of: {', '.join(refs)}."}, candidates=refs)
    return rows[0]


def _project(said: str) -> Project:
    """By id, or as tenant/project."""
    tenant, _, name = said.partition("/")
    which = Q(tenant__name=tenant, name=name)
    with suppress(ValueError):  # it is no id
        which |= Q(pk=UUID(said))
    found = Project.objects.select_related("tenant").filter(which, deleted_at=None, tenant__deleted_at=None).first()
    if found is None:
        raise Invalid({"project": f"There is no project {said}. Say its id, or tenant/project."})
    return found


def _name(said: str, at_site: str) -> str:
    name = said or at_site.lower()
    try:
        valid_name(name)
        if len(name) > 63:
            raise ValidationError("too long")
    except ValidationError:
        raise Invalid({"name": f"{at_site} is no name for a VM of a project. Say another: db."}) from None
    return name


def look(found: Wish) -> base.VmFacts:
    """As the site shows it now. No transaction is open. Raises Conflict, `site_unreachable` among others."""
    seen = facts(found.driver, found.key)
    if seen is None:
        raise Conflict(f"The site no longer shows {found.name}.", code="machine_missing")
    if seen.witness:
        raise Conflict(f"{seen.name} carries the mark of a Facet: the one that made it manages it.", code="foreign")
    return seen


def facts(driver: base.Driver, key: UUID) -> base.VmFacts | None:
    try:
        return driver.find_vms([key]).get(key)
    except base.Refused as refused:
        raise Conflict(f"The site refuses. {refused.reason}", code="site_refused") from None
    except base.DriverError:
        raise Conflict(
            "The site of the zone does not answer. Ask again when it does.", code="site_unreachable"
        ) from None


# --- ours ----------------------------------------------------------------------------------------------------------


def adopt(*, found: Wish, seen: base.VmFacts, by: Actor) -> Adopted:
    """Write its row and claim what it takes, where it stands. Raises Conflict with the limits that are in the way."""
    site_id = found.zone.site_id
    unmanaged.lock(site_id)
    if not UnmanagedVm.objects.filter(site_id=site_id, key=found.key).exists():
        raise Conflict(f"{found.name} is no unmanaged VM any more: somebody was faster.", code="managed")
    at, store = _where(found.zone, seen)
    host = at if at.bin is None else at.bin  # in a zone that DRS places the bin is what is claimed from
    pool = pools_for(found.project, [found.zone])[found.zone.id]
    vm = _row(found, seen)
    unmanaged.forget(site_id, seen)
    events.record(
        "vm.adopted", by=by, kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id, project_id=vm.project_id,
        message=f"A VM of the site is managed from now on: {seen.name}.", after={"host": host.name, "ref": seen.ref},
    )  # fmt: skip
    unmanaged.taken_over(seen, host_id=at.id, datastore_id=store.id)
    ask = Ask(
        key=vm.id, name=vm.name, role=ROLE, vcpu=vm.vcpu, memory_mib=vm.memory_mib, disk_gib=vm.disk_gib,
        zones=(found.zone.id,), pools=(pool.id,),
    )  # fmt: skip
    plan = Plan((Placement(vm.id, found.zone.id, host.id, store.id, WHY),))
    ledger.commit(
        tenant_id=vm.tenant_id, project_id=vm.project_id, asks=[ask], plan=plan, pools={found.zone.id: pool.id},
        as_it_stands=True,
    )  # fmt: skip
    return Adopted(vm, pool, host, store)


def _where(zone: Zone, seen: base.VmFacts) -> tuple[Host, Datastore]:
    host = bins.hosts_of(zone).select_related("bin").filter(ref=seen.host_ref).first()
    if host is None:
        raise Conflict(f"{seen.name} stands on no host of zone {zone.name} any more.", code="not_in_zone")
    store = zone.datastores.filter(ref__in=seen.datastore_refs[:1]).first()
    if store is None:
        raise Conflict(f"{seen.name} lies on no datastore of zone {zone.name}: give it one more.", code="not_in_zone")
    return host, store


def _row(found: Wish, seen: base.VmFacts) -> VM:
    """A new row, or that of the VM's former life here, opened again."""
    before = VM.objects.select_for_update(no_key=True).filter(pk=found.key).first()
    if before is not None and (before.deleted_at is None or not before.adopted):
        raise Conflict(f"{seen.name} is known here already, as {before.name}.", code="managed")
    runs, now = seen.power is not base.Power.OFF, timezone.now()
    vm = VM(
        id=found.key, tenant_id=found.project.tenant_id, project=found.project, zone=found.zone, name=found.name,
        site_name="" if seen.name == found.name else seen.name, vcpu=seen.vcpu, memory_mib=seen.memory_mib,
        disk_gib=seen.disk_gib, owner_kind=VM_KIND, owner_id=found.key, adopted=True, external_ref=seen.ref,
        phase=VmPhase.RUNNING if runs else VmPhase.BUILT, power=seen.power.value, power_wanted="on" if runs else "off",
        address=seen.address, addresses=list(seen.addresses), booted_at=now, wiped_at=now, seen_at=now, created_at=now,
        generation=1 if before is None else before.generation + 1,
    )  # fmt: skip
    try:
        with transaction.atomic():
            vm.save(force_insert=before is None, force_update=before is not None)
    except IntegrityError:
        raise NameTaken(f"{found.project.name} has a VM named {found.name}.") from None
    return vm


# --- another's again -----------------------------------------------------------------------------------------------


def driver_for(vm: VM) -> base.Driver:
    """In a context: the driver of its site. Raises Conflict for a VM that Facet has made."""
    if not vm.adopted:
        raise Conflict(f"Facet has made {vm.name}: it is deleted, and never given back.", code="not_adopted")
    return outside.driver_of(vm.zone.site)


def release(*, vm: VM, seen: base.VmFacts | None, by: Actor, check: standing.Check | None = None) -> VM:
    """Close its row and give back what it holds. The VM stays as it is, and is unmanaged again. `seen`: a fresh look.

    Raises NotFound, InUse while volumes are on it, and Conflict while something is being done to it.
    """
    unmanaged.lock(vm.zone.site_id)
    vm = standing.locked(vm, check)
    _free_to_go(vm)
    held = ledger.allocations([vm.id]).get(vm.id)
    VM.objects.filter(pk=vm.pk).update(
        deleted_at=timezone.now(), delete_asked_at=timezone.now(), power="", address=None, addresses=[], drift=None,
        reason=None, missing_at=None, generation=vm.generation + 1,
    )  # fmt: skip
    at = _host_of(vm, seen)
    if seen is not None:
        unmanaged.remember(vm.zone.site_id, seen, at.id if at else None)
    events.record(
        "vm.released", by=by, kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id, project_id=vm.project_id,
        message="It is managed no more. Nothing on it was changed.",
    )  # fmt: skip
    ledger.release(tenant_id=vm.tenant_id, project_id=vm.project_id, holders=[vm.id])
    if seen is not None and held is not None and at is not None and held.host_id in (at.id, at.bin_id):
        unmanaged.given_back(seen, host_id=at.id, datastore_id=held.datastore_id)
    return vm


def _free_to_go(vm: VM) -> None:
    if not vm.adopted:
        raise NotFound("There is no such VM to be given back.")
    busy = operations.open_ones(VM_KIND, vm.id).exists() or Inflight.objects.filter(about=vm.id).exists()
    if busy or vm.phase == VmPhase.DELETING or Move.objects.filter(holder=vm.id, ended_at=None).exists():
        raise Conflict(f"Something is being done to {vm.name}. Wait for its end.", code="busy")
    volumes = Volume.objects.filter(Q(wanted_by=vm) | Q(attached_to=vm.id), deleted_at=None).order_by("name")
    holders: list[dict[str, Any]] = [{"kind": "volume", "name": volume.name} for volume in volumes[:20]]
    if holders:
        raise InUse(f"Volumes are on {vm.name}. Detach them first.", holders=holders)


def _host_of(vm: VM, seen: base.VmFacts | None) -> Host | None:
    if seen is None:
        return None
    return Host.objects.filter(site_id=vm.zone.site_id, ref=seen.host_ref).first()


def claims(done: Adopted) -> dict[str, Any]:
    """What an adoption claims, for people."""
    vm = done.vm
    return {
        "vcpu": vm.vcpu, "memory_mib": vm.memory_mib, "storage_gib": vm.disk_gib, "vms": 1, "pool": done.pool.name,
        "zone": vm.zone.name, "host": done.host.name, "datastore": done.datastore.name,
    }  # fmt: skip
