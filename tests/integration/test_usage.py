"""Showback: exact to the second, the same however it is cut, and never told before it is certain."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import psycopg2
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facet.rest.ids import uuid7
from facet.rest.problems import Invalid
from scheduler import usage
from scheduler.models import Allocation
from scheduler.usage import Interval
from tenants import isolation
from tests import factories, room
from tests.factories import as_system

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 40_000_000).map(lambda part: EPOCH + timedelta(microseconds=part))  # 40 seconds
LIVES = st.lists(st.tuples(MOMENTS, MOMENTS | st.none(), st.integers(1, 10**9)), min_size=1, max_size=6)
CUTS = st.lists(st.integers(0, 45), min_size=2, max_size=6, unique=True).map(sorted)


@pytest.fixture
def acme():
    tenant = factories.tenant("acme", factories.PLENTY)
    return tenant, factories.project(tenant, "web", factories.PLENTY)


@pytest.fixture
def pool(acme):
    return room.pool(room.land(), acme[0])


def lived(project, pool, created, released, amount=4):
    """An allocation as the ledger would have left it."""
    place = pool.zone.hosts.all()[0], pool.zone.datastores.all()[0]
    return Allocation.objects.create(
        tenant_id=project.tenant_id, project=project, zone_id=pool.zone_id, pool=pool, host=place[0],
        datastore=place[1], holder=uuid7(), vcpu=amount, memory_mib=amount * 1024, storage_gib=amount * 10,
        created=created, released=released,
    )  # fmt: skip


def told(project, start, end):
    with isolation.context(isolation.of([project.tenant_id])):
        return usage.amounts(usage.held(project.tenant_id, project.id, Interval(start, end)))["vcpu_seconds"]


def second(moment):
    return int(moment.timestamp())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lives=LIVES, cuts=CUTS)
def test_usage_is_equal_however_the_interval_is_cut(acme, pool, lives, cuts):
    project = acme[1]
    with as_system():
        Allocation.objects.all().delete()
        for created, released, amount in lives:
            ends = None if released is None else max(created, released)
            lived(project, pool, created, ends, amount)
    moments = [EPOCH + timedelta(seconds=cut) for cut in cuts]
    whole = told(project, moments[0], moments[-1])
    assert whole == sum(told(project, *part) for part in pairwise(moments))
    first, last = second(moments[0]), second(moments[-1])
    by_hand = 0
    for created, released, amount in lives:
        ends = last if released is None else second(max(created, released))
        by_hand += amount * max(0, min(ends, last) - max(second(created), first))
    assert whole == by_hand


def test_a_resize_counts_each_second_once(acme, pool):
    project, change = acme[1], EPOCH + timedelta(seconds=10, microseconds=700_000)
    with as_system():
        lived(project, pool, EPOCH, change, 4)
        lived(project, pool, change, EPOCH + timedelta(seconds=20), 8)
    assert told(project, EPOCH, EPOCH + timedelta(seconds=60)) == 4 * 10 + 8 * 10


def test_what_an_older_transaction_released_was_held_for_no_time(acme, pool):
    project, later = acme[1], EPOCH + timedelta(seconds=10)
    with as_system():
        lived(project, pool, later, later - timedelta(seconds=3))
    for cut in (8, 9, 60):
        assert told(project, EPOCH, EPOCH + timedelta(seconds=cut)) == 0


def test_amounts_beyond_any_column_do_not_overflow(acme, pool):
    project, years = acme[1], timedelta(days=365 * 4)
    with as_system():
        lived(project, pool, EPOCH - years, EPOCH, 10**12)
    assert told(project, EPOCH - years, EPOCH) == 10**12 * int(years.total_seconds())


def test_what_is_claimed_and_released_through_the_ledger_is_counted(acme):
    project = acme[1]
    place = room.land()
    pool = room.pool(place, acme[0])
    ask = room.ask(place, pool, 2)
    room.claim(project, pool, [ask])
    room.release(project, [ask.key])
    with as_system():
        row = Allocation.objects.get()
    assert told(project, EPOCH, row.released.replace(microsecond=0) + timedelta(seconds=1)) == 2 * (
        second(row.released) - second(row.created)
    )


def test_another_tenants_use_is_not_counted(acme, pool):
    other = factories.project(factories.tenant("other", factories.PLENTY), "web", factories.PLENTY)
    with as_system():
        lived(other, pool, EPOCH, None)
    assert told(acme[1], EPOCH, EPOCH + timedelta(seconds=5)) == 0
    with isolation.context(isolation.of([acme[0].id])):  # nor when the other tenant is asked for by name
        assert usage.held(other.tenant_id, None, Interval(EPOCH, EPOCH + timedelta(seconds=5))) == []


def test_an_interval_ends_before_the_oldest_open_transaction():
    before = usage.known_until()
    settings_ = connection.settings_dict
    place = {"dbname": settings_["NAME"], "user": settings_["USER"], "host": settings_["HOST"]}
    late = psycopg2.connect(**place, port=settings_["PORT"] or None)
    try:
        with late.cursor() as cursor:
            cursor.execute("select now()")
            began = cursor.fetchone()[0]
        known = usage.known_until()
        assert before <= known < began
        with pytest.raises(Invalid):
            usage.interval(None, began.replace(microsecond=0) + timedelta(seconds=1), known)
    finally:
        late.close()


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        (EPOCH, EPOCH, "from"),
        (EPOCH + timedelta(hours=1), EPOCH, "from"),
        (EPOCH, EPOCH + timedelta(days=30, microseconds=1), "to"),
        (EPOCH + timedelta(microseconds=1), EPOCH + timedelta(hours=1), "from"),
        (EPOCH - timedelta(days=9000), EPOCH, "from"),
    ],
)
def test_an_interval_that_is_none_is_refused_by_name(start, end, field):
    with pytest.raises(Invalid) as refused:
        usage.interval(start, end, datetime(2026, 6, 1, tzinfo=UTC))
    assert field in refused.value.document()["errors"]


def test_by_default_it_is_this_month_as_far_as_it_is_known():
    known = datetime(2026, 6, 17, 8, 30, 5, tzinfo=UTC)
    assert usage.interval(None, None, known) == Interval(datetime(2026, 6, 1, tzinfo=UTC), known)


@pytest.mark.parametrize(
    ("end", "start"),
    [
        (datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)),
        (datetime(2026, 6, 1, 0, 0, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)),
        (datetime(2026, 1, 1, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)),
    ],
)
def test_the_end_of_a_month_is_of_that_month(end, start):
    """`to` is left out of the interval: what ends as a month begins is about the month before."""
    assert usage.interval(None, end, datetime(2026, 6, 17, tzinfo=UTC)) == Interval(start, end)


def test_without_a_beginning_a_bad_end_is_named_as_itself():
    with pytest.raises(Invalid) as refused:
        usage.interval(None, datetime(2026, 6, 1, 0, 0, 1, 5, tzinfo=UTC), datetime(2026, 6, 17, tzinfo=UTC))
    assert list(refused.value.document()["errors"]) == ["to"]
