"""From what a team asks for to rows that are not saved yet and asks for the scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.utils import timezone

from facet.clusters.frameworks.base import (
    BadSpec,
    ClusterSpec,
    FlavorFacts,
    Framework,
    NodePlan,
    PoolSpec,
    Role,
    Taint,
)
from facet.clusters.frameworks.catalogue import framework
from facet.rest.ids import uuid7
from facet.rest.problems import Invalid
from facet.workloads.models import VM
from facet.workloads.rules import Rules, of_ask
from infra.models import Flavor, Host
from scheduler.core.ask import Ask, Group, Plan, Shape
from tenants.models import Project

from . import rules
from .ground import Ground, ground
from .models import CLUSTER_KIND, Cluster, Node, NodePool, NodeRole
from .rules import check_storage

DEFAULT_FLAVOR = "small"
CONTROL_PLANES = "control_plane"  # what their asks are called together
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
    flavors: Mapping[str, Sequence[Shape]] = field(default_factory=dict)  # by role, "" for workers: what it may have


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
    planes_flavor = _flavor(where, data["control_planes"]["flavor"], "control_planes.flavor")
    check_storage(_said(data), where.zones)
    cluster = _cluster(data, where, planes_flavor)
    pools = [_pool(cluster, asked, where, at) for at, asked in enumerate(data["node_pools"])]
    by_name = {pool.name: pool for pool in pools}
    batches = []
    spec = _spec(cluster, pools, where)
    for plan in kind.plan(spec):
        pool = None if plan.role is Role.CONTROL_PLANE else by_name[plan.pool]
        flavor = planes_flavor if pool is None else where.flavors[pool.flavor]
        batches.append(nodes(cluster, pool, plan.count, where, flavor=flavor, plan=plan))
    batch = Batch(
        [node for one in batches for node in one.nodes],
        [vm for one in batches for vm in one.vms],
        [ask for one in batches for ask in one.asks],
    )
    fit_for_planes = [shape for shape in where.shapes if _takes(kind, spec, shape)]
    flavors = {CONTROL_PLANES: fit_for_planes, "": where.shapes}
    return Wish(where, cluster, pools, batch, counts={CONTROL_PLANES: (1, 3, 5)}, flavors=flavors)


def _takes(kind: Framework, spec: ClusterSpec, shape: Shape) -> bool:
    """Whether the framework would have control planes of this shape."""
    try:
        kind.plan(replace(spec, control_plane_flavor=FlavorFacts(shape.vcpu, shape.memory_mib)))
    except BadSpec:
        return False
    return True


def _said(data: Mapping[str, Any]) -> Iterator[tuple[str, Rules]]:
    """The rules of each role, with the path of each in the request."""
    yield "control_planes.placement", data["control_planes"]["placement"]
    for at, pool in enumerate(data["node_pools"]):
        yield f"node_pools.{at}.placement", pool["placement"]


def _cluster(data: Mapping[str, Any], where: Ground, planes_flavor: Flavor) -> Cluster:
    kind, network = framework(data["framework"]), data["network"]
    return Cluster(
        id=uuid7(),
        tenant_id=where.project.tenant_id,
        project=where.project,
        name=data["name"],
        framework=data["framework"],
        version=where.image.version,
        zone_ids=list(where.zone_ids),
        control_planes=data["control_planes"]["count"],
        control_plane_flavor=planes_flavor.name,
        control_plane_placement=dict(data["control_planes"]["placement"]),
        pod_cidr=network.get("pod_cidr") or kind.default_pod_cidr,
        service_cidr=network.get("service_cidr") or kind.default_service_cidr,
        endpoint_port=6443,
        created_at=timezone.now(),
    )


def _pool(cluster: Cluster, asked: Mapping[str, Any], where: Ground, at: int) -> NodePool:
    return NodePool(
        id=uuid7(), tenant_id=cluster.tenant_id, project=cluster.project, cluster=cluster, name=asked["name"],
        size=asked["size"], flavor=_flavor(where, asked["flavor"], f"node_pools.{at}.flavor").name,
        labels=asked["labels"], taints=asked["taints"], placement=dict(asked["placement"]),
    )  # fmt: skip


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
    kept = rules.of_control_planes(cluster) if pool is None else rules.of_pool(pool)
    group = rules.group(kept, f"{cluster.id}/{plan.pool}", standing)
    made = [_node(cluster, pool, where, flavor, plan) for _ in range(count)]
    vms = [node.vm for node in made]
    role = CONTROL_PLANES if pool is None else plan.pool
    return Batch(made, vms, [_ask(vm, role, where, group, kept) for vm in vms])


def _node(cluster: Cluster, pool: NodePool | None, where: Ground, flavor: Flavor, plan: NodePlan) -> Node:
    """A node with its VM: one name for both, made of the node's id."""
    owner: dict[str, Any] = {"tenant_id": cluster.tenant_id, "project_id": cluster.project_id}
    id = uuid7()
    name = framework(cluster.framework).node_name(cluster.name, plan.pool, id)
    vm = VM(
        **owner, id=uuid7(), name=name, image=where.image, vcpu=flavor.vcpu, memory_mib=flavor.memory_mib,
        disk_gib=flavor.disk_gib, owner_kind=CLUSTER_KIND, owner_id=cluster.id,
    )  # fmt: skip
    role = NodeRole.CONTROL_PLANE if pool is None else NodeRole.WORKER
    return Node(**owner, id=id, cluster=cluster, pool=pool, vm=vm, role=role, name=name)


def _ask(vm: VM, role: str, where: Ground, group: Group, kept: Rules) -> Ask:
    return Ask(
        key=vm.id,
        name=vm.name,
        role=role,
        vcpu=vm.vcpu,
        memory_mib=vm.memory_mib,
        disk_gib=vm.disk_gib,
        zones=tuple(zone.id for zone in where.zones),
        pools=tuple(where.pool_ids.values()),
        networks=tuple(net.id for net in where.networks),
        group=group,
        **of_ask(kept),
    )


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
