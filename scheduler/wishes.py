"""What a pool shall be: read and checked before room is looked for. services.py says the order of a change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, Invalid
from infra.models import Flavor, Zone, ZonePhase
from infra.services import zone_by_name
from tenants.models import Project, Tenant

from . import guarantees, use, zone_loss
from .core.ask import Shape
from .guarantees import Amounts, Guarantee
from .models import PoolModel, PoolPhase, ResourcePool
from .zone_loss import Part, Together


@dataclass(frozen=True)
class Limits:
    """Never more than this; None is no limit."""

    vcpu: int | None = None
    memory_mib: int | None = None


@dataclass(frozen=True)
class Wish:
    """A pool as it shall be. `pool`: the row as it is, None for a new one; `parent`: the tenant's pool above it."""

    tenant: Tenant
    project: Project | None
    zone: Zone
    name: str
    model: str
    reserved: Amounts
    limit: Limits
    largest_shape: str
    parent: ResourcePool | None
    pool: ResourcePool | None = None
    flavors: Sequence[Shape] = ()
    survives_zone_loss: bool = False
    with_zones: Sequence[str] = ()  # its tenant's pools there are to survive, or not, as this one
    together: Together | None = None  # what that means for the tenant's pools; None: nothing
    holders: Sequence[dict[str, Any]] = ()  # who uses the guarantee that is to shrink
    eaten: Mapping[UUID, Amounts] = field(default_factory=dict)  # by host: what VMs use of its guarantee
    id: UUID = field(default_factory=uuid7)
    spare_id: UUID = field(default_factory=uuid7)

    @property
    def guarantee(self) -> Guarantee:
        before = reserved_of(self.pool) if self.pool else guarantees.NOTHING
        chunk = next((shape for shape in self.flavors if shape.name == self.largest_shape), None)
        return Guarantee(
            pool_id=self.id,
            zone_id=self.zone.id,
            above=self.parent.id if self.parent else None,
            before=before,
            after=self.reserved,
            chunk=chunk,
            flavors=self.flavors,
            holders=self.holders,
            eaten=self.eaten,
            handed_down=handed_down_of(self.pool) if self.pool else guarantees.NOTHING,
            reshaped=self.pool is not None and self.pool.largest_shape != self.largest_shape,
        )

    @property
    def part(self) -> Part:
        return Part(self.id, self.spare_id, self.zone.id, self.zone.name, self.reserved, self.largest_shape)


def reserved_of(pool: ResourcePool) -> Amounts:
    return Amounts(pool.vcpu_reserved, pool.memory_reserved_mib)


def handed_down_of(pool: ResourcePool) -> Amounts:
    return Amounts(pool.vcpu_reserved_handed_down, pool.memory_reserved_handed_down_mib)


# --- wishing -------------------------------------------------------------------------------------------------------


def wish(
    *,
    tenant: Tenant,
    project: Project | None,
    zone: Zone,
    name: str,
    model: str,
    reserved: Amounts,
    limit: Limits,
    largest_shape: str,
    survives_zone_loss: bool = False,
    with_zones: Sequence[str] = (),
) -> Wish:
    """A new pool. Raises Invalid for amounts that do not fit its model, Conflict where the zone takes none."""
    check_zone(zone)
    mine = ResourcePool.objects.filter(tenant=tenant, zone=zone, deleted_at=None)
    if mine.filter(project=project).exists():
        raise pool_exists(zone)
    parent = None
    if project is not None:
        parent = mine.filter(project=None).exclude(phase=PoolPhase.DELETING).first()
        if parent is None:
            raise Conflict(f"Tenant {tenant.name} has no pool in zone {zone.name} to cut this from.", code="no_pool")
    wanted = Wish(
        tenant=tenant,
        project=project,
        zone=zone,
        name=name or zone.name,
        model=model,
        reserved=reserved,
        limit=limit,
        largest_shape=largest_shape,
        parent=parent,
        flavors=shapes(),
        survives_zone_loss=survives_zone_loss,
        with_zones=with_zones,
    )
    return _with_others(_checked(wanted), said=survives_zone_loss)


def changed(pool: ResourcePool, changes: dict[str, Any]) -> Wish:
    """The pool as it shall be after these changes of its columns in a Wish."""
    pool = ResourcePool.objects.select_related("tenant", "project", "zone", "parent").get(pk=pool.pk)
    if pool.phase == PoolPhase.DELETING:
        raise Conflict(f"Pool {pool.name} is being deleted.", code="deleting")
    now = Wish(
        id=pool.id,
        tenant=pool.tenant,
        project=pool.project,
        zone=pool.zone,
        name=pool.name,
        model=pool.model,
        reserved=reserved_of(pool),
        limit=Limits(pool.vcpu_limit, pool.memory_limit_mib),
        largest_shape=pool.largest_shape,
        parent=pool.parent,
        pool=pool,
        flavors=shapes(),
        survives_zone_loss=pool.survives_zone_loss,
        spare_id=pool.spare_id,
    )
    if changes.get("model") == PoolModel.ON_DEMAND:
        changes = {"reserved": guarantees.NOTHING, **changes}
    elif changes.get("model", pool.model) == PoolModel.RESERVED and "reserved" in changes and "limit" not in changes:
        changes = {**changes, "limit": Limits()}
    wanted = _checked(replace(now, **changes, eaten=use.eaten(pool)))
    if now.reserved.minus(wanted.reserved) != guarantees.NOTHING:
        wanted = replace(wanted, holders=use.users(pool))
    elif wanted.parent is not None:
        wanted = replace(wanted, holders=use.users(wanted.parent))
    return _with_others(wanted, said="survives_zone_loss" in changes)


