"""What a zone has, promises and still takes, counted as the ledger would; and when it will be full."""

from datetime import timedelta

import pytest
from django.utils import timezone

from facet.rest.ids import uuid7
from facet.rest.problems import Conflict
from infra.models import Datastore, Flavor, Host
from scheduler.guarantees import Amounts
from scheduler.models import Allocation
from tests import factories, room
from tests.factories import as_system

GIB = 1024


@pytest.fixture
def it():
    return factories.person("root", "platform-admin")


@pytest.fixture
def acme():
    return factories.office("acme")


def flavors(*shapes):
    with as_system():
        Flavor.objects.all().delete()
        for name, vcpu, gib in shapes:
            Flavor.objects.create(name=name, vcpu=vcpu, memory_mib=gib * GIB, disk_gib=10)


def asked(it, place):
    answer = it.get(f"zones/{place.zone.id}/capacity")
    assert answer.status == 200, answer
    return answer


def test_capacity_says_how_many_of_each_flavor_fit(it, acme):
    flavors(("small", 1, 2), ("large", 4, 16), ("huge", 64, 999))
    place = room.land(hosts=4, vcpu=10, memory_mib=40 * GIB)
    pool = room.pool(
        place, acme.tenant, model="flex", reserved=Amounts(8, 32 * GIB), largest_shape="large",
    )  # fmt: skip
    room.claim(acme.project, pool, [room.ask(place, pool, 4, 16 * GIB)])  # within the guarantee
    found = asked(it, place)
    rows = {row["resource"]: row for row in found["items"]}
    assert (rows["vcpu"]["limit"], rows["vcpu"]["claimed"], rows["vcpu"]["free"]) == (40, 8, 32)
    assert (rows["vcpu"]["guaranteed"], rows["vcpu"]["guaranteed_free"]) == (8, 4)
    assert rows["memory_mib"]["guaranteed_free"] == 16 * GIB
    counts = {row["flavor"]: row["count"] for row in found["flavors"]}
    assert found["largest_flavor"] == "large"
    assert counts["huge"] == 0
    other = factories.office("other")
    theirs = room.pool(place, other.tenant)
    for flavor, vcpu, gib in (("large", 4, 16),):  # as many as were told go in, and not one more
        asks = [room.ask(place, theirs, vcpu, gib * GIB) for _ in range(counts[flavor])]
        room.claim(other.project, theirs, asks)
        with pytest.raises(Conflict):
            room.claim(other.project, theirs, [room.ask(place, theirs, vcpu, gib * GIB)])
    after = asked(it, place)
    assert {row["flavor"]: row["count"] for row in after["flavors"]}["large"] == 0


def test_free_room_that_the_largest_cannot_use_is_fragmented(it):
    flavors(("large", 4, 4))
    place = room.land(hosts=4, vcpu=6, memory_mib=4 * GIB)
    found = asked(it, place)
    assert found["fragmentation"] == {"vcpu": pytest.approx(1 / 3, abs=1e-3), "memory_mib": 0.0}
    with as_system():
        Host.objects.update(vcpu_limit=3)
    assert asked(it, place)["fragmentation"] == {"vcpu": 1.0, "memory_mib": 1.0}


def test_disks_and_closed_hosts_count(it):
    flavors(("small", 1, 1))
    place = room.land(hosts=4, vcpu=10, storage_gib=55)
    assert asked(it, place)["flavors"] == [{"flavor": "small", "count": 5}]
    with as_system():
        Datastore.objects.update(limit_gib=10_000)
        Host.objects.filter(name="host-1").update(cordoned=True)
    assert asked(it, place)["flavors"] == [{"flavor": "small", "count": 30}]


def grown(acme, place, pool, days, a_day):
    """Allocations of one vCPU as they would have been made, evenly, over the last days."""
    now = timezone.now()
    with as_system():
        Allocation.objects.bulk_create(
            Allocation(
                tenant=acme.tenant, project=acme.project, zone=place.zone, pool=pool, host=place.hosts[0],
                datastore=place.datastore, holder=uuid7(), vcpu=1, memory_mib=GIB, storage_gib=1,
                created=now - timedelta(days=days) * (1 - at / (days * a_day)),
            )
            for at in range(days * a_day)
        )  # fmt: skip


def test_the_forecast_tells_its_back_test_error(it, acme):
    flavors(("small", 1, 1))
    place = room.land(hosts=1, vcpu=200)
    pool = room.pool(place, acme.tenant)
    assert asked(it, place)["forecast"] == []
    grown(acme, place, pool, days=20, a_day=5)
    found = {row["resource"]: row for row in asked(it, place)["forecast"]}
    vcpu = found["vcpu"]
    assert vcpu["per_day"] == pytest.approx(5, rel=0.05)
    assert vcpu["days_to_full"] == pytest.approx(20, rel=0.1)
    assert vcpu["history_days"] == pytest.approx(20, abs=0.1)
    assert vcpu["back_test"]["days"] == pytest.approx(5, abs=0.1)
    assert vcpu["back_test"]["error"] <= 2
    assert vcpu["back_test"]["error_share"] == pytest.approx(vcpu["back_test"]["error"] / 200, abs=1e-3)


def test_what_was_released_no_longer_counts_towards_the_forecast(it, acme):
    flavors(("small", 1, 1))
    place = room.land(hosts=1, vcpu=200)
    pool = room.pool(place, acme.tenant)
    grown(acme, place, pool, days=20, a_day=5)
    with as_system():  # each lived for two days: the level stays at ten
        for row in Allocation.objects.all():
            ends = row.created + timedelta(days=2)
            Allocation.objects.filter(pk=row.pk).update(released=ends if ends < timezone.now() else None)
    vcpu = next(row for row in asked(it, place)["forecast"] if row["resource"] == "vcpu")
    assert vcpu["per_day"] == pytest.approx(0, abs=0.2)


def test_only_who_inspects_zones_sees_it(acme):
    place = room.land()
    assert acme.tenant_admin.get(f"zones/{place.zone.id}/capacity").status == 403
