"""What moves from pool to pool, what does not, and much of it at once."""

from __future__ import annotations

import pytest

from facet.operations.models import Operation
from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from scheduler import transfer
from scheduler.guarantees import Amounts
from scheduler.ledger import Stale
from scheduler.models import ResourcePool
from scheduler.services import Limits
from tests import factories, ground, kept, room, work
from tests.factories import as_system
from tests.room import GIB


@pytest.fixture
def two(acme):
    """A zone, and a pool of acme's and of beta's there."""
    return kept.two_pools(acme)


def test_what_is_in_use_does_not_move(admin, acme, two):
    place, _, mine, theirs = two
    used = [room.ask(place, mine, 8, 16 * GIB, name=f"shop-w-{number}") for number in (1, 2, 3)]
    room.claim(acme.project, mine, used)
    refused = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 9})
    assert (refused.status, refused["code"]) == (409, "guarantee_in_use")
    assert sorted((one["name"], one["vcpu"]) for one in refused["holders"]) == [(f"shop-w-{n}", 8) for n in (1, 2, 3)]
    much = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 33})
    assert (much.status, much["code"]) == (409, "guarantee_in_use")
    assert len(much["holders"]) == 3
    assert (kept.row(mine).generation, kept.row(theirs).generation) == (1, 1)
    assert kept.summed(theirs.id) == (8, 16 * GIB)
    assert admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 7}).status == 202
    room.check_books()


def test_models_stay_what_they_say(admin, acme, two):
    """A reserved pool keeps some of each, an on-demand one takes nothing, a limit is a limit, and a flex pool that
    gives everything is on-demand."""
    _, _, mine, theirs = two
    all_of_it = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 32})
    assert (all_of_it.status, all_of_it["code"]) == (409, "reserved")
    assert (
        admin.post(f"pools/{theirs.id}/transfer", {"to": str(mine.id), "vcpu": 8, "memory_mib": 16 * GIB}).status == 202
    )
    assert (kept.row(theirs).model, kept.row(mine).vcpu_limit, kept.row(mine).vcpu_reserved) == ("on-demand", 40, 40)
    back = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 1})
    assert (back.status, back["code"]) == (409, "on_demand")
    assert "make it flex" in back["detail"]
    flex = {"model": "flex", "reserved": {"vcpu": 1}, "limit": {"vcpu": 2}}
    assert admin.patch(f"pools/{theirs.id}", flex).status == 202
    beyond = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 2})
    assert (beyond.status, beyond["code"]) == (409, "pool_exceeded")
    room.check_books()


def test_a_tenant_admin_moves_between_projects_only(admin, acme, two):
    place, beta, mine, theirs = two
    api = factories.project(acme.tenant, "api")
    web = room.pool(place, acme.tenant, acme.project, model="reserved", reserved=Amounts(16, 32 * GIB))
    other = room.pool(place, acme.tenant, api, model="flex", reserved=Amounts(4, 8 * GIB), limit=Limits(12, 16 * GIB))
    move = {"to": str(other.id), "vcpu": 8, "memory_mib": 8 * GIB}
    assert acme.editor.post(f"pools/{web.id}/transfer", move).status == 403
    assert beta.tenant_admin.post(f"pools/{web.id}/transfer", move).status == 404
    moved = acme.tenant_admin.post(f"pools/{web.id}/transfer", move)
    assert moved.status == 202, moved
    assert moved["pool"]["limit"] == {"vcpu": 8, "memory_mib": 24 * GIB}
    assert (kept.row(other).vcpu_reserved, kept.row(other).vcpu_limit) == (12, 12)
    above = kept.row(mine)
    assert (above.vcpu_reserved, above.vcpu_reserved_handed_down, above.vcpu_handed_down) == (32, 20, 20)
    room.check_books()
    up = acme.tenant_admin.post(f"pools/{web.id}/transfer", {"to": str(mine.id), "vcpu": 1})
    assert up.status == 403
    foreign = acme.tenant_admin.post(f"pools/{web.id}/transfer", {"to": str(theirs.id), "vcpu": 1})
    assert (foreign.status, list(foreign["errors"])) == (422, ["to"])
    assert acme.tenant_admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 1}).status == 403
    for source, target in ((web, mine), (mine, web), (web, theirs)):
        crooked = admin.post(f"pools/{source.id}/transfer", {"to": str(target.id), "vcpu": 1})
        assert (crooked.status, list(crooked["errors"])) == (422, ["to"])


