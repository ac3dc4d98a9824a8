"""Zone-loss guarantees: what a tenant is guaranteed in one zone is kept a second time as spare room in its others."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from .core.ask import Shape
from .models import ResourcePool


def largest_declared(tenant_id: UUID, known: Mapping[str, Shape]) -> Shape | None:
    """The largest shape that the tenant's pools which survive the loss of a zone declare. Reads."""
    flagged = ResourcePool.objects.filter(tenant_id=tenant_id, survives_zone_loss=True, deleted_at=None)
    declared = [known[name] for name in flagged.values_list("largest_shape", flat=True) if name in known]
    return max(declared, key=lambda shape: shape[1:3], default=None)
