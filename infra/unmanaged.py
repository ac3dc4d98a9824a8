"""VMs of a site that are none of ours: listed as seen, and counted anew when one is adopted or given back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from facet.operations import engine

from .apart import refs_of
from .drivers.base import Power, TemplateFacts, VmFacts
from .models import Host, Site, UnmanagedVm
from .room import Transaction

SLICE = 500


def write_complete(
    site: Site, vms: Sequence[VmFacts], templates: Sequence[TemplateFacts], transaction: Transaction, began: datetime
) -> None:
    """What a complete look that began then has shown: one UPDATE a row that differs, and who is not in it is gone."""
    told = sorted(_others(vms, refs_of(templates)), key=lambda vm: vm.ref)
    for start in range(0, len(told), SLICE):
        with transaction():
            _write(site, told[start : start + SLICE], began)
    with transaction():
        adopted = _adopted(site)
        here = {vm.ref for vm in told if vm.key not in adopted}
        gone = [
            (id, ref)
            for id, ref in UnmanagedVm.objects.filter(site=site, seen_at__lte=began).values_list("id", "ref")
            if ref not in here
        ]
        if gone:
            UnmanagedVm.objects.filter(pk__in=[id for id, _ in gone]).delete()


def write_changes(
    site: Site,
    vms: Sequence[VmFacts],
    templates: Sequence[TemplateFacts],
    gone_refs: Sequence[str],
    transaction: Transaction,
) -> None:
    """What a site tells has moved."""
    never_run = refs_of(templates)
    told = sorted(_others(vms, never_run), key=lambda vm: vm.ref)
    with transaction():
        if told:
            _write(site, told, timezone.now())
        away = [*gone_refs, *(vm.ref for vm in vms if vm.ref in never_run or vm.witness)]
        if away:
            UnmanagedVm.objects.filter(site=site, ref__in=away).delete()


def _others(vms: Sequence[VmFacts], never_run: Collection[str]) -> list[VmFacts]:
    return [vm for vm in vms if not vm.witness and vm.ref not in never_run]


def _adopted(site: Site) -> frozenset[UUID]:
    """Once the site's row is locked, which whoever adopts and gives back locks too: so nobody is between the two."""
    Site.objects.select_for_update(no_key=True).only("id").get(pk=site.pk)
    return engine.adopted_vms(site.id)


def _write(site: Site, told: Sequence[VmFacts], looked_at: datetime) -> None:
    adopted = _adopted(site)
    hosts: dict[str, UUID] = dict(Host.objects.filter(site=site).values_list("ref", "id"))
    known = {row.ref: row for row in UnmanagedVm.objects.filter(site=site, ref__in=[vm.ref for vm in told])}
    new = []
    for vm in told:
        if vm.key in adopted:
            continue
        row, columns = known.get(vm.ref), _columns(vm, hosts)
        if row is None:
            new.append(UnmanagedVm(site=site, ref=vm.ref, seen_at=looked_at, **columns))
        elif row.seen_at <= looked_at and any(getattr(row, name) != value for name, value in columns.items()):
            UnmanagedVm.objects.filter(pk=row.pk).update(**columns, seen_at=looked_at)
    UnmanagedVm.objects.bulk_create(new, ignore_conflicts=True)
    ours = [vm.ref for vm in told if vm.key in adopted and vm.ref in known]
    if ours:
        UnmanagedVm.objects.filter(site=site, ref__in=ours).delete()


def _columns(vm: VmFacts, hosts: dict[str, UUID]) -> dict[str, Any]:
    return {
        "key": vm.key,
        "name": vm.name,
        "host_id": hosts.get(vm.host_ref),
        "datastore_refs": list(vm.datastore_refs),
        "vcpu": vm.vcpu,
        "memory_mib": vm.memory_mib,
        "disk_gib": vm.disk_gib,
        "power": vm.power.value,
        "address": vm.address,
    }


# --- who becomes ours, and who is ours no more ---------------------------------------------------------------------

_HOST = """
update infra_host h set
    vcpu_unmanaged = greatest(0, h.vcpu_unmanaged + %(vcpu)s),
    memory_unmanaged_mib = greatest(0, h.memory_unmanaged_mib + %(memory)s),
    vcpu_overdrawn = greatest(0, h.vcpu_claimed + greatest(0, h.vcpu_unmanaged + %(vcpu)s) - h.vcpu_limit),
    memory_overdrawn_mib = greatest(0,
        h.memory_claimed_mib + greatest(0, h.memory_unmanaged_mib + %(memory)s) - h.memory_limit_mib),
    changed = pg_current_xact_id(), seen_at = greatest(h.seen_at, clock_timestamp())
where h.id in (select id from infra_host where id = %(host)s or id = (select bin_id from infra_host
               where id = %(host)s) order by id for no key update)
"""
_DATASTORE = """
update infra_datastore d set
    unmanaged_gib = greatest(0, d.unmanaged_gib + %(gib)s),
    overdrawn_gib = greatest(0, d.claimed_gib + greatest(0, d.unmanaged_gib + %(gib)s) - d.limit_gib),
    changed = pg_current_xact_id()
where d.id = %(datastore)s
"""


def lock(site_id: UUID) -> None:
    """Say it before anything else, where a VM is about to become ours or another's: see `_adopted`."""
    Site.objects.select_for_update(no_key=True).only("id").get(pk=site_id)


def taken_over(seen: VmFacts, *, host_id: UUID, datastore_id: UUID) -> None:
    """What it takes of its host and datastore is another's no more: said before it is claimed, in one transaction.

    Takes the locks of the host and then of the datastore, as the ledger does.
    """
    _count(seen, -1, host_id, datastore_id)


def given_back(seen: VmFacts, *, host_id: UUID, datastore_id: UUID) -> None:
    """The other way round: said after what it held is released, in one transaction. As a look it may overdraw."""
    _count(seen, 1, host_id, datastore_id)


def _count(seen: VmFacts, sign: int, host_id: UUID, datastore_id: UUID) -> None:
    runs = seen.power is Power.ON
    with connection.cursor() as cursor:
        taken = {"vcpu": sign * seen.vcpu * runs, "memory": sign * seen.memory_mib * runs, "host": host_id}
        cursor.execute(_HOST, taken)
        cursor.execute(_DATASTORE, {"gib": sign * seen.disk_gib, "datastore": datastore_id})


def remember(site_id: UUID, seen: VmFacts, host_id: UUID | None) -> None:
    """It is listed again at once, not only at the next look."""
    columns = _columns(seen, {}) | {"host_id": host_id, "seen_at": timezone.now()}
    UnmanagedVm.objects.update_or_create(site_id=site_id, ref=seen.ref, defaults=columns)


def forget(site_id: UUID, seen: VmFacts) -> None:
    """It is listed no more."""
    UnmanagedVm.objects.filter(Q(ref=seen.ref) | Q(key=seen.key), site_id=site_id).delete()
