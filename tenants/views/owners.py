"""Tenants and projects."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from facet.rest.endpoint import Endpoint

from .. import serializers as shapes
from .. import services
from ..models import Project, Tenant


class TenantEndpoint(Endpoint):
    """Customers of the infrastructure."""

    queryset = Tenant.objects.filter(deleted_at=None)
    serializer_class = shapes.TenantSerializer
    verbs = {
        "list": "tenant.read",
        "retrieve": "tenant.read",
        "create": "tenant.write",
        "update": "tenant.write",
        "destroy": "tenant.write",
    }
    requests = {"create": shapes.TenantRequest, "update": shapes.TenantChange}
    answers = {"create": (201, shapes.TenantSerializer), "destroy": (204, None)}

    def create(self, request: Any) -> Response:
        data = self.valid()
        limits = data.pop("quota")
        return self.once(
            lambda: (
                201,
                self.get_serializer(services.create_tenant(**data, limits=limits, by=self.access.actor)).data,
            )
        )

    def update(self, request: Any, **kwargs: Any) -> Response:
        tenant = self.get_object()
        self.check_if_match(tenant, lambda found: self.get_serializer(found).data)
        return self.shown(services.update_tenant(tenant=tenant, changes=dict(self.valid()), by=self.access.actor))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        services.delete_tenant(tenant=self.get_object(), by=self.access.actor)
        return Response(status=204)


class TenantProjectEndpoint(Endpoint):
    """A tenant's projects."""

    parent_model = Tenant
    queryset = Project.objects.filter(deleted_at=None).select_related("tenant")
    serializer_class = shapes.ProjectSerializer
    verbs = {"list": "tenant.read", "create": "project.create"}
    requests = {"create": shapes.TenantRequest}
    answers = {"create": (201, shapes.ProjectSerializer)}

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(tenant_id=self.kwargs["parent_pk"])

    def create(self, request: Any, **kwargs: Any) -> Response:
        data = self.valid()
        limits = data.pop("quota")

        def work() -> tuple[int, Any]:
            project = services.create_project(tenant=self.parent, **data, limits=limits, by=self.access.actor)
            return 201, self.get_serializer(project).data

        return self.once(work)


class ProjectEndpoint(Endpoint):
    """Teams' parts of tenants."""

    queryset = Project.objects.filter(deleted_at=None).select_related("tenant")
    serializer_class = shapes.ProjectSerializer
    verbs = {"list": "project.read", "retrieve": "project.read", "update": "project.write", "destroy": "project.write"}
    requests = {"update": shapes.TenantChange}
    answers = {"destroy": (204, None)}
    filter_fields = ("name", "tenant_id")

    def update(self, request: Any, **kwargs: Any) -> Response:
        project = self.get_object()
        self.check_if_match(project, lambda found: self.get_serializer(found).data)
        return self.shown(services.update_project(project=project, changes=dict(self.valid()), by=self.access.actor))

    def destroy(self, request: Any, **kwargs: Any) -> Response:
        services.delete_project(project=self.get_object(), by=self.access.actor)
        return Response(status=204)
