"""From what a team asks for to rows that are not saved yet and asks for the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.clusters.frameworks.base import BadSpec, ClusterSpec, FlavorFacts, NodePlan, PoolSpec, Role, Taint
from facet.clusters.frameworks.catalogue import framework
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict, Invalid
from facet.workloads.models import VM
from infra import services as infra
from infra.models import Flavor, Host, Image, PhysicalNetwork, Site, Zone, ZonePhase
from scheduler.core.ask import Apart, Ask, Group, Plan, Shape
from scheduler.models import ResourcePool
from scheduler.services import pools_for
from tenants.models import Project

from .models import Cluster, Node, NodePool, NodeRole

DEFAULT_FLAVOR = "small"
CLUSTER_KIND = "cluster"  # of the wakeup that looks after a cluster and its VMs
CONTROL_PLANES = "control_plane"  # what their asks are called together
MOST_ZONES = 16
# what the framework calls a field -> what the API does
FIELDS = {
    "control_planes": "control_planes.count",
    "control_plane_flavor": "control_planes.flavor",
    "pod_cidr": "network.pod_cidr",
    "service_cidr": "network.service_cidr",
}


def invalid(error: BadSpec) -> Invalid:
    """A framework's refusal under the API's name of the field."""
    field_ = error.field
    if field_.startswith("pools."):
        field_ = f"node_{field_}"
    return Invalid({FIELDS.get(field_, field_): error.sentence})


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
        return [Shape(f.name, f.vcpu, f.memory_mib, f.disk_gib) for f in self.flavors.values()]


@dataclass(frozen=True)
class Batch:
    """Nodes with their VMs, not saved yet, and the asks for their room in the same order."""

    nodes: Sequence[Node]
    vms: Sequence[VM]
    asks: Sequence[Ask]


@dataclass(frozen=True)
class Wish:
    """A cluster that is asked for."""

    ground: Ground
    cluster: Cluster
    pools: Sequence[NodePool]
    batch: Batch
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)


# --- the ground ----------------------------------------------------------------------------------------------------


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
        networks=list(PhysicalNetwork.objects.filter(zones__in=active, present=True).distinct().order_by("name", "id")),
        flavors={flavor.name: flavor for flavor in Flavor.objects.all()},
    )


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


# --- the cluster ---------------------------------------------------------------------------------------------------


def wish(*, data: Mapping[str, Any], project: Project) -> Wish:
    """What a valid request body asks for. Raises Invalid naming the field; writes nothing."""
    try:
        where = ground(project=project, zones=data["zones"], framework_name=data["framework"], version=data["version"])
        return _wish(data, where)
    except BadSpec as error:
        raise invalid(error) from None


def _wish(data: Mapping[str, Any], where: Ground) -> Wish:
    kind = framework(data["framework"])
    network = data["network"]
    planes_flavor = _flavor(where, data["control_planes"]["flavor"], "control_planes.flavor")
    cluster = Cluster(
        id=uuid7(),
        tenant_id=where.project.tenant_id,
        project=where.project,
        name=data["name"],
        framework=data["framework"],
        version=where.image.version,
        zone_ids=list(where.zone_ids),
        control_planes=data["control_planes"]["count"],
        control_plane_flavor=planes_flavor.name,
        pod_cidr=network.get("pod_cidr") or kind.default_pod_cidr,
        service_cidr=network.get("service_cidr") or kind.default_service_cidr,
        endpoint_port=6443,
        created_at=timezone.now(),
    )
    pools = [
        NodePool(
            id=uuid7(), tenant_id=cluster.tenant_id, project=cluster.project, cluster=cluster, name=asked["name"],
            size=asked["size"], flavor=_flavor(where, asked["flavor"], f"node_pools.{at}.flavor").name,
            labels=asked["labels"], taints=asked["taints"],
        )
        for at, asked in enumerate(data["node_pools"])
    ]  # fmt: skip
    plans = kind.plan(_spec(cluster, pools, where))
    by_name = {pool.name: pool for pool in pools}
    batches = [
        nodes(
            cluster, by_name.get(plan.pool), plan.count, where,
            flavor=planes_flavor if plan.role is Role.CONTROL_PLANE else where.flavors[by_name[plan.pool].flavor],
            plan=plan,
        )
        for plan in plans
    ]  # fmt: skip
    batch = Batch(
        [node for one in batches for node in one.nodes],
        [vm for one in batches for vm in one.vms],
        [ask for one in batches for ask in one.asks],
    )
    return Wish(where, cluster, pools, batch, counts={CONTROL_PLANES: (1, 3, 5)})


def _spec(cluster: Cluster, pools: Sequence[NodePool], where: Ground) -> ClusterSpec:
    return ClusterSpec(
        name=cluster.name,
        version=cluster.version,
        control_planes=cluster.control_planes,
        control_plane_flavor=_facts(where.flavors[cluster.control_plane_flavor]),
        pools=tuple(
            PoolSpec(
                name=pool.name,
                size=pool.size,
                flavor=_facts(where.flavors[pool.flavor]),
                labels=pool.labels,
                taints=tuple(Taint(t["key"], t["effect"], t.get("value", "")) for t in pool.taints),
            )
            for pool in pools
        ),
        pod_cidr=cluster.pod_cidr,
        service_cidr=cluster.service_cidr,
        node_cidrs=(where.site.address_network,) if where.site.address_network else (),
    )


def _facts(flavor: Flavor) -> FlavorFacts:
    return FlavorFacts(flavor.vcpu, flavor.memory_mib)


def _flavor(where: Ground, name: str, field_: str) -> Flavor:
    """A flavor by name whose disk the image's template fits on. Raises Invalid."""
    flavor = where.flavors.get(name)
    if flavor is None:
        raise Invalid({field_: f"There is no flavor {name}. There are: {', '.join(sorted(where.flavors))}."})
    needs = where.image.template.disk_gib
    if needs > flavor.disk_gib:
        sentence = f"{name} has a disk of {flavor.disk_gib} GiB; image {where.image.name} needs {needs} GiB."
        raise Invalid({field_: sentence})
    return flavor


