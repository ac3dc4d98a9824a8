"""Storage policies of a site as observed; storage classes that are bound to one follow it.

A class of a policy means those datastores of its zone that satisfy it now: at each complete look, and when its zone is
given others. What lies on a datastore stays there.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from facet.operations import events
from facet.rest.access import SYSTEM

from . import inventory, storage
from .drivers import base
from .models import Site, StorageClass, StoragePolicy, Zone
from .room import Transaction

log = structlog.get_logger(__name__)


def observed(driver: base.Driver) -> tuple[base.PolicyFacts, ...] | None:
    """What the site tells now. None where it does not: policies are a service of their own, and the look goes on."""
    try:
        return driver.policies()
    except base.DriverError as error:
        log.warning("the site does not tell its storage policies", code=error.code, error=error.reason)
        return None


def write(site: Site, found: Sequence[base.PolicyFacts] | None, transaction: Transaction) -> None:
    """Make the site's rows say what was found, and let classes follow. None was found out: all stays as it was."""
    if found is None:
        return
    rows = {one.ref: {"name": one.name, "datastore_refs": sorted(one.datastore_refs)} for one in found}
    inventory.keep(StoragePolicy, site, rows, transaction)
    with transaction():
        bound = StorageClass.objects.filter(zone__site=site, zone__deleted_at=None).exclude(policy=None)
        zones = sorted(set(bound.values_list("zone_id", flat=True)))
    for zone_id in zones:
        with transaction():
            follow(Zone.objects.select_for_update(no_key=True).get(pk=zone_id))


def follow(zone: Zone) -> None:
    """Let the classes of a (locked) zone that are bound to policies mean what satisfies these now."""
    for found in StorageClass.objects.filter(zone=zone).exclude(policy=None).select_related("policy").order_by("id"):
        before, after = list(found.datastores.order_by("id")), storage.satisfying(zone, found.policy)
        if before == after:
            continue
        storage.mean(found, before, after)
        events.record(
            "storage-class.followed", by=SYSTEM, kind=storage.KIND, id=found.id, name=found.name,
            message=f"Other datastores satisfy its policy {found.policy.name} now.",
            before=storage.told(zone, before, found.policy), after=storage.told(zone, after, found.policy),
        )  # fmt: skip
