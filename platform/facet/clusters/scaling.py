"""Another size of a pool of workers, and the way back.

Three acts, as for a new cluster: `read_scaling` reads, `decide_scaling` places what comes, `scale` writes it all.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils import timezone

from facet.clusters.frameworks.base import BadSpec, NodePlan, Role
from facet.operations import services as operations
from facet.operations.models import OPEN_PHASES, Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.endpoint import LookAgain
from facet.rest.problems import Conflict, Invalid
from facet.workloads.models import VM, VmPhase
from scheduler import ledger
from scheduler.core.ask import Plan

from . import asking, facts, services
from .asking import Batch
from .ground import Ground, ground_of
from .models import CLUSTER_KIND, GONE_PHASES, Cluster, ClusterPhase, Node, NodePhase, NodePool

SCALABLE = (ClusterPhase.READY, ClusterPhase.UPDATING, ClusterPhase.FAILED)
VERB = "cluster.scale"


@dataclass(frozen=True)
class Coming:
    """Nodes to be made, and the ground on which they may stand."""

    batch: Batch
    ground: Ground


@dataclass(frozen=True)
class Scaling:
    """One pool on its way to another size, as it was read."""

    cluster: Cluster
    pool: NodePool
    size: int
    coming: Coming | None
    leaving: Sequence[Node]


def read_scaling(*, pool: NodePool, size: int, check: Callable[[NodePool], None] | None = None) -> Scaling:
    """What another size of this pool would take. Raises Conflict where the cluster is not up to it.

    What only goes needs no room, no image and no zone that takes anything new. `check` judges the pool as it was read.
    """
    pool = NodePool.objects.get(pk=pool.pk)
    if check is not None:
        check(pool)
    cluster = Cluster.objects.select_related("project").get(pk=pool.cluster_id)
    _check_scalable(cluster)
    living = list(_newest_first(pool))
    more = size - len(living)
    return Scaling(
        cluster=cluster,
        pool=pool,
        size=size,
        coming=_coming(cluster, pool, more, living) if more > 0 else None,
        leaving=living[: max(0, -more)],
    )


def _newest_first(pool: NodePool) -> Sequence[Node]:
    return Node.objects.filter(pool=pool).exclude(phase__in=GONE_PHASES).order_by("-created_at", "-id")


def _check_scalable(cluster: Cluster) -> None:
    if cluster.phase == ClusterPhase.DELETING or cluster.deleted_at is not None:
        raise Conflict(f"{cluster.name} is being deleted.", code="not_ready")
    if cluster.phase == ClusterPhase.FAILED and cluster.initialized_at is None:
        sentence = f"{cluster.name} failed before its API ever answered. Delete it, and ask again."
        raise Conflict(sentence, code="not_ready")
    if cluster.phase not in SCALABLE:
        raise Conflict(f"{cluster.name} is {cluster.phase}; it can be scaled when it is ready.", code="not_ready")


def _coming(cluster: Cluster, pool: NodePool, count: int, living: Sequence[Node]) -> Coming:
    try:
        where = ground_of(cluster, cluster.zone_ids)
    except Invalid as error:  # of a field that this request has not: the version is the cluster's
        raise Conflict(error.detail, code="no_image") from None
    flavor = where.flavors[pool.flavor]
    plan = NodePlan(
        role=Role.WORKER,
        pool=pool.name,
        count=count,
        flavor=asking.FlavorFacts(flavor.vcpu, flavor.memory_mib),
        labels=pool.labels,
        taints=facts.taints(pool),
    )
    standing = [held.host_id for held in ledger.allocations([node.vm_id for node in living]).values()]
    try:
        batch = asking.nodes(cluster, pool, count, where, flavor=flavor, plan=plan, standing=standing)
    except BadSpec as error:
        raise asking.invalid(error) from None
    return Coming(batch, where)


def decide_scaling(scaling: Scaling) -> Plan:
    if scaling.coming is None:
        return Plan(())
    return services.decide(scaling.coming.batch.asks, seed=services.seed_of(uuid.uuid4()))


def scale(*, scaling: Scaling, plan: Plan, by: Actor) -> tuple[NodePool, Operation]:
    """Write the other size: new nodes with their room, or the mark on those that go. Raises LookAgain, Conflict."""
    cluster, pool, coming = scaling.cluster, scaling.pool, scaling.coming
    generation = cluster.generation + 1
    won = Cluster.objects.filter(
        pk=cluster.pk, generation=cluster.generation, phase__in=SCALABLE, deleted_at=None
    ).update(generation=generation, phase=ClusterPhase.UPDATING, reason=None)
    if not won:
        raise LookAgain(f"cluster {cluster.id} changed meanwhile")
    before = pool.size
    _resize(pool, scaling.size, leaving=[node.pk for node in scaling.leaving])
    _try_again(cluster)
    if coming is not None:
        services.save(coming.batch, plan, coming.ground)
    operation = operations.start(
        VERB,
        target=services.target(cluster),
        by=by,
        generation=generation,
        undo={"pool": str(pool.id), "size": before},
        before={"pool": pool.name, "size": before},
        after={"pool": pool.name, "size": scaling.size},
    )
    if coming is not None:
        services.commit(coming.batch, plan, coming.ground)
    wake(CLUSTER_KIND, cluster.id, tenant_id=cluster.tenant_id, site_id=services.site_id_of(cluster))
    return NodePool.objects.get(pk=pool.pk), operation


def _resize(pool: NodePool, size: int, *, leaving: Sequence[uuid.UUID]) -> None:
    NodePool.objects.filter(pk=pool.pk).update(size=size, generation=pool.generation + 1)
    Node.objects.filter(pk__in=leaving).update(phase=NodePhase.REMOVING, drain_asked_at=timezone.now())


def _try_again(cluster: Cluster) -> None:
    """Asked anew: what had failed is begun again."""
    Node.objects.filter(cluster=cluster, phase=NodePhase.FAILED).update(phase=NodePhase.PENDING)
    VM.objects.filter(owner_id=cluster.id, phase=VmPhase.FAILED, deleted_at=None).update(
        phase=VmPhase.PENDING, failures=0, reason=None
    )


def cancel_scale(operation: Operation, by: Actor) -> None:
    """Back to the former size: what was added goes again. A drain that has begun is not taken back."""
    undo = operation.undo or {}
    cluster = Cluster.objects.select_for_update(no_key=True).get(pk=operation.target_id)
    pool = NodePool.objects.get(pk=undo["pool"])
    # locked here, because the wake at the end must come after it; and what has just ended is not taken back any more
    same = Operation.objects.select_for_update(no_key=True).filter(pk=operation.pk, phase__in=OPEN_PHASES)
    if same.first() is None:
        raise Conflict("It has just ended.", code="already_ended")
    if undo["size"] > pool.size:
        sentence = (
            "Nodes are being drained already. Ask for the size that you want instead: new nodes take their place."
        )
        raise Conflict(sentence, code="not_cancellable")
    living = list(_newest_first(pool))
    _resize(pool, undo["size"], leaving=[node.pk for node in living[: max(0, len(living) - undo["size"])]])
    Cluster.objects.filter(pk=cluster.pk).update(generation=cluster.generation + 1)
    wake(CLUSTER_KIND, cluster.id, tenant_id=cluster.tenant_id, site_id=services.site_id_of(cluster))
