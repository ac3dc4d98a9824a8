"""Bringing a cluster to what is wanted of it, one repeatable act at a time, in the order of bootstrap without SSH.

machines -> anti-affinity -> the first control plane alone, until its API answers (`initialized_at`, for ever) ->
add-ons -> each further control plane alone -> workers in slices -> nodes that go -> all Ready -> boot data wiped.

A stage answers an Outcome when the pass must end there, None when the next stage may begin. Stages look at what is, and
never at what an earlier pass meant to do; so a pass may be killed anywhere, and be said twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.utils import timezone

from facet.clusters.frameworks.base import (
    Boot,
    ClusterHealth,
    ClusterRefused,
    NotAnswering,
    Waiting,
)
from facet.operations import events
from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome
from facet.rest.access import SYSTEM
from facet.workloads import folders, machines
from facet.workloads.models import VM, VmPhase
from infra.drivers import base
from infra.models import Addon

from . import facts, progress, services
from .models import Cluster, ClusterPhase, Node, NodePhase, NodeRole
from .observing import write_health
from .scene import Scene

UNBUILT = (VmPhase.PENDING, VmPhase.CLONING)
SOON_S = 0.3  # while guests boot nothing tells us that they have; the watch process tells of the site's own tasks
LATER_S = 2.0
ADDON_S = 10.0
SLICE = 50  # workers that are booted in one pass
HELD_BACK = {
    "code": "site_held_back",
    "sentence": "The site shows far fewer machines than before: nothing is rebuilt or removed until a person says so.",
}
NO_CNI = {
    "code": "no_cni",
    "sentence": "The catalogue has no CNI add-on, and without one no node is Ready. Import it: facet addon import.",
}
NOT_ANSWERING = ClusterHealth(answers=False, ready=False, code="not_ready", sentence="It has not been asked yet.")


class Stop(Exception):
    """The cluster cannot become what is wanted: it fails with the first cause."""

    def __init__(self, reason: dict[str, Any]) -> None:
        super().__init__(reason["sentence"])
        self.reason = reason


def converge(scene: Scene) -> Outcome:
    """One pass of building or updating. At a site that is held back nothing is made, until a person has looked."""
    if scene.site.held_back:
        return pending(scene, HELD_BACK["code"], HELD_BACK["sentence"])
    scene.tasks = machines.settle_tasks(scene.turn, scene.driver)
    try:
        for stage in STAGES:
            outcome = stage(scene)
            if outcome is not None:
                break
        else:
            outcome = _arrived(scene)
    except Stop as stop:
        return _fail(scene, stop.reason)
    except NotAnswering as silent:
        outcome = pending(scene, silent.code, silent.sentence)
    except ClusterRefused as refused:
        outcome = pending(scene, "cluster_refused", refused.sentence)
    with scene.turn.transaction():
        progress.tell(Cluster.objects.get(pk=scene.cluster.pk))
    return outcome


def pending(scene: Scene, code: str, sentence: str) -> Outcome:
    """Not there yet; the reason stands on the cluster meanwhile."""
    reason = {"code": code, "sentence": sentence, "action": "Facet goes on by itself."}
    if scene.cluster.reason != reason:
        with scene.turn.transaction():
            Cluster.objects.filter(pk=scene.cluster.pk).exclude(phase=ClusterPhase.DELETING).update(reason=reason)
    return Again(LATER_S)


def _fail(scene: Scene, reason: dict[str, Any]) -> Outcome:
    """At rest with the first cause; what it holds stays held until it is deleted or asked for anew."""
    with scene.turn.transaction():
        progress.tell(scene.cluster)
        if services.advance(scene.cluster, ClusterPhase.FAILED, reason=reason):
            operations.fail("cluster", scene.cluster.id, code=reason["code"], detail=reason["sentence"])
    return Done()


# --- machines ------------------------------------------------------------------------------------------------------


def lost_machines(scene: Scene) -> Outcome | None:
    """What was deleted behind our back is made anew under its key, once the site was asked and nobody holds it back."""
    missing = [node for node in scene.wanted if node.vm.missing_at is not None]
    if not missing:
        return None
    absent = machines.look(scene.turn, scene.driver, [node.vm for node in missing])
    lost = [node for node in missing if node.vm_id in absent]
    planes = scene.control_planes
    if scene.cluster.initialized_at is not None and planes and all(plane in lost for plane in planes):
        sentence = "All control planes are gone, and what the cluster knew with them."
        raise Stop({"code": "control_planes_lost", "sentence": sentence, "action": "Delete the cluster."})
    for node in lost:
        if scene.cluster.initialized_at is not None:
            known = facts.of_node(node)
            scene.turn.renew()
            scene.framework.before_remove(scene.facts, known, scene.prepared.secrets, scene.others(node), force=True)
        with scene.turn.transaction():
            machines.begin_again(node.vm)
            Node.objects.filter(pk=node.pk).update(phase=NodePhase.PENDING, ready=False)
            _tell_lost(scene.cluster, node)
    return Again(0.0)


def _tell_lost(cluster: Cluster, node: Node) -> None:
    events.record(
        "node.rebuilt", by=SYSTEM, kind="node", id=node.id, name=node.name, tenant_id=cluster.tenant_id,
        project_id=cluster.project_id, message="Its machine was gone from the site; it is made anew.",
    )  # fmt: skip


def make_machines(scene: Scene) -> Outcome | None:
    """Clones go on beside everything else; what has failed for good ends the pass."""
    failed = [node for node in scene.wanted if node.vm.phase == VmPhase.FAILED]
    if failed:
        raise Stop(failed[0].vm.reason or {"code": "fault", "sentence": "A machine failed.", "action": ""})
    unbuilt = [node for node in [*scene.control_planes, *scene.workers] if node.vm.phase in UNBUILT]
    if unbuilt:
        refs = folders.ensure(scene.turn, scene.driver, project=scene.cluster.project, zones=scene.zones)
        metadata = {node.vm_id: scene.framework.metadata(facts.of_node(node)) for node in unbuilt}
        vms = [node.vm for node in unbuilt]
        machines.build(scene.turn, scene.site, scene.driver, vms, metadata, refs, scene.tasks.running)
        _reread(scene)
    if any(plane.vm.phase in UNBUILT for plane in scene.control_planes):
        return Again(_pace(scene))
    return None


def _reread(scene: Scene) -> None:
    """The nodes as the last act left them."""
    scene.nodes = Scene.read(scene.turn).nodes


def _pace(scene: Scene) -> float:
    """Whoever has just begun is looked at more often."""
    return SOON_S if (timezone.now() - scene.cluster.created_at).total_seconds() < 60 else LATER_S


def power(scene: Scene) -> Outcome | None:
    """A machine that had booted and is found off is powered on; one whose address is not known is looked at."""
    off = [n.vm for n in scene.wanted if n.vm.phase == VmPhase.RUNNING and n.vm.power == base.Power.OFF]
    machines.power_on(scene.turn, scene.driver, [vm.id for vm in off if vm.id not in scene.tasks.running])
    blind = [n.vm for n in scene.wanted if n.vm.phase == VmPhase.RUNNING and not n.vm.address]
    if blind:
        machines.look(scene.turn, scene.driver, blind)
        _reread(scene)
    return None


def keep_apart(scene: Scene) -> Outcome | None:
    """One rule over all control planes, at the site before the first of them is powered on."""
    planes = scene.control_planes
    if len(planes) > 1 and any(plane.vm.phase == VmPhase.BUILT for plane in planes):
        scene.turn.renew()
        scene.driver.ensure_rule(rule_of(scene.cluster, planes))
    return None


def rule_of(cluster: Cluster, planes: Sequence[Node]) -> base.AntiAffinityRule:
    return base.AntiAffinityRule(rule_name(cluster), tuple(sorted(plane.vm_id for plane in planes)))


def rule_name(cluster: Cluster) -> str:
    return f"facet-{cluster.id}-control-planes"


# --- joining -------------------------------------------------------------------------------------------------------


def first_control_plane(scene: Scene) -> Outcome | None:
    """The one that begins the cluster boots alone; that its API answered is recorded once and for ever."""
    if scene.cluster.initialized_at is not None:
        return None
    first = scene.control_planes[0]
    if first.vm.phase == VmPhase.BUILT:
        _boot(scene, [first], Boot.INIT)
    health = _health(scene)
    if not health.answers:
        return Again(_pace(scene))
    with scene.turn.transaction():
        now = timezone.now()
        Cluster.objects.filter(pk=scene.cluster.pk, initialized_at=None).update(initialized_at=now)
        write_health(scene, health)
    scene.cluster.initialized_at = now
    return None


def _health(scene: Scene) -> ClusterHealth:
    scene.turn.renew()
    return scene.framework.health(scene.facts, scene.prepared.secrets)


def _boot(scene: Scene, nodes: Sequence[Node], boot: Boot) -> None:
    """Boot data rendered now, given, forgotten; then power."""
    texts = {
        node.vm_id: scene.framework.user_data(scene.facts, facts.of_node(node), scene.prepared, boot).user_data
        for node in nodes
    }
    machines.boot(scene.turn, scene.driver, texts)
    with scene.turn.transaction():
        Node.objects.filter(pk__in=[node.pk for node in nodes], vm__phase=VmPhase.RUNNING).exclude(
            phase__in=[NodePhase.REMOVING, NodePhase.GONE]
        ).update(phase=NodePhase.JOINING)


def add_ons(scene: Scene) -> Outcome | None:
    """A CNI before anything else: no node is Ready without one."""
    if scene.cluster.addons_at is not None:
        return None
    with scene.turn.reading():
        addon = Addon.objects.filter(kind="cni").order_by("-created_at").first()
    if addon is None:
        pending(scene, NO_CNI["code"], NO_CNI["sentence"])
        return Again(ADDON_S)
    scene.turn.renew()
    scene.framework.install(scene.facts, scene.prepared.secrets, addon.manifest)
    with scene.turn.transaction():
        Cluster.objects.filter(pk=scene.cluster.pk).update(addons_at=timezone.now(), reason=None)
    scene.cluster.addons_at = timezone.now()
    return None


def further_control_planes(scene: Scene) -> Outcome | None:
    """One at a time: each must be a member before the next is powered on."""
    health = NOT_ANSWERING
    for plane in scene.control_planes:
        if plane.phase in (NodePhase.READY, NodePhase.NOT_READY) and plane.vm.phase == VmPhase.RUNNING:
            continue
        if plane.vm.phase == VmPhase.BUILT:
            scene.framework.admit(scene.facts, scene.prepared)
            _boot(scene, [plane], Boot.JOIN)
            return Again(SOON_S)
        if not health.answers:
            health = _health(scene)
        if plane.name not in {node.name for node in health.nodes}:
            scene.framework.admit(scene.facts, scene.prepared)  # its join may be late: the token lives on
            return Again(_pace(scene))
    return None


def workers(scene: Scene) -> Outcome | None:
    """Whatever is built boots, a slice at a time; the token is renewed while a join is pending."""
    built = [node for node in scene.workers if node.vm.phase == VmPhase.BUILT][:SLICE]
    joining = [node for node in scene.workers if node.phase == NodePhase.JOINING]
    if built or joining:
        scene.turn.renew()
        scene.framework.admit(scene.facts, scene.prepared)
    if built:
        _boot(scene, built, Boot.JOIN)
    return None


# --- going ---------------------------------------------------------------------------------------------------------


def leavers(scene: Scene) -> Outcome | None:
    """Nodes that are marked: drained, taken out of the cluster, their machines destroyed, their room given back."""
    going = scene.removing
    if not going:
        return None
    drained = [node for node in going if _out_of_the_cluster(scene, node)]
    if not drained:
        return Again(LATER_S)
    removal = machines.remove(scene.turn, scene.site, scene.driver, [node.vm for node in drained], scene.tasks.running)
    if removal.refusal is not None:
        return pending(scene, removal.refusal.code, removal.refusal.reason)
    with scene.turn.transaction():
        gone = VM.objects.filter(pk__in=[node.vm_id for node in drained]).exclude(deleted_at=None)
        Node.objects.filter(vm__in=gone).update(phase=NodePhase.GONE, ready=False)
    return Again(SOON_S) if removal.left or len(drained) < len(going) else None


def _out_of_the_cluster(scene: Scene, node: Node) -> bool:
    """One pass of draining. A node that never ran is out of it."""
    if node.vm.phase in (*UNBUILT, VmPhase.BUILT, VmPhase.FAILED) and node.role == NodeRole.WORKER:
        return True
    scene.turn.renew()
    found = scene.framework.before_remove(scene.facts, facts.of_node(node), scene.prepared.secrets, scene.others(node))
    if isinstance(found, Waiting):
        pending(scene, "draining", found.sentence)
        return False
    return True


# --- arriving ------------------------------------------------------------------------------------------------------


def all_ready(scene: Scene) -> Outcome | None:
    """Every wanted node is in the cluster and Ready, by the cluster's own word."""
    health = _health(scene)
    with scene.turn.transaction():
        write_health(scene, health)
    ready = {node.name for node in health.nodes if node.ready}
    late = [node for node in scene.wanted if node.name not in ready]
    if not health.answers:
        return pending(scene, health.code, health.sentence)
    if late:
        names = ", ".join(node.name for node in late[:3])
        pending(
            scene, health.code or "nodes_joining", f"{len(late)} of {len(scene.wanted)} nodes are not Ready: {names}."
        )
        return Again(_pace(scene))
    return None


def wiped(scene: Scene) -> Outcome | None:
    """Boot data holds keys and a token: nobody needs it any more."""
    left = [node.vm for node in scene.wanted if node.vm.wiped_at is None]
    if left:
        machines.wipe(scene.turn, scene.driver, left)
        with scene.turn.reading():
            if VM.objects.filter(pk__in=[vm.pk for vm in left], wiped_at=None).exists():
                return Again(LATER_S)
    return None


def _arrived(scene: Scene) -> Outcome:
    """What was asked for is real, unless more was asked for meanwhile."""
    with scene.turn.transaction():
        won = Cluster.objects.filter(
            pk=scene.cluster.pk,
            phase__in=[ClusterPhase.BUILDING, ClusterPhase.UPDATING],
            generation=scene.cluster.generation,
        ).update(phase=ClusterPhase.READY, reason=None, observed_generation=scene.cluster.generation)
        if won:
            operations.succeed("cluster", scene.cluster.id, generation=scene.cluster.generation)
    return Again(LATER_S) if not won else Again(30.0)


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
    wiped,
)
