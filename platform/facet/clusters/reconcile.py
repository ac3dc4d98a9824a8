"""One pass over a cluster: what its phase asks for next, see models.ClusterPhase.

pending   -> building at once
building  -> all wanted nodes made, joined and Ready: ready                      (converging.py)
updating  -> the same, and nodes that are marked drained and removed: ready
ready     -> looked at every half minute; nothing is repaired by itself yet      (here)
failed    -> at rest until a person decides; its claims stay held
deleting  -> all machines seen gone, everything given back: deleted_at           (removing.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from facet.clusters.frameworks.base import ClusterHealth
from facet.operations.engine import Again, Done, Outcome, SiteDown, Turn
from facet.workloads import machines
from facet.workloads.models import VmPhase
from infra import outside
from infra.drivers import base
from infra.models import SitePhase

from . import converging, removing, services
from .models import Cluster, ClusterPhase, Node
from .observing import write_health
from .scene import LATER_S, Scene

REFUSED_S = 30.0


def cluster(turn: Turn) -> Outcome:
    """The engine's entry. Raises what sends the pass to sleep: see outside.asking."""
    scene = Scene.read(turn)
    if scene.cluster.deleted_at is not None:
        return Done()
    try:
        with outside.asking():
            return PASSES[scene.cluster.phase](scene)
    except SiteDown:
        _site_is_away(scene, "site_unreachable", "The site of its zones does not answer. Facet tries again.")
        raise
    except base.Refused as refused:  # the whole site says no, to Facet's credentials say: IT mends that, not this team
        _site_is_away(
            scene, "site_refused", f"The site of its zones refuses Facet ({refused.code}): IT has to mend it."
        )
        return Again(REFUSED_S)


def _site_is_away(scene: Scene, code: str, sentence: str) -> None:
    """Say so where somebody waits; a failed cluster keeps its first cause."""
    if scene.cluster.phase == ClusterPhase.FAILED:
        return
    scene.wait(code, sentence)
    with scene.turn.transaction():
        scene.tell_reason()


def begin(scene: Scene) -> Outcome:
    with scene.turn.transaction():
        services.advance(scene.cluster, ClusterPhase.BUILDING)
    return Again(0.0)


def rest(scene: Scene) -> Outcome:
    """Nothing is begun. What still goes on at the site counts against its budget until its end was seen."""
    tasks = machines.settle_tasks(scene.turn, scene.driver)
    return Again(LATER_S) if tasks.running else Done()


def look(scene: Scene) -> Outcome:
    """How a cluster is that nobody is changing. A site that is away says nothing about it."""
    health = scene.framework.health(scene.facts, scene.prepared.secrets)
    with scene.turn.transaction():
        write_health(scene, health)
        if scene.site.phase == SitePhase.ACTIVE:
            Cluster.objects.filter(pk=scene.cluster.pk, phase=ClusterPhase.READY).update(reason=_reason(scene, health))
    return Again(converging.LOOK_EVERY_S)


def _reason(scene: Scene, health: ClusterHealth) -> dict[str, str] | None:
    missing = [node for node in scene.nodes if node.vm.missing_at is not None]
    if missing:
        sentence = f"The site no longer shows {len(missing)} of its machines: {_named(missing)}."
        return {"code": "machines_missing", "sentence": sentence, "action": "Look at the site, or delete the cluster."}
    if health.ready:
        return None
    off = [node for node in scene.nodes if node.vm.phase == VmPhase.RUNNING and node.vm.power == base.Power.OFF]
    if off:
        sentence = f"{len(off)} of its machines are powered off: {_named(off)}."
        return {"code": "machines_off", "sentence": sentence, "action": "Power them on at the site."}
    return {"code": health.code, "sentence": health.sentence, "action": "Facet looks again by itself."}


def _named(nodes: Sequence[Node]) -> str:
    return ", ".join(node.name for node in nodes[:3])


PASSES: Mapping[str, Callable[[Scene], Outcome]] = {
    ClusterPhase.PENDING: begin,
    ClusterPhase.BUILDING: converging.converge,
    ClusterPhase.UPDATING: converging.converge,
    ClusterPhase.READY: look,
    ClusterPhase.FAILED: rest,
    ClusterPhase.DELETING: removing.remove,
}
