"""From a VM that a team asks for to a row that is not saved yet and an ask for the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, Invalid
from infra.models import Flavor, Image, PhysicalNetwork, Site, StorageClass, Zone, ZonePhase
from scheduler.core.ask import Ask, Policy, Shape
from scheduler.models import ResourcePool
from scheduler.services import pools_for
from tenants.models import Project

from .models import VM, VM_KIND

ROLE = "vm"  # what the asks of a request are called together
Networks = Mapping[UUID, Sequence[PhysicalNetwork]]  # by the zone that lends them


@dataclass(frozen=True)
class Ground:
    """Where a VM may stand, and what it is made of."""

    project: Project
    site: Site
    zones: Sequence[Zone]  # those of the named ones that take something new
    image: Image
    flavor: Flavor
    shapes: Sequence[Shape]  # every flavor, for what would fit instead
    pools: Mapping[UUID, ResourcePool]  # by zone: whose room is spent
    networks: Networks

    @property
    def pool_ids(self) -> dict[UUID, UUID]:
        return {zone_id: pool.id for zone_id, pool in self.pools.items()}


@dataclass(frozen=True)
class Wish:
    """VMs of one shape that are asked for, not saved yet, and the asks for their room in the same order."""

    ground: Ground
    vms: Sequence[VM]
    asks: Sequence[Ask]
    policy: Policy


def wish(*, data: Mapping[str, Any], project: Project, count: int = 1) -> Wish:
    """What a valid request body asks for, `count` times. Raises Invalid naming the field, Conflict for what is closed.

    Writes nothing. Of several, each has its number behind its name.
    """
    where = _ground(data, project)
    names = [data["name"]] if count == 1 else [f"{data['name'][:50]}-{number}" for number in range(1, count + 1)]
    vms = [_vm(name, data, where) for name in names]
    rules = data["placement"]
    asked = {
        "zones": tuple(zone.id for zone in where.zones),
        "pools": tuple(where.pool_ids.values()),
        "networks": tuple({net.id: None for nets in where.networks.values() for net in nets}),
        "storage_class": rules["storage_class"] or None,
        **{kind: tuple(sorted(rules[kind].items())) for kind in ("require", "prefer", "avoid")},
    }
    asks = [
        Ask(key=vm.id, name=vm.name, role=ROLE, vcpu=vm.vcpu, memory_mib=vm.memory_mib, disk_gib=vm.disk_gib, **asked)
        for vm in vms
    ]
    return Wish(where, vms, asks, Policy(rules["policy"]))


def _vm(name: str, data: Mapping[str, Any], where: Ground) -> VM:
    id = uuid7()
    return VM(
        id=id, tenant_id=where.project.tenant_id, project=where.project, name=name, image=where.image,
        vcpu=where.flavor.vcpu, memory_mib=where.flavor.memory_mib, disk_gib=where.flavor.disk_gib,
        flavor=where.flavor.name, power_wanted=data["power"], owner_kind=VM_KIND, owner_id=id,
        created_at=timezone.now(),
    )  # fmt: skip


# --- the ground ----------------------------------------------------------------------------------------------------


def _ground(data: Mapping[str, Any], project: Project) -> Ground:
    named = _zones(data["zones"])
    site = named[0].site
    if any(zone.site_id != site.id for zone in named):
        raise Invalid({"zones": "The zones of one VM are zones of one site."})
    active = [zone for zone in named if zone.phase == ZonePhase.ACTIVE]
    if not active:
        raise Conflict(f"Zone {named[0].name} takes nothing new: it is {named[0].phase}.", code="zone_not_active")
    flavors = {flavor.name: flavor for flavor in Flavor.objects.order_by("name")}
    image = _image(site, data["image"])
    _check_storage_class(data["placement"]["storage_class"], active)
    return Ground(
        project=project,
        site=site,
        zones=active,
        image=image,
        flavor=_flavor(flavors, data["flavor"], image),
        shapes=[Shape(one.name, one.vcpu, one.memory_mib, one.disk_gib) for one in flavors.values()],
        pools=pools_for(project, active),
        networks=_networks(active),
    )


def _zones(names: Sequence[str]) -> list[Zone]:
    """Living zones by name or id, in the order in which they are named. Raises Invalid."""
    ids = [name for name in names if _is_id(name)]
    rows = Zone.objects.filter(Q(name__in=names) | Q(pk__in=ids), deleted_at=None).select_related("site")
    known: dict[str, Zone] = {}
    for zone in rows.defer("site__password_sealed", "site__ca_pem"):
        known |= {zone.name: zone, str(zone.id): zone}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Invalid({"zones": f"There is no zone {unknown[0]}."})
    return list({known[name].id: known[name] for name in names}.values())


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _image(site: Site, name: str) -> Image:
    """The image of this name at the site, or (name "") the newest one there. Raises Invalid."""
    images = Image.objects.filter(site=site, template__present=True)
    named = images.filter(name=name) if name else images
    found = named.select_related("template").order_by("-created_at", "-id").first()
    if found is None:
        offered = ", ".join(images.order_by("name").values_list("name", flat=True)[:20])
        which = f"There are: {offered}." if offered else "The site has none."
        raise Invalid({"image": f"There is no image {name} at site {site.name}. {which}".replace("  ", " ")})
    return found


def _flavor(flavors: Mapping[str, Flavor], name: str, image: Image) -> Flavor:
    """A flavor by name whose disk the image's template fits on. Raises Invalid."""
    flavor = flavors.get(name)
    if flavor is None:
        raise Invalid({"flavor": f"There is no flavor {name}. There are: {', '.join(flavors)}."})
    needs = image.template.disk_gib
    if needs > flavor.disk_gib:
        sentence = f"{name} has a disk of {flavor.disk_gib} GiB; image {image.name} needs {needs} GiB."
        raise Invalid({"flavor": sentence})
    return flavor


def _check_storage_class(name: str, zones: Sequence[Zone]) -> None:
    if name and not StorageClass.objects.filter(zone__in=zones, name=name).exists():
        raise Invalid({"placement.storage_class": f"No zone of these offers storage class {name}."})


def _networks(zones: Sequence[Zone]) -> Networks:
    """The networks that each zone lends, in one order."""
    lends = cast(Any, PhysicalNetwork.zones).through.objects.filter(zone__in=zones, physicalnetwork__present=True)
    found: dict[UUID, list[PhysicalNetwork]] = {zone.id: [] for zone in zones}
    for row in lends.select_related("physicalnetwork").order_by("physicalnetwork__name", "physicalnetwork_id"):
        found[row.zone_id].append(row.physicalnetwork)
    return found
