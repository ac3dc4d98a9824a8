"""Passes over sites and zones: connect and take inventory; make a zone visible at its site, or take it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.utils import timezone

from facet.operations import engine, events
from facet.operations import services as operations
from facet.operations.engine import Again, ComeAgain, Done, Outcome, SiteDown, Turn
from facet.rest.access import SYSTEM

from . import bins, budgets, capacity, hostrules, looks, outside, policies, privileges, replicas
from .drivers import base
from .looks import AnotherSite, Look
from .models import (
    Endpoint,
    HostState,
    ImageReplica,
    Installation,
    Site,
    SitePhase,
    StorageClass,
    Vlan,
    Zone,
    ZonePhase,
)

log = structlog.get_logger(__name__)
RETRY_S = 30.0
REPLICAS_S = 1.0
LOGIN_AGAIN_S = 60.0  # a vCenter locks an account after five wrong passwords in three minutes
TRIES_BEFORE_AN_OPERATION_FAILS = 2
ACTIONS = {
    "bad_credentials": "Set the right user name and password: PATCH the site.",
    "bad_certificate": "Give the CA of the site's certificate (ca_pem), or the right endpoint.",
    "unreachable": "Check the endpoint and the way there.",
    "timeout": "Check the endpoint and the way there.",
    privileges.NO_PERMISSION: privileges.ACTION,
}
ANOTHER_SITE = {
    "code": "another_site",
    "sentence": "Another site answers at this endpoint than the one that was added.",
    "action": "Put the right endpoint back; or, if this one is meant, POST sites/{id}/resume.",
}


# --- sites ---------------------------------------------------------------------------------------------------------


def site(turn: Turn) -> Outcome:
    """One look at a site: who it is, and all that stands in it."""
    with turn.reading():
        found = Site.objects.get(pk=turn.key)
    if found.deleted_at is not None:
        return Done()
    if found.phase == SitePhase.DELETING:
        return _forget_site(turn, found)
    turn.renew()
    look = looks.begin(found.id, turn.reading)
    try:
        driver = outside.driver_of(found)
        check = driver.check()
        turn.renew()
        _privileges(turn, found, driver)
        seen = driver.inventory()
        told = policies.observed(driver)
    except base.NotReady as error:
        raise ComeAgain(error.reason) from error
    except base.DriverError as error:
        return _failing(turn, found, error)
    turn.renew()
    try:
        looks.complete(found, look, check, seen, turn.transaction, told)
    except AnotherSite:
        return _another_site(turn, found)
    return _active(turn, found, look, check)


def _privileges(turn: Turn, found: Site, driver: base.Driver) -> None:
    """Keep what the user lacks; raises Refused(no_permission) where compute lacks something."""
    missing = driver.missing_privileges()
    told = privileges.recorded(missing)
    if told != found.missing_privileges:
        with turn.transaction():
            Site.objects.filter(pk=found.pk, generation=found.generation).update(missing_privileges=told)
    privileges.check_compute(missing)


def _active(turn: Turn, found: Site, look: Look, check: base.SiteCheck) -> Outcome:
    with turn.transaction():
        same = Site.objects.select_for_update(no_key=True).filter(pk=found.pk, generation=found.generation).first()
        if same is None:  # changed or to be deleted meanwhile: that has woken us
            return Again(0.0)
        was = same.phase
        same.phase = SitePhase.ACTIVE
        same.reason = same.reason if same.held_back else None
        same.product = f"{check.product} {check.version}".strip()[:255]
        same.instance_id = check.instance_id
        same.simulated = check.simulated
        same.address_network = check.address_network
        same.isolation = outside.driver_of(found).isolation()
        same.observed_generation = found.generation
        same.save(
            update_fields=[
                "phase", "reason", "product", "instance_id", "simulated", "address_network", "observed_generation",
                "isolation",
            ]
        )  # fmt: skip
        budgets.keep_within(same)
        if was == SitePhase.FAILING:
            events.record("site.active", by=SYSTEM, kind="site", id=found.id, name=found.name, message="It answers.")
        operations.succeed("site", found.id, generation=found.generation, asked_before=look.began)
    return Again(settings.FACET_SYNC_S)


def _failing(turn: Turn, found: Site, error: base.DriverError) -> Outcome:
    """The site says which; its operation fails with the first cause; it is tried again at a bounded pace."""
    refused = isinstance(error, base.Refused)
    outside.forget(found.id)
    with turn.transaction():
        if not _tell_failing(found, outside.reason(error, ACTIONS.get(error.code, "Facet keeps trying."))):
            return Again(0.0)
        if refused or turn.lease.attempts + 1 >= TRIES_BEFORE_AN_OPERATION_FAILS:
            operations.fail("site", found.id, code=error.code, detail=error.reason)
    if refused:
        return Again(LOGIN_AGAIN_S)
    raise SiteDown(error.reason) from error


def _tell_failing(found: Site, reason: dict[str, Any]) -> bool:
    """False when the site has been changed meanwhile, so that this is news of yesterday."""
    same = Site.objects.select_for_update(no_key=True).filter(pk=found.pk, generation=found.generation).first()
    if same is None:
        return False
    Site.objects.filter(pk=found.pk).update(phase=SitePhase.FAILING, reason=reason)
    if same.phase != SitePhase.FAILING or (same.reason or {}).get("code") != reason["code"]:
        events.record(
            "site.failing",
            by=SYSTEM,
            kind="site",
            id=found.id,
            name=found.name,
            message=reason["sentence"],
            after=reason,
        )
    return True


def _another_site(turn: Turn, found: Site) -> Outcome:
    """Nothing of it is written down; nothing is rebuilt or removed until a person has looked."""
    with turn.transaction():
        if not _tell_failing(found, ANOTHER_SITE):
            return Again(0.0)
        if Site.objects.filter(pk=found.pk, held_back=False).update(held_back=True):
            looks.tell_held_back(found, ANOTHER_SITE, {})
        operations.fail("site", found.id, code=ANOTHER_SITE["code"], detail=ANOTHER_SITE["sentence"])
    return Again(RETRY_S)


def _forget_site(turn: Turn, found: Site) -> Outcome:
    outside.forget(found.id)
    with turn.transaction():
        Site.objects.filter(pk=found.pk, deleted_at=None).update(
            deleted_at=timezone.now(), password_sealed=b"", watcher=None, watched_until=None
        )
        operations.succeed("site", found.id, generation=found.generation)
    return Done()


# --- zones ---------------------------------------------------------------------------------------------------------


def zone(turn: Turn) -> Outcome:
    """A zone's folder, and its pool in every compute resource that it touches, stand at the site; or are gone."""
    with turn.reading():
        found = Zone.objects.select_related("site").get(pk=turn.key)
        hosts = bins.hosts_of(found).exclude(state=HostState.GONE)
        computes = sorted(set(hosts.values_list("compute_ref", flat=True)))
        places = Places(outside.driver_of(found.site), found, computes, Installation.objects.get().id)
    if found.deleted_at is not None:
        return Done()
    if found.site.held_back:
        return Again(RETRY_S)
    try:
        with outside.asking():
            return _remove_zone(turn, places) if found.phase == ZonePhase.DELETING else _mirror_zone(turn, places)
    except ComeAgain as error:
        waiting = {
            "code": "site_not_ready",
            "sentence": str(error),
            "action": "Facet tries again when the site answers.",
        }
        with turn.transaction():
            Zone.objects.filter(pk=found.pk).exclude(phase=ZonePhase.ACTIVE).update(reason=waiting)
        raise
    except base.Refused as error:
        return _zone_refused(turn, found, outside.reason(error, "Mend it at the site; Facet tries again."))


