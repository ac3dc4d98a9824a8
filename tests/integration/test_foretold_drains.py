"""What a what-if of a drain says is what the ledger then does: on zones at random, moved in any order."""

from __future__ import annotations

import random
from contextlib import suppress
from uuid import uuid4

import pytest

from facet.rest.dbtypes import CurrentXid
from facet.rest.problems import Conflict
from infra.models import Datastore, Host, Zone
from scheduler import guarantees, ledger, moves, rehousing, services, standing, whatif
from scheduler.core.ask import Apart, Group, Policy, Together
from scheduler.guarantees import Amounts
from scheduler.models import Allocation, Hold
from scheduler.moves import Going
from tenants import isolation
from tests import factories, room
from tests.factories import as_system
from tests.room import GIB, check_books

SEEDS = range(24)


def rules(dice, key):
    return dice.choice(
        [None, None, Group(key, Apart.REQUIRED), Group(key, Apart.PREFERRED),
         Group(key, None, False, together=Together.REQUIRED), Group(key, None, False, together=Together.PREFERRED)]
    )  # fmt: skip


def zone_at_random(dice, offices):
    """Hosts of which some reach one datastore and some two, two tenants with guarantees, and VMs of theirs."""
    place = room.land(hosts=dice.randint(3, 6), vcpu=12, memory_mib=24 * GIB, storage_gib=400)
    with as_system():
        second = Datastore.objects.create(
            site=place.zone.site, ref="ds-2", name="ds-2", capacity_gib=300, free_gib=300, limit_gib=300
        )
        second.zones.add(place.zone)
        for host in place.hosts:
            refs = dice.choice([["ds-1"], ["ds-1", "ds-2"], ["ds-2"], ["ds-1", "ds-2"]])
            Host.objects.filter(pk=host.pk).update(datastore_refs=refs, changed=CurrentXid())
    owners = []
    for office in offices:
        amounts = Amounts(dice.randint(1, 10), dice.randint(1, 16) * GIB)
        shape = dice.choice(["", "small", "medium"])
        try:
            pool = room.pool(place, office.tenant, model="flex", reserved=amounts, largest_shape=shape)
        except Conflict:
            pool = room.pool(place, office.tenant)
        owners.append((office.project, pool))
    for number in range(dice.randint(3, 9)):
        project, pool = dice.choice(owners)
        more = {"group": rules(dice, f"g{number}"), "policy": dice.choice([None, *Policy])}
        sizes = [(dice.choice([1, 2, 4]), dice.choice([1, 2, 4]) * GIB, dice.choice([5, 20])) for _ in range(3)]
        with suppress(Conflict):
            room.claim(project, pool, [room.ask(place, pool, *size, **more) for size in sizes[: dice.randint(1, 3)]])
    return place


def carry_out(dice, going, found):
    """All moves in any order; some arrive before the next begins."""
    with as_system():
        holders = {one.key: one for one in standing.standing_on(going)}
        Host.objects.filter(pk__in=going).update(cordoned=True, changed=CurrentXid())
    waiting = []
    for moved in dice.sample(list(found.moved), len(found.moved)):
        one = holders[moved.key]
        to = Going(
            one.allocation_id, moved.zone_id, one.pays[moved.zone_id], moved.host_id, moved.datastore_id,
            moved.vcpu_eaten, moved.memory_eaten_mib,
        )  # fmt: skip
        owner = {"tenant_id": one.tenant_id, "project_id": one.project_id}
        with isolation.context(isolation.of([one.tenant_id])):
            moves.begin(**owner, drain_id=uuid4(), going=[to])
        waiting.append((owner, to.id))
        while waiting and dice.random() < 0.5:
            arrive(*waiting.pop())
    check_books()
    for owner, id in waiting:
        arrive(owner, id)


def arrive(owner, id):
    with isolation.context(isolation.of([owner["tenant_id"]])):
        assert moves.seen(**owner, ids=[id]) == {id}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drain_that_was_said_to_fit_is_carried_out_by_the_ledger(acme, seed):
    dice = random.Random(seed)
    place = zone_at_random(dice, [acme, factories.office("beta")])
    names = [host.name for host in dice.sample(list(place.hosts), dice.randint(1, 2))]
    with as_system():
        supposed = whatif.suppose(Zone.objects.get(pk=place.zone.pk), kind="drain_hosts", hosts=names)
    told = supposed.answer()
    carry_out(dice, supposed.going, supposed.relocated(ledger.look(full=True)))
    with as_system():
        kept = services.kept_in(place.zone.id)
    found = rehousing.rehouse(kept, supposed.going, seed=1)
    with as_system():
        guarantees.move(place.zone.id, found.moves)
        standing_there = Allocation.objects.filter(host_id__in=supposed.going, released=None).count()
        held_there = Hold.objects.filter(host_id__in=supposed.going).exclude(vcpu=0, memory_mib=0).count()
    check_books()
    assert standing_there == told["asked"] - told["placed"]
    if told["fits"]:
        assert (held_there, found.short) == (0, {})
