"""Passes over sites and zones: connect and take inventory; make a zone visible at its site, or take it away."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.utils import timezone

from facet.operations import engine, events
from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, SiteDown, Turn
from facet.rest.access import SYSTEM

from . import capacity, inventory, outside
from .drivers import base
from .models import Endpoint, Host, Installation, Site, SitePhase, Zone, ZonePhase

RETRY_S = 30.0
TRIES_BEFORE_AN_OPERATION_FAILS = 2
ACTIONS = {
    "bad_credentials": "Set the right user name and password: PATCH the site.",
    "bad_certificate": "Give the CA of the site's certificate (ca_pem), or the right endpoint.",
    "unreachable": "Check the endpoint and the way there.",
}


# --- sites ---------------------------------------------------------------------------------------------------------


def site(turn: Turn) -> Outcome:
    """One look at a site: who it is, and all that stands in it."""
    with turn.reading():
        found = Site.objects.get(pk=turn.key)
    if found.phase == SitePhase.DELETING:
        return _forget_site(turn, found)
    if found.deleted_at is not None:
        return Done()
    turn.renew()
    try:
        driver = outside.driver_of(found)
        check = driver.check()
        seen = driver.inventory()
    except base.DriverError as error:
        return _failing(turn, found, error)
    if found.instance_id and check.instance_id != found.instance_id:
        return _another_site(turn, found, check)
    turn.renew()
    inventory.write(found, seen, turn.transaction)
    for observe in engine.wiring().SITE_OBSERVERS:
        observe(turn.transaction, found.id, seen.vms, complete=True)
    with turn.transaction():
        Site.objects.filter(pk=found.pk, generation=found.generation).update(
            phase=SitePhase.ACTIVE,
            reason=None,
            product=f"{check.product} {check.version}".strip(),
            instance_id=check.instance_id,
            simulated=check.simulated,
            address_network=check.address_network,
            last_synced_at=timezone.now(),
            observed_generation=found.generation,
        )
        operations.succeed("site", found.id, generation=found.generation)
    return Again(settings.FACET_SYNC_S)


def _failing(turn: Turn, found: Site, error: base.DriverError) -> Outcome:
    """The site says which; its operation fails with the first cause; it is tried again at a bounded pace."""
    reason = outside.reason(error, ACTIONS.get(error.code, "Look at the site; Facet keeps trying."))
    outside.forget(found.id)
    with turn.transaction():
        news = (found.reason or {}).get("code") != error.code
        Site.objects.filter(pk=found.pk).update(phase=SitePhase.FAILING, reason=reason)
        if news:
            events.record(
                "site.failing", by=SYSTEM, kind="site", id=found.id, name=found.name, message=error.reason, after=reason
            )
        refused = isinstance(error, base.Refused)
        if refused or turn.lease.attempts >= TRIES_BEFORE_AN_OPERATION_FAILS:
            operations.fail("site", found.id, code=error.code, detail=error.reason)
    if isinstance(error, base.Refused):
        return Again(RETRY_S)
    raise SiteDown(error.reason) from error


def _another_site(turn: Turn, found: Site, check: base.SiteCheck) -> Outcome:
    reason = {
        "code": "another_site",
        "sentence": "Another site answers at this endpoint than the one that was added.",
        "action": "Put the right endpoint back, or resume the site if this is meant.",
    }
    with turn.transaction():
        if not found.held_back:
            events.record(
                "site.another", by=SYSTEM, kind="site", id=found.id, name=found.name, message=reason["sentence"]
            )
        Site.objects.filter(pk=found.pk).update(phase=SitePhase.FAILING, reason=reason, held_back=True)
    return Again(RETRY_S)


def _forget_site(turn: Turn, found: Site) -> Outcome:
    outside.forget(found.id)
    with turn.transaction():
        Site.objects.filter(pk=found.pk, deleted_at=None).update(deleted_at=timezone.now(), password_sealed=b"")
        operations.succeed("site", found.id, generation=found.generation)
    return Done()


# --- zones ---------------------------------------------------------------------------------------------------------


def zone(turn: Turn) -> Outcome:
    """A zone's folder, and its pool in every compute resource that it touches, stand at the site; or are gone."""
    with turn.reading():
        found = Zone.objects.select_related("site").get(pk=turn.key)
        hosts = list(Host.objects.filter(zone=found).exclude(state="gone"))
        installation = Installation.objects.get().id
    if found.deleted_at is not None:
        return Done()
    driver = outside.driver_of(found.site)
    try:
        with outside.asking():
            turn.renew()
            if found.phase == ZonePhase.DELETING:
                return _remove_zone(turn, found, driver)
            return _mirror_zone(turn, found, hosts, installation, driver)
    except base.Refused as error:
        reason = outside.reason(error, "Mend it at the site; Facet tries again.")
        with turn.transaction():
            Zone.objects.filter(pk=found.pk).exclude(phase=ZonePhase.DELETING).update(
                phase=ZonePhase.FAILED, reason=reason
            )
            operations.fail("zone", found.id, code=error.code, detail=error.reason)
        return Again(RETRY_S)


def _mirror_zone(turn: Turn, found: Zone, hosts: list[Host], installation: Any, driver: base.Driver) -> Outcome:
    computes = tuple(sorted({host.compute_ref for host in hosts}))
    root_folder = driver.ensure_folder(base.FolderSpec(key=installation, name="facet", parent_ref=None))
    folder = driver.ensure_folder(
        base.FolderSpec(key=found.id, name=found.name, parent_ref=root_folder, ref=found.folder_ref or None)
    )
    roots = driver.ensure_pool(
        base.PoolSpec(
            key=installation,
            name="facet",
            parts=tuple(base.PoolPart(compute_ref=ref, parent_ref=None) for ref in computes),
            expandable=True,
        )
    )
    refs = driver.ensure_pool(
        base.PoolSpec(
            key=found.id,
            name=found.name,
            parts=tuple(
                base.PoolPart(compute_ref=ref, parent_ref=roots[ref], ref=found.pool_refs.get(ref)) for ref in computes
            ),
            expandable=True,
        )
    )
    with turn.transaction():
        Zone.objects.filter(pk=found.pk).exclude(phase=ZonePhase.DELETING).update(
            phase=ZonePhase.ACTIVE,
            reason=None,
            folder_ref=folder,
            pool_refs=dict(refs),
            observed_generation=found.generation,
        )
        operations.succeed("zone", found.id, generation=found.generation)
    return Done()


def _remove_zone(turn: Turn, found: Zone, driver: base.Driver) -> Outcome:
    driver.ensure_no_pool(found.pool_refs.values())
    if found.folder_ref:
        driver.ensure_no_folder(found.folder_ref)
    with turn.transaction():
        Zone.objects.filter(pk=found.pk).update(deleted_at=timezone.now(), folder_ref="", pool_refs={})
        capacity.free_hosts(found)
        stores = list(found.datastores.all())
        found.datastores.clear()
        found.networks.clear()
        capacity.refresh_datastores(stores)
        Endpoint.objects.filter(zone=found).delete()
        operations.succeed("zone", found.id, generation=found.generation)
    return Done()
