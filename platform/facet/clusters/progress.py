"""How far a cluster is, as its operation tells it: counted from the rows at the moment of telling."""

from __future__ import annotations

from facet.operations import services as operations
from facet.operations.services import Step
from facet.workloads.models import VM, VmPhase

from .models import Cluster, ClusterPhase, Node, NodePhase, NodeRole

BUILT = (VmPhase.BUILT, VmPhase.RUNNING)


def tell(cluster: Cluster) -> None:
    """Report the open operation's steps. In a transaction."""
    if cluster.phase == ClusterPhase.DELETING:
        operations.report("cluster", cluster.id, _going(cluster))
    else:
        operations.report("cluster", cluster.id, _coming(cluster))


def _coming(cluster: Cluster) -> list[Step]:
    rows = list(
        Node.objects.filter(cluster=cluster)
        .exclude(phase=NodePhase.GONE)
        .values_list("role", "phase", "ready", "vm__phase")
    )
    wanted = [row for row in rows if row[1] != NodePhase.REMOVING]
    going = len(rows) - len(wanted)
    planes = [row for row in wanted if row[0] == NodeRole.CONTROL_PLANE]
    workers = [row for row in wanted if row[0] == NodeRole.WORKER]
    joined = (NodePhase.READY, NodePhase.NOT_READY)
    steps = [
        _step("machines", "Machines are made", sum(row[3] in BUILT for row in wanted), len(wanted)),
        _step("control-plane", "The control plane answers", sum(row[1] in joined for row in planes), len(planes)),
        _step("addons", "Add-ons are applied", int(cluster.addons_at is not None), 1),
        _step("workers", "Workers join", sum(row[1] in joined for row in workers), len(workers)),
        _step("ready", "Nodes are Ready", sum(row[2] for row in wanted), len(wanted)),
    ]
    if going:
        steps.insert(4, Step("drain", "Nodes that go are drained and removed", "running", 0, going))
    return _in_turn(steps)


def _going(cluster: Cluster) -> list[Step]:
    vms = VM.objects.filter(node__cluster=cluster)
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