def nodes(
    cluster: Cluster,
    pool: NodePool | None,
    count: int,
    where: Ground,
    *,
    flavor: Flavor,
    plan: NodePlan,
    standing: Sequence[UUID] = (),
) -> Batch:
    """`count` more nodes of a pool (none: control planes), their VMs and asks. `standing`: hosts of those there are."""
    kind = framework(cluster.framework)
    planes = pool is None
    group = Group(
        key=f"{cluster.id}/{plan.pool}",
        apart=Apart.REQUIRED if planes else Apart.PREFERRED,
        over_zones=True,
        members=tuple(standing),
    )
    made_nodes, made_vms, asks = [], [], []
    for _ in range(count):
        node_id = uuid7()
        name = kind.node_name(cluster.name, plan.pool, node_id)
        vm = VM(
            id=uuid7(), tenant_id=cluster.tenant_id, project_id=cluster.project_id, name=name, image=where.image,
            vcpu=flavor.vcpu, memory_mib=flavor.memory_mib, disk_gib=flavor.disk_gib,
            owner_kind=CLUSTER_KIND, owner_id=cluster.id,
        )  # fmt: skip
        made_vms.append(vm)
        made_nodes.append(
            Node(
                id=node_id,
                tenant_id=cluster.tenant_id,
                project_id=cluster.project_id,
                cluster=cluster,
                pool=pool,
                vm=vm,
                role=NodeRole.CONTROL_PLANE if planes else NodeRole.WORKER,
                name=name,
            )
        )
        asks.append(
            Ask(
                key=vm.id,
                name=name,
                role=CONTROL_PLANES if planes else plan.pool,
                vcpu=flavor.vcpu,
                memory_mib=flavor.memory_mib,
                disk_gib=flavor.disk_gib,
                zones=tuple(zone.id for zone in where.zones),
                pools=tuple(where.pool_ids.values()),
                networks=tuple(net.id for net in where.networks),
                group=group,
            )
        )
    return Batch(made_nodes, made_vms, asks)


def settle(batch: Batch, plan: Plan, where: Ground) -> None:
    """Write onto the (unsaved) VMs what the plan decides: the zone, and a network that their host reaches."""
    placed = {one.key: one for one in plan.placements}
    hosts = {host.id: host for host in Host.objects.filter(pk__in={one.host_id for one in plan.placements})}
    lent = {zone.id: set(zone.networks.all()) for zone in where.zones}
    in_zone = {zone_id: [net for net in where.networks if net in nets] for zone_id, nets in lent.items()}
    for vm in batch.vms:
        one = placed[vm.id]
        vm.zone_id = one.zone_id
        reached = hosts[one.host_id].network_refs
        vm.network = next((net for net in in_zone[one.zone_id] if net.ref in reached), None)
