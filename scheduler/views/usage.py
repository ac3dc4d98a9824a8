"""Showback, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from facet.rest.problems import Invalid
from tenants.models import Project, Tenant

from .. import usage
from ..models import Allocation
from ..serializers import usage as shapes

COLUMNS = (
    "from", "to", "project", "zone", "vms", "vcpu_seconds", "memory_mib_seconds", "storage_gib_seconds", "vcpu_hours",
    "memory_gib_hours", "storage_gib_hours",
)  # fmt: skip
PERIOD = [
    OpenApiParameter("from", OpenApiTypes.DATETIME, description="whole seconds; by default the month of `to`"),
    OpenApiParameter("to", OpenApiTypes.DATETIME, description="left out of the interval; by default all that is known"),
]


class Table(BaseRenderer):
    """A line for each project and zone. Names hold nothing that a spreadsheet would take for a formula."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, media_type: str | None = None, context: Mapping[str, Any] | None = None) -> Any:
        if context is None or context["response"].status_code >= 400:
            return JSONRenderer().render(data)
        lines = io.StringIO()
        writer = csv.DictWriter(lines, COLUMNS, extrasaction="ignore", lineterminator="\r\n")
        writer.writeheader()
        period = {name: data[name].isoformat() for name in ("from", "to")}
        writer.writerows({**row, **period} for row in data["items"])
        return lines.getvalue()


class TenantUsageEndpoint(Endpoint):
    """What a tenant's projects held, from when to when."""

    parent_model: Any = Tenant
    placing = True  # how far usage is known must be read outside the context
    pagination_class = None
    filter_fields = ()
    serializer_class = shapes.UsageSerializer
    queryset = Allocation.objects.none()
    renderer_classes = [JSONRenderer, Table]
    verbs = {"retrieve": "usage.read"}

    @extend_schema(parameters=PERIOD)
    def retrieve(self, request: Any, **kwargs: Any) -> Response:
        """Amounts times seconds, exact and additive; hours for reading. `?format=csv` for a spreadsheet."""
        asked = shapes.UsageQuery(data={name: request.query_params[name] for name in self._said()})
        asked.is_valid(raise_exception=True)
        known = usage.known_until()
        within = usage.interval(asked.validated_data.get("from"), asked.validated_data.get("to"), known)
        tenant_id, project_id = self.owner_ids(self.parent)
        with self.access.context():
            rows = usage.held(tenant_id, project_id, within)  # type: ignore[arg-type]  # both have a tenant
        items = [
            {"project": row.project, "project_id": row.project_id, "zone": row.zone, "zone_id": row.zone_id,
             "vms": row.holders, **usage.amounts([row])}
            for row in rows
        ]  # fmt: skip
        period = {"from": within.start, "to": within.end, "known_until": known}
        return Response(period | {"total": usage.amounts(rows), "items": items})

    def perform_content_negotiation(self, request: Any, force: bool = False) -> Any:
        """As DRF does; but a `format` that there is none of is a wrong value, not a page that is missing."""
        known = [one.format for one in self.renderer_classes]
        if not force and request.query_params.get("format", known[0]) not in known:
            raise Invalid({"format": f"One of {', '.join(known)}."})
        return super().perform_content_negotiation(request, force)

    def _said(self) -> list[str]:
        return [name for name in ("from", "to") if name in self.request.query_params]


class ProjectUsageEndpoint(TenantUsageEndpoint):
    """What a project held, from when to when."""

    parent_model = Project
    verbs = {"retrieve": "project-usage.read"}
