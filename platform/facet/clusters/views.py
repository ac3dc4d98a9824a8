"""Views: shape in, one call, receipt out. Those that place run outside a transaction, see Endpoint.placed_once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, QuerySet
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.response import Response

from facet.clusters.frameworks.base import Level
from facet.operations import engine
from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import Conflict, Problem
from facet.workloads import asking as vms
from facet.workloads import services as vm_services
from facet.workloads.serializers import VmTrialRequest
from infra.models import Datastore, Host, Zone
from scheduler import ledger
from scheduler.core.ask import Ask, Plan
from tenants.models import Project

from . import asking, scaling, services
from . import serializers as shapes
from .models import Cluster, Node, NodePhase, NodePool

ACCEPTED = accepted("cluster", shapes.ClusterSerializer)
TRIALS = PolymorphicProxySerializer("TrialRequest", [shapes.PlacementRequest, VmTrialRequest], None)


def clusters() -> QuerySet[Cluster]:
    """Living clusters with what their answers need."""
    living = Node.objects.exclude(phase=NodePhase.GONE).only("cluster_id", "pool_id", "role", "ready")
    return (
        Cluster.objects.filter(deleted_at=None)
        .defer("secrets_sealed", "token_sealed")
        .select_related("tenant", "project")
        .prefetch_related(
            Prefetch("nodes", living),
            Prefetch("node_pools", NodePool.objects.order_by("created_at", "name")),
            Prefetch("node_pools__nodes", living),
        )
    )


class ClusterView(Endpoint):
    """What the endpoints of clusters share."""

    serializer_class = shapes.ClusterSerializer

    def get_queryset(self) -> QuerySet[Cluster]:
        return clusters()

    def get_serializer_context(self) -> dict[str, Any]:
        return super().get_serializer_context() | {"zone_names": engine.wiring().zone_names()}

    def document(self, cluster: Cluster) -> dict[str, Any]:
        """A cluster as its own GET shows it."""
        found = clusters().get(pk=cluster.pk)
        shown: dict[str, Any] = shapes.ClusterSerializer(found, context=self.get_serializer_context()).data
        return shown


class ProjectClusterEndpoint(ClusterView):
    """A project's clusters."""

    parent_model = Project
    placing = True
    verbs = {"list": "cluster.read", "create": "cluster.write"}
    requests = {"create": shapes.ClusterRequest}
    answers = {"create": (202, ACCEPTED)}

    def get_queryset(self) -> QuerySet[Cluster]:
        return clusters().filter(project_id=self.kwargs["parent_pk"])

    def list(self, request: Any, **kwargs: Any) -> Response:
        with self.access.context():
            return super().list(request, **kwargs)

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Ask for a cluster. What cannot fit is refused at once, with the reasons; nothing is held then."""
        data = self.valid()

        def write(wish: asking.Wish, decided: services.Decided) -> Answer:
            cluster, operation = services.create_cluster(wish=wish, decided=decided, by=self.access.actor)
            return 202, {"operation": OperationSerializer(operation).data, "cluster": self.document(cluster)}

        return self.placed_once(
            read=lambda: asking.wish(data=data, project=self.parent), decide=services.decide_wish, write=write
        )


class PlacementEndpoint(Endpoint):
    """Dry runs: would a cluster fit, or some VMs, where, and why not."""

    parent_model = Project
    placing = True
    pagination_class = None
    serializer_class = shapes.PlacementSerializer
    queryset = Cluster.objects.none()
    verbs = {"create": "placement.ask"}
    requests = {"create": shapes.PlacementRequest}
    answers = {"create": (200, shapes.PlacementSerializer)}

    @extend_schema(request=TRIALS)
    def create(self, request: Any, **kwargs: Any) -> Response:
        """Does all that a request for a cluster does, or for a VM (`{"vm": {...}, "count": 5}`), and takes it back."""
        try:
            placed = self._vms() if isinstance(request.data, dict) and "vm" in request.data else self._cluster()
        except Problem as problem:
            if problem.status != 409:
                raise
            return Response({"fits": False, "placements": [], **problem.document()})
        except ledger.Stale:
            raise Conflict("The room changed at this moment. Ask again.", code="busy", status=503) from None
        return Response({"fits": True, "placements": placed})

    def _cluster(self) -> list[dict[str, Any]]:
        data = self.valid()
        with self.access.context():
            wish = asking.wish(data=data, project=self.parent)
        decided = services.decide_wish(wish)
        with self.access.context():
            services.create_cluster(wish=wish, decided=decided, by=self.access.actor)
            placed = _placed(wish.batch.asks, decided.plan)
            transaction.set_rollback(True)
        return placed

    def _vms(self) -> list[dict[str, Any]]:
        data = self.valid_as(VmTrialRequest)
        with self.access.context():
            wish = vms.wish(data=data["vm"], project=self.parent, count=data["count"])
        plan = vm_services.decide(wish)
        with self.access.context():
            vm_services.hold(wish=wish, plan=plan)
            placed = _placed(wish.asks, plan)
            transaction.set_rollback(True)
        return placed


def _placed(asks: Sequence[Ask], plan: Plan) -> list[dict[str, Any]]:
    """Where each would stand, by names."""
    hosts = dict(Host.objects.filter(pk__in={one.host_id for one in plan.placements}).values_list("id", "name"))
    stores = dict(
        Datastore.objects.filter(pk__in={one.datastore_id for one in plan.placements}).values_list("id", "name")
    )
    zones = dict(Zone.objects.filter(pk__in={one.zone_id for one in plan.placements}).values_list("id", "name"))
    by_key = {ask.key: ask for ask in asks}
    return [
        {
            "name": by_key[one.key].name,
            "role": by_key[one.key].role,
            "zone": zones[one.zone_id],
            "host": hosts[one.host_id],
            "datastore": stores.get(one.datastore_id, "") if one.datastore_id else "",
            "why": one.why,
        }
        for one in plan.placements
    ]


class ClusterEndpoint(ClusterView):
    """One cluster."""

    verbs = {"retrieve": "cluster.read", "destroy": "cluster.write"}
    answers = {"destroy": (202, ACCEPTED)}

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Delete a cluster and all its machines. Said twice, it is the same delete."""
        cluster = self.get_object()

        def check(locked: Cluster) -> None:
            self.check_if_match(locked, self.document)

        operation = services.delete_cluster(cluster=cluster, by=self.access.actor, check=check)
        body = {"operation": OperationSerializer(operation).data, "cluster": self.document(cluster)}
        return Response(body, status=202)


