"""What one pass over a cluster knows: its rows as they were read at the start, its site's driver, its framework."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.utils import timezone

from facet.clusters.frameworks.base import ClusterFacts, ClusterHealth, Framework, Prepared
from facet.clusters.frameworks.catalogue import framework
from facet.operations.engine import Again, Outcome, Turn
from facet.workloads.machines import Tasks
from facet.workloads.models import VM
from infra import outside
from infra.drivers.base import Driver
from infra.models import Site, Zone

from . import facts, services
from .models import Cluster, Node, NodePhase, NodeRole

SOON_S = 0.3  # while guests boot nothing tells us that they have; the watch process tells of the site's own tasks
LATER_S = 2.0


@dataclass
class Scene:
    """Rows are a look, not the truth: every write about them says under which condition it holds."""

    turn: Turn
    cluster: Cluster
    zones: Sequence[Zone]
    site: Site
    nodes: Sequence[Node]  # with their VMs; gone ones left out
    tasks: Tasks = field(default_factory=Tasks)
    reason: dict[str, Any] | None = None  # what this pass has found to wait for, see wait()
    leavers_left: int = 0  # nodes that are to go and are still there

    @classmethod
    def read(cls, turn: Turn) -> Scene:
        with turn.reading():
            cluster = Cluster.objects.select_related("project").get(pk=turn.key)
            zones = list(Zone.objects.filter(pk__in=cluster.zone_ids).select_related("site").order_by("name"))
            nodes = list(
                Node.objects.filter(cluster=cluster)
                .exclude(phase=NodePhase.GONE)
                .select_related("pool", "vm__image__template", "vm__network")
                .order_by("created_at", "name")
            )
        for node in nodes:
            node.cluster = cluster  # not joined: its sealed secrets would come with every row
        return cls(turn, cluster, zones, zones[0].site, nodes)

    def reread(self) -> None:
        """The nodes as the last act left them."""
        self.nodes = Scene.read(self.turn).nodes

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

    def health(self) -> ClusterHealth:
        """Asked now, of the cluster's own API."""
        self.turn.renew()
        return self.framework.health(self.facts, self.prepared.secrets)

    @property
    def pace_s(self) -> float:
        """Whoever has just begun is looked at more often."""
        return SOON_S if (timezone.now() - self.cluster.created_at).total_seconds() < 60 else LATER_S

    def wait(self, code: str, sentence: str) -> Outcome:
        """Not there yet: the reason will stand on the cluster."""
        self.wait_since(code, sentence)
        return Again(LATER_S)

    def wait_since(self, code: str, sentence: str) -> datetime:
        """The same; answers since when the reason has been this one."""
        before = self.cluster.reason or {}
        known = before.get("since") if before.get("code") == code else None
        since = known or timezone.now().isoformat()
        self.reason = {"code": code, "sentence": sentence, "action": "Facet goes on by itself.", "since": since}
        return datetime.fromisoformat(since)

    def tell_reason(self) -> None:
        """Write down what this pass waits for, or that it waits for nothing. In a transaction."""
        if self.cluster.reason != self.reason:
            same = Cluster.objects.filter(
                pk=self.cluster.pk, phase=self.cluster.phase, generation=self.cluster.generation
            )
            same.update(reason=self.reason)
