"""Plans that were made before IT took a datastore from a zone, or a host lost its way to it."""

from __future__ import annotations

import pytest

from infra.models import Datastore, Host
from scheduler import ledger
from tests import room
from tests.factories import as_system

from .test_ledger import straight


@pytest.fixture
def lands():
    """A zone with two datastores, of which another zone has the second too."""
    place, other = room.land(name="az1"), room.land(name="az2")
    with as_system():
        store = Datastore.objects.create(
            site=place.zone.site, ref="ds-2", name="ds-2", capacity_gib=1000, free_gib=1000, limit_gib=1000
        )
        store.zones.set([place.zone, other.zone])
        Host.objects.filter(zone=place.zone).update(datastore_refs=["ds-1", "ds-2"])
    return place, room.Land(place.zone, place.hosts, store)


@pytest.mark.parametrize("lost_by", ["zone", "host"])
def test_a_plan_for_a_datastore_that_zone_or_host_has_lost_is_out_of_date(acme, lands, lost_by):
    place, on_second = lands
    pool = room.pool(place, acme.tenant)
    ask = room.ask(place, pool)
    plan = straight(ask, place.hosts[0], on_second)
    with as_system():
        if lost_by == "zone":
            place.zone.datastores.remove(on_second.datastore)
        else:
            Host.objects.filter(pk=place.hosts[0].pk).update(datastore_refs=["ds-1"])
    with pytest.raises(ledger.Stale):
        room.claim(acme.project, pool, [ask], plan)