def test_what_arrives_is_laid_in_the_chunks_that_its_new_pool_promises(admin, acme):
    """Small pieces of one tenant's guarantee on four hosts become one large chunk of another's."""
    place = room.land(hosts=4, vcpu=8, memory_mib=16 * GIB)
    beta = factories.office("beta")
    theirs = room.pool(place, beta.tenant, model="flex", reserved=Amounts(8, 16 * GIB), largest_shape="large")
    mine = room.pool(place, acme.tenant, model="flex", reserved=Amounts(12, 12 * GIB), largest_shape="small")
    assert len(kept.held(mine.id)) == 3
    answer = admin.post(f"pools/{mine.id}/transfer", {"to": str(theirs.id), "vcpu": 8, "memory_mib": 12 * GIB})
    assert answer.status == 202, answer
    assert kept.summed(theirs.id) == (16, 28 * GIB)
    room.check_books()


def test_transfers_and_claims_at_once_lose_and_double_nothing(acme, two):
    """Two that move it there, two that move it back, two that claim from it: whatever wins, the books are right."""
    place, beta, mine, theirs = two

    def moving(source, target):
        ends = []
        for _ in range(6):
            try:
                with as_system():
                    pools = [ResourcePool.objects.select_related("zone").get(pk=one.pk) for one in (source, target)]
                    asked = transfer.read(source=pools[0], target=pools[1], amounts=Amounts(4, 8 * GIB))
                moves = transfer.decide(asked)
                with as_system():
                    transfer.write(asked, moves, by=SYSTEM)
                ends.append("moved")
            except Stale:
                ends.append("stale")
            except Conflict as refusal:
                ends.append(refusal.code)
        return ends

    def claiming(office, pool):
        ends = []
        for _ in range(8):
            asks = kept.of_shape(place, pool, kept.MEDIUM, 1)
            try:
                room.claim(office.project, pool, asks)
                ends.append("granted")
            except Stale:
                ends.append("stale")
                continue
            except Conflict as refusal:
                ends.append(refusal.code)
                continue
            room.release(office.project, [asks[0].key])
        return ends

    works = [
        lambda: moving(mine, theirs), lambda: moving(mine, theirs), lambda: moving(theirs, mine),
        lambda: moving(theirs, mine), lambda: claiming(acme, mine), lambda: claiming(beta, theirs),
    ]  # fmt: skip
    ends = {end for found in kept.at_once(works) for end in found}
    assert ends >= {"moved", "granted"}
    assert ends <= {"moved", "granted", "stale", "guarantee_in_use", "pool_exceeded", "reserved", "on_demand"}
    assert kept.row(mine).vcpu_reserved + kept.row(theirs).vcpu_reserved == 40
    assert kept.summed(mine.id)[0] + kept.summed(theirs.id)[0] == 40
    room.check_books()


def test_both_are_mirrored_at_the_site_again(tmp_path):
    with ground.simulated(tmp_path) as land:
        beta = factories.office("beta")
        some = {"zone": "az1", "model": "flex", "reserved": {"vcpu": 4, "memory_mib": 8 * GIB}, "limit": ground.POOL}
        made = land.it.post(f"tenants/{beta.tenant.id}/pools", some)
        work.succeed(land.it, made)
        with as_system():
            mine = ResourcePool.objects.get(tenant=land.office.tenant)
        change = {"model": "flex", "reserved": {"vcpu": 2, "memory_mib": 4 * GIB}}
        work.succeed(land.it, land.it.patch(f"pools/{mine.id}", change))
        work.succeed(land.it, land.it.post(f"pools/{made['pool']['id']}/transfer", {"to": str(mine.id), "vcpu": 2}))
        work.until(lambda: kept.row(mine).observed_generation == kept.row(mine).generation)
        with as_system():
            assert set(Operation.objects.filter(verb="pool.transfer").values_list("phase", flat=True)) == {"succeeded"}
