"""The ledger's functions, called with another tenant's ids: nothing is seen, ended, moved or given back."""

from __future__ import annotations

from contextlib import suppress
from uuid import uuid4

import pytest

from facet.rest.problems import Conflict
from scheduler import ledger, moves
from scheduler.models import Allocation, Move
from scheduler.moves import Going
from tenants import isolation
from tests import factories, room
from tests.factories import as_system
from tests.room import GIB, check_books

from .test_ledger import straight
from .test_moving import begin, live


@pytest.fixture
def theirs(acme):
    """A holder of acme's on its way, another that stands, and the other tenant's pool in the same zone."""
    place = room.land(hosts=3)
    pool = room.pool(place, acme.tenant)
    going, standing = (room.ask(place, pool, 2, 2 * GIB) for _ in range(2))
    for ask in (going, standing):
        room.claim(acme.project, pool, [ask], straight(ask, place.hosts[0], place))
    move = begin(acme.project, going.key, place.hosts[1])
    beta = factories.office("beta")
    return place, beta, room.pool(place, beta.tenant), move, going.key, standing.key


def picture():
    with as_system():
        held = sorted(Allocation.objects.values_list("holder", "host_id", "released", "vcpu"))
        return held, list(Move.objects.values_list("id", "phase", "ended_at"))


@pytest.mark.parametrize("as_whom", ["beta", "acme"])
def test_another_tenants_holders_are_out_of_reach(acme, theirs, as_whom):
    """In the other tenant's own context, and also with the names of both mixed up."""
    place, beta, pool, move, going, standing = theirs
    before = picture()
    who = {"tenant_id": beta.tenant.id, "project_id": beta.project.id}
    seen = beta.tenant.id if as_whom == "beta" else acme.tenant.id
    one = Going(live(standing).id, place.zone.id, pool.id, place.hosts[2].id, place.datastore.id)
    acts = [
        lambda: ledger.release(**who, holders=[going, standing]),
        lambda: ledger.resize(**who, sizes={standing: ledger.Size(1, GIB, 10)}),
        lambda: moves.seen(**who, ids=[move]),
        lambda: moves.undo(**who, ids=[move]),
        lambda: moves.begin(**who, drain_id=uuid4(), going=[one]),
    ]
    for act in acts:
        with isolation.context(isolation.of([seen])), suppress(Conflict, ledger.Stale):
            assert not act()
    assert picture() == before
    check_books()
