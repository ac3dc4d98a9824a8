"""What others have to write about snapshots: that a revert's task has ended, that their VM is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from django.utils import timezone

from facet.operations import services as operations
from facet.operations.models import Inflight

from ..models import Snapshot

SNAPSHOT_KIND = "snapshot"  # of operations and events about a snapshot
REVERT = "revert"  # what a driver calls its task


def reverts_ended(rows: Iterable[Inflight], failed: Collection[UUID]) -> None:
    """A revert whose task has ended well is done, and never said again. In the transaction that forgets the task."""
    well = [row.about for row in rows if row.doing == REVERT and row.about not in failed]
    if well:
        Snapshot.objects.filter(pk__in=well).update(revert_asked_at=None)


def gone_with(vm_ids: Collection[UUID]) -> None:
    """Their VMs were seen gone, and they with them. In the caller's transaction."""
    rows = Snapshot.objects.filter(vm_id__in=vm_ids, deleted_at=None)
    for snapshot in list(rows.order_by("id")):
        close(snapshot)


def close(snapshot: Snapshot) -> None:
    """It was seen gone: a delete has succeeded, whatever else was asked of it has failed. In a transaction."""
    Snapshot.objects.filter(pk=snapshot.pk, deleted_at=None).update(
        deleted_at=timezone.now(), reason=None, revert_asked_at=None
    )
    if snapshot.delete_asked_at is not None:
        operations.succeed(SNAPSHOT_KIND, snapshot.id, generation=1)
    else:
        operations.fail(SNAPSHOT_KIND, snapshot.id, code="vm_deleted", detail="Its VM is gone.")
