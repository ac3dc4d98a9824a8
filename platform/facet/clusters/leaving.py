"""Nodes that go from a cluster that stays: drained, taken out of it, their machines destroyed, their room freed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from facet.clusters.frameworks.base import Waiting
from facet.operations.engine import Again, Outcome
from facet.workloads import removal
from facet.workloads.models import VM, VmPhase
from infra.drivers import base

from . import facts
from .building import UNBUILT
from .models import Node, NodePhase, NodeRole
from .scene import LATER_S, SOON_S, Scene

DRAINED_AT_ONCE = 20  # in one pass: a delete that comes meanwhile need not wait long
NEVER_RAN = (*UNBUILT, VmPhase.BUILT, VmPhase.FAILED)


def leavers(scene: Scene) -> None:
    """One pass over the nodes that are marked. Whatever it leaves keeps nobody from coming: see all_gone."""
    going = scene.removing
    if not going:
        return
    dead = _dead(scene, going)
    drained: list[Node] = []
    for node in going:
        if len(drained) < DRAINED_AT_ONCE and _out_of_the_cluster(scene, node, dead):
            drained.append(node)
    scene.leavers_left = len(going)
    if drained:
        _remove(scene, drained)


def _remove(scene: Scene, drained: Sequence[Node]) -> None:
    vms = [node.vm for node in drained]
    removed = removal.remove(scene.turn, scene.site, scene.driver, vms, scene.tasks.running)
    with scene.turn.transaction():
        gone = VM.objects.filter(pk__in=[vm.pk for vm in vms]).exclude(deleted_at=None)
        scene.leavers_left -= Node.objects.filter(vm__in=gone).update(phase=NodePhase.GONE, ready=False)
    if removed.refusal is not None:
        scene.wait(removed.refusal.code, f"A machine may not go yet. {removed.refusal.reason}")


def all_gone(scene: Scene) -> Outcome | None:
    """Nobody that was to go is left. A drain that waits for pods may wait for long; a machine takes moments."""
    if not scene.leavers_left:
        return None
    return Again(LATER_S if scene.reason else SOON_S)


def _dead(scene: Scene, going: Sequence[Node]) -> Collection[UUID]:
    """Machines that the site, asked now, does not show running: no kubelet is left there to end its pods."""
    doubtful = [node.vm_id for node in going if node.vm.missing_at or node.vm.power == base.Power.OFF]
    if not doubtful:
        return ()
    scene.turn.renew()
    seen = scene.driver.find_vms(doubtful)
    return [key for key in doubtful if key not in seen or seen[key].power is base.Power.OFF]


def _out_of_the_cluster(scene: Scene, node: Node, dead: Collection[UUID]) -> bool:
    """One pass of draining. A node that never ran is out of it, and so is one whose machine is going already."""
    if node.vm.phase == VmPhase.DELETING or (node.vm.phase in NEVER_RAN and node.role == NodeRole.WORKER):
        return True
    scene.turn.renew()
    found = scene.framework.before_remove(
        scene.facts, facts.of_node(node), scene.prepared.secrets, scene.others(node), force=node.vm_id in dead
    )
    if isinstance(found, Waiting):
        why = f" {found.pods[0].why}" if found.pods else ""
        scene.wait("draining", f"{found.sentence}{why}")
        return False
    return True
