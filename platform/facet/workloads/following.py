"""A VM that DRS or a person has moved: its allocation follows it to another host of its zone.

Never while a move of ours is open for it: that one ends by itself. To a host outside the zone it is not followed; that
is drift, which a person has to settle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from facet.operations import events
from facet.rest.access import SYSTEM
from infra.drivers.base import VmFacts
from infra.models import Datastore, Host, HostKind
from scheduler import following, ledger
from scheduler.models import Allocation

from .models import VM, VM_KIND


@dataclass(frozen=True)
class Ground:
    """The hosts and datastores of a site, by ref, as they are recorded."""

    hosts: Mapping[str, Host]
    datastores: Mapping[str, Datastore]

    @classmethod
    def of(cls, site_id: UUID) -> Ground:
        hosts = Host.objects.filter(site_id=site_id, kind=HostKind.HOST).select_related("bin")
        stores = Datastore.objects.filter(site_id=site_id).only("id", "ref", "name")
        return cls({host.ref: host for host in hosts}, {store.ref: store for store in stores})


def has_moved(seen: VmFacts, held: Allocation, ground: Ground) -> bool:
    """Whether it was seen elsewhere in its zone than its allocation says."""
    host = ground.hosts.get(seen.host_ref)
    if host is None or _room(host).zone_id != held.zone_id:
        return False
    return (
        _room(host).id != held.host_id
        or _seen_on(host) != held.seen_on_id
        or bool(_other_datastore(seen, held, ground))
    )


def _room(host: Host) -> Host:
    """What is claimed from for who stands there: in a zone that DRS places its bin, of which any host will do."""
    return host if host.bin is None else host.bin


def _seen_on(host: Host) -> UUID | None:
    """What an allocation of its bin records; a host that is claimed from itself needs no record."""
    return None if host.bin is None else host.id


def _other_datastore(seen: VmFacts, held: Allocation, ground: Ground) -> Datastore | None:
    """Where its disk has gone. A VM with files on several datastores stays where one of them is."""
    if not seen.datastore_refs or held.datastore.ref in seen.datastore_refs:
        return None
    return ground.datastores.get(seen.datastore_refs[0])


def follow(transaction: Callable[[], AbstractContextManager[None]], site_id: UUID, moved: Iterable[VmFacts]) -> None:
    """Let the allocations of these follow, each in a transaction of its own: object -> host -> datastore -> ..."""
    seen = {vm.key: vm for vm in moved}
    if not seen:
        return
    with transaction():
        ground = Ground.of(site_id)
    for key in sorted(seen):
        with transaction():
            _follow(key, seen[key], ground)


def _follow(key: UUID, seen: VmFacts, ground: Ground) -> None:
    vm = VM.objects.select_for_update(no_key=True).filter(pk=key, deleted_at=None).first()
    held = ledger.allocations([key]).get(key) if vm is not None else None
    if vm is None or held is None or not has_moved(seen, held, ground):
        return
    host, store = ground.hosts[seen.host_ref], _other_datastore(seen, held, ground)
    moved = following.follow(
        tenant_id=vm.tenant_id, project_id=vm.project_id, holder=vm.id, host_id=_room(host).id,
        datastore_id=store.id if store else None, seen_on=_seen_on(host),
    )  # fmt: skip
    was = held.seen_on or held.host
    if moved and was.kind == HostKind.HOST:  # out of the bin itself: that is where it was seen first
        there = store or held.datastore
        events.record(
            "vm.moved", by=SYSTEM, kind=VM_KIND, id=vm.id, name=vm.name, tenant_id=vm.tenant_id,
            project_id=vm.project_id, message=f"The site has moved it to {host.name}.",
            before={"host": was.name, "datastore": held.datastore.name},
            after={"host": host.name, "datastore": there.name},
        )  # fmt: skip