class ClusterNodeEndpoint(Endpoint):
    """A cluster's nodes, as they were last seen."""

    parent_model = Cluster
    serializer_class = shapes.NodeSerializer
    verbs = {"list": "cluster.read"}
    filter_fields = ("name", "role", "phase")

    def get_queryset(self) -> QuerySet[Node]:
        nodes = Node.objects.filter(cluster_id=self.kwargs["parent_pk"]).exclude(phase=NodePhase.GONE)
        return nodes.select_related("vm", "pool")

    def list(self, request: Any, **kwargs: Any) -> Response:
        rows = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        context = self.get_serializer_context() | {
            "allocations": ledger.allocations([node.vm_id for node in rows]),
            "zone_names": engine.wiring().zone_names(),
        }
        return self.get_paginated_response(shapes.NodeSerializer(rows, many=True, context=context).data)


class ClusterNodePoolEndpoint(Endpoint):
    """A cluster's pools of workers."""

    parent_model = Cluster
    serializer_class = shapes.NodePoolSerializer
    verbs = {"list": "cluster.read"}

    def get_queryset(self) -> QuerySet[NodePool]:
        return NodePool.objects.filter(cluster_id=self.kwargs["parent_pk"]).prefetch_related(_living_nodes())


def _living_nodes() -> Prefetch[str]:
    return Prefetch("nodes", Node.objects.exclude(phase=NodePhase.GONE))


class NodePoolEndpoint(Endpoint):
    """One pool of workers."""

    placing = True
    serializer_class = shapes.NodePoolSerializer
    verbs = {"retrieve": "cluster.read", "update": "cluster.write"}
    requests = {"update": shapes.SizeRequest}
    answers = {"update": (202, accepted("node_pool", shapes.NodePoolSerializer))}

    def get_queryset(self) -> QuerySet[NodePool]:
        return NodePool.objects.filter(cluster__deleted_at=None).prefetch_related(_living_nodes())

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        with self.access.context():
            return self.shown(self.get_queryset().get(pk=self.found.pk))

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Another size. Nodes that go are drained first."""
        size = self.valid()["size"]

        def check(pool: NodePool) -> None:
            """At each look: a rival that was faster is seen, and its size not undone."""
            self.check_if_match(pool, lambda found: shapes.NodePoolSerializer(found).data)

        def write(wanted: scaling.Scaling, plan: Any) -> Answer:
            pool, operation = scaling.scale(scaling=wanted, plan=plan, by=self.access.actor)
            shown = shapes.NodePoolSerializer(self.get_queryset().get(pk=pool.pk)).data
            return 202, {"operation": OperationSerializer(operation).data, "node_pool": shown}

        return self.placed_once(
            read=lambda: scaling.read_scaling(pool=self.found, size=size, check=check),
            decide=scaling.decide_scaling,
            write=write,
        )


class KubeconfigEndpoint(Endpoint):
    """A way into a cluster, for this caller and for a while."""

    parent_model = Cluster
    placing = True  # it asks the cluster itself, so it must not hold a transaction meanwhile
    pagination_class = None
    serializer_class = shapes.KubeconfigSerializer
    queryset = Cluster.objects.none()
    verbs = {"create": "cluster.kubeconfig"}
    requests = {"create": shapes.KubeconfigRequest}
    answers = {"create": (200, shapes.KubeconfigSerializer)}
    secret_answers = frozenset({"create"})

    def create(self, request: Any, **kwargs: Any) -> Response:
        """A client certificate signed for this caller: an hour by default, at most 24. Not kept: ask again."""
        life = timedelta(seconds=self.valid()["expires_in_s"])
        cluster: Cluster = self.parent
        if cluster.deleted_at is not None:
            raise Conflict("The cluster is gone.", code="not_ready")
        place = {"tenant_id": cluster.tenant_id, "project_id": cluster.project_id}
        level = Level.EDITOR if self.access.may("cluster.write", **place) else Level.VIEWER
        actor = self.access.actor
        given = services.kubeconfig(cluster=cluster, level=level, life=life, by=actor)

        def work() -> Answer:
            services.record_access(cluster=cluster, level=level, expires_at=given["expires_at"], by=actor)
            return 200, given

        with self.access.context():
            return self.once(work)
