"""What clusters keep: a machine of theirs goes with them, and not by itself."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from .models import CLUSTER_KIND, Cluster


def of_vm(vm_id: UUID) -> list[dict[str, Any]]:
    """The cluster that a VM is a machine of, as the holder of a 409."""
    rows = Cluster.objects.filter(nodes__vm_id=vm_id, deleted_at=None).values_list("id", "name")
    return [{"kind": CLUSTER_KIND, "id": str(id), "name": name} for id, name in rows]
