"""One pass over a cluster: what its phase asks for next, see models.ClusterPhase.

pending   -> building at once
building  -> all wanted nodes made, joined and Ready: ready                      (converging.py)
updating  -> the same, and nodes that are marked drained and removed: ready
ready     -> looked at every half minute; nothing is repaired by itself yet      (here)
failed    -> at rest until a person decides; its claims stay held
deleting  -> all machines seen gone, everything given back: deleted_at           (removing.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from facet.clusters.frameworks.base import ClusterHealth
from facet.operations.engine import Again, Done, Outcome, Turn
from infra import outside
from infra.drivers import base
from infra.models import SitePhase

from . import converging, removing, services
from .models import Cluster, ClusterPhase
from .observing import write_health
from .scene import Scene

LOOK_EVERY_S = 30.0


def cluster(turn: Turn) -> Outcome:
    """The engine's entry. Raises what sends the pass to sleep: see outside.asking."""
    scene = Scene.read(turn)
    if scene.cluster.deleted_at is not None:
        return Done()
    try:
        with outside.asking():
            return PASSES[scene.cluster.phase](scene)
    except base.Refused as refused:  # the whole site says no, to Facet's credentials say: IT mends that, not this team
        return converging.pending(scene, refused.code, refused.reason)


def begin(scene: Scene) -> Outcome:
    with scene.turn.transaction():
        services.advance(scene.cluster, ClusterPhase.BUILDING)
    return Again(0.0)


def rest(scene: Scene) -> Outcome:
    return Done()


def look(scene: Scene) -> Outcome:
    """How a cluster is that nobody is changing. A site that is away says nothing about it."""
    health = scene.framework.health(scene.facts, scene.prepared.secrets)
    with scene.turn.transaction():
        write_health(scene, health)
        if scene.site.phase == SitePhase.ACTIVE:
            Cluster.objects.filter(pk=scene.cluster.pk, phase=ClusterPhase.READY).update(reason=_reason(scene, health))
    return Again(LOOK_EVERY_S)


def _reason(scene: Scene, health: ClusterHealth) -> dict[str, str] | None:
    missing = [node.name for node in scene.nodes if node.vm.missing_at is not None]
    if missing:
        sentence = f"The site no longer shows {len(missing)} of its machines: {', '.join(missing[:3])}."
        return {"code": "machines_missing", "sentence": sentence, "action": "Look at the site, or delete the cluster."}
    if health.ready:
        return None
    return {"code": health.code, "sentence": health.sentence, "action": "Facet looks again by itself."}


PASSES: Mapping[str, Callable[[Scene], Outcome]] = {
    ClusterPhase.PENDING: begin,
    ClusterPhase.BUILDING: converging.converge,
    ClusterPhase.UPDATING: converging.converge,
    ClusterPhase.READY: look,
    ClusterPhase.FAILED: rest,
    ClusterPhase.DELETING: removing.remove,
}
