"""What a cluster's own API said, written onto the rows of its nodes."""

from __future__ import annotations

from django.utils import timezone

from facet.clusters.frameworks.base import ClusterHealth, NodeHealth

from .models import Cluster, Node, NodePhase
from .scene import Scene

BEFORE_BOOT = (NodePhase.PENDING, NodePhase.PROVISIONING)


def write_health(scene: Scene, health: ClusterHealth) -> None:
    """One UPDATE a node that differs. A cluster that does not answer says nothing. In a transaction."""
    if not health.answers:
        return
    said = {node.name: node for node in health.nodes}
    Cluster.objects.filter(pk=scene.cluster.pk).update(
        observed_at=timezone.now(), observed_version=health.version, simulated=health.simulated
    )
    for node in scene.wanted:
        _write(node, said.get(node.name))


def _write(node: Node, seen: NodeHealth | None) -> None:
    if seen is None and node.phase in BEFORE_BOOT:
        return
    ready = seen is not None and seen.ready
    phase = NodePhase.JOINING if seen is None else NodePhase.READY if ready else NodePhase.NOT_READY
    if (node.phase, node.ready) == (phase, ready):
        return
    reason = {"code": "not_ready", "sentence": seen.reason} if seen is not None and not ready else None
    Node.objects.filter(pk=node.pk).exclude(phase__in=[NodePhase.REMOVING, NodePhase.GONE]).update(
        phase=phase, ready=ready, reason=reason, observed_at=timezone.now()
    )
