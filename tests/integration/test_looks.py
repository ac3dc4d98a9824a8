"""A look at changes finds what a look at everything finds; threads share looks, and never one that began too early."""

from __future__ import annotations

import threading

from django.db import connection
from django.db.models import F

from facet.rest.ids import uuid7
from infra.models import Datastore, Host, StorageClass
from scheduler import looking
from scheduler.core.fleet import Fleet
from scheduler.models import Hold
from tests import room
from tests.factories import as_system


def same(one: Fleet, other: Fleet) -> bool:
    """Whether both tell the same of every row and every hold."""
    return told(one) == told(other)


def told(fleet: Fleet) -> tuple[object, ...]:
    rows = [sorted(rows, key=lambda row: row.id) for rows in (fleet.hosts, fleet.datastores, fleet.zones)]
    return rows, {pool: set(kept) for pool, kept in fleet.listed_holds().items() if kept}


def test_a_look_at_changes_finds_what_a_look_at_everything_finds():
    land = room.land(hosts=5)
    looker = looking.Looker()
    looker.look()
    pool = uuid7()

    def claim():
        Host.objects.filter(pk=land.hosts[0].id).update(vcpu_claimed=3, changed=connection_xid())

    def hold():
        Hold.objects.create(pool_id=pool, host=land.hosts[1], vcpu=2, memory_mib=1024)
        Host.objects.filter(pk=land.hosts[1].id).update(
            vcpu_claimed=2, memory_claimed_mib=1024, changed=connection_xid()
        )

    def cordon():
        Host.objects.filter(pk=land.hosts[2].id).update(
            cordoned=True, labels={"disk": "fast"}, changed=connection_xid()
        )

    def leave_the_zone():
        Host.objects.filter(pk=land.hosts[3].id).update(zone=None, vcpu_limit=0, changed=connection_xid())

    def fill():
        Datastore.objects.update(claimed_gib=F("claimed_gib") + 10, changed=connection_xid())

    def classify():
        StorageClass.objects.create(zone=land.zone, name="gold").datastores.add(land.datastore)
        Datastore.objects.update(changed=connection_xid())

    def come():
        room.land(hosts=2, name="az2")

    for change in (claim, hold, cordon, leave_the_zone, fill, classify):
        with as_system():
            change()
        assert same(looker.look(), looking.Looker().look()), change.__name__
    come()
    assert same(looker.look(), looking.Looker().look())


def connection_xid() -> str:
    with connection.cursor() as cursor:
        cursor.execute("select pg_current_xact_id()::text")
        found: str = cursor.fetchone()[0]
    return found


def test_a_change_that_commits_late_is_seen():
    land = room.land(hosts=2)
    looker = looking.Looker()
    looker.look()
    begun, end = threading.Event(), threading.Event()

    def late():
        with as_system():
            Host.objects.filter(pk=land.hosts[0].id).update(vcpu_claimed=7, changed=connection_xid())
            begun.set()
            end.wait(10)
        connection.close()

    thread = threading.Thread(target=late)
    thread.start()
    begun.wait(10)
    with as_system():
        Host.objects.filter(pk=land.hosts[1].id).update(vcpu_claimed=1, changed=connection_xid())
    assert claimed(looker.look()) == [0, 1]
    end.set()
    thread.join()
    assert claimed(looker.look()) == [7, 1]


def claimed(fleet: Fleet) -> list[int]:
    return [host.vcpu_claimed for host in sorted(fleet.hosts, key=lambda host: host.name)]


def test_who_waits_for_a_look_takes_one_that_began_after_it_asked():
    """Two wait behind one that is under way: the first of them looks, the second takes what that look found."""
    land = room.land(hosts=1)
    looker = looking.Looker()
    looker.look()
    found: list[Fleet] = []

    def ask():
        found.append(looker.look())
        connection.close()

    looker._lock.acquire()
    waiting = [threading.Thread(target=ask) for _ in range(2)]
    for thread in waiting:
        thread.start()
    with as_system():
        Host.objects.filter(pk=land.hosts[0].id).update(vcpu_claimed=9, changed=connection_xid())
    begun = looker._begun
    looker._lock.release()
    for thread in waiting:
        thread.join()
    assert [claimed(fleet) for fleet in found] == [[9], [9]]
    assert begun < looker._begun <= begun + 2
