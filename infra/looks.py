"""A complete look at a site: taken by the site's pass and by its watch, written down the same way by both.

Absence is proof only under a complete look, and not even then when too much is absent at once: a site that shows far
fewer of our VMs than it should is held back, and whoever rebuilds or removes waits until a person has looked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.operations import engine, events
from facet.operations.wakeups import wake
from facet.rest.access import SYSTEM

from . import capacity, inventory, policies
from .apart import with_adopted
from .drivers import base
from .models import Site, Zone, ZonePhase
from .room import Transaction

FEW = 5  # so many VMs may be gone at once
FEW_PERCENT = 10  # and such a part of all
NAMES_TOLD = 20


class AnotherSite(Exception):
    """Another vCenter or simulator answers at the endpoint than the one that was added."""


@dataclass(frozen=True)
class Look:
    """What was known when a look began."""

    began: datetime
    expected: frozenset[UUID]  # keys of VMs that should be there


def begin(site_id: UUID, transaction: Transaction) -> Look:
    """Say this before the site is asked."""
    with transaction():
        return Look(timezone.now(), engine.expected_vms(site_id))


def complete(
    site: Site,
    look: Look,
    check: base.SiteCheck,
    seen: base.Inventory,
    transaction: Transaction,
    storage_policies: Sequence[base.PolicyFacts] | None = None,
) -> None:
    """Write down what a complete look has shown, and tell the rooms above. Raises AnotherSite, having written nothing.

    `transaction` opens short, fenced transactions in the system context. `storage_policies` None: they were not told.
    """
    if site.instance_id and check.instance_id != site.instance_id:
        raise AnotherSite(check.instance_id)
    with transaction():
        vms = with_adopted(seen.vms, engine.adopted_vms(site.id))
    ours = {vm.key for vm in vms if vm.witness}
    judge(site, look.expected, look.expected - ours, transaction)
    inventory.write(site, seen, transaction, look.began)
    policies.write(site, storage_policies, transaction)
    with transaction():
        held_back = Site.objects.values_list("held_back", flat=True).get(pk=site.pk)
        zones = list(Zone.objects.filter(site=site, deleted_at=None).exclude(phase=ZonePhase.DELETING).order_by("id"))
    if not held_back:
        for zone in zones:
            with transaction():
                _look_again(zone)
    for observe in engine.wiring().SITE_OBSERVERS:
        observe(transaction, site.id, vms, complete=True, began=look.began)
    with transaction():
        Site.objects.filter(pk=site.pk).update(vms_seen=len(ours), last_synced_at=timezone.now())


def judge(site: Site, expected: Collection[UUID], missing: Collection[UUID], transaction: Transaction) -> None:
    """Hold the site back when too many VMs are missing that still should be there."""
    if not _too_many(len(missing), len(expected)):
        return
    with transaction():
        lost = engine.expected_vms(site.id) & frozenset(missing)  # some may have been asked to go meanwhile
        if not _too_many(len(lost), len(expected)):
            return
        reason = {
            "code": "fewer_vms",
            "sentence": f"{len(lost)} of {len(expected)} VMs that should stand at the site are missing at once.",
            "action": "Look at the site. Then let it go on: POST sites/{id}/resume. Until then nothing is rebuilt.",
        }
        if Site.objects.filter(pk=site.pk, held_back=False).update(held_back=True, reason=reason):
            tell_held_back(site, reason, {"expected": len(expected), "missing": len(lost)})


def tell_held_back(site: Site, reason: dict[str, Any], after: dict[str, Any]) -> None:
    message = reason["sentence"]
    events.record(
        "site.held_back", by=SYSTEM, kind="site", id=site.id, name=site.name, message=message, after=reason | after
    )


def _too_many(missing: int, expected: int) -> bool:
    return missing > FEW and missing * 100 > expected * FEW_PERCENT


def _look_again(zone: Zone) -> None:
    """Hosts that a zone's selector has come to name join it; those that it names no more leave."""
    joined, left = capacity.look_again(zone)
    if not joined and not left:
        return
    events.record(
        "zone.hosts_changed",
        by=SYSTEM,
        kind="zone",
        id=zone.id,
        name=zone.name,
        message=f"{len(joined)} hosts joined and {len(left)} left, by the zone's selector.",
        after={"joined": joined[:NAMES_TOLD], "left": left[:NAMES_TOLD]},
    )
    wake("zone", zone.id, site_id=zone.site_id)
