"""What teams do with clusters: ask, delete, get in (and scale: scaling.py). Views give the contexts.

Creating is three acts, see Endpoint.placed_once: `asking.wish` reads, `decide` places outside any transaction, and the
verb here writes everything in one, the ledger last but for the wake of an object that exists.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, cast

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from facet.clusters.frameworks.base import (
    BadSpec,
    ClusterRefused,
    Level,
    NotAnswering,
    Prepared,
)
from facet.clusters.frameworks.catalogue import framework
from facet.operations import events
from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict, NameTaken, NotFound, Problem
from facet.workloads import folders
from facet.workloads.models import VM
from infra import endpoints
from infra.models import Zone
from scheduler import ledger
from scheduler.core.ask import Ask, Plan, Policy
from scheduler.elsewhere import asks_elsewhere
from tenants.models import Project

from . import asking, facts
from .asking import Batch, Wish
from .ground import Ground
from .models import CLUSTER_KIND, TRANSITIONS, Cluster, ClusterPhase, Node, NodePool, NodeRole

ONE_CLUSTER = (ledger.Spend(zone_id=None, resource="clusters", amount=1),)
LONGEST_ACCESS = timedelta(hours=24)


def target(cluster: Cluster) -> operations.Target:
    return operations.Target(
        kind=CLUSTER_KIND,
        id=cluster.id,
        name=cluster.name,
        tenant_id=cluster.tenant_id,
        project_id=cluster.project_id,
    )


def site_id_of(cluster: Cluster) -> uuid.UUID:
    """The one site whose zones the cluster's nodes stand in."""
    return Zone.objects.values_list("site_id", flat=True).get(pk=cluster.zone_ids[0])


def advance(cluster: Cluster, to: str, **changes: Any) -> bool:
    """Move the phase by compare-and-set over TRANSITIONS; False when it had moved already, or more was asked for."""
    sources = [phase for phase, targets in TRANSITIONS.items() if to in targets]
    same = Cluster.objects.filter(pk=cluster.pk, generation=cluster.generation, deleted_at=None, phase__in=sources)
    return bool(same.update(phase=to, **changes))


# --- asking --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decided:
    """A plan for the room, and what the framework prepared meanwhile."""

    plan: Plan
    prepared: Prepared | None = None


def decide(asks: Sequence[Ask], *, seed: int, **instead: Any) -> Plan:
    """Room for these asks. Raises Problem no_room with the reasons; `instead`: what else might be asked, see ledger."""
    if not asks:
        return Plan(())
    return ledger.decide(asks, policy=Policy.SPREAD, seed=seed, **instead)  # the policy of a role that has none


def decide_wish(wish: Wish) -> Decided:
    """Outside any transaction: place the nodes, make the keys."""
    plan = decide(
        wish.batch.asks,
        seed=seed_of(wish.cluster.id),
        counts=wish.counts,
        flavors=wish.flavors,
        zones=[zone.id for zone in wish.ground.zones],
        others=partial(asks_elsewhere, wish.batch.asks, project=wish.ground.project, site_id=wish.ground.site.id),
    )
    return Decided(plan, framework(wish.cluster.framework).prepare(facts.of_cluster(wish.cluster)))


def seed_of(id: uuid.UUID) -> int:
    """Parallel requests do not chase one host: ties are shuffled by the random bits of the request's own id."""
    return id.int & 0xFFFF_FFFF


def create_cluster(*, wish: Wish, decided: Decided, by: Actor) -> tuple[Cluster, Operation]:
    """Write a cluster and all that it holds. Raises NameTaken, Conflict (quota, pool, endpoints), ledger.Stale."""
    cluster, where = wish.cluster, wish.ground
    _lock_project(where.project)
    cluster.endpoint_host = endpoints.take(zone_ids=[zone.id for zone in where.zones], holder=cluster.id)
    if decided.prepared is None:
        raise ValueError("a new cluster needs its keys")
    facts.seal(cluster, decided.prepared)
    try:
        with transaction.atomic():
            cluster.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(f"{where.project.name} has a cluster named {cluster.name}.") from None
    NodePool.objects.bulk_create(wish.pools)
    save(wish.batch, decided.plan, where)
    operation = operations.start("cluster.create", target=target(cluster), by=by)
    wake(CLUSTER_KIND, cluster.id, tenant_id=cluster.tenant_id, site_id=where.site.id)
    commit(wish.batch, decided.plan, where, spend=ONE_CLUSTER, counts=wish.counts)
    return cluster, operation


def _lock_project(project: Project) -> None:
    """It must not be deleted while something is being put into it."""
    with connection.cursor() as cursor:
        cursor.execute("select 1 from tenants_project where id = %s and deleted_at is null for share", [project.id])
        if cursor.fetchone() is None:
            raise NotFound("The project has just been deleted.")


