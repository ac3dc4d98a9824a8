"""Who has room where, since when, and why there."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from rest_framework.response import Response

from facet.rest.endpoint import Endpoint
from infra.models import Host

from ..models import Allocation
from ..serializers import allocations as shapes


class AllocationEndpoint(Endpoint):
    """Who has room where, and why there. Closed ones stay, with the time of their release."""

    queryset = Allocation.objects.select_related("zone", "host", "seen_on", "datastore", "pool").annotate(
        created_at=F("created")
    )
    serializer_class = shapes.AllocationSerializer
    verbs = {"list": "allocation.read", "retrieve": "allocation.read", "why": "allocation.read"}
    answers = {"why": (200, shapes.WhySerializer)}
    filter_fields = ("holder", "project_id", "tenant_id", "pool_id", "host_id")

    def why(self, request: Any, **kwargs: Any) -> Response:
        """Why a VM stands where it does."""
        found: Allocation = self.get_object()
        why = dict(found.why)
        if why.get("next_best"):
            host = Host.objects.filter(pk=why["next_best"]["host"]).first()
            why["next_best"] = {**why["next_best"], "name": host.name if host else ""}
        body = {
            "allocation": self.get_serializer(found).data,
            "sentence": _sentence(found, why),
            "ask": found.ask,
            "why": why,
        }
        return Response(body)


def _sentence(found: Allocation, why: dict[str, Any]) -> str:
    left = [row["left"] for row in why.get("filters", ())]
    told = f"Of {why.get('hosts', 0)} hosts {left[-1] if left else 0} would do; policy {why.get('policy', '')} chose "
    other = (why.get("next_best") or {}).get("name")
    return f"{told}{found.host.name}{f', before {other}' if other else ''}."
