"""Limits of tenants and projects."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response

from facet.operations import engine
from facet.rest.endpoint import Endpoint, etag

from .. import quota
from .. import serializers as shapes
from ..models import Project, Quota, Tenant


class TenantQuotaEndpoint(Endpoint):
    """Limits of a tenant, and what is held of them."""

    parent_model = Tenant
    pagination_class = None
    serializer_class = shapes.QuotaSerializer
    queryset = Quota.objects.all()
    verbs = {"retrieve": "tenant-quota.read", "replace": "tenant-quota.write", "update": "tenant-quota.write"}
    requests = {"replace": shapes.QuotaRequest, "update": shapes.QuotaRequest}

    def of_whom(self) -> tuple[Tenant, Project | None]:
        return self.parent, None

    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """GET"""
        return self.shown(quota.Sheet.of(*self.of_whom()))

    def shown(self, found: quota.Sheet, status: int = 200) -> Response:
        return Response(self._items(found), status=status, headers={"ETag": etag(found)})

    @staticmethod
    def _items(found: quota.Sheet) -> dict[str, Any]:
        return {"items": quota.show(found.rows, engine.wiring().zone_names())}

    def replace(self, request: Any, **kwargs: Any) -> Response:
        """Set all limits of one scope: what is not named goes to zero (in a zone: is not narrowed there)."""
        return self._set(replace=True)

    def update(self, request: Any, **kwargs: Any) -> Response:
        """Set the named limits of one scope."""
        return self._set(replace=False)

    def _set(self, *, replace: bool) -> Response:
        data = self.valid()
        tenant, project = self.of_whom()
        quota.lock(tenant, project)
        self.check_if_match(quota.Sheet.of(tenant, project), self._items)
        zone_id = engine.wiring().zone_id(data["zone"]) if data["zone"] else None
        quota.set_limits(
            tenant=tenant,
            project=project,
            limits=data["limits"],
            zone_id=zone_id,
            replace=replace,
            by=self.access.actor,
        )
        return self.retrieve(self.request)


class ProjectQuotaEndpoint(TenantQuotaEndpoint):
    """Limits of a project, cut from its tenant's."""

    parent_model = Project
    verbs = {"retrieve": "project-quota.read", "replace": "project-quota.write", "update": "project-quota.write"}

    def of_whom(self) -> tuple[Tenant, Project | None]:
        return self.parent.tenant, self.parent
