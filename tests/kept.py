"""What pools keep, for tests: what lies where, whether it is enough, and hosts that close."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from facet.operations.models import Wakeup
from facet.rest.problems import Conflict
from infra.models import Host
from scheduler import ledger, services
from scheduler.core.ask import Shape
from scheduler.guarantees import Amounts
from scheduler.models import Hold, ResourcePool
from tests import factories, room, work
from tests.factories import as_system
from tests.room import GIB

LARGE = Shape("large", 8, 16 * GIB, 80)
MEDIUM = Shape("medium", 4, 8 * GIB, 40)


def of_shape(place, pool, shape, count):
    return [room.ask(place, pool, shape.vcpu, shape.memory_mib) for _ in range(count)]


def row(pool):
    with as_system():
        return ResourcePool.objects.get(pk=pool.pk)


def held(pool_id):
    """host -> (vCPU, MiB) that is kept there for a pool."""
    with as_system():
        rows = Hold.objects.filter(pool_id=pool_id)
        return {one.host_id: (one.vcpu, one.memory_mib) for one in rows if one.vcpu or one.memory_mib}


def summed(pool_id):
    amounts = held(pool_id).values()
    return sum(vcpu for vcpu, _ in amounts), sum(memory for _, memory in amounts)


def fits(place, pool, shape, count):
    """Whether so many of this shape find room; nothing is claimed."""
    try:
        return bool(ledger.decide(of_shape(place, pool, shape, count), seed=1))
    except Conflict:
        return False


def at_once(works):
    """Run these in a thread each; their answers."""

    def one(work_):
        try:
            return work_()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def close(host, **how):
    with as_system():
        Host.objects.filter(pk=host.pk).update(**how)
        services.wake_pools_of(host.zone_id)
    ledger.look(full=True)


def passes():
    """Whatever is due now."""
    with as_system():
        Wakeup.objects.update(due_at="2026-01-01T00:00:00Z")
    work.until(lambda: not due())


def due():
    with as_system():
        return Wakeup.objects.filter(due_at="2026-01-01T00:00:00Z").exists()


def fill(dice, place, office, pool, at_most=1000):
    """VMs of all kinds of shapes, until not even the smallest finds room."""
    keys = []
    while len(keys) < at_most:
        for vcpu, gib in ((dice.randint(1, 7), dice.randint(1, 15)), (1, 1)):
            ask = room.ask(place, pool, vcpu, gib * GIB, 1)
            try:
                room.claim(office.project, pool, [ask])
            except Conflict:
                continue
            keys.append(ask.key)
            break
        else:
            break
    return keys


def two_pools(acme):
    """A zone, and a pool of acme's and of beta's there."""
    place = room.land(hosts=4, vcpu=16, memory_mib=64 * GIB)
    beta = factories.office("beta")
    mine = room.pool(place, acme.tenant, model="reserved", reserved=Amounts(32, 64 * GIB), largest_shape="large")
    theirs = room.pool(place, beta.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="medium")
    with as_system():
        Wakeup.objects.all().delete()
    return place, beta, mine, theirs
