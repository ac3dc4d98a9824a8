"""What teams do with VMs of their own: ask, delete. Views give the contexts.

Creating is three acts, see Endpoint.placed_once: `asking.wish` reads, `decide` places outside any transaction, and the
verb here writes everything in one, the ledger last.
"""

from __future__ import annotations

import json
from functools import partial

from django.db import IntegrityError, connection
from django.utils import timezone

from facet.operations import services as operations
from facet.operations.models import Operation
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import NameTaken
from scheduler import ledger
from scheduler.core.ask import Plan
from scheduler.elsewhere import asks_elsewhere

from . import folders, nics, standing
from .asking import Wish
from .models import VM, VM_KIND, VmPhase

# --- asking --------------------------------------------------------------------------------------------------------


def decide(wish: Wish) -> Plan:
    """Room for all of them, outside any transaction. Raises Problem no_room with the reasons."""
    return ledger.decide(
        wish.asks,
        seed=wish.vms[0].id.int & 0xFFFF_FFFF,  # random bits: parallel requests do not chase one host
        flavors={"": wish.ground.shapes},
        zones=[zone.id for zone in wish.ground.zones],
        others=partial(asks_elsewhere, wish.asks, project=wish.ground.project, site_id=wish.ground.site.id),
    )


def create_vm(*, wish: Wish, plan: Plan, by: Actor) -> tuple[VM, Operation]:
    """Write a VM and all that it holds. Raises NameTaken, Conflict (quota, pool), ledger.Stale."""
    vm = wish.vms[0]
    _save(wish, plan)
    operation = operations.start("vm.create", target=standing.target(vm), by=by, first=True)
    wake(VM_KIND, vm.id, tenant_id=vm.tenant_id, site_id=wish.ground.site.id)
    _claim(wish, plan)
    return vm, operation


def hold(*, wish: Wish, plan: Plan) -> None:
    """Rows and room of all of them, and nobody to make them: for a dry run, which takes it back."""
    _save(wish, plan)
    _claim(wish, plan)


def _save(wish: Wish, plan: Plan) -> None:
    project = wish.ground.project
    _settle(wish, plan)
    new = {vm.zone_id: vm.zone for vm in wish.vms if vm.zone_id not in wish.ground.folders}
    if new:
        folders.claim(project=project, zones=new.values())
    try:
        VM.objects.bulk_create(wish.vms)
    except IntegrityError as error:
        taken = getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") == "vm_name_in_project"
        if not taken:
            raise
        names = wish.vms[0].name if len(wish.vms) == 1 else "one of these names"
        raise NameTaken(f"{project.name} has a VM named {names}.") from None
    nics.save(wish.vms, wish.cards)


def _claim(wish: Wish, plan: Plan) -> None:
    """A project that is deleted meanwhile has no limits left to take from: it takes nothing new."""
    project = wish.ground.project
    ledger.commit(
        tenant_id=project.tenant_id, project_id=project.id, asks=wish.asks, plan=plan, pools=wish.ground.pool_ids
    )


def _settle(wish: Wish, plan: Plan) -> None:
    """Write onto the (unsaved) VMs what the plan decides: the zone, the host, and a network that the host reaches."""
    placed = {one.key: one for one in plan.placements}
    with connection.cursor() as cursor:  # plain SQL: the ORM takes four times as long for these two columns
        cursor.execute(
            "select id, name, network_refs::text from infra_host where id = any(%s::uuid[])",
            [list({one.host_id for one in plan.placements})],
        )
        hosts = {id: (name, json.loads(refs)) for id, name, refs in cursor.fetchall()}
    zones = {zone.id: zone for zone in wish.ground.zones}
    for vm in wish.vms:
        one = placed[vm.id]
        host_name, network_refs = hosts[one.host_id]
        vm.zone = zones[one.zone_id]
        lent = wish.ground.networks[one.zone_id]
        vm.network = nics.first(wish.cards) or next((net for net in lent if net.ref in network_refs), None)
        vm.host_name = host_name  # type: ignore[attr-defined]  # as views.vms() annotates it


# --- deleting ------------------------------------------------------------------------------------------------------


def delete_vm(*, vm: VM, by: Actor, check: standing.Check | None = None) -> Operation:
    """Delete wins over whatever is under way. Said twice, it is the same delete. `check` judges the locked row.

    Raises InUse for a VM that something else looks after.
    """
    vm = standing.locked(vm, check)
    if vm.phase == VmPhase.DELETING:
        under_way = standing.under_way(vm, "vm.delete")
        if under_way is not None:
            return under_way
    generation = vm.generation + 1
    VM.objects.filter(pk=vm.pk).update(
        phase=VmPhase.DELETING, delete_asked_at=timezone.now(), generation=generation, reason=None
    )
    operation = operations.start("vm.delete", target=standing.target(vm), by=by, generation=generation)
    wake(VM_KIND, vm.id, tenant_id=vm.tenant_id, site_id=vm.zone.site_id)
    return operation


def cancel_create(operation: Operation, by: Actor) -> None:
    """Taking back a create is a delete."""
    delete_vm(vm=VM.objects.get(pk=operation.target_id), by=by)