def save(batch: Batch, plan: Plan, where: Ground) -> None:
    asking.settle(batch, plan, where)
    folders.claim(project=where.project, zones=where.zones)
    VM.objects.bulk_create(batch.vms)
    Node.objects.bulk_create(batch.nodes)


def commit(
    batch: Batch,
    plan: Plan,
    where: Ground,
    spend: Sequence[ledger.Spend] = (),
    counts: Mapping[str, Sequence[int]] | None = None,
) -> None:
    ledger.commit(
        tenant_id=where.project.tenant_id,
        project_id=where.project.id,
        asks=batch.asks,
        plan=plan,
        pools=where.pool_ids,
        spend=spend,
        counts=counts,
    )


# --- deleting ------------------------------------------------------------------------------------------------------


def delete_cluster(*, cluster: Cluster, by: Actor, check: Callable[[Cluster], None] | None = None) -> Operation:
    """Delete wins over whatever is under way. Said twice, it is the same delete. `check` judges the locked row."""
    cluster = Cluster.objects.select_for_update(no_key=True).get(pk=cluster.pk)
    if cluster.deleted_at is not None:
        raise NotFound("The cluster has just been deleted.")
    if check is not None:
        check(cluster)
    if cluster.phase == ClusterPhase.DELETING:
        under_way = operations.open_ones(CLUSTER_KIND, cluster.id).filter(verb="cluster.delete").first()
        if under_way is not None:
            return cast(Operation, under_way)
    generation = cluster.generation + 1
    Cluster.objects.filter(pk=cluster.pk).update(
        phase=ClusterPhase.DELETING, delete_asked_at=timezone.now(), generation=generation, reason=None
    )
    operation = operations.start("cluster.delete", target=target(cluster), by=by, generation=generation)
    wake(CLUSTER_KIND, cluster.id, tenant_id=cluster.tenant_id, site_id=site_id_of(cluster))
    return operation


def cancel_create(operation: Operation, by: Actor) -> None:
    """Taking back a create is a delete."""
    delete_cluster(cluster=Cluster.objects.get(pk=operation.target_id), by=by)


# --- getting in ----------------------------------------------------------------------------------------------------


def kubeconfig(*, cluster: Cluster, level: Level, life: timedelta, by: Actor) -> dict[str, Any]:
    """A certificate for this caller and the file that carries it. Asks the cluster: call it outside a transaction."""
    if cluster.phase == ClusterPhase.DELETING:
        raise Conflict(f"{cluster.name} is being deleted.", code="not_ready")
    if cluster.initialized_at is None:
        raise Conflict(f"{cluster.name} has no API yet: it is {cluster.phase}.", code="not_ready")
    kind, known = framework(cluster.framework), facts.of_cluster(cluster)
    secrets = facts.unseal(cluster).secrets
    try:
        credential = kind.access(known, secrets, subject_of(by), level, life)
    except NotAnswering as silent:
        raise Conflict(f"The cluster does not answer: {silent.sentence}", code="not_ready") from None
    except ClusterRefused as refused:
        raise Problem(f"The cluster refused: {refused.sentence}", code="cluster_refused", status=409) from None
    except BadSpec as error:
        raise asking.invalid(error) from None
    return {
        "kubeconfig": kind.kubeconfig(known, secrets, credential),
        "context": f"{cluster.name}-simulated" if cluster.simulated else cluster.name,
        "server": f"https://{cluster.endpoint_host}:{cluster.endpoint_port}",
        "certificate_authority_data": secrets["ca.crt"].decode(),
        "client_certificate_data": credential.client_certificate_data,
        "client_key_data": credential.client_key_data,
        "expires_at": credential.expires_at,
    }


def subject_of(by: Actor) -> str:
    """Whom the cluster's own audit log will name."""
    return f"{by.kind}:{by.name}"


def record_access(*, cluster: Cluster, level: Level, expires_at: Any, by: Actor) -> None:
    events.record(
        "cluster.kubeconfig",
        by=by,
        kind=CLUSTER_KIND,
        id=cluster.id,
        name=cluster.name,
        tenant_id=cluster.tenant_id,
        project_id=cluster.project_id,
        after={"level": level.value, "expires_at": expires_at.isoformat()},
    )


def control_planes(nodes: Sequence[Node]) -> list[Node]:
    """In the order in which they join: the first one begins the cluster."""
    planes = [node for node in nodes if node.role == NodeRole.CONTROL_PLANE]
    return sorted(planes, key=lambda node: (node.created_at, node.name))
