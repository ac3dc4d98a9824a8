"""Room for volumes in the ledger: exact, all or nothing, never sold twice, and replayed by usage to the second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from facet.rest.ids import uuid7
from facet.rest.problems import Conflict
from infra.models import Host, HostState, StorageClass
from scheduler import usage, volumes
from scheduler.ledger import Stale
from scheduler.models import VolumeClaim
from tenants import isolation
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system


@pytest.fixture
def office():
    return factories.office("acme")


def ask(land, size_gib=10, **more):
    return volumes.Ask(uuid7(), land.zone.id, land.datastore.id, size_gib, **more)


def within(project):
    return isolation.context(isolation.of([project.tenant_id]))


def claim(project, *asks):
    with within(project):
        volumes.claim(tenant_id=project.tenant_id, project_id=project.id, asks=asks)


def grow(project, holder, size_gib):
    with within(project):
        volumes.grow(tenant_id=project.tenant_id, project_id=project.id, holder=holder, size_gib=size_gib)


def release(project, *holders):
    with within(project):
        return volumes.release(tenant_id=project.tenant_id, project_id=project.id, holders=holders)


def limit(project, resource, most):
    with as_system():
        Quota.objects.filter(project=project, resource=resource, zone_id=None).update(limit=most)


def test_a_claim_grows_and_goes_and_the_books_are_exact_at_each_step(office):
    land = room.land(storage_gib=100)
    one = ask(land)
    claim(office.project, one, ask(land, 20))
    room.check_books()
    grow(office.project, one.key, 30)
    grow(office.project, one.key, 30)
    room.check_books()
    with as_system():
        land.datastore.refresh_from_db()
        assert land.datastore.claimed_gib == 50
        rows = VolumeClaim.objects.filter(holder=one.key).order_by("created", "storage_gib")
        assert [(row.storage_gib, row.released is None) for row in rows] == [(10, False), (30, True)]
        assert rows[0].released == rows[1].created
    assert (release(office.project, one.key), release(office.project, one.key)) == (1, 0)
    room.check_books()
    with pytest.raises(Conflict) as gone:
        grow(office.project, one.key, 40)
    assert gone.value.code == "not_held"


def test_what_is_refused_holds_nothing(office):
    land = room.land(storage_gib=100)
    with pytest.raises(Stale):
        claim(office.project, ask(land, 60), ask(land, 60))
    limit(office.project, "storage_gib", 50)
    with pytest.raises(Conflict) as refused:
        claim(office.project, ask(land, 60))
    assert refused.value.code == "quota_exceeded"
    limit(office.project, "volumes", 1)
    with pytest.raises(Conflict) as refused:
        claim(office.project, ask(land, 1), ask(land, 1))
    assert refused.value.code == "quota_exceeded"
    one = ask(land, 40)
    claim(office.project, one)
    with pytest.raises(Conflict) as refused:
        claim(office.project, one)
    assert refused.value.code == "already_held"
    with pytest.raises(Conflict) as refused:
        grow(office.project, one.key, 51)
    assert refused.value.code == "quota_exceeded"
    limit(office.project, "storage_gib", None)
    with pytest.raises(Conflict) as refused:
        grow(office.project, one.key, 101)
    assert (refused.value.code, refused.value.more["limits"][0]["free"]) == ("no_room", 60)
    with as_system():
        assert list(VolumeClaim.objects.values_list("holder", "storage_gib")) == [(one.key, 40)]
    room.check_books()


def test_a_datastore_must_be_open_reached_and_of_the_class(office):
    land = room.land(storage_gib=100)
    with pytest.raises(Stale):
        claim(office.project, ask(land, storage_class="fast"))
    with as_system():
        kind = StorageClass.objects.create(zone=land.zone, name="fast")
        with pytest.raises(Conflict):
            volumes.where(zone=land.zone, size_gib=1, storage_class="fast")
        kind.datastores.add(land.datastore)
        assert volumes.where(zone=land.zone, size_gib=100, storage_class="fast") == land.datastore
        with pytest.raises(Conflict) as full:
            volumes.where(zone=land.zone, size_gib=101)
    assert full.value.more["limits"][0]["free"] == 100
    claim(office.project, ask(land, storage_class="fast"))
    with as_system():
        Host.objects.update(state=HostState.DOWN)
    with pytest.raises(Stale):
        claim(office.project, ask(land))
    with as_system():
        Host.objects.update(state=HostState.UP)
        land.datastore.zones.clear()
    with pytest.raises(Stale):
        claim(office.project, ask(land))
    room.check_books()


def test_many_at_once_never_pass_the_room(office):
    land = room.land(storage_gib=50)

    def try_one(_):
        try:
            claim(office.project, ask(land, 10))
        except Stale:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as crowd:
        assert sum(crowd.map(try_one, range(12))) == 5
    room.check_books()


def test_usage_counts_volumes_to_the_second_and_a_grown_one_once_at_each_moment(office):
    land = room.land(storage_gib=100)
    one = ask(land, 10)
    claim(office.project, one)
    grow(office.project, one.key, 30)
    release(office.project, one.key)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with as_system():
        first, second = VolumeClaim.objects.order_by("storage_gib")
        turn, end = start + timedelta(seconds=60), start + timedelta(seconds=90)
        VolumeClaim.objects.filter(pk=first.pk).update(created=start, released=turn)
        VolumeClaim.objects.filter(pk=second.pk).update(created=turn, released=end)
    with within(office.project):
        whole = usage.held(office.tenant.id, None, usage.Interval(start, end))
        parts = [
            usage.held(office.tenant.id, None, usage.Interval(start, turn)),
            usage.held(office.tenant.id, None, usage.Interval(turn, end + timedelta(hours=1))),
        ]
    assert [row.storage_gib_seconds for row in whole] == [10 * 60 + 30 * 30]
    assert [row.storage_gib_seconds for rows in parts for row in rows] == [600, 900]
    assert (whole[0].vcpu_seconds, whole[0].holders) == (0, 0)
