"""Pools: shape in, one call, receipt out. Pools place (their guarantees are room), see Endpoint.placed_once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.response import Response

from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import Forbidden, Invalid
from infra.services import zone_by_name
from tenants.models import Project, Tenant

from .. import services, spare, transfer
from ..guarantees import Amounts, Moves
from ..models import ResourcePool
from ..serializers import pools as shapes
from ..services import Limits, Wish
from ..transfer import Transfer
from ..zone_loss import Together

POOLS = ResourcePool.objects.filter(deleted_at=None).select_related("zone", "tenant", "project")


class PoolView(Endpoint):
    """What the endpoints of pools share."""

    placing = True
    serializer_class = shapes.PoolSerializer
    queryset = POOLS

    def receipt(self, done: tuple[ResourcePool, Any]) -> Answer:
        pool, operation = done
        return 202, {"operation": OperationSerializer(operation).data, "pool": self.document(pool)}

    def document(self, pool: ResourcePool) -> dict[str, Any]:
        """A pool as its own GET shows it."""
        shown: dict[str, Any] = shapes.PoolSerializer(POOLS.get(pk=pool.pk)).data
        return shown


class TenantPoolEndpoint(PoolView):
    """A tenant's parts of the zones."""

    parent_model = Tenant
    verbs = {"list": "tenant-pool.read", "create": "tenant-pool.write"}
    requests = {"create": shapes.PoolRequest}
    answers = {"create": (202, accepted("pool", shapes.PoolSerializer))}

    def owner(self) -> tuple[Tenant, Project | None]:
        return self.parent, None

    def get_queryset(self) -> QuerySet[ResourcePool]:
        return POOLS.filter(tenant_id=self.kwargs["parent_pk"], project=None)

    def list(self, request: Any, **kwargs: Any) -> Response:
        with self.access.context():
            return super().list(request, **kwargs)

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Give out a part of a zone. A guarantee that finds no room is refused at once, and nothing is held."""
        data = dict(self.valid())
        zone, limit = data.pop("zone"), data.pop("limit") or Limits()

        def read() -> Wish:
            tenant, project = self.owner()
            return services.wish(tenant=tenant, project=project, zone=zone_by_name(zone), limit=limit, **data)

        def write(wanted: Wish, moves: Moves) -> Answer:
            return self.receipt(services.create_pool(wanted=wanted, moves=moves, by=self.access.actor))

        return self.placed_once(read=read, decide=services.decide, write=write)


class ProjectPoolEndpoint(TenantPoolEndpoint):
    """A project's parts of the zones, cut from its tenant's."""

    parent_model = Project
    verbs = {"list": "project-pool.read", "create": "project-pool.write"}

    def owner(self) -> tuple[Tenant, Project | None]:
        return Tenant.objects.get(pk=self.parent.tenant_id), self.parent

    def get_queryset(self) -> QuerySet[ResourcePool]:
        return POOLS.filter(project_id=self.kwargs["parent_pk"])


class PoolEndpoint(PoolView):
    """One pool, a tenant's or a project's."""

    verbs = {
        "retrieve": "tenant-pool.read",
        "update": "tenant-pool.write",
        "destroy": "tenant-pool.write",
        "transfer": "tenant-pool.write",
        "take_spare": "tenant-pool.write",
    }
    conditional = frozenset({"transfer", "take_spare"})
    requests = {"update": shapes.PoolChange, "transfer": shapes.TransferRequest}
    answers = {
        "transfer": (202, accepted("pool", shapes.PoolSerializer)),
        "take_spare": (202, accepted("pool", shapes.PoolSerializer)),
        "update": (202, accepted("pool", shapes.PoolSerializer)),
        "destroy": (202, accepted("pool", shapes.PoolSerializer)),
    }

    def authorize(self) -> None:
        """Whose pool it is decides which right is asked for."""
        pool = ResourcePool.objects.filter(pk=self.kwargs["pk"]).first()
        if pool is not None and pool.project_id is not None:
            self.verbs = {action: verb.replace("tenant-", "project-") for action, verb in self.verbs.items()}
        super().authorize()

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        with self.access.context():
            return super().retrieve(request, **kwargs)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Change what a pool may have or is guaranteed. Never below what is used or handed down."""
        data = dict(self.valid())
        if "limit" in data:
            data["limit"] = data["limit"] or Limits()

        def read() -> Wish:
            wanted = services.changed(self.found, data)
            self.check_if_match(wanted.pool, self.document)
            return wanted

        def write(wanted: Wish, moves: Moves) -> Answer:
            return self.receipt(services.update_pool(wanted=wanted, moves=moves, by=self.access.actor))

        return self.placed_once(read=read, decide=services.decide, write=write)

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Give a pool's room back. Refused while anything is in it."""

        def write(left: Together | None, moves: Moves) -> Answer:
            done = services.delete_pool(pool=self.found, left=left, moves=moves, by=self.access.actor)
            return self.receipt(done)

        return self.placed_once(read=lambda: services.leaving(self.found), decide=services.decide_leaving, write=write)

    def transfer(self, request: Any, **kwargs: Any) -> Response:
        """Give guaranteed room that is not in use to another pool of the zone: another tenant's, or from project to
        project. All or nothing, in one transaction."""
        data = self.valid()

        def read() -> Transfer:
            source = POOLS.get(pk=self.found.pk)
            self.check_if_match(source, self.document)
            amounts = Amounts(data["vcpu"], data["memory_mib"])
            return transfer.read(source=source, target=self._receiver(data["to"]), amounts=amounts)

        def write(asked: Transfer, moves: Moves) -> Answer:
            return self.receipt(transfer.write(asked, moves, by=self.access.actor))

        return self.placed_once(read=read, decide=transfer.decide, write=write)

    def _receiver(self, id: UUID) -> ResourcePool:
        """The pool that gets the room: one that the caller may see, and write. Raises Invalid, Forbidden."""
        found: ResourcePool | None = self.access.scope(POOLS).filter(pk=id).first()
        if found is None:
            raise Invalid({"to": "There is no such pool, or it is not yours."})
        verb = "tenant-pool.write" if found.project_id is None else "project-pool.write"
        tenant_id, project_id = self.owner_ids(found)
        if not self.access.may(verb, tenant_id=tenant_id, project_id=project_id):
            raise Forbidden(f"Your roles do not include {verb} there.")
        return found

    def take_spare(self, request: Any, **kwargs: Any) -> Response:
        """After the loss of a zone: make the spare room that this pool keeps for it its guarantee."""

        def read() -> ResourcePool:
            pool = POOLS.get(pk=self.found.pk)
            self.check_if_match(pool, self.document)
            return pool

        def write(pool: ResourcePool, _: None) -> Answer:
            return self.receipt(spare.take_spare(pool=pool, by=self.access.actor))

        return self.placed_once(read=read, decide=lambda _: None, write=write)
