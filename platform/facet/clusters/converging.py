"""Bringing a cluster to what is wanted of it, one repeatable act at a time, in the order of bootstrap without SSH.

machines -> anti-affinity (building.py) -> the first control plane alone, until its API answers (`initialized_at`, for
ever) -> add-ons -> each further control plane alone -> workers in slices (joining.py) -> nodes that go are drained and
removed (leaving.py) -> all Ready, and all gone -> boot data wiped.

A stage answers an Outcome when the pass must end there, None when the next stage may begin. Stages look at what is, and
never at what an earlier pass meant to do; so a pass may be killed anywhere, and be said twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from facet.clusters.frameworks.base import BadSpec, ClusterRefused, NotAnswering
from facet.operations import services as operations
from facet.operations.engine import Again, Outcome
from facet.workloads import machines
from facet.workloads.models import VM, VmPhase

from . import progress, services
from .building import Stop, keep_apart, lost_machines, make_machines, power
from .joining import add_ons, all_ready, first_control_plane, further_control_planes, silent, workers
from .leaving import all_gone, leavers
from .models import CLUSTER_KIND, GONE_PHASES, Cluster, ClusterPhase, Node, NodePhase
from .scene import LATER_S, Scene

LOOK_EVERY_S = 30.0  # at a cluster that nobody is changing
HELD_BACK = "The site shows far fewer machines than before: nothing is rebuilt or removed until a person says so."


def converge(scene: Scene) -> Outcome:
    """One pass of building or updating. At a site that is held back nothing is made, until a person has looked."""
    try:
        outcome = scene.wait("site_held_back", HELD_BACK) if scene.site.held_back else _stages(scene)
    except Stop as stop:
        return _fail(scene, stop)
    with scene.turn.transaction():
        scene.tell_reason()
        progress.tell(Cluster.objects.get(pk=scene.cluster.pk))
    return outcome


def _stages(scene: Scene) -> Outcome:
    scene.tasks = machines.settle_tasks(scene.turn, scene.driver)
    try:
        for stage in STAGES:
            outcome = stage(scene)
            if outcome is not None:
                return outcome
        return _arrived(scene)
    except NotAnswering as error:
        return silent(scene, error.sentence)
    except ClusterRefused as error:
        return silent(scene, f"It refuses what Facet asks: {error.sentence}")
    except BadSpec as error:
        raise Stop({"code": "invalid", "sentence": error.sentence, "action": "Delete the cluster."}) from None


def _fail(scene: Scene, stop: Stop) -> Outcome:
    """At rest with the first cause, unless more was asked for meanwhile. What it holds stays held."""
    reason = stop.reason
    with scene.turn.transaction():
        if not services.advance(scene.cluster, ClusterPhase.FAILED, reason=reason):
            return Again(0.0)
        Node.objects.filter(cluster=scene.cluster, vm__phase=VmPhase.FAILED).exclude(phase__in=GONE_PHASES).update(
            phase=NodePhase.FAILED, ready=False
        )
        progress.tell(scene.cluster)
        operations.fail(CLUSTER_KIND, scene.cluster.id, code=reason["code"], detail=reason["sentence"], **stop.more)
    return Again(LATER_S)


def wiped(scene: Scene) -> Outcome | None:
    """Boot data holds keys and a token: nobody needs it any more."""
    left = [node.vm for node in scene.wanted if node.vm.wiped_at is None]
    if not left:
        return None
    refusal = machines.wipe(scene.turn, scene.driver, left)
    if refusal is not None:
        return scene.wait(refusal.code, f"Boot data is not wiped yet. {refusal.reason}")
    with scene.turn.reading():
        unwiped = VM.objects.filter(pk__in=[vm.pk for vm in left], wiped_at=None).exists()
    return Again(LATER_S) if unwiped else None


def _arrived(scene: Scene) -> Outcome:
    """What was asked for is real, unless more was asked for meanwhile."""
    with scene.turn.transaction():
        won = Cluster.objects.filter(
            pk=scene.cluster.pk,
            phase__in=[ClusterPhase.BUILDING, ClusterPhase.UPDATING],
            generation=scene.cluster.generation,
        ).update(phase=ClusterPhase.READY, reason=None, observed_generation=scene.cluster.generation)
        if won:
            operations.succeed(CLUSTER_KIND, scene.cluster.id, generation=scene.cluster.generation)
    return Again(LOOK_EVERY_S if won else 0.0)


STAGES: Sequence[Callable[[Scene], Outcome | None]] = (
    lost_machines,
    make_machines,
    power,
    keep_apart,
    first_control_plane,
    add_ons,
    further_control_planes,
    workers,
    leavers,
    all_ready,
    all_gone,
    wiped,
)
