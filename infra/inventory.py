"""What a complete look at a site says, written down: hosts, datastores, networks, templates.

Observation never fails on a limit: where the outside took room away, the same statement raises `overdrawn`, which blocks
new grants until it is right again. At most 100 rows a transaction, locked in the order of the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model
from psycopg2.extras import Json

from facet.operations import events
from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid

from .drivers.base import DatastoreFacts, HostFacts, Inventory, NetworkFacts, Power, TemplateFacts, VmFacts
from .models import Datastore, Host, HostState, PhysicalNetwork, Site, Template

SLICE = 100
Transaction = Callable[[], AbstractContextManager[None]]
T = TypeVar("T")


def slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), SLICE):
        yield items[start : start + SLICE]


@dataclass(frozen=True)
class Unmanaged:
    """What runs at a site that Facet did not make, by the ref of where it runs."""

    vcpu: Mapping[str, int]
    memory_mib: Mapping[str, int]
    ours_gib: Mapping[str, int]  # disks of ours, by datastore ref

    @classmethod
    def of(cls, vms: Iterable[VmFacts]) -> Unmanaged:
        vcpu: dict[str, int] = defaultdict(int)
        memory: dict[str, int] = defaultdict(int)
        ours: dict[str, int] = defaultdict(int)
        for vm in vms:
            if vm.witness:
                for ref in vm.datastore_refs[:1]:
                    ours[ref] += vm.disk_gib
            elif vm.power is Power.ON:
                vcpu[vm.host_ref] += vm.vcpu
                memory[vm.host_ref] += vm.memory_mib
        return cls(vcpu, memory, ours)


def write(site: Site, found: Inventory, transaction: Transaction) -> None:
    """Make the site's rows say what was found. `transaction` opens a short, fenced one."""
    unmanaged = Unmanaged.of(found.vms)
    _hosts(site, found.hosts, unmanaged, transaction)
    _datastores(site, found.datastores, unmanaged, transaction)
    with transaction():
        _networks(site, found.networks)
        _templates(site, found.templates)


# --- hosts ---------------------------------------------------------------------------------------------------------

_HOST = """
update infra_host h set
    name = %(name)s, compute_ref = %(compute_ref)s, vsphere_cluster = %(vsphere_cluster)s, state = %(state)s,
    labels = %(labels)s, cpu_cores = %(cores)s, core_mhz = %(mhz)s, memory_mib = %(memory)s,
    datastore_refs = %(datastores)s, network_refs = %(networks)s,
    vcpu_limit = l.vcpu, memory_limit_mib = l.memory, vcpu_unmanaged = %(vcpu_unmanaged)s,
    memory_unmanaged_mib = %(memory_unmanaged)s,
    vcpu_overdrawn = greatest(0, h.vcpu_claimed + %(vcpu_unmanaged)s - l.vcpu),
    memory_overdrawn_mib = greatest(0, h.memory_claimed_mib + %(memory_unmanaged)s - l.memory),
    changed = pg_current_xact_id(), seen_at = now()
from (select coalesce(floor(%(cores)s * z.cpu_overcommit), 0)::bigint as vcpu,
             coalesce(floor(%(memory)s * z.memory_overcommit), 0)::bigint as memory
      from (select 1) one left join infra_zone z
           on z.id = (select zone_id from infra_host where id = %(id)s)) l
where h.id = %(id)s and (h.name, h.compute_ref, h.vsphere_cluster, h.state, h.labels, h.cpu_cores, h.core_mhz,
    h.memory_mib, h.datastore_refs, h.network_refs, h.vcpu_limit, h.memory_limit_mib, h.vcpu_unmanaged,
    h.memory_unmanaged_mib) is distinct from (%(name)s, %(compute_ref)s, %(vsphere_cluster)s, %(state)s,
    %(labels)s::jsonb, %(cores)s, %(mhz)s, %(memory)s, %(datastores)s::jsonb, %(networks)s::jsonb, l.vcpu, l.memory,
    %(vcpu_unmanaged)s, %(memory_unmanaged)s)
returning h.id, h.name, h.vcpu_overdrawn, h.memory_overdrawn_mib
"""


def _hosts(site: Site, facts: Sequence[HostFacts], unmanaged: Unmanaged, transaction: Transaction) -> None:
    with transaction():
        known = {host.ref: host for host in Host.objects.filter(site=site)}
        Host.objects.bulk_create(
            [Host(site=site, **_host_columns(fact)) for fact in facts if fact.ref not in known], ignore_conflicts=True
        )
    with transaction():
        ids = dict(Host.objects.filter(site=site).values_list("ref", "id"))
    rows = sorted(((ids[fact.ref], fact) for fact in facts), key=lambda row: row[0])
    for part in slices(rows):
        with transaction():
            _lock(Host, [id for id, _ in part])
            for id, fact in part:
                _observe_host(id, fact, unmanaged)
    gone = sorted(set(ids) - {fact.ref for fact in facts})
    for refs in slices(gone):
        with transaction():
            Host.objects.filter(site=site, ref__in=refs).exclude(state=HostState.GONE).update(
                state=HostState.GONE, changed=CurrentXid()
            )


def _host_columns(fact: HostFacts) -> dict[str, Any]:
    return {
        "ref": fact.ref,
        "name": fact.name,
        "compute_ref": fact.compute_ref,
        "vsphere_cluster": fact.vsphere_cluster,
        "state": fact.state.value,
        "cpu_cores": fact.cpu_cores,
        "core_mhz": fact.core_mhz,
        "memory_mib": fact.memory_mib,
    }


