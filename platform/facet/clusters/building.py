"""Machines of a cluster that is built or changed: made, made anew when they were lost, kept apart, powered on again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from facet.operations import events
from facet.operations.engine import Again, Outcome
from facet.rest.access import SYSTEM
from facet.workloads import folders, machines
from facet.workloads.models import VmPhase
from infra.drivers import base
from scheduler.core.ask import Apart

from . import facts, rules
from .models import GONE_PHASES, JOINED_PHASES, Cluster, Node, NodePhase, NodePool
from .scene import Scene

UNBUILT = (VmPhase.PENDING, VmPhase.CLONING)
LOST = {
    "code": "control_planes_lost",
    "sentence": "The majority of its control planes is gone, and what the cluster knew with them.",
    "action": "Delete the cluster.",
}
NO_IMAGE = {
    "code": "no_image",
    "sentence": "The image that its machines are made of has left the catalogue.",
    "action": "Delete the cluster, and ask for one of a version that the site has.",
}


class Stop(Exception):
    """The cluster cannot become what is wanted: it fails with this first cause. `more` stands in its problem."""

    def __init__(self, reason: dict[str, Any], **more: Any) -> None:
        super().__init__(reason["sentence"])
        self.reason = reason
        self.more = more


def lost_machines(scene: Scene) -> Outcome | None:
    """What was deleted behind our back is made anew under its key, once the site was asked and nobody holds it back."""
    missing = [node for node in scene.wanted if node.vm.missing_at is not None]
    if not missing:
        return None
    absent = machines.look(scene.turn, scene.driver, [node.vm for node in missing])
    lost = [node for node in missing if node.vm_id in absent]
    if scene.cluster.initialized_at is not None and _majority_is_lost(scene.control_planes, lost):
        raise Stop(LOST)
    for node in lost:
        if scene.cluster.initialized_at is not None:
            known = facts.of_node(node)
            scene.turn.renew()
            scene.framework.before_remove(scene.facts, known, scene.prepared.secrets, scene.others(node), force=True)
        with scene.turn.transaction():
            still_wanted = Node.objects.filter(pk=node.pk).exclude(phase__in=GONE_PHASES)
            if still_wanted.update(phase=NodePhase.PENDING, ready=False, reason=None):
                machines.begin_again(node.vm)
                _tell_lost(scene.cluster, node)
    return Again(0.0)


def _majority_is_lost(planes: Sequence[Node], lost: Sequence[Node]) -> bool:
    """Those that are left cannot agree any more, not even on who is gone."""
    members = [plane for plane in planes if plane.phase in JOINED_PHASES] or planes
    left = [plane for plane in members if plane not in lost]
    return len(left) < len(members) and len(left) <= len(members) // 2


def _tell_lost(cluster: Cluster, node: Node) -> None:
    events.record(
        "node.rebuilt", by=SYSTEM, kind="node", id=node.id, name=node.name, tenant_id=cluster.tenant_id,
        project_id=cluster.project_id, message="Its machine was gone from the site; it is made anew.",
    )  # fmt: skip


def make_machines(scene: Scene) -> Outcome | None:
    """Clones go on beside everything else; what has failed for good ends the pass."""
    failed = [node for node in scene.wanted if node.vm.phase == VmPhase.FAILED]
    if failed:
        raise Stop(
            failed[0].vm.reason or {"code": "fault", "sentence": "A machine failed.", "action": "Look at the site."},
            node=failed[0].name,
        )
    unbuilt = [node for node in [*scene.control_planes, *scene.workers] if node.vm.phase in UNBUILT]
    if any(node.vm.image is None for node in unbuilt):
        raise Stop(NO_IMAGE)
    if unbuilt:
        _make(scene, unbuilt)
    if any(plane.vm.phase in UNBUILT for plane in scene.control_planes):
        return Again(scene.pace_s)
    return None


def _make(scene: Scene, unbuilt: Sequence[Node]) -> None:
    refs = folders.ensure(scene.turn, scene.driver, project=scene.cluster.project, zones=scene.zones)
    metadata = {node.vm_id: scene.framework.metadata(facts.of_node(node)) for node in unbuilt}
    vms = [node.vm for node in unbuilt]
    pools = machines.build(scene.turn, scene.site, scene.driver, vms, metadata, refs, scene.tasks.running)
    if pools:
        why = (pools[0].reason or {}).get("sentence", "It is being made.")
        scene.wait("pool_not_ready", f"Pool {pools[0].name} does not stand at the site yet. {why}")
    image = machines.awaited(scene.turn, vms)
    if image is not None:
        scene.wait("image_not_ready", image)
    with scene.turn.transaction():
        begun = Node.objects.filter(pk__in=[node.pk for node in unbuilt], phase=NodePhase.PENDING)
        begun.exclude(vm__phase=VmPhase.PENDING).update(phase=NodePhase.PROVISIONING)
    scene.reread()


def power(scene: Scene) -> Outcome | None:
    """A machine that had booted and is found off is powered on; one whose address is not known is looked at."""
    running = [node.vm for node in scene.wanted if node.vm.phase == VmPhase.RUNNING]
    off = [vm.id for vm in running if vm.power == base.Power.OFF and vm.id not in scene.tasks.running]
    if off:
        machines.power_on(scene.turn, scene.driver, off[: machines.room(scene.turn, scene.site, len(off))])
    blind = [vm for vm in running if not vm.address]
    if blind:
        machines.look(scene.turn, scene.driver, blind)
        scene.reread()
    return None


def keep_apart(scene: Scene) -> Outcome | None:
    """A rule over all control planes, and one over each pool that must stay apart: before they are powered on."""
    groups: dict[str, list[Node]] = {"control-planes": scene.control_planes}
    for node in scene.workers:
        if node.pool is not None and rules.of_pool(node.pool)["anti_affinity"] == Apart.REQUIRED:
            groups.setdefault(str(node.pool_id), []).append(node)
    for group, nodes in groups.items():
        if len(nodes) > 1 and any(node.vm.phase == VmPhase.BUILT for node in nodes):
            scene.turn.renew()
            keys = tuple(sorted(node.vm_id for node in nodes))
            scene.driver.ensure_rule(base.AntiAffinityRule(_rule_name(scene.cluster, group), keys))
    return None


def rule_names(cluster: Cluster) -> list[str]:
    """Of all rules that it may have at its site. In a context."""
    pools = NodePool.objects.filter(cluster=cluster).order_by("id").values_list("id", flat=True)
    return [_rule_name(cluster, group) for group in ("control-planes", *map(str, pools))]


def _rule_name(cluster: Cluster, group: str) -> str:
    return f"facet-{cluster.id}-{group}"
