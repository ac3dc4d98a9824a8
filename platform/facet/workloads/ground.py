"""Where a VM may stand and what it is made of: everything that a request names, in one look at the catalogue.

One call whose plans are kept, because a claim is asked for hundreds of times in a second, and putting together five
statements by the ORM, or planning one, costs more than answering it. Its rows have the columns that a request needs;
any other is fetched when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from uuid import UUID

from django.db import connection, models

from facet.rest.problems import Conflict, Invalid
from infra.models import Image, PhysicalNetwork, Site, Zone, ZonePhase
from scheduler.core.ask import Shape
from scheduler.models import ResourcePool
from scheduler.services import chosen
from tenants.models import Project

M = TypeVar("M", bound=models.Model)
OFFERED = 20  # images that a refusal names

_LOOK = """
select zones, flavors, image, networks, folders, offering, pools
from vm_ground(%(zones)s, %(image)s, %(class)s, %(tenant)s, %(project)s)
"""


@dataclass(frozen=True)
class Ground:
    """Where a VM may stand, and what it is made of."""

    project: Project
    site: Site
    zones: Sequence[Zone]  # those of the named ones that take something new
    image: Image | None  # None: it is made of another VM, or of nothing
    flavor: Shape
    shapes: Sequence[Shape]  # every flavor that the image fits on, for what would fit instead
    pools: Mapping[UUID, ResourcePool]  # by zone: whose room is spent
    networks: Mapping[UUID, Sequence[PhysicalNetwork]]  # by the zone that lends them
    folders: frozenset[UUID]  # zones in which the project has a folder already

    @property
    def pool_ids(self) -> dict[UUID, UUID]:
        return {zone_id: pool.id for zone_id, pool in self.pools.items()}


def ground(*, project: Project, zones: Sequence[str], image: str | None, flavor: str, storage_class: str) -> Ground:
    """The ground for a VM of this project. Raises Invalid naming the field, Conflict for what is not open.

    Zones by name or id; `image` "" is the newest at their site, None is none; `storage_class` "" any.
    """
    with connection.cursor() as cursor:
        owner = {"project": project.id, "tenant": project.tenant_id}
        cursor.execute(_LOOK, owner | {"zones": list(zones), "image": image or "", "class": storage_class})
        found, flavors, image_row, networks, folders, offering, pools = (part or [] for part in cursor.fetchone())
    named = _named(zones, found)
    site = named[0].site
    if any(zone.site_id != site.id for zone in named):
        raise Invalid({"zones": "The zones of one VM are zones of one site."})
    active = [zone for zone in named if zone.phase == ZonePhase.ACTIVE]
    if not active:
        raise Conflict(f"Zone {named[0].name} takes nothing new: it is {named[0].phase}.", code="zone_not_active")
    if image is None:
        image_row = {"name": "", "disk_gib": 0}
    elif not image_row:
        raise Invalid({"image": _no_image(site, image)})
    if storage_class and not {UUID(id) for id in offering} & {zone.id for zone in active}:
        raise Invalid({"placement.storage_class": f"No zone of these offers storage class {storage_class}."})
    shapes = {row["name"]: Shape(**row) for row in flavors}
    return Ground(
        project=project,
        site=site,
        zones=active,
        image=None if image is None else _row(Image, image_row),
        flavor=_flavor(shapes, flavor, image_row),
        shapes=[shape for shape in shapes.values() if shape.disk_gib >= image_row["disk_gib"]],
        pools=chosen([_row(ResourcePool, row) for row in pools], project, active),
        networks=_lent(active, networks),
        folders=frozenset(map(UUID, folders)),
    )


def _named(names: Sequence[str], found: Sequence[Mapping[str, Any]]) -> list[Zone]:
    """The zones in the order in which they are named. Raises Invalid."""
    known: dict[str, Zone] = {}
    for row in found:
        zone = _row(Zone, row)
        zone.site = _row(Site, {"id": row["site_id"], "name": row["site"], "simulated": row["simulated"]})
        known |= {zone.name: zone, str(zone.id): zone}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Invalid({"zones": f"There is no zone {unknown[0]}."})
    return list({known[name].id: known[name] for name in names}.values())


def _row(model: type[M], found: Mapping[str, Any]) -> M:
    """A row of which these columns are known, and the others deferred."""
    names = [field.attname for field in model._meta.concrete_fields if field.attname in found]
    return cast(M, model.from_db("default", names, [_value(name, found[name]) for name in names]))


def _value(name: str, value: Any) -> Any:
    """JSON has no UUIDs."""
    return UUID(value) if value is not None and (name == "id" or name.endswith("_id")) else value


def _no_image(site: Site, name: str) -> str:
    images = Image.objects.filter(site=site, template__present=True).order_by("name")
    offered = ", ".join(images.values_list("name", flat=True)[:OFFERED])
    which = f"There are: {offered}." if offered else "The site has none."
    return f"There is no image {name} at site {site.name}. {which}".replace("  ", " ")


def _flavor(shapes: Mapping[str, Shape], name: str, image: Mapping[str, Any]) -> Shape:
    """A flavor by name whose disk the image's template fits on. Raises Invalid."""
    shape = shapes.get(name)
    if shape is None:
        raise Invalid({"flavor": f"There is no flavor {name}. There are: {', '.join(shapes)}."})
    if image["disk_gib"] > shape.disk_gib:
        sentence = f"{name} has a disk of {shape.disk_gib} GiB; image {image['name']} needs {image['disk_gib']} GiB."
        raise Invalid({"flavor": sentence})
    return shape


def _lent(zones: Sequence[Zone], rows: Sequence[Mapping[str, Any]]) -> dict[UUID, list[PhysicalNetwork]]:
    """The networks that each zone lends, in one order."""
    lent: dict[UUID, list[PhysicalNetwork]] = {zone.id: [] for zone in zones}
    for row in rows:
        if UUID(row["zone_id"]) in lent:
            lent[UUID(row["zone_id"])].append(_row(PhysicalNetwork, row))
    return lent
