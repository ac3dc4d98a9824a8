"""Guarantees in pieces: never more than there is time for, and as small as they were laid when they leave a host."""

from __future__ import annotations

import pytest

from facet.rest.problems import Invalid
from infra.models import Host
from scheduler import guarantees, ledger, rehousing, services
from scheduler.guarantees import MOST_PIECES, Amounts
from scheduler.models import Hold, ResourcePool
from tests import room
from tests.factories import as_system
from tests.room import GIB


def test_a_guarantee_in_too_many_pieces_is_refused_by_its_shape(acme):
    place = room.land(memory_mib=4 * MOST_PIECES * GIB)
    with pytest.raises(Invalid, match="pieces"):
        room.pool(
            place, acme.tenant, model="flex", reserved=Amounts(1, 3 * MOST_PIECES * GIB), largest_shape="tiny"
        )  # fmt: skip
    with as_system():
        assert not ResourcePool.objects.exists()
        assert not Hold.objects.exists()
    room.pool(place, acme.tenant, model="flex", reserved=Amounts(1, 3 * MOST_PIECES * GIB), largest_shape="xlarge")
    room.check_books()


def test_a_rest_of_one_resource_leaves_a_host_in_pieces_as_it_was_laid(acme):
    """All vCPUs of a guarantee stand on one host, without memory beside them; two others have room for half each."""
    place = room.land(hosts=3, vcpu=4)
    with as_system():
        Host.objects.filter(name__in=["host-2", "host-3"]).update(cordoned=True)
    ledger.look(full=True)
    pool = room.pool(place, acme.tenant, model="flex", reserved=Amounts(4, 1), largest_shape="small")
    with as_system():
        Host.objects.exclude(name="host-1").update(cordoned=False, vcpu_limit=2)
        Host.objects.filter(name="host-1").update(cordoned=True)
        kept = services.kept_in(place.zone.id)
    ledger.look(full=True)
    found = rehousing.rehouse(kept, {place.hosts[0].id}, seed=1)
    assert found.short == {}
    with as_system():
        guarantees.move(place.zone.id, found.moves)
        held = {hold.host.name: hold.vcpu for hold in Hold.objects.filter(pool_id=pool.id).select_related("host")}
    assert held == {"host-1": 0, "host-2": 2, "host-3": 2}
    room.check_books()
