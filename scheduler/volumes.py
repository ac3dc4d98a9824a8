"""Room for volumes: on which datastore, and the claim on it. `where` only reads; the others are one call of the ledger.

As with VMs: where the world has moved since `where` looked, `claim` raises Stale with nothing written, and the caller
begins again at the look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from facet.rest.ids import uuid7
from facet.rest.problems import Conflict
from infra.models import Datastore, Host, HostState, Zone

from . import raising
from .models import VolumeClaim
from .refusals import Stale, no_room_there, refusal_of


@dataclass(frozen=True)
class Ask:
    """A volume that is asked for, and the datastore that `where` has chosen for it."""

    key: UUID
    zone_id: UUID
    datastore_id: UUID
    size_gib: int
    storage_class: str = ""


def where(*, zone: Zone, size_gib: int, storage_class: str = "", host_id: UUID | None = None) -> Datastore:
    """The datastore with the most room, of the class, that a host of the zone reaches (`host_id`: that one).

    Needs no context of a tenant. Raises Conflict `no_room`.
    """
    stores = _reached(_of_class(zone, storage_class), zone, host_id)
    best = max(stores, key=lambda store: (free_gib(store), store.name), default=None)
    if best is None:
        named = f"the storage class {storage_class}" if storage_class else "its zone"
        raise Conflict(f"No datastore of {named} is open and reached by a host that is up.", code="no_room", limits=[])
    if free_gib(best) < size_gib:
        left = max(0, free_gib(best))
        raise Conflict(
            f"The datastore with the most room has {left} GiB left; {size_gib} GiB were asked.",
            code="no_room",
            limits=[{"scope": "datastore", "resource": "storage_gib", "free": left, "asked": size_gib}],
        )
    return best


def free_gib(store: Datastore) -> int:
    return store.limit_gib - store.claimed_gib - store.unmanaged_gib


def _of_class(zone: Zone, storage_class: str) -> QuerySet[Datastore]:
    rows = Datastore.objects.filter(zones=zone, accessible=True, present=True).order_by("id")
    if not storage_class:
        return rows
    return rows.filter(storage_classes__zone=zone, storage_classes__name=storage_class)


def _reached(stores: Iterable[Datastore], zone: Zone, host_id: UUID | None) -> list[Datastore]:
    hosts = Host.objects.filter(zone=zone, state=HostState.UP)
    if host_id is not None:
        hosts = hosts.filter(pk=host_id)
    refs = {ref for reached in hosts.values_list("datastore_refs", flat=True) for ref in reached}
    return [store for store in stores if store.ref in refs]


def claim(*, tenant_id: UUID, project_id: UUID, asks: Sequence[Ask]) -> None:
    """Hold room and quota (storage_gib, volumes) for all of these, or for none, in the caller's transaction.

    Raises Stale, Conflict `quota_exceeded`, or `already_held`.
    """
    claims = [
        {
            "id": str(uuid7()), "holder": str(ask.key), "zone": str(ask.zone_id), "datastore": str(ask.datastore_id),
            "storage_gib": ask.size_gib, "storage_class": ask.storage_class,
        }
        for ask in asks
    ]  # fmt: skip
    refused = raising.said("ledger_volume_claim", _document(tenant_id, project_id, claims=claims))
    if refused is not None:
        raise refusal_of(refused)


def grow(*, tenant_id: UUID, project_id: UUID, holder: UUID, size_gib: int) -> None:
    """Another size where it lies. Said twice it is charged once. Raises Conflict: no_room, quota_exceeded, not_held."""
    wish = {"id": str(uuid7()), "holder": str(holder), "storage_gib": size_gib}
    refused = raising.said("ledger_volume_grow", _document(tenant_id, project_id, **wish))
    if refused is None:
        return
    if any(row["what"] == "holder" for row in refused):
        raise Conflict("It has no room whose size could be changed.", code="not_held")
    there = [row for row in refused if row["what"] == "datastore"]
    raise no_room_there(there) if there else refusal_of(refused)


def release(*, tenant_id: UUID, project_id: UUID, holders: Collection[UUID]) -> int:
    """Close their live claims and give everything back; answers how many. Said twice, it gives back once."""
    with connection.cursor() as cursor:
        cursor.execute("select ledger_volume_release(%s, %s, %s::uuid[])", [tenant_id, project_id, list(holders)])
        closed: int = cursor.fetchone()[0]
    return closed


def claims(holders: Iterable[UUID]) -> dict[UUID, VolumeClaim]:
    """The live claims of these volumes, each with its datastore."""
    rows = VolumeClaim.objects.filter(holder__in=list(holders), released=None).select_related("datastore")
    return {row.holder: row for row in rows}


def _document(tenant_id: UUID, project_id: UUID, **more: Any) -> dict[str, Any]:
    return {"tenant": str(tenant_id), "project": str(project_id), **more}


__all__ = ["Ask", "Stale", "claim", "claims", "free_gib", "grow", "release", "where"]
