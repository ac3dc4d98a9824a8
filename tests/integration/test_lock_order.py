"""Locks are taken in one order, also by who comes twice in a transaction, and where a rival has just been there."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, connections
from psycopg2.extras import Json

from facet.rest.ids import uuid7
from scheduler import ledger
from scheduler.core.ask import Ask, Placement, Plan
from scheduler.ledger import Spend
from scheduler.models import Allocation
from tenants import isolation
from tenants.models import Quota
from tests import room
from tests.factories import as_system
from tests.room import GIB

PATIENCE_S = 20.0
CLUSTER = Spend(None, "clusters", 1)


def on(host, ask, place):
    return Plan((Placement(ask.key, place.zone.id, host.id, place.datastore.id, {}),))


def somebody_waits(count=1):
    end = time.monotonic() + PATIENCE_S
    with connections["owner"].cursor() as cursor:
        while time.monotonic() < end:
            cursor.execute("select count(*) from pg_locks where not granted")
            if cursor.fetchone()[0] >= count:
                return
    raise AssertionError("nobody waits for a lock")


def closing(work, *arguments):
    """In a thread with a connection of its own."""
    try:
        return work(*arguments)
    finally:
        connections.close_all()


def test_a_release_leaves_what_was_claimed_after_it_began(acme):
    place = room.land(hosts=2, vcpu=10)
    pool = room.pool(place, acme.tenant)
    first, second = place.hosts
    ask = room.ask(place, pool, 2)
    owner = {"tenant_id": acme.tenant.id, "project_id": acme.project.id}
    room.claim(acme.project, pool, [ask], on(first, ask, place))
    with ThreadPoolExecutor(1) as slot:
        with isolation.context(isolation.of([acme.tenant.id])):
            ledger.release(**owner, holders=[ask.key])
            late = slot.submit(closing, room.release, acme.project, [ask.key])
            somebody_waits()
            ledger.commit(**owner, asks=[ask], plan=on(second, ask, place), pools={pool.zone_id: pool.id})
        assert late.result() == 0
    with as_system():
        live = Allocation.objects.get(holder=ask.key, released=None)
    assert live.host_id == second.id
    room.check_books()


def test_quota_taken_twice_in_a_transaction_waits_for_no_row_made_meanwhile(acme):
    """Made by a rival in another zone, locked by a third who waits for what the first one holds."""
    one, other = room.land(name="az1").zone, room.land(name="az2").zone
    again, waiting = threading.Event(), threading.Event()

    def take(zone):
        amounts = [{"zone": str(zone.id), "resource": "vcpu", "amount": 1}]
        with connection.cursor() as cursor:
            cursor.execute("select quota_take(%s, %s, %s)", [acme.tenant.id, acme.project.id, Json(amounts)])
            assert cursor.fetchone()[0] is None

    def twice():
        with as_system():
            take(one)
            again.set()
            assert waiting.wait(PATIENCE_S)
            take(one)

    def once():
        with as_system():
            take(other)

    with ThreadPoolExecutor(2) as slots:
        with as_system():
            take(other)
            for number, row in enumerate(Quota.objects.filter(zone_id=other.id), 1):
                Quota.objects.filter(pk=row.pk).update(id=UUID(int=number))  # the first in the order of locks
            first = slots.submit(closing, twice)
            somebody_waits()
        assert again.wait(PATIENCE_S)
        third = slots.submit(closing, once)
        somebody_waits()
        waiting.set()
        first.result()
        third.result()


def test_a_claim_does_not_wait_in_the_index_for_a_release_of_its_holder(acme):
    """A rival claimed for it after we had looked; a third releases it while we hold the quota it needs."""
    one, other = room.land(name="az1"), room.land(name="az2")
    pools = {land.zone.id: room.pool(land, acme.tenant).id for land in (one, other)}
    ask = Ask(uuid7(), 2, GIB, 10, tuple(pools), pools=tuple(pools.values()))
    owner = {"tenant_id": acme.tenant.id, "project_id": acme.project.id}

    locked, go_on = threading.Event(), threading.Event()

    def late():
        with isolation.context(isolation.of([acme.tenant.id])):
            ledger.commit(**owner, asks=[ask], plan=on(other.hosts[0], ask, other), pools=pools, spend=[CLUSTER])

    def hold_the_tenants_clusters():
        with as_system():
            list(Quota.objects.filter(project=None, resource="clusters").select_for_update())
            locked.set()
            assert go_on.wait(PATIENCE_S)

    with ThreadPoolExecutor(3) as slots:
        holding = slots.submit(closing, hold_the_tenants_clusters)
        assert locked.wait(PATIENCE_S)
        with isolation.context(isolation.of([acme.tenant.id])):
            ledger.commit(**owner, asks=[ask], plan=on(one.hosts[0], ask, one), pools=pools)
            rival = slots.submit(closing, late)
            somebody_waits()
        somebody_waits()  # the rival, with its project's quota in hand
        third = slots.submit(closing, room.release, acme.project, [ask.key])
        somebody_waits(2)
        go_on.set()
        holding.result()
        with pytest.raises(IntegrityError, match="a rival has claimed for this holder"):
            rival.result()
        assert third.result() == 1
    room.check_books()
