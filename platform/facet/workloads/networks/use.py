"""Who has networks: what keeps zones and projects from going."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ..models import Network
from .services import KIND, SHOWN


def of_zone(zone_id: UUID) -> list[dict[str, Any]]:
    return _holders(zone_id=zone_id)


def of_project(project_id: UUID) -> list[dict[str, Any]]:
    return _holders(project_id=project_id)


def _holders(**which: UUID) -> list[dict[str, Any]]:
    rows = Network.objects.filter(deleted_at=None, **which).order_by("name", "id")[:SHOWN]
    return [{"kind": KIND, "id": str(network.id), "name": network.name} for network in rows]
