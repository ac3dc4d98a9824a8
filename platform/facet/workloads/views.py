"""Views: shape in, one call, receipt out. Creating places, and so runs outside a transaction: Endpoint.placed_once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from rest_framework.response import Response

from facet.operations.serializers import OperationSerializer, accepted
from facet.rest.endpoint import Endpoint
from facet.rest.idempotency import Answer
from facet.rest.problems import NotFound
from scheduler.core.ask import Plan
from scheduler.models import Allocation
from tenants.models import Project
from tenants.services import project_with_tenant

from . import asking, nics, services
from . import serializers as shapes
from .models import VM

ACCEPTED = accepted("vm", shapes.VmSerializer)
RECEIPT, SHOWN = OperationSerializer(), shapes.VmSerializer()  # kept: making their fields costs more than showing them


def vms() -> QuerySet[VM]:
    """Living VMs with what their answers need."""
    held = Allocation.objects.filter(holder=OuterRef("pk"), released=None)
    return (
        VM.objects.filter(deleted_at=None)
        .select_related("project__tenant", "zone__site", "image", "network")
        .prefetch_related(nics.rows())
        .defer("zone__site__password_sealed", "zone__site__ca_pem")
        .annotate(host_name=Subquery(held.values(name=Coalesce("seen_on__name", "host__name"))[:1]))
    )


class ProjectVmEndpoint(Endpoint):
    """A project's VMs, those of its clusters among them."""

    parent_model = Project
    placing = True
    rights_when_read = frozenset({"create"})
    serializer_class = shapes.VmSerializer
    verbs = {"list": "vm.read", "create": "vm.write"}
    requests = {"create": shapes.VmRequest}
    answers = {"create": (202, ACCEPTED)}
    filter_fields = ("name", "phase", "owner_kind", "owner_id")

    def find_parent(self, pk: UUID) -> Project:
        found = project_with_tenant(pk)
        if found is None or not self.access.sees(found):
            raise NotFound("There is no such object, or it is not yours.")
        return found

    def get_queryset(self) -> QuerySet[VM]:
        return vms().filter(project_id=self.kwargs["parent_pk"])

    def list(self, request: Any, **kwargs: Any) -> Response:
        with self.access.context():
            return super().list(request, **kwargs)

    def create(self, request: Any, **kwargs: Any) -> Response:
        """Ask for a VM. What cannot fit is refused at once, with the reasons; nothing is held then."""

        def write(wish: asking.Wish, plan: Plan) -> Answer:
            vm, operation = services.create_vm(wish=wish, plan=plan, by=self.access.actor)
            return 202, {"operation": RECEIPT.to_representation(operation), "vm": SHOWN.to_representation(vm)}

        return self.placed_once(
            read=lambda: asking.wish(data=self.valid(), project=self.parent), decide=services.decide, write=write
        )


class VmEndpoint(Endpoint):
    """One VM."""

    serializer_class = shapes.VmSerializer
    verbs = {"retrieve": "vm.read", "destroy": "vm.write"}
    answers = {"destroy": (202, ACCEPTED)}

    def get_queryset(self) -> QuerySet[VM]:
        return vms()

    @staticmethod
    def document(vm: VM) -> dict[str, Any]:
        """A VM as its own GET shows it."""
        shown: dict[str, Any] = shapes.VmSerializer(vms().get(pk=vm.pk)).data
        return shown

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        """Delete a VM. Said twice, it is the same delete. A cluster's machine goes with its cluster: 409 names it."""
        vm = self.get_object()

        def check(locked: VM) -> None:
            self.check_if_match(locked, self.document)

        operation = services.delete_vm(vm=vm, by=self.access.actor, check=check)
        return Response({"operation": OperationSerializer(operation).data, "vm": self.document(vm)}, status=202)