class Places:
    """A zone's places at its site: a folder below Facet's own, and a pool in each compute resource."""

    def __init__(self, driver: base.Driver, zone: Zone, computes: list[str], installation: UUID) -> None:
        self.driver, self.zone, self.computes, self.installation = driver, zone, computes, installation

    def folder(self) -> str:
        root = self.driver.ensure_folder(base.FolderSpec(key=self.installation, name="facet", parent_ref=None))
        return self.driver.ensure_folder(
            base.FolderSpec(key=self.zone.id, name=self.zone.name, parent_ref=root, ref=self.zone.folder_ref or None)
        )

    def pools(self, computes: list[str]) -> Mapping[str, str]:
        """compute_ref -> ref of the zone's pool there."""
        if not computes:
            return {}
        root = base.PoolSpec(
            key=self.installation,
            name="facet",
            parts=tuple(base.PoolPart(compute_ref=ref, parent_ref=None) for ref in computes),
            expandable=True,
        )
        roots = self.driver.ensure_pool(root)
        parts = tuple(
            base.PoolPart(compute_ref=ref, parent_ref=roots[ref], ref=self.zone.pool_refs.get(ref)) for ref in computes
        )
        return self.driver.ensure_pool(
            base.PoolSpec(key=self.zone.id, name=self.zone.name, parts=parts, expandable=True)
        )

    def left(self) -> dict[str, str]:
        """Pools where the zone has no host any more, less those that go now: one that is in use stays."""
        kept = {}
        for compute, ref in self.zone.pool_refs.items():
            if compute in self.computes:
                continue
            try:
                self.driver.ensure_no_pool([ref])
            except base.Refused:
                kept[compute] = ref
        return kept


