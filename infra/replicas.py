"""Copies of images in zones whose hosts do not reach the template: planned before they are needed, made by a pass.

A copy is found at the site by its key, the replica's id. Where it lies is written down before the site is asked, so
that whoever asks again asks for the same.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import IntegrityError, transaction

from facet.operations import events, inflight
from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import SYSTEM, Actor
from facet.rest.problems import Conflict, Invalid, NotFound

from . import bins, outside
from .drivers import base
from .models import Datastore, HostState, Image, ImageReplica, ReplicaPhase, Template, Zone, ZonePhase

KIND = "image-replica"
LIBRARY_ITEM = "library-item"
CREATE, DELETE = "image-replica.create", "image-replica.delete"
SOON_S, LATER_S = 1.0, 30.0
MOST_FAILURES = 3
FINAL = frozenset({"no_space", "no_permission", "name_taken", "invalid", "not_found", "not_supported"})
ACTION = "Mend it, then ask for the copy again: facet image replicate."
NOWHERE = "No datastore of the zone is reached by all its hosts and has room for the image."


# --- planning ------------------------------------------------------------------------------------------------------


def plan(site_id: UUID, zones: Collection[UUID] | None = None) -> None:
    """A copy of each image for each active zone of the site that lacks it. Said again it adds nothing."""
    active = Zone.objects.filter(site_id=site_id, phase=ZonePhase.ACTIVE, deleted_at=None)
    for zone in active if zones is None else active.filter(pk__in=zones):
        reached = _reached(zone)
        images = Image.objects.filter(site_id=site_id, template__present=True).exclude(replicas__zone=zone)
        for image in images.select_related("template").order_by("id"):
            if lacks(image.template, reached):
                _begin(image, zone)


def lacks(template: Template, reached: Collection[frozenset[str]]) -> bool:
    """Whether some host reaches none of the datastores that the template lies on; of a library item always."""
    if template.kind == LIBRARY_ITEM:
        return True
    return bool(template.datastore_refs) and any(not refs & set(template.datastore_refs) for refs in reached)


def _reached(zone: Zone) -> list[frozenset[str]]:
    """The datastores that each host of the zone reaches."""
    hosts = bins.hosts_of(zone).exclude(state=HostState.GONE)
    return [frozenset(refs) for refs in hosts.values_list("datastore_refs", flat=True)]


def _begin(image: Image, zone: Zone) -> ImageReplica | None:
    """None where somebody else has just begun."""
    try:
        with transaction.atomic():
            replica = ImageReplica.objects.create(image=image, zone=zone)
    except IntegrityError:
        return None
    events.record(CREATE, by=SYSTEM, kind=KIND, id=replica.id, name=image.name, message=f"{zone.name} lacks it.")
    wake(KIND, replica.id, site_id=zone.site_id)
    return replica


def refs(pairs: Collection[tuple[UUID | None, UUID]]) -> dict[tuple[UUID | None, UUID], str]:
    """(image, zone) -> the copy to clone from, where the zone has one that is ready."""
    ready = ImageReplica.objects.filter(phase=ReplicaPhase.READY, image_id__in={image for image, _ in pairs if image})
    return {(image, zone): ref for image, zone, ref in ready.values_list("image_id", "zone_id", "ref")}


def awaited(pairs: Collection[tuple[UUID | None, UUID]]) -> dict[tuple[UUID | None, UUID], str]:
    """(image, zone) -> what is waited for, where the image is an item of a content library with no copy there yet."""
    items = Image.objects.filter(pk__in={image for image, _ in pairs if image}, template__kind=LIBRARY_ITEM)
    names = dict(items.values_list("id", "name"))
    copies = {(one.image_id, one.zone_id): one for one in ImageReplica.objects.filter(image__in=names)}
    found = {}
    for pair in pairs:
        copy = copies.get(pair)
        if pair[0] in names and (copy is None or copy.phase != ReplicaPhase.READY):
            why = (copy.reason or {}).get("sentence", "") if copy is not None else ""
            found[pair] = f"Image {names[pair[0]]} becomes a template of the zone first. {why}".rstrip()
    return found


# --- asked for by people -------------------------------------------------------------------------------------------


def replicate(*, image: Image, zone: Zone, by: Actor) -> tuple[ImageReplica, Operation | None]:
    """A copy for this zone; one that failed is tried again; of one that is ready the receipt has no operation.

    Raises Invalid for a zone of another site, Conflict for one that reaches the template or has a copy that goes.
    """
    if zone.site_id != image.site_id:
        raise Invalid({"zone": f"{zone.name} is no zone of the image's site."})
    replica = ImageReplica.objects.select_for_update(no_key=True).filter(image=image, zone=zone).first()
    if replica is None:
        if not lacks(image.template, _reached(zone)):
            raise Conflict(f"The hosts of {zone.name} reach the template itself.", code="not_needed")
        replica = _begin(image, zone) or ImageReplica.objects.get(image=image, zone=zone)
    if replica.phase == ReplicaPhase.DELETING:
        raise Conflict("The copy is being deleted.", code="not_ready")
    if replica.phase == ReplicaPhase.READY:
        return replica, None
    same = operations.open_ones(KIND, replica.id).filter(verb=CREATE).first()
    if same is not None:
        return replica, same
    if replica.phase == ReplicaPhase.FAILED:
        ImageReplica.objects.filter(pk=replica.pk).update(
            phase=ReplicaPhase.PENDING, datastore=None, failures=0, reason=None
        )
    operation = operations.start(CREATE, target=target(replica), by=by)
    wake(KIND, replica.id, site_id=zone.site_id)
    return replica, operation


def delete_replica(*, replica: ImageReplica, by: Actor) -> Operation:
    """While its zone lacks the image, the zone's next pass makes another one. Said twice, it is the same delete."""
    found = ImageReplica.objects.select_for_update(no_key=True).filter(pk=replica.pk).first()
    if found is None:
        raise NotFound("The copy has just been deleted.")
    same = operations.open_ones(KIND, replica.id).filter(verb=DELETE).first()
    if same is not None:
        return same
    operation = operations.start(DELETE, target=target(replica), by=by)
    leave(ImageReplica.objects.filter(pk=replica.pk))
    return operation


