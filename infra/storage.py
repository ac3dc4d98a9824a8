"""Storage classes: kinds of storage that a zone offers by name, each on some of the zone's datastores.

One that is bound to a storage policy means those that satisfy it, and follows it (policies.py). Who changes one locks
its zone, and then writes the datastores that it touches: a look reads rows that were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from facet.operations import engine, events
from facet.rest.access import Actor
from facet.rest.dbtypes import CurrentXid
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken, NotFound

from .models import Datastore, StorageClass, StoragePolicy, Zone, ZonePhase

KIND = "storage-class"
SHOWN = 20


def create(*, zone: Zone, name: str, datastores: Sequence[str] = (), policy: str = "", by: Actor) -> StorageClass:
    """A new class. `datastores`: names or refs of those that the zone uses; or a policy of its site, by name or ref.

    Raises Invalid, NameTaken, Conflict.
    """
    zone = _locked(zone.id)
    bound, stores = _meant(zone, datastores, policy)
    try:
        with transaction.atomic():
            made = StorageClass.objects.create(zone=zone, name=name, policy=bound)
    except IntegrityError:
        raise NameTaken(f"Zone {zone.name} has a storage class {name}.") from None
    made.datastores.set(stores)
    _touch(store.id for store in stores)
    events.record("storage-class.create", by=by, kind=KIND, id=made.id, name=name, after=told(zone, stores, bound))
    return made


def update(*, found: StorageClass, datastores: Sequence[str] = (), policy: str = "", by: Actor) -> StorageClass:
    """Other datastores, or another policy, for disks to come; what lies on a datastore stays there."""
    zone = _locked(found.zone_id)
    bound, after = _meant(zone, datastores, policy)
    before, was = list(found.datastores.order_by("id")), found.policy
    same = StorageClass.objects.filter(pk=found.pk, generation=found.generation)
    if not same.update(generation=found.generation + 1, policy=bound):
        raise Conflict("Someone else changed the storage class at this moment. Look again.")
    mean(found, before, after)
    events.record(
        "storage-class.update", by=by, kind=KIND, id=found.id, name=found.name, before=told(zone, before, was),
        after=told(zone, after, bound),
    )  # fmt: skip
    return StorageClass.objects.get(pk=found.pk)


def delete(*, found: StorageClass, by: Actor) -> None:
    """Take the name away. Raises InUse while something that stands in the zone was asked for with it."""
    zone = _locked(found.zone_id)
    if not StorageClass.objects.filter(pk=found.pk).exists():
        raise NotFound("It has just been deleted.")
    holders = engine.holders(KIND, found.id)
    if holders:
        names = ", ".join(f"{held['kind']} {held['name']}" for held in holders[:5])
        raise InUse(f"Storage class {found.name} of zone {zone.name} is in use: {names}.", holders=holders[:SHOWN])
    stores, policy, id = list(found.datastores.order_by("id")), found.policy, found.id
    found.delete()
    _touch(store.id for store in stores)
    events.record("storage-class.delete", by=by, kind=KIND, id=id, name=found.name, before=told(zone, stores, policy))


def mean(found: StorageClass, before: Sequence[Datastore], after: Sequence[Datastore]) -> None:
    """From now on a class, whose zone is locked, is of these datastores."""
    found.datastores.set(after)
    _touch({store.id for store in before} ^ {store.id for store in after})


def satisfying(zone: Zone, policy: StoragePolicy) -> list[Datastore]:
    """The zone's datastores that satisfy a policy; none does where the site has it no more."""
    refs = policy.datastore_refs if policy.present else []
    return list(zone.datastores.filter(ref__in=refs).order_by("id"))


def missing(name: str, zones: Iterable[Zone]) -> list[str]:
    """The names of those of the zones that do not offer this class."""
    offered = set(StorageClass.objects.filter(name=name, zone__in=zones).values_list("zone_id", flat=True))
    return [zone.name for zone in zones if zone.id not in offered]


def _locked(zone_id: UUID) -> Zone:
    """The zone, kept as it is. Raises Conflict for one that is going."""
    zone = Zone.objects.select_for_update(no_key=True).get(pk=zone_id)
    if zone.phase == ZonePhase.DELETING or zone.deleted_at is not None:
        raise Conflict(f"Zone {zone.name} is being deleted.", code="deleting")
    return zone


def _meant(zone: Zone, datastores: Sequence[str], policy: str) -> tuple[StoragePolicy | None, list[Datastore]]:
    """What was said: a policy, with what satisfies it; or datastores."""
    if bool(datastores) == bool(policy):
        raise Invalid({"datastores": "Say either datastores or a policy."})
    if not policy:
        return None, _named(zone, datastores)
    bound = policy_named(zone, policy)
    return bound, satisfying(zone, bound)


def policy_named(zone: Zone, name: str) -> StoragePolicy:
    """A policy of the zone's site by name or ref. Raises Invalid for one that it does not have, or has twice."""
    here = StoragePolicy.objects.filter(site_id=zone.site_id, present=True)
    rows = list(here.filter(ref=name)) or list(here.filter(name=name))
    if not rows:
        raise Invalid({"policy": f"The site of zone {zone.name} has no storage policy {name}. Is it synced?"})
    if len(rows) > 1:
        refs = sorted(row.ref for row in rows)
        raise Invalid({"policy": f"{name} is ambiguous; say one of: {', '.join(refs)}."}, candidates=refs)
    return rows[0]


def _named(zone: Zone, names: Sequence[str]) -> list[Datastore]:
    """Datastores of the zone by inventory name or ref. Raises Invalid naming what is missing or ambiguous."""
    found: dict[UUID, Datastore] = {}
    for name in names:
        rows = list(zone.datastores.filter(Q(name=name) | Q(ref=name)))
        if not rows:
            raise Invalid({"datastores": f"Zone {zone.name} uses no datastore {name}."})
        if len(rows) > 1:
            refs = sorted(row.ref for row in rows)
            raise Invalid({"datastores": f"{name} is ambiguous; say one of: {', '.join(refs)}."}, candidates=refs)
        found[rows[0].id] = rows[0]
    return sorted(found.values(), key=lambda row: row.id)


def _touch(ids: Iterable[UUID]) -> None:
    """A look then reads these datastores anew, with the classes that they are of."""
    changed = sorted(ids)
    list(Datastore.objects.filter(id__in=changed).order_by("id").select_for_update(no_key=True).values_list("id"))
    Datastore.objects.filter(id__in=changed).update(changed=CurrentXid())


def told(zone: Zone, stores: Sequence[Datastore], policy: StoragePolicy | None = None) -> dict[str, object]:
    bound = {} if policy is None else {"policy": policy.name}
    return {"zone": zone.name, "datastores": sorted(store.name for store in stores)} | bound
