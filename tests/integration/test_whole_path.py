"""One claim takes the whole path, quotas, pools, host and datastore, or nothing of it; and many at once spread out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest
from django.db import OperationalError

from facet.rest.access import SYSTEM
from facet.rest.dbtypes import CurrentXid
from facet.rest.problems import Conflict
from infra.models import Datastore, Host
from scheduler import ledger, services
from scheduler.core.ask import Policy
from scheduler.ledger import Stale
from scheduler.models import Allocation, ResourcePool
from scheduler.services import Limits
from tenants import quota
from tenants.models import Quota
from tests import factories, room
from tests.factories import as_system
from tests.integration.test_ledger import CLIENTS, at_once, straight
from tests.room import GIB

ROOM = 20  # the tight one of the levels has room for so many
TRIES_EACH = 6


@dataclass
class Path:
    """A claim's whole way: everything on it has ample room, until one level is made tight."""

    place: room.Land
    office: factories.Office
    above: ResourcePool
    below: ResourcePool

    def claim(self):
        ask = room.ask(self.place, self.below, 1, GIB, 10)
        room.claim(self.office.project, self.below, [ask], straight(ask, self.place.hosts[0], self.place))

    def limit(self, *, project, zone=None):
        with as_system():
            quota.set_limits(
                tenant=self.office.tenant, project=self.office.project if project else None, limits={"vcpu": ROOM},
                zone_id=zone, replace=False, by=SYSTEM,
            )  # fmt: skip


def limit_pool(pool, limit):
    with as_system():
        wanted = services.changed(pool, {"limit": limit})
    moves = services.decide(wanted)
    with as_system():
        services.update_pool(wanted=wanted, moves=moves, by=SYSTEM)


def narrow(pool):
    """A tenant's pool with less than was handed down of it: no verb leads there, so that it is tight all by itself."""
    with as_system():
        ResourcePool.objects.filter(pk=pool.pk).update(memory_limit_mib=ROOM * GIB, memory_handed_down_mib=0)


def host_of(**columns):
    with as_system():
        Host.objects.update(changed=CurrentXid(), **columns)


def shrink_store():
    with as_system():
        Datastore.objects.update(limit_gib=ROOM * 10, changed=CurrentXid())


def halve(path):
    """The tenant's own limit is as tight as the project's may be: cut both."""
    path.limit(project=True)
    path.limit(project=False)
    with as_system():  # the project's is not in the way
        mine = Quota.objects.filter(project=path.office.project, resource="vcpu", zone_id=None)
        mine.update(limit=None)


LEVELS = {
    "project quota": (lambda path: path.limit(project=True), ("quota_exceeded", "project", "vcpu")),
    "project quota in the zone": (
        lambda path: path.limit(project=True, zone=path.place.zone.id),
        ("quota_exceeded", "project", "vcpu"),
    ),
    "tenant quota": (halve, ("quota_exceeded", "tenant", "vcpu")),
    "tenant quota in the zone": (
        lambda path: path.limit(project=False, zone=path.place.zone.id),
        ("quota_exceeded", "tenant", "vcpu"),
    ),
    "project pool": (
        lambda path: limit_pool(path.below, Limits(ROOM, 400 * GIB)),
        ("pool_exceeded", "project pool", "vcpu"),
    ),
    "tenant pool": (lambda path: narrow(path.above), ("pool_exceeded", "tenant pool", "memory_mib")),
    "host's vcpu": (lambda _: host_of(vcpu_limit=ROOM), ("stale",)),
    "host's memory": (lambda _: host_of(memory_limit_mib=ROOM * GIB), ("stale",)),
    "datastore": (lambda _: shrink_store(), ("stale",)),
}


NAMED = {"host's vcpu": "vcpu", "host's memory": "memory_mib", "datastore": "storage_gib"}  # by another look


@pytest.fixture
def path(acme):
    place = room.land(hosts=1, vcpu=400, storage_gib=100_000)
    above = room.pool(place, acme.tenant, limit=Limits(300, 600 * GIB))
    below = room.pool(place, acme.tenant, acme.project, limit=Limits(200, 400 * GIB))
    return Path(place, acme, above, below)