def _observe_host(id: Any, fact: HostFacts, unmanaged: Unmanaged) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _HOST,
            {
                "id": id,
                "name": fact.name,
                "compute_ref": fact.compute_ref,
                "vsphere_cluster": fact.vsphere_cluster,
                "state": fact.state.value,
                "labels": Json(dict(fact.labels)),
                "cores": fact.cpu_cores,
                "mhz": fact.core_mhz,
                "memory": fact.memory_mib,
                "datastores": Json(sorted(fact.datastore_refs)),
                "networks": Json(sorted(fact.network_refs)),
                "vcpu_unmanaged": unmanaged.vcpu.get(fact.ref, 0),
                "memory_unmanaged": unmanaged.memory_mib.get(fact.ref, 0),
            },
        )
        row = cursor.fetchone()
    if row and (row[2] or row[3]):
        _tell_overdrawn("host", row[0], row[1], {"vcpu": row[2], "memory_mib": row[3]})


# --- datastores ----------------------------------------------------------------------------------------------------

_DATASTORE = """
update infra_datastore d set
    name = %(name)s, kind = %(kind)s, accessible = %(accessible)s, present = true, capacity_gib = %(capacity)s,
    free_gib = %(free)s, limit_gib = l.gib, unmanaged_gib = %(unmanaged)s,
    overdrawn_gib = greatest(0, d.claimed_gib + %(unmanaged)s - l.gib), changed = pg_current_xact_id()
from (select case when exists (select 1 from infra_datastore_zones where datastore_id = %(id)s)
             then %(capacity)s else 0 end::bigint as gib) l
where d.id = %(id)s and ((d.name, d.kind, d.accessible, d.present, d.capacity_gib, d.limit_gib)
          is distinct from (%(name)s, %(kind)s, %(accessible)s, true, %(capacity)s, l.gib)
    or abs(d.free_gib - %(free)s) * 100 >= greatest(d.capacity_gib, 1)
    or abs(d.unmanaged_gib - %(unmanaged)s) * 100 >= greatest(d.capacity_gib, 1))
returning d.id, d.name, d.overdrawn_gib
"""


def _datastores(site: Site, facts: Sequence[DatastoreFacts], unmanaged: Unmanaged, transaction: Transaction) -> None:
    with transaction():
        known = set(Datastore.objects.filter(site=site).values_list("ref", flat=True))
        Datastore.objects.bulk_create(
            [
                Datastore(
                    site=site, ref=f.ref, name=f.name, kind=f.kind, capacity_gib=f.capacity_gib, free_gib=f.free_gib
                )
                for f in facts
                if f.ref not in known
            ],
            ignore_conflicts=True,
        )
    with transaction():
        ids = dict(Datastore.objects.filter(site=site).values_list("ref", "id"))
    rows = sorted(((ids[fact.ref], fact) for fact in facts), key=lambda row: row[0])
    for part in slices(rows):
        with transaction():
            _lock(Datastore, [id for id, _ in part])
            for id, fact in part:
                _observe_datastore(id, fact, unmanaged)
    gone = set(ids) - {fact.ref for fact in facts}
    with transaction():
        Datastore.objects.filter(site=site, ref__in=gone, present=True).update(present=False, changed=CurrentXid())


def _observe_datastore(id: Any, fact: DatastoreFacts, unmanaged: Unmanaged) -> None:
    others = max(0, fact.capacity_gib - fact.free_gib - unmanaged.ours_gib.get(fact.ref, 0))
    with connection.cursor() as cursor:
        cursor.execute(
            _DATASTORE,
            {
                "id": id,
                "name": fact.name,
                "kind": fact.kind,
                "accessible": fact.accessible,
                "capacity": fact.capacity_gib,
                "free": fact.free_gib,
                "unmanaged": others,
            },
        )
        row = cursor.fetchone()
    if row and row[2]:
        _tell_overdrawn("datastore", row[0], row[1], {"gib": row[2]})


# --- networks and templates ----------------------------------------------------------------------------------------


def _networks(site: Site, facts: Sequence[NetworkFacts]) -> None:
    PhysicalNetwork.objects.bulk_create(
        [PhysicalNetwork(site=site, ref=f.ref, name=f.name, kind=f.kind, vlan=f.vlan) for f in facts],
        update_conflicts=True,
        unique_fields=["site", "ref"],
        update_fields=["name", "kind", "vlan"],
    )
    _present(PhysicalNetwork, site, [fact.ref for fact in facts])


def _templates(site: Site, facts: Sequence[TemplateFacts]) -> None:
    Template.objects.bulk_create(
        [
            Template(
                site=site,
                ref=f.ref,
                name=f.name,
                path=f.path,
                vcpu=f.vcpu,
                memory_mib=f.memory_mib,
                disk_gib=f.disk_gib,
                is_template=f.is_template,
            )
            for f in facts
        ],
        update_conflicts=True,
        unique_fields=["site", "ref"],
        update_fields=["name", "path", "vcpu", "memory_mib", "disk_gib", "is_template"],
    )
    _present(Template, site, [fact.ref for fact in facts])


def _present(model: type[Any], site: Site, refs: list[str]) -> None:
    model.objects.filter(site=site, present=True).exclude(ref__in=refs).update(present=False)
    model.objects.filter(site=site, present=False, ref__in=refs).update(present=True)


# --- small parts ---------------------------------------------------------------------------------------------------


def _lock(model: type[Model], ids: Sequence[Any]) -> None:
    list(model._default_manager.filter(id__in=ids).order_by("id").select_for_update(no_key=True).values_list("id"))


def _tell_overdrawn(kind: str, id: Any, name: str, short: dict[str, int]) -> None:
    events.record(
        f"{kind}.overdrawn",
        by=SYSTEM,
        kind=kind,
        id=id,
        name=name,
        message="The outside took room that is claimed. Nothing new is placed here until it is right again.",
        after=short,
    )
