"""What others have to write about volumes: that a VM which had some is gone."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db.models import F, Q

from ..models import Volume


def left_by(vm_ids: Collection[UUID]) -> None:
    """Their VMs were seen gone, and the volumes are free. In that transaction, after the VMs' rows are locked.

    Whoever has just asked for one of them there is told by the volume's own pass, which wants it nowhere.
    """
    theirs = Q(wanted_by_id__in=list(vm_ids)) | Q(attached_to__in=list(vm_ids))
    rows = Volume.objects.filter(theirs, deleted_at=None).order_by("id")
    keys = list(rows.select_for_update(no_key=True).values_list("id", flat=True))
    if keys:
        Volume.objects.filter(pk__in=keys).update(wanted_by=None, attached_to=None, generation=F("generation") + 1)