def leave(rows: object) -> int:
    """Let these copies go; how many there are. In a transaction."""
    going = list(rows.select_related("zone").order_by("id"))  # type: ignore[attr-defined]  # a queryset of replicas
    for replica in going:
        if replica.phase != ReplicaPhase.DELETING:
            ImageReplica.objects.filter(pk=replica.pk).update(phase=ReplicaPhase.DELETING)
            wake(KIND, replica.id, site_id=replica.zone.site_id)
    return len(going)


def target(replica: ImageReplica) -> operations.Target:
    name = replica.image.name if replica.image is not None else str(replica.id)
    return operations.Target(kind=KIND, id=replica.id, name=name, site_id=replica.zone.site_id)


# --- the pass ------------------------------------------------------------------------------------------------------


def replica(turn: Turn) -> Outcome:
    """The copy stands on a datastore that the zone's hosts reach; or it is gone, and then its row."""
    with turn.reading():
        rows = ImageReplica.objects.select_related("image__template", "zone__site", "datastore")
        found = rows.filter(pk=turn.key).first()
        open_tasks = inflight.of(turn.lease)
    if found is None or found.phase in (ReplicaPhase.READY, ReplicaPhase.FAILED):
        return Done()
    if found.zone.site.held_back:
        return Again(LATER_S)
    with outside.asking():
        driver = outside.driver_of(found.zone.site)
        if _at_work(turn, driver, open_tasks):
            return Again(SOON_S)
        return _go(turn, driver, found) if found.phase == ReplicaPhase.DELETING else _come(turn, driver, found)


def _at_work(turn: Turn, driver: base.Driver, rows: list[inflight.Inflight]) -> bool:
    """Whether what was begun goes on. What has ended is forgotten: the next ensure sees what came of it."""
    states = driver.poll([row.ref for row in rows if row.ended_at is None]) if rows else {}
    running = [row for row in rows if row.ref in states and states[row.ref].state is base.TaskState.RUNNING]
    with turn.transaction():
        inflight.settle([row for row in rows if row not in running])
    return bool(running)


