"""After the loss of a zone: the spare room that a tenant's pool keeps for it becomes guarantee."""

from __future__ import annotations

from django.db.models import F

from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Conflict
from infra.models import Zone
from tenants.models import Tenant

from . import guarantees, services, use
from .guarantees import NOTHING, Amounts
from .ledger import Stale
from .models import PoolPhase, ResourcePool
from .wishes import reserved_of


def take_spare(*, pool: ResourcePool, by: Actor) -> tuple[ResourcePool, Operation]:
    """Make a pool's spare room its guarantee: what it reserves, and may have, rises by it. The pool is flagged no more.

    The other pools keep theirs as it is, so that it can be taken there too. Raises Conflict `no_spare`, Stale.
    """
    list(Tenant.objects.filter(pk=pool.tenant_id).select_for_update(no_key=True).values_list("id"))
    held = use.spare_holds(pool)
    guarantees.move(pool.zone_id, held)
    row = services.locked(pool.id)[0]
    spare = Amounts(row.vcpu_spare, row.memory_spare_mib)
    if row.deleted_at is not None or row.phase == PoolPhase.DELETING:
        raise Conflict(f"Pool {row.name} is being deleted.", code="deleting")
    if Amounts(sum(m.vcpu for m in held), sum(m.memory_mib for m in held)) != spare:
        raise Stale(f"the spare room of pool {row.id} changed meanwhile")
    if spare == NOTHING:
        raise Conflict(f"Pool {row.name} keeps no spare room.", code="no_spare")
    before, after = reserved_of(row), reserved_of(row).plus(spare)
    ResourcePool.objects.filter(pk=row.pk).update(
        vcpu_reserved=after.vcpu,
        memory_reserved_mib=after.memory_mib,
        vcpu_limit=F("vcpu_limit") + spare.vcpu,
        memory_limit_mib=F("memory_limit_mib") + spare.memory_mib,
        vcpu_spare=0,
        memory_spare_mib=0,
        survives_zone_loss=False,
        generation=row.generation + 1,
    )
    row.refresh_from_db()
    operation = operations.start(
        "pool.take-spare",
        target=services.target(row),
        by=by,
        generation=row.generation,
        before={"reserved": before._asdict()},
        after={"reserved": after._asdict()},
    )
    site_id = Zone.objects.values_list("site_id", flat=True).get(pk=row.zone_id)
    wake(services.POOL_KIND, row.id, tenant_id=row.tenant_id, site_id=site_id)
    return row, operation
