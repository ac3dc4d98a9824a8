"""What one pass over a cluster knows: its rows as they were read at the start, its site's driver, its framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from facet.clusters.frameworks.base import ClusterFacts, Framework, Prepared
from facet.clusters.frameworks.catalogue import framework
from facet.operations.engine import Turn
from facet.workloads.machines import Tasks
from facet.workloads.models import VM
from infra import outside
from infra.drivers.base import Driver
from infra.models import Site, Zone

from . import facts, services
from .models import Cluster, Node, NodePhase, NodeRole


@dataclass
class Scene:
    """Rows are a look, not the truth: every write about them says under which condition it holds."""

    turn: Turn
    cluster: Cluster
    zones: Sequence[Zone]
    site: Site
    nodes: Sequence[Node]  # with their VMs; gone ones left out
    tasks: Tasks = field(default_factory=Tasks)

    @classmethod
    def read(cls, turn: Turn) -> Scene:
        with turn.reading():
            cluster = Cluster.objects.select_related("project").get(pk=turn.key)
            zones = list(Zone.objects.filter(pk__in=cluster.zone_ids).select_related("site").order_by("name"))
            nodes = list(
                Node.objects.filter(cluster=cluster)
                .exclude(phase=NodePhase.GONE)
                .select_related("pool", "cluster", "vm__image__template", "vm__network")
                .order_by("created_at", "name")
            )
        return cls(turn, cluster, zones, zones[0].site, nodes)

    @cached_property
    def driver(self) -> Driver:
        return outside.driver_of(self.site)

    @cached_property
    def framework(self) -> Framework:
        return framework(self.cluster.framework)

    @cached_property
    def facts(self) -> ClusterFacts:
        return facts.of_cluster(self.cluster)

    @cached_property
    def prepared(self) -> Prepared:
        return facts.unseal(self.cluster)

    @property
    def wanted(self) -> list[Node]:
        """Those that shall be in the cluster."""
        return [node for node in self.nodes if node.phase != NodePhase.REMOVING]

    @property
    def removing(self) -> list[Node]:
        return [node for node in self.nodes if node.phase == NodePhase.REMOVING]

    @property
    def control_planes(self) -> list[Node]:
        return services.control_planes(self.wanted)

    @property
    def workers(self) -> list[Node]:
        return [node for node in self.wanted if node.role == NodeRole.WORKER]

    @property
    def vms(self) -> list[VM]:
        return [node.vm for node in self.nodes]

    def others(self, node: Node) -> list[str]:
        """Addresses of the control planes that stay when `node` goes."""
        return [plane.vm.address for plane in self.control_planes if plane.pk != node.pk and plane.vm.address]