def _come(turn: Turn, driver: base.Driver, found: ImageReplica) -> Outcome:
    spec = _placed(turn, found)
    if spec is None:
        return Again(LATER_S)
    if isinstance(spec, base.Refused):
        return _failed(turn, found, spec)
    turn.renew()
    outcome = driver.ensure_images([spec])[found.id]
    if isinstance(outcome, base.Refused):
        return _failed(turn, found, outcome)
    if isinstance(outcome, base.NotReady):
        return Again(SOON_S)
    if isinstance(outcome, base.DriverError):
        raise outcome
    with turn.transaction():
        same = ImageReplica.objects.filter(pk=found.pk).exclude(phase=ReplicaPhase.DELETING)
        if isinstance(outcome, base.InFlight):
            inflight.record(turn.lease, [inflight.Started(outcome.ref, found.id, outcome.doing)])
            same.update(phase=ReplicaPhase.COPYING)
            return Again(SOON_S)
        if same.update(phase=ReplicaPhase.READY, ref=outcome.ref, reason=None, failures=0):
            operations.succeed(KIND, found.id, generation=1)
            return Done()
    return Again(0.0)


def _placed(turn: Turn, found: ImageReplica) -> base.ImageSpec | base.Refused | None:
    """Where the copy lies, chosen once and written down. None while the zone is not ready for it."""
    zone, image = found.zone, found.image
    if image is None:
        return base.Refused("The image has left the catalogue.", code="not_found")
    with turn.transaction():
        hosts = list(bins.hosts_of(zone).filter(state=HostState.UP).order_by("name"))
        host = next((one for one in hosts if one.compute_ref in zone.pool_refs), None)
        if host is None or not zone.folder_ref:
            return None
        reached = set.intersection(*(set(one.datastore_refs) for one in hosts))
        stores = Datastore.objects.filter(zones=zone, ref__in=reached, present=True, accessible=True)
        roomy = stores.filter(free_gib__gte=image.template.disk_gib).order_by("-free_gib", "id")
        store = found.datastore or roomy.first()
        if store is None:
            return base.Refused(NOWHERE, code="no_space")
        ImageReplica.objects.filter(pk=found.pk).update(datastore=store)
    return base.ImageSpec(
        key=found.id, name=f"{image.name} ({found.id.hex[-12:]})", template_ref=image.template.ref,
        folder_ref=zone.folder_ref, pool_ref=zone.pool_refs[host.compute_ref], host_ref=host.ref,
        datastore_ref=store.ref,
    )  # fmt: skip


def _failed(turn: Turn, found: ImageReplica, error: base.Refused) -> Outcome:
    final = error.code in FINAL or found.failures + 1 >= MOST_FAILURES
    with turn.transaction():
        same = ImageReplica.objects.filter(pk=found.pk).exclude(phase=ReplicaPhase.DELETING)
        phase = {"phase": ReplicaPhase.FAILED} if final else {}
        if not same.update(failures=found.failures + 1, reason=outside.reason(error, ACTION), **phase):
            return Again(0.0)
        if final:
            operations.fail(KIND, found.id, code=error.code, detail=error.reason)
    return Done() if final else Again(LATER_S)


def _go(turn: Turn, driver: base.Driver, found: ImageReplica) -> Outcome:
    turn.renew()
    outcome = driver.ensure_no_images([found.id])[found.id]
    if isinstance(outcome, base.DriverError) and not isinstance(outcome, base.NotReady | base.Refused):
        raise outcome
    with turn.transaction():
        if outcome is None:
            operations.succeed(KIND, found.id, generation=1)
            ImageReplica.objects.filter(pk=found.pk).delete()
            return Done()
        if isinstance(outcome, base.InFlight):
            inflight.record(turn.lease, [inflight.Started(outcome.ref, found.id, outcome.doing)])
        elif isinstance(outcome, base.Refused):
            reason = outside.reason(outcome, "Mend it at the site; Facet tries again.")
            ImageReplica.objects.filter(pk=found.pk).update(reason=reason)
    return Again(LATER_S if isinstance(outcome, base.Refused) else SOON_S)
