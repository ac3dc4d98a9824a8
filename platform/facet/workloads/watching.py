"""What a site tells about VMs, written down; and the pass that removes what should be gone.

Absence is proof only under a complete look: a VM is noted as missing when a complete listing lacks it, or when the site
itself says that its ref has left. Nothing is rebuilt or removed here because of it; its owner is woken, and decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db.models import Q
from django.utils import timezone

from facet.operations import events, inflight
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.models import Event
from facet.operations.wakeups import wake
from facet.rest.access import SYSTEM
from infra import outside
from infra.drivers import base
from infra.drivers.base import VmFacts
from infra.models import Site, SitePhase

from .models import VM, VmPhase

log = structlog.get_logger(__name__)
SLICE = 500
SEEN_ANEW = timedelta(seconds=60)  # that a VM was seen again is written down this often
STANDING = (VmPhase.BUILT, VmPhase.RUNNING)


def expected(site_id: UUID) -> set[UUID]:
    """Keys of VMs that a site has shown, that are not known to be missing there, and that nobody has asked to go."""
    rows = VM.objects.filter(zone__site_id=site_id, phase__in=STANDING, missing_at=None)
    return set(rows.filter(delete_asked_at=None, deleted_at=None).values_list("id", flat=True))


def being_made_of(image_id: UUID) -> list[dict[str, Any]]:
    """VMs that still need this image."""
    rows = VM.objects.filter(image_id=image_id, phase__in=[VmPhase.PENDING, VmPhase.CLONING], deleted_at=None)
    return [{"kind": "vm", "name": name} for name in rows.values_list("name", flat=True)]


def observe(
    transaction: Callable[[], AbstractContextManager[None]],
    site_id: UUID,
    vms: Sequence[VmFacts],
    *,
    gone_refs: Sequence[str] = (),
    complete: bool,
    began: datetime | None = None,
) -> None:
    """The engine's site observer: power, addresses and absence of the VMs of our rows."""
    ours = [vm for vm in vms if vm.witness]
    known: set[UUID] = set()
    for start in range(0, len(ours), SLICE):
        with transaction():
            known |= _write(site_id, ours[start : start + SLICE])
    with transaction():
        if complete:
            _missing(site_id, Q(seen_at__lt=began or timezone.now() - SEEN_ANEW), {vm.key for vm in ours})
            _unknown([vm for vm in ours if vm.key not in known])
        if gone_refs:
            _missing(site_id, Q(external_ref__in=list(gone_refs)), set())


def _write(site_id: UUID, seen: Sequence[VmFacts]) -> set[UUID]:
    """One UPDATE a row that differs; answers the keys that we have rows for."""
    rows = {vm.id: vm for vm in VM.objects.filter(pk__in=[one.key for one in seen])}
    stale = timezone.now() - SEEN_ANEW
    owners: dict[tuple[str, UUID], UUID] = {}
    for one in seen:
        vm = rows.get(one.key)
        if vm is None:
            continue
        if vm.deleted_at is not None:
            wake("reap", site_id, site_id=site_id)
            continue
        differs = (vm.power, vm.address) != (one.power.value, one.address) or vm.missing_at is not None
        if differs or vm.seen_at is None or vm.seen_at < stale:
            VM.objects.filter(pk=vm.pk).update(
                power=one.power.value, address=one.address, seen_at=timezone.now(), missing_at=None
            )
        if differs and vm.owner_id is not None:
            owners[vm.owner_kind, vm.owner_id] = vm.tenant_id
    _wake(owners, site_id)
    return set(rows)


def _missing(site_id: UUID, which: Q, seen: set[UUID]) -> None:
    lost = VM.objects.filter(which, zone__site_id=site_id, phase__in=STANDING, deleted_at=None, missing_at=None)
    owners: dict[tuple[str, UUID], UUID] = {}
    for vm in lost.exclude(pk__in=seen):
        VM.objects.filter(pk=vm.pk).update(missing_at=timezone.now())
        events.record(
            "vm.missing",
            by=SYSTEM,
            kind="vm",
            id=vm.id,
            name=vm.name,
            tenant_id=vm.tenant_id,
            project_id=vm.project_id,
            message="The site no longer shows this VM.",
        )
        if vm.owner_id is not None:
            owners[vm.owner_kind, vm.owner_id] = vm.tenant_id
    _wake(owners, site_id)


def _wake(owners: dict[tuple[str, UUID], UUID], site_id: UUID) -> None:
    for (kind, key), tenant_id in sorted(owners.items()):
        wake(kind, key, tenant_id=tenant_id, site_id=site_id)


def _unknown(strangers: Sequence[VmFacts]) -> None:
    """VMs that say they are ours and that no row knows (think of a restored database): reported once, never touched."""
    told = set(
        Event.objects.filter(verb="vm.unknown", target_id__in=[vm.key for vm in strangers]).values_list("target_id")
    )
    for vm in strangers:
        if (vm.key,) not in told:
            events.record(
                "vm.unknown",
                by=SYSTEM,
                kind="vm",
                id=vm.key,
                name=vm.name,
                message="A VM at the site says that Facet made it, and Facet does not know it. It is left alone.",
            )


# --- the reaper ----------------------------------------------------------------------------------------------------


def reap(turn: Turn) -> Outcome:
    """After one complete look: destroy the VMs of rows that are deleted. `turn.key` is the site's id."""
    with turn.reading():
        site = Site.objects.get(pk=turn.key)
        rows = inflight.of(turn.lease)
    if site.phase == SitePhase.DELETING or site.deleted_at is not None:
        return Done()
    with outside.asking():
        driver = outside.driver_of(site)
        turn.renew()
        listed = [vm.key for vm in driver.inventory().vms if vm.witness]
        with turn.transaction():
            inflight.settle(rows)  # the listing has just shown what they left
            orphans = list(VM.objects.filter(pk__in=listed).exclude(deleted_at=None).values_list("id", "name"))
        if not orphans:
            return Done()
        turn.renew()
        outcomes = driver.ensure_no_vms([key for key, _ in orphans])
    gone = {key for key, outcome in outcomes.items() if outcome is None}
    with turn.transaction():
        inflight.record(
            turn.lease,
            [inflight.Started(o.ref, k, o.doing) for k, o in outcomes.items() if isinstance(o, base.InFlight)],
        )
        for key, name in orphans:
            if key in gone:
                message = "A VM that had been deleted stood at the site again; it was removed."
                events.record("vm.reaped", by=SYSTEM, kind="vm", id=key, name=name, message=message)
    return Again(1.0)
