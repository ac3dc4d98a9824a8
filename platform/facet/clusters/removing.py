"""Deleting a cluster always ends: whatever is already gone is gone."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils import timezone

from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome
from facet.workloads import folders, machines, removal
from facet.workloads.models import VM
from infra import endpoints
from scheduler import ledger

from . import progress, services
from .building import rule_names
from .models import CLUSTER_KIND, Cluster, Node, NodePhase
from .scene import Scene

TASKS_S = 1.0
REFUSED_S = 15.0


def remove(scene: Scene) -> Outcome:
    """One pass: machines in slices, then the rule, the folder, and in one transaction all that it still holds."""
    scene.tasks = machines.settle_tasks(scene.turn, scene.driver)
    left = [vm for vm in scene.vms if vm.deleted_at is None]
    if left:
        outcome = _remove_machines(scene, left)
        if outcome is not None:
            return outcome
    with scene.turn.reading():
        names = rule_names(scene.cluster)
    for name in names:
        scene.turn.renew()
        scene.driver.ensure_no_rule(name)
    folders.tidy(
        scene.turn, scene.driver, project_id=scene.cluster.project_id, zone_ids=[zone.id for zone in scene.zones]
    )
    return _gone(scene)


def _remove_machines(scene: Scene, left: Sequence[VM]) -> Outcome | None:
    removed = removal.remove(scene.turn, scene.site, scene.driver, left, scene.tasks.running)
    if removed.refusal is not None:
        scene.wait(removed.refusal.code, f"A machine may not go yet. {removed.refusal.reason}")
    with scene.turn.transaction():
        _forget_nodes(scene.cluster)
        scene.tell_reason()
        progress.tell(scene.cluster)
    if not removed.left:
        return None
    return Again(REFUSED_S if removed.refusal else TASKS_S)


def _forget_nodes(cluster: Cluster) -> None:
    gone = VM.objects.filter(node__cluster=cluster).exclude(deleted_at=None)
    Node.objects.filter(vm__in=gone).update(phase=NodePhase.GONE, ready=False)


def _gone(scene: Scene) -> Outcome:
    """The row that says deleted is the guard: only who writes it gives the rest back."""
    cluster = scene.cluster
    with scene.turn.transaction():
        won = Cluster.objects.filter(pk=cluster.pk, deleted_at=None).update(
            deleted_at=timezone.now(), reason=None, secrets_sealed=b"", token_sealed=b"",
            observed_generation=cluster.generation,
        )  # fmt: skip
        if won:
            _forget_nodes(cluster)
            endpoints.give_back(cluster.id)
            ledger.release(
                tenant_id=cluster.tenant_id, project_id=cluster.project_id, holders=(), spend=services.ONE_CLUSTER
            )
            progress.tell(cluster)
            operations.succeed(CLUSTER_KIND, cluster.id, generation=cluster.generation)
    return Done()
