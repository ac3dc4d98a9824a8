"""Where a cluster's nodes may stand, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from facet.rest.problems import Conflict, Invalid
from facet.workloads.networks import lending
from infra import offers
from infra import services as infra
from infra.models import Flavor, Image, PhysicalNetwork, Site, Zone, ZonePhase
from scheduler.core.ask import Shape
from scheduler.models import ResourcePool
from scheduler.services import pools_for
from tenants.models import Project

from .models import Cluster

MOST_ZONES = 16


@dataclass(frozen=True)
class Ground:
    """Where nodes may stand, and what they are made of."""

    project: Project
    site: Site
    zone_ids: Sequence[UUID]  # all that were named
    zones: Sequence[Zone]  # those of them that take something new
    image: Image
    pools: Mapping[UUID, ResourcePool]  # by zone: whose room is spent
    networks: Sequence[PhysicalNetwork]
    flavors: Mapping[str, Flavor]

    @property
    def pool_ids(self) -> dict[UUID, UUID]:
        return {zone_id: pool.id for zone_id, pool in self.pools.items()}

    @property
    def shapes(self) -> list[Shape]:
        """The flavors that the image fits on."""
        least = self.image.template.disk_gib
        fitting = [flavor for flavor in self.flavors.values() if flavor.disk_gib >= least]
        return [Shape(f.name, f.vcpu, f.memory_mib, f.disk_gib) for f in fitting]


def ground(*, project: Project, zones: Sequence[str], framework_name: str, version: str) -> Ground:
    """Where a new cluster of this project may stand. Raises Invalid naming the field, Conflict for what is not open."""
    if len(zones) > MOST_ZONES:
        raise Invalid({"zones": f"At most {MOST_ZONES} zones."})
    found = [infra.zone_by_name(name, "zones") for name in dict.fromkeys(zones)]
    site = found[0].site
    if any(zone.site_id != site.id for zone in found):
        raise Invalid({"zones": "The zones of one cluster are zones of one site."})
    return _ground(project, site, found, image(site, framework_name, version))


def ground_of(cluster: Cluster, zone_ids: Sequence[UUID]) -> Ground:
    """Where more nodes of this cluster may stand."""
    zones = list(Zone.objects.filter(pk__in=zone_ids, deleted_at=None).select_related("site").order_by("name"))
    site = zones[0].site
    return _ground(cluster.project, site, zones, image(site, cluster.framework, cluster.version))


def _ground(project: Project, site: Site, zones: Sequence[Zone], image_: Image) -> Ground:
    active = [zone for zone in zones if zone.phase == ZonePhase.ACTIVE]
    if not active:
        raise Conflict(f"Zone {zones[0].name} takes nothing new: it is {zones[0].phase}.", code="zone_not_active")
    return Ground(
        project=project,
        site=site,
        zone_ids=[zone.id for zone in zones],
        zones=active,
        image=image_,
        pools=pools_for(project, active),
        networks=_lent(project, active),
        flavors={flavor.name: flavor for flavor in Flavor.objects.all()},
    )


def _lent(project: Project, zones: Sequence[Zone]) -> list[PhysicalNetwork]:
    """What these zones lend to the project's tenant."""
    found = offers.lent_to(project.tenant_id).filter(zones__in=zones, present=True)
    networks = list(found.distinct().order_by("name", "id"))
    lending.check(zones, networks)
    return networks


def image(site: Site, framework_name: str, version: str) -> Image:
    """The image for a version, or (version "") for the newest that the site has. Raises Invalid."""
    images = Image.objects.filter(site=site, framework=framework_name, template__present=True).select_related(
        "template"
    )
    if version:
        found = images.filter(version=version).order_by("-created_at").first()
    else:
        found = max(images, key=lambda one: (_number(one.version), one.created_at), default=None)
    if found is None:
        offered = sorted(set(images.values_list("version", flat=True)), key=_number)
        which = f"Offered there: {', '.join(offered)}." if offered else "The site has no image for it."
        raise Invalid({"version": f"No image of {framework_name} {version} at this site. {which}".replace("  ", " ")})
    return found


def _number(version: str) -> tuple[int, ...]:
    return tuple(
        int(part) for part in version.removeprefix("v").split("-")[0].split("+")[0].split(".") if part.isdigit()
    )