def _with_others(wanted: Wish, *, said: bool) -> Wish:
    """The wish with what it means for the tenant's pools that protect each other. Raises Invalid, Conflict."""
    if wanted.with_zones and not said:
        raise Invalid({"with_zones": "Say survives_zone_loss with it: they are to survive, or not, as this one."})
    if wanted.project is not None:
        if wanted.survives_zone_loss or wanted.with_zones:
            raise Invalid(
                {"survives_zone_loss": "A tenant's pool survives the loss of its zone, a project's does not."}
            )
        return wanted
    if wanted.survives_zone_loss and wanted.model == PoolModel.ON_DEMAND:
        raise Invalid({"survives_zone_loss": "An on-demand pool guarantees nothing that could survive."})
    mates = [_mate(wanted, name) for name in dict.fromkeys(wanted.with_zones)]
    ours = [wanted.part, *map(Part.of, mates)]
    joined, left = (ours, []) if wanted.survives_zone_loss else ([], [part.pool_id for part in ours])
    found = zone_loss.together(wanted.tenant.id, joined=joined, left=left, flavors=wanted.flavors)
    return replace(wanted, together=found)


def _mate(wanted: Wish, zone: str) -> ResourcePool:
    """The tenant's pool in another zone, that is to survive as this one."""
    try:
        id = zone_by_name(zone).id
    except Invalid:
        id = None
    rows = ResourcePool.objects.filter(tenant=wanted.tenant, project=None, zone_id=id, deleted_at=None)
    pool = rows.exclude(phase=PoolPhase.DELETING).exclude(pk=wanted.id).select_related("zone").first()
    if pool is None:
        raise Invalid({"with_zones": f"Tenant {wanted.tenant.name} has no other pool in a zone {zone}."})
    if wanted.survives_zone_loss and pool.model == PoolModel.ON_DEMAND:
        raise Invalid(
            {"with_zones": f"The pool in zone {zone} is on-demand: it guarantees nothing that could survive."}
        )
    return pool


def shapes() -> list[Shape]:
    return [Shape(f.name, f.vcpu, f.memory_mib, f.disk_gib) for f in Flavor.objects.order_by("name")]


def check_zone(zone: Zone) -> None:
    if zone.phase != ZonePhase.ACTIVE:
        raise Conflict(f"Zone {zone.name} is {zone.phase}; it takes no new pools.", code="zone_not_active")


def pool_exists(zone: Zone) -> Conflict:
    return Conflict(f"There is a pool in zone {zone.name} already.", code="pool_exists")


def _checked(wanted: Wish) -> Wish:
    """The wish with what its model implies. Raises Invalid naming the field."""
    reserved, limit = wanted.reserved, wanted.limit
    if wanted.largest_shape and wanted.largest_shape not in {shape.name for shape in wanted.flavors}:
        raise Invalid({"largest_shape": f"There is no flavor {wanted.largest_shape}."})
    if wanted.model == PoolModel.ON_DEMAND and reserved != guarantees.NOTHING:
        raise Invalid({"reserved": "An on-demand pool guarantees nothing; flex and reserved do."})
    if wanted.model == PoolModel.FLEX and reserved == guarantees.NOTHING:
        raise Invalid({"reserved": "Say what a flex pool guarantees; one without a guarantee is on-demand."})
    if wanted.model == PoolModel.RESERVED:
        if not all(reserved):
            raise Invalid({"reserved": "A reserved pool guarantees all that it has: say vcpu and memory_mib."})
        if limit not in (Limits(), Limits(*reserved)):
            raise Invalid({"limit": "The limit of a reserved pool is what it guarantees; leave it out."})
        limit = Limits(*reserved)
    for name in Amounts._fields:
        most = getattr(limit, name)
        if most is not None and getattr(reserved, name) > most:
            raise Invalid({f"reserved.{name}": f"More is guaranteed than the limit of {most} allows."})
        if wanted.parent is not None and most is None and _limit_of(wanted.parent, name) is not None:
            raise Invalid({f"limit.{name}": "Say a limit: the tenant's pool has one, and this is cut from it."})
    return replace(wanted, limit=limit)


def _limit_of(pool: ResourcePool, resource: str) -> int | None:
    found: int | None = pool.vcpu_limit if resource == "vcpu" else pool.memory_limit_mib
    return found
