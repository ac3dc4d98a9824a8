"""What a site tells about VMs, written down; and the pass that removes what should be gone.

Absence is proof only under a complete look: a VM is noted as missing when a complete listing lacks it, or when the site
itself says that its ref has left. Nothing is rebuilt or removed here because of it; its owner is woken, and decides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from django.db.models import F, Q
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

from . import drift, folders, following, repairing, sightings
from .models import VM, VmPhase

log = structlog.get_logger(__name__)
SLICE = 500
REAPED_AT_ONCE = 50
REFUSED_S = 300.0  # an orphan that the site does not let go is tried again after this long
STANDING = (VmPhase.BUILT, VmPhase.RUNNING)


def expected(site_id: UUID) -> set[UUID]:
    """Keys of VMs that a site has shown, that are not known to be missing there, and that nobody has asked to go."""
    rows = VM.objects.filter(zone__site_id=site_id, phase__in=STANDING, missing_at=None)
    return set(rows.filter(delete_asked_at=None, deleted_at=None).values_list("id", flat=True))


def adopted(site_id: UUID) -> set[UUID]:
    """Keys of VMs at a site that are ours though they carry no witness."""
    return set(VM.objects.filter(adopted=True, deleted_at=None, zone__site_id=site_id).values_list("id", flat=True))


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
    """The engine's site observer: power, addresses, drift, moves and absence of the VMs of our rows."""
    ours = sorted((vm for vm in vms if vm.witness), key=lambda vm: vm.key)  # the order in which VMs are locked
    known: set[UUID] = set()
    judged: list[drift.Judged] = []
    listed = {vm.ref for vm in vms} if complete else None
    for start in range(0, len(ours), SLICE):
        part = ours[start : start + SLICE]
        with transaction():
            rows = _write(site_id, part, listed)
            judged.append(drift.judge(rows, part, began))
        known |= set(rows)
    with transaction():
        if complete:
            _missing(site_id, Q(seen_at__lt=began or timezone.now() - sightings.SEEN_ANEW), {vm.key for vm in ours})
            _unknown([vm for vm in ours if vm.key not in known])
        if gone_refs:
            _missing(site_id, Q(external_ref__in=list(gone_refs)), set())
    following.follow(transaction, site_id, [vm for one in judged for vm in one.moved])
    for key in sorted(key for one in judged for key in one.mend):
        with transaction():
            repairing.by_policy(key)


def _write(site_id: UUID, seen: Sequence[VmFacts], listed: Collection[str] | None) -> dict[UUID, VM]:
    """One UPDATE a row that differs; answers the rows by key, as they were. Another site's VMs are not this one's.

    `listed`: all refs of a complete look. One that is recorded and not among them has been replaced by the one seen.
    """
    here = VM.objects.filter(pk__in=[one.key for one in seen], zone__site_id=site_id).select_related("zone")
    rows = {vm.id: vm for vm in here}
    owners: dict[tuple[str, UUID], UUID] = {}
    risen = False
    for one in seen:
        vm = rows.get(one.key)
        if vm is None:
            continue
        if vm.deleted_at is not None:
            risen = True
            continue
        if listed is not None and vm.external_ref is not None and vm.external_ref not in listed:
            VM.objects.filter(pk=vm.pk, external_ref=vm.external_ref).update(external_ref=one.ref)
        if sightings.write(vm, one) and vm.owner_id is not None:
            owners[vm.owner_kind, vm.owner_id] = vm.tenant_id
    _wake(owners, site_id)
    if risen:
        wake("reap", site_id, site_id=site_id)
    return rows


def _missing(site_id: UUID, which: Q, seen: set[UUID]) -> None:
    lost = VM.objects.filter(which, zone__site_id=site_id, phase__in=STANDING, deleted_at=None, missing_at=None)
    owners: dict[tuple[str, UUID], UUID] = {}
    for vm in lost.exclude(pk__in=seen).order_by("id"):
        VM.objects.filter(pk=vm.pk).update(missing_at=timezone.now())
        drift.missing(vm)
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
    if site.phase == SitePhase.DELETING or site.deleted_at is not None:
        return Done()
    try:
        with outside.asking():
            return _reap(turn, site)
    except base.Refused as refused:  # the whole site says no, to Facet's credentials say
        log.warning("nothing is reaped at a site that refuses", error=refused.reason)
        return Again(REFUSED_S)


def _reap(turn: Turn, site: Site) -> Outcome:
    with turn.reading():
        rows = inflight.of(turn.lease)
    driver = outside.driver_of(site)
    turn.renew()
    listed = [vm.key for vm in driver.inventory().vms if vm.witness]
    with turn.transaction():
        inflight.settle(rows)  # the listing has just shown what they left
        deleted = VM.objects.filter(pk__in=listed, zone__site_id=site.id).exclude(deleted_at=None)
        orphans = list(deleted.select_related("zone").order_by("failures", "id")[:REAPED_AT_ONCE])
    if not orphans:
        return Done()
    turn.renew()
    outcomes = driver.ensure_no_vms([vm.id for vm in orphans])
    gone = [vm for vm in orphans if vm.id in outcomes and outcomes[vm.id] is None]
    begun = [
        inflight.Started(one.ref, key, one.doing) for key, one in outcomes.items() if isinstance(one, base.InFlight)
    ]
    with turn.transaction():
        inflight.record(turn.lease, begun)
        for vm in orphans:
            VM.objects.filter(pk=vm.id).update(failures=0 if vm in gone else F("failures") + 1)
        for vm in gone:
            _tell_reaped(vm)
    for project_id, zone_id in sorted({(vm.project_id, vm.zone_id) for vm in gone}):
        folders.tidy(turn, driver, project_id=project_id, zone_ids=[zone_id])
    return Again(1.0) if gone or begun else Again(REFUSED_S)


def _tell_reaped(vm: VM) -> None:
    events.record(
        "vm.reaped", by=SYSTEM, kind="vm", id=vm.id, name=vm.name, tenant_id=vm.tenant_id, project_id=vm.project_id,
        message="It had been deleted and stood at the site again; it was removed.",
    )  # fmt: skip
