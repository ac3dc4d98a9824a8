"""What a tenant's pool has handed down to its projects' pools: guarantees and limits, cut from its own."""

from __future__ import annotations

from facet.rest.problems import Conflict, Invalid

from .guarantees import Amounts
from .ledger import Stale
from .models import PoolPhase, ResourcePool
from .wishes import Limits


def hand_down(above: ResourcePool, reserved: Amounts, to_reserved: Amounts, limit: Limits, to_limit: Limits) -> None:
    """Cut from the (locked) tenant's pool what a project's gets more, or give back what it gets less."""
    if above.phase == PoolPhase.DELETING or above.deleted_at is not None:
        raise Stale(f"pool {above.id} is going")
    short, changes = [], {}
    for resource, limit_column, given_column, kept_column in (
        ("vcpu", "vcpu_limit", "vcpu_handed_down", "vcpu_reserved_handed_down"),
        ("memory_mib", "memory_limit_mib", "memory_handed_down_mib", "memory_reserved_handed_down_mib"),
    ):
        more = (getattr(to_limit, resource) or 0) - (getattr(limit, resource) or 0)
        most, given = getattr(above, limit_column), getattr(above, given_column)
        if more > 0 and most is not None and given + more > most:
            short.append({"scope": "tenant pool", "resource": resource, "limit": most, "used": given, "asked": more})
        if most is not None and getattr(to_limit, resource) is None:
            raise Invalid({f"limit.{resource}": "Say a limit: the tenant's pool has one, and this is cut from it."})
        changes[given_column] = given + more
        changes[kept_column] = (
            getattr(above, kept_column) + getattr(to_reserved, resource) - getattr(reserved, resource)
        )
    if short:
        first = short[0]
        raise Conflict(
            f"The tenant's pool has {first['limit']} {first['resource']}, {first['used']} of it handed down; "
            f"{first['asked']} more were asked.",
            code="pool_exceeded",
            limits=short,
        )
    ResourcePool.objects.filter(pk=above.pk).update(**changes)