def _mirror_zone(turn: Turn, places: Places) -> Outcome:
    found = places.zone
    turn.renew()
    folder = places.folder()
    turn.renew()
    refs = dict(places.pools(places.computes))
    turn.renew()
    refs |= places.left()
    with turn.transaction():
        same = Zone.objects.select_for_update(no_key=True).get(pk=found.pk)
        Zone.objects.filter(pk=found.pk).update(folder_ref=folder, pool_refs=refs)  # also for whoever takes them away
        if same.generation != found.generation:
            return Again(0.0)
        if same.phase in (ZonePhase.PENDING, ZonePhase.FAILED):
            Zone.objects.filter(pk=found.pk).update(phase=ZonePhase.ACTIVE)
        Zone.objects.filter(pk=found.pk).update(reason=None, observed_generation=found.generation)
        replicas.plan(found.site_id, [found.id])
        operations.succeed("zone", found.id, generation=found.generation)
    return Again(settings.FACET_SYNC_S)


def _zone_refused(turn: Turn, found: Zone, reason: dict[str, Any]) -> Outcome:
    """The zone says why, its operation fails with it, and Facet tries again."""
    with turn.transaction():
        same = Zone.objects.select_for_update(no_key=True).get(pk=found.pk)
        if same.generation != found.generation:
            return Again(0.0)
        kept = (ZonePhase.DELETING, ZonePhase.DRAINING, ZonePhase.DISABLED)  # a refusal opens no zone that is closed
        phase = same.phase if same.phase in kept else ZonePhase.FAILED
        Zone.objects.filter(pk=found.pk).update(phase=phase, reason=reason)
        if (same.reason or {}).get("code") != reason["code"]:
            events.record(
                "zone.failing",
                by=SYSTEM,
                kind="zone",
                id=found.id,
                name=found.name,
                message=reason["sentence"],
                after=reason,
            )
        operations.fail("zone", found.id, code=reason["code"], detail=reason["sentence"])
    return Again(RETRY_S)


def _remove_zone(turn: Turn, places: Places) -> Outcome:
    found, driver = places.zone, places.driver
    with turn.transaction():
        if replicas.leave(ImageReplica.objects.filter(zone=found)):
            return Again(REPLICAS_S)
    turn.renew()
    folder, pools = _known_places(places)
    turn.renew()
    driver.ensure_no_rule(hostrules.name_of(found.id))
    driver.ensure_no_pool(pools)
    if folder:
        driver.ensure_no_folder(folder)
    with turn.transaction():
        if engine.holders("zone", found.id):  # made in the moment before the zone was marked: it must go first
            return Again(RETRY_S)
        Zone.objects.filter(pk=found.pk).update(deleted_at=timezone.now(), folder_ref="", pool_refs={}, reason=None)
        capacity.free_hosts(found)
        stores = list(found.datastores.all())
        StorageClass.objects.filter(zone=found).delete()
        found.datastores.clear()
        found.networks.clear()
        capacity.refresh_datastores(stores)
        Endpoint.objects.filter(zone=found).delete()
        Vlan.objects.filter(zone=found).delete()
        operations.succeed("zone", found.id, generation=found.generation)
    return Done()


def _known_places(places: Places) -> tuple[str, list[str]]:
    """Folder and pools to take away. A ref that a killed pass could not save is found by the place's name: by ensuring
    it once more. Where the site refuses that, there is nothing of ours.
    """
    zone = places.zone
    pools = dict(zone.pool_refs)
    folder = zone.folder_ref
    try:
        folder = folder or places.folder()
        pools |= places.pools([ref for ref in places.computes if ref not in pools])
    except base.Refused as error:
        log.warning("a zone that goes has no places at the site", zone=zone.name, error=error.reason)
    return folder, list(pools.values())
