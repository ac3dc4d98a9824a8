"""What IT does to keep hosts and zones in repair: cordon, drain, resume. One verb, one transaction.

A drain is three acts, see Endpoint.placed_once: `plan.read` reads, `plan.prove` finds other room for
all of them outside any transaction, and `begin` closes the hosts, if nothing has come meanwhile. Passes move the VMs.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q

from facet.operations import events
from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict
from infra import maintenance as hosts
from infra.models import Host, HostKind, Zone, ZonePhase
from scheduler import ledger
from scheduler.core.standing import Relocation
from scheduler.models import Allocation
from scheduler.services import wake_pools_of

from ..models import Drain, DrainPhase
from . import plan
from .plan import Leaving

DRAIN_KIND = "drain"
HOST_DRAIN, ZONE_DRAIN = "host.drain", "zone.drain"


def target(drain: Drain, name: str) -> operations.Target:
    return operations.Target(kind=DRAIN_KIND, id=drain.id, name=name, site_id=drain.zone.site_id)


def open_drains(zone: Zone) -> Any:
    return Drain.objects.filter(zone=zone, ended_at=None).select_related("host")


def _check_none(zone: Zone, host: Host | None) -> None:
    """Raises Conflict while the host, its zone, or (host None) any host of the zone is being drained."""
    for drain in open_drains(zone):
        if host is None or drain.host_id in (None, host.id):
            what = f"Host {drain.host.name}" if drain.host else f"Zone {zone.name}"
            raise Conflict(f"{what} is being drained. Cancel its operation, or wait for its end.", code="draining")


def _check_placed_by_facet(host: Host) -> None:
    """Raises Conflict for a host, or the bin, of a zone that DRS places in."""
    if host.kind == HostKind.BIN or host.bin_id is not None:
        raise Conflict(
            f"DRS places in the zone of {host.name}: put the host into maintenance at the site, and DRS empties it. "
            "A zone as a whole can be drained here.",
            code="placed_by_drs",
        )


# --- cordon --------------------------------------------------------------------------------------------------------


def cordon(*, host: Host, by: Actor) -> None:
    """The host takes nothing new; what pools keep there is placed anew. Said twice, it is once."""
    _check_placed_by_facet(host)
    if hosts.cordon(host.id, by=by) and host.zone_id is not None:
        wake_pools_of(host.zone_id)


def uncordon(*, host: Host, by: Actor) -> None:
    """The host takes new work again. Raises Conflict while it is being drained. Said twice, it is once."""
    hosts.locked(Q(pk=host.pk))  # before the drain is looked for: one that begins locks it too
    if host.zone is not None:
        _check_none(host.zone, host)
    if hosts.uncordon(host.id, by=by) and host.zone_id is not None:
        wake_pools_of(host.zone_id)


# --- drain ---------------------------------------------------------------------------------------------------------


def read_host(host: Host) -> Leaving:
    """Raises Conflict for a host without a zone, or that is being drained."""
    host = Host.objects.select_related("zone__site", "bin__zone").get(pk=host.pk)
    _check_placed_by_facet(host)
    if host.zone is None:
        raise Conflict(f"Host {host.name} is in no zone: nothing of Facet's stands there.", code="no_zone")
    _check_none(host.zone, host)
    return plan.read(host.zone, host)


def read_zone(zone: Zone) -> Leaving:
    """Raises Conflict for a zone that is not there to be drained."""
    zone = Zone.objects.select_related("site").get(pk=zone.pk)
    _check_drainable(zone)
    _check_none(zone, None)
    return plan.read(zone, None)


def _check_drainable(zone: Zone) -> None:
    if zone.phase not in (ZonePhase.ACTIVE, ZonePhase.DRAINING):
        raise Conflict(f"Zone {zone.name} is {zone.phase}; an active one can be drained.", code="zone_not_active")


def begin(*, leaving: Leaving, found: Relocation, by: Actor) -> tuple[Drain, Operation]:
    """Close the host (or the zone) and let passes move who stands there. Raises Conflict, ledger.Stale.

    The hosts are locked before it is looked who stands there: a claim that was faster is seen, and a later one finds
    them closed.
    """
    zone, host = leaving.zone, leaving.host
    _check_none(zone, host)
    drain = Drain(zone=zone, host=host, total=len(leaving.holders))
    try:
        with transaction.atomic():
            drain.save(force_insert=True)
    except IntegrityError:
        raise Conflict("It is being drained already.", code="draining") from None
    locked_zone = Zone.objects.select_for_update(no_key=True).get(pk=zone.pk)
    locked = hosts.locked(Q(zone=zone) if host is None else Q(pk=host.pk, zone=zone))
    _check_unchanged(leaving, locked)
    if host is None:
        _check_drainable(locked_zone)
        plan.check_limits(leaving, found)
        Zone.objects.filter(pk=zone.pk).update(phase=ZonePhase.DRAINING)
        verb, name, undo = ZONE_DRAIN, zone.name, {"phase": str(locked_zone.phase)}
    else:
        verb, name, undo = HOST_DRAIN, host.name, {"cordoned": locked[0].cordoned}
        hosts.cordon(host.id, by=by)
    operation = operations.start(verb, target=target(drain, name), by=by, undo=undo, after={"vms": drain.total})
    wake(DRAIN_KIND, drain.id, site_id=zone.site_id)
    if host is not None:
        wake_pools_of(zone.id)
    return drain, operation


def _check_unchanged(leaving: Leaving, locked: list[Host]) -> None:
    """Raises ledger.Stale where others stand there by now than those for whom room was found."""
    there = Allocation.objects.filter(host_id__in=[host.id for host in locked], released=None)
    known = {one.allocation_id for one in leaving.holders}
    if {host.id for host in locked} != leaving.host_ids or set(there.values_list("id", flat=True)) - known:
        raise ledger.Stale("others stand there by now")


def cancel(operation: Operation, by: Actor) -> None:
    """No further move begins; those under way end, then the host opens again, unless it was closed before."""
    drain = Drain.objects.select_related("zone").get(pk=operation.target_id)
    stopped = Drain.objects.filter(pk=drain.pk, phase=DrainPhase.RUNNING).update(phase=DrainPhase.CANCELLED)
    if not stopped:
        raise Conflict("It has just ended.", code="already_ended")
    # locked here, because the wake at the end must come after it
    Operation.objects.select_for_update(no_key=True).filter(pk=operation.pk).first()
    wake(DRAIN_KIND, drain.id, site_id=drain.zone.site_id)


# --- resume --------------------------------------------------------------------------------------------------------


def resume(*, zone: Zone, by: Actor) -> None:
    """A drained zone takes new work again. Raises Conflict while it is being drained. Said twice, it is once."""
    locked = Zone.objects.select_for_update(no_key=True).get(pk=zone.pk)
    if locked.phase == ZonePhase.ACTIVE:
        return
    if locked.phase != ZonePhase.DRAINING:
        raise Conflict(f"Zone {zone.name} is {locked.phase}; a drained one can be resumed.", code="zone_not_active")
    if open_drains(zone).filter(host=None).exists():
        raise Conflict(f"Zone {zone.name} is being drained. Cancel its operation first.", code="draining")
    Zone.objects.filter(pk=zone.pk).update(phase=ZonePhase.ACTIVE)
    events.record("zone.resumed", by=by, kind="zone", id=zone.id, name=zone.name, message="It takes new work again.")
    wake_pools_of(zone.id)
