"""How far a cluster is, as its operation tells it: counted from the rows at the moment of telling."""

from __future__ import annotations

from collections.abc import Mapping

from django.db.models import Q

from facet.operations import services as operations
from facet.operations.services import Step
from facet.workloads.models import VM, VmPhase

from .models import CLUSTER_KIND, JOINED_PHASES, Cluster, ClusterPhase, Node, NodePhase, NodeRole

BUILT = (VmPhase.BUILT, VmPhase.RUNNING)
DRAIN = "drain"


def tell(cluster: Cluster) -> None:
    """Report the open operation's steps. In a transaction."""
    operation = operations.open_ones(CLUSTER_KIND, cluster.id).order_by("-created_at").first()
    if operation is None:
        return
    if cluster.phase == ClusterPhase.DELETING:
        steps = _going(cluster)
    else:
        steps = _coming(cluster, {step["name"]: step["total"] for step in operation.steps})
    operations.report(CLUSTER_KIND, cluster.id, steps)


def _coming(cluster: Cluster, totals: Mapping[str, int]) -> list[Step]:
    """`totals` of the steps as they were told before: those that drain are counted while they are there."""
    rows = list(
        Node.objects.filter(cluster=cluster)
        .exclude(phase=NodePhase.GONE)
        .values_list("role", "phase", "ready", "vm__phase")
    )
    wanted = [row for row in rows if row[1] != NodePhase.REMOVING]
    planes = [row for row in wanted if row[0] == NodeRole.CONTROL_PLANE]
    workers = [row for row in wanted if row[0] == NodeRole.WORKER]
    # once it has answered it does, also while its first node is not registered yet
    answer = max(sum(row[1] in JOINED_PHASES for row in planes), int(cluster.initialized_at is not None))
    steps = [
        _step("machines", "Machines are made", sum(row[3] in BUILT for row in wanted), len(wanted)),
        _step("control-plane", "The control plane answers", answer, len(planes)),
        _step("addons", "Add-ons are applied", int(cluster.addons_at is not None), 1),
        _step("workers", "Workers join", sum(row[1] in JOINED_PHASES for row in workers), len(workers)),
        _step("ready", "Nodes are Ready", sum(row[2] for row in wanted), len(wanted)),
    ]
    going = len(rows) - len(wanted)
    leavers = max(going, totals.get(DRAIN, 0))
    if leavers:
        steps.insert(4, _step(DRAIN, "Nodes that go are drained and removed", leavers - going, leavers))
    return _in_turn(steps)


def _going(cluster: Cluster) -> list[Step]:
    """Machines that had gone before the delete was asked for are no part of it."""
    there = Q(deleted_at=None) | Q(deleted_at__gte=cluster.delete_asked_at)
    vms = VM.objects.filter(there, node__cluster=cluster)
    total, gone = vms.count(), vms.exclude(deleted_at=None).count()
    return _in_turn(
        [_step("machines", "Machines are removed", gone, total), Step("rest", "What they held is given back")]
    )


def _step(name: str, title: str, done: int, total: int) -> Step:
    return Step(name, title, "done" if done >= total else "waiting", done, total)


def _in_turn(steps: list[Step]) -> list[Step]:
    """The first that is not done is running, and so is any that has begun."""
    told, running = [], False
    for step in steps:
        if step.phase == "waiting" and (not running or step.done):
            step = Step(step.name, step.title, "running", step.done, step.total)
            running = True
        told.append(step)
    return told
