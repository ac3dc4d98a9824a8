"""VMs that go: marked, powered off, destroyed; and their room given back once they were seen gone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from facet.operations.engine import Turn
from facet.operations.wakeups import wake
from infra.drivers import base
from infra.models import Site
from scheduler import ledger

from . import machines, nics
from .models import VM, VmPhase
from .snapshots import marks
from .volumes import leaving

REAP_AFTER_S = 20.0


@dataclass(frozen=True)
class Removal:
    """How far a removal came. `left`: VMs that the site still has, or may have; `refusal`: why one may not go."""

    left: int
    refusal: base.Refused | None = None


def remove(turn: Turn, site: Site, driver: base.Driver, vms: Sequence[VM], running: Collection[UUID]) -> Removal:
    """Power off and destroy; the transaction that saw a VM gone gives its room back.

    Those that refused before come last, so that they keep nobody else from going.
    """
    idle = sorted((vm for vm in vms if vm.id not in running), key=lambda vm: (vm.failures, vm.id))
    slice_ = idle[: machines.room(turn, site, len(idle))]
    if not slice_:
        return Removal(left=len(vms))
    _mark(turn, slice_)
    turn.renew()
    outcomes = driver.ensure_no_vms([vm.id for vm in slice_])
    gone = [vm for vm in slice_ if vm.id in outcomes and outcomes[vm.id] is None]
    refusals = {key: error for key, error in outcomes.items() if isinstance(error, base.Refused)}
    if any(vm.external_ref is None and vm.phase != VmPhase.PENDING for vm in gone):
        _look_for_late_clones(turn, site)
    with turn.transaction():
        machines.record(turn, outcomes)
        _lock(outcomes)
        if refusals:
            VM.objects.filter(pk__in=refusals, deleted_at=None).update(failures=F("failures") + 1)
        if gone:
            _forget(gone)
    return Removal(left=len(vms) - len(gone), refusal=next(iter(refusals.values()), None))


def _lock(keys: Collection[UUID]) -> None:
    """In the order in which a drain locks them, which may be at work on the same VMs."""
    rows = VM.objects.filter(pk__in=list(keys), deleted_at=None).order_by("id")
    list(rows.select_for_update(no_key=True).values_list("id"))


def _mark(turn: Turn, vms: Sequence[VM]) -> None:
    """Said before the site is: a look at it that no longer shows these VMs has found nothing amiss."""
    going = [vm.id for vm in vms if vm.delete_asked_at is None]
    if going:
        with turn.transaction():
            _lock(going)
            VM.objects.filter(pk__in=going, deleted_at=None).update(
                phase=VmPhase.DELETING, delete_asked_at=timezone.now()
            )


def _look_for_late_clones(turn: Turn, site: Site) -> None:
    """A clone may have been sent whose ref nobody could save: look for it once the site has had time to finish it.

    In a transaction of its own, before the rows are closed: no pass locks another's wakeup beside its own.
    """
    with turn.context(turn.lease.tenant_id):
        wake("reap", site.id, site_id=site.id, after_s=REAP_AFTER_S)


def _forget(gone: Sequence[VM]) -> None:
    keys = [vm.id for vm in gone]
    VM.objects.filter(pk__in=keys, deleted_at=None).update(
        deleted_at=timezone.now(), power="", address=None, addresses=[]
    )
    nics.give_back(keys)
    leaving.left_by(keys)
    marks.gone_with(keys)
    ledger.release(tenant_id=gone[0].tenant_id, project_id=gone[0].project_id, holders=keys)
