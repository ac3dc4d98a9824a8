"""What of a site's datastores is volumes, for whoever tells apart what others take there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from uuid import UUID

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