def sums():
    """Everything that a claim counts, wherever it counts it."""
    with as_system():
        return {
            "host": list(Host.objects.values_list("vcpu_claimed", "memory_claimed_mib")),
            "datastore": list(Datastore.objects.values_list("claimed_gib")),
            "pools": sorted(ResourcePool.objects.values_list("id", "vcpu_used", "memory_used_mib")),
            "quotas": sorted(Quota.objects.exclude(used=0).values_list("id", "used")),
            "allocations": Allocation.objects.filter(released=None).count(),
        }


@pytest.mark.parametrize("level", LEVELS)
def test_a_claim_takes_the_whole_path_or_nothing(path, level):
    """48 at once, room for 20 at one level: exactly 20 are taken, counted at every level; the others say why not."""
    tighten, refusal = LEVELS[level]
    tighten(path)

    def client(_):
        ends = []
        for _ in range(TRIES_EACH):
            try:
                path.claim()
                ends.append("granted")
            except Stale:
                ends.append(("stale",))  # of hosts and datastores the plan says no more: another look does
            except Conflict as refusal:
                ends.append((refusal.code, *[refusal.more["limits"][0][key] for key in ("scope", "resource")]))
            except OperationalError as error:
                ends.append(f"deadlock {error}")
        return ends

    ends = Counter(end for found in at_once(client) for end in found)
    assert ends == {"granted": ROOM, refusal: CLIENTS * TRIES_EACH - ROOM}
    full = sums()
    assert full["host"] == [(ROOM, ROOM * GIB)]
    assert full["datastore"] == [(ROOM * 10,)]
    assert [used[1:] for used in full["pools"]] == [(ROOM, ROOM * GIB)] * 2
    assert {used for _, used in full["quotas"]} == {ROOM, ROOM * GIB, ROOM * 10}
    assert len(full["quotas"]) == 4 * 4  # resources, by project and tenant, over all zones and in this one
    with pytest.raises((Stale, Conflict)):
        path.claim()
    if level in NAMED:
        with pytest.raises(Conflict) as told:
            ledger.decide([room.ask(path.place, path.below, 1, GIB, 10)], seed=1)
        assert (told.value.code, told.value.more["limits"][0]["resource"]) == ("no_room", NAMED[level])
    assert sums() == full
    room.check_books()
    with as_system():
        holders = list(Allocation.objects.filter(released=None).values_list("holder", flat=True))
    assert room.release(path.office.project, holders) == ROOM
    assert sums() == {
        "host": [(0, 0)], "datastore": [(0,)], "pools": [(*one[:1], 0, 0) for one in full["pools"]], "quotas": [],
        "allocations": 0,
    }  # fmt: skip


def test_parallel_requests_do_not_chase_one_host(acme):
    """On equal hosts decisions that are made on the same look lead to different ones, each time the same for the same
    request; so those that then write at once hardly ever find their plan out of date."""
    place = room.land(hosts=100, vcpu=2, memory_mib=4 * GIB)
    pool = room.pool(place, acme.tenant)
    ledger.look(full=True)
    for policy in Policy:
        asks = [room.ask(place, pool, 2) for _ in range(60)]
        seeds = [ask.key.int & 0xFFFF_FFFF for ask in asks]
        chosen = [_chosen(ask, policy, seed) for ask, seed in zip(asks, seeds, strict=True)]
        assert chosen == [_chosen(ask, policy, seed) for ask, seed in zip(asks, seeds, strict=True)]
        assert len(set(chosen)) >= 35  # of 100 hosts, 60 throws of dice hit 45 on average

    def client(_):
        count = 0
        for _ in range(8):
            ask = room.ask(place, pool, 2)
            while True:
                try:
                    room.claim(acme.project, pool, [ask])
                    break
                except Stale:
                    count += 1
        return count

    stale = at_once(client)
    assert sum(stale) <= 16, stale  # 64 claims that fill a host each; without the shuffle the rivals all lose but one
    with as_system():
        hosts = Allocation.objects.filter(released=None).values_list("host_id", flat=True)
        assert len(set(hosts)) == len(hosts) == 64
    room.check_books()


def _chosen(ask, policy, seed):
    return ledger.decide([ask], policy=policy, seed=seed).placements[0].host_id
