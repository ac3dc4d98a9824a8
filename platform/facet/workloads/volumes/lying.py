"""Where volumes lie: for whoever tells apart what others take there, and for who moves the VMs that have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from django.db.models import Q

from scheduler.models import VolumeClaim

from ..models import ObjectPhase, Volume


def at(site_id: UUID) -> Mapping[str, tuple[int, bool]]:
    """A datastore's ref -> GiB of volumes that were seen there, and whether one is being made, grown or removed.

    At least so much is ours then; at most what is claimed. In a context that sees all.
    """
    held = VolumeClaim.objects.filter(released=None, datastore__site_id=site_id)
    claims = list(held.values_list("holder", "datastore__ref", "storage_gib"))
    rows = Volume.objects.filter(pk__in=[holder for holder, _, _ in claims])
    seen = {id: (phase, gib) for id, phase, gib in rows.values_list("id", "phase", "observed_gib")}
    gib: dict[str, int] = defaultdict(int)
    moving: dict[str, bool] = defaultdict(bool)
    for holder, ref, claimed in claims:
        phase, observed = seen.get(holder, (ObjectPhase.PENDING, 0))
        goes = phase == ObjectPhase.DELETING
        gib[ref] += 0 if goes else observed
        moving[ref] = moving[ref] or goes or observed != claimed
    return {ref: (gib[ref], moving[ref]) for ref in gib}


def beneath(vm_ids: Collection[UUID]) -> Mapping[UUID, tuple[UUID, ...]]:
    """VM -> the datastores of the volumes that it has or shall have; a VM that is missing has none."""
    theirs = Q(wanted_by_id__in=list(vm_ids)) | Q(attached_to__in=list(vm_ids))
    rows = Volume.objects.filter(theirs, deleted_at=None).values_list("id", "wanted_by_id", "attached_to")
    holders = {id: {wanted, attached} - {None} for id, wanted, attached in rows}
    found: dict[UUID, set[UUID]] = defaultdict(set)
    claims = VolumeClaim.objects.filter(released=None, holder__in=list(holders))
    for id, store in claims.values_list("holder", "datastore_id"):
        for vm_id in holders[id]:
            found[vm_id].add(store)
    return {id: tuple(sorted(stores)) for id, stores in found.items()}
