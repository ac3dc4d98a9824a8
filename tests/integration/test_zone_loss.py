"""Zone-loss guarantees: what is guaranteed in a zone is kept a second time in the tenant's other zones."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest

from facet.operations.models import Event, Operation, Wakeup
from facet.rest.access import SYSTEM
from facet.rest.problems import Conflict
from infra.models import Host, HostState, Zone, ZonePhase
from scheduler import ledger, rehousing, services
from scheduler.core.ask import Policy
from scheduler.guarantees import Amounts
from scheduler.ledger import Stale
from scheduler.models import Hold, ResourcePool
from tenants import isolation
from tests import factories, kept, room
from tests.factories import as_system
from tests.room import GIB, Land

ZONES = ("az1", "az2", "az3")
SHAPES = {"small": (2, 2 * GIB), "medium": (4, 8 * GIB), "large": (8, 16 * GIB)}


@dataclass
class Country:
    """Three zones and acme's pool in each: 3 large, 2 large and 5 medium VMs are guaranteed there."""

    lands: dict[str, Land]
    acme: factories.Office
    pools: dict[str, ResourcePool]
    admin: Any

    def row(self, zone):
        with as_system():
            return ResourcePool.objects.select_related("zone").get(pk=self.pools[zone].pk)

    def spare(self, zone):
        row = self.row(zone)
        with as_system():
            held = Hold.objects.filter(pool_id=row.spare_id)
            assert sum(one.vcpu for one in held) == row.vcpu_spare
        return row.vcpu_spare, row.memory_spare_mib

    def spares(self):
        return {zone: self.spare(zone) for zone in self.pools}

    def patch(self, zone, change):
        return self.admin.patch(f"pools/{self.pools[zone].id}", change)

    def claim(self, zones, shape, count):
        """VMs of acme's in any of these zones. Raises Conflict."""
        vcpu, memory = SHAPES[shape]
        where = tuple(self.lands[zone].zone.id for zone in zones)
        mine = tuple(self.pools[zone].id for zone in zones)
        first = self.lands[zones[0]]
        asks = [room.ask(first, self.pools[zones[0]], vcpu, memory, 1, zones=where, pools=mine) for _ in range(count)]
        plan = ledger.decide(asks, policy=Policy.PACK, seed=1)
        project = self.acme.project
        with isolation.context(isolation.of([project.tenant_id])):
            ledger.commit(
                tenant_id=project.tenant_id, project_id=project.id, asks=asks, plan=plan,
                pools=dict(zip(where, mine, strict=True)),
            )  # fmt: skip


GUARANTEED = {"az1": ("large", 3), "az2": ("large", 2), "az3": ("medium", 5)}


def guarantee(zone, count=None):
    shape, usual = GUARANTEED[zone]
    vcpu, memory = SHAPES[shape]
    return Amounts((count or usual) * vcpu, (count or usual) * memory)


@pytest.fixture
def country(admin, acme):
    lands = {zone: room.land(hosts=4, vcpu=20, memory_mib=40 * GIB, name=zone) for zone in ZONES}
    pools = {
        zone: room.pool(
            lands[zone], acme.tenant, model="flex", reserved=guarantee(zone), largest_shape=GUARANTEED[zone][0]
        )
        for zone in ZONES
    }
    return Country(lands, acme, pools, admin)


def flagged(country, *, zones=ZONES):
    answer = country.patch(zones[0], {"survives_zone_loss": True, "with_zones": list(zones[1:])})
    assert answer.status == 202, answer
    return answer


def filled(country, seed=1):
    """Everybody else takes whatever is free."""
    dice, rival = random.Random(seed), factories.office("other")
    for place in country.lands.values():
        theirs = room.pool(place, rival.tenant)
        for vcpu, gib in [(dice.randint(2, 6), dice.randint(2, 12)) for _ in range(30)] + [(1, 1)] * 60:
            try:
                room.claim(rival.project, theirs, [room.ask(place, theirs, vcpu, gib * GIB, 1)])
            except Conflict:
                continue


def lose(country, zone):
    with as_system():
        Host.objects.filter(zone=country.lands[zone].zone).update(state=HostState.DOWN)
    ledger.look(full=True)


@pytest.mark.parametrize("lost", ZONES)
def test_the_loss_of_any_zone_leaves_room_for_what_was_guaranteed_there(country, lost):
    """All that is guaranteed is in use, everything else is taken by others, a zone goes: its VMs fit elsewhere."""
    flagged(country)
    for zone in ZONES:
        country.claim([zone], *GUARANTEED[zone])
    filled(country)
    others = [zone for zone in ZONES if zone != lost]
    lose(country, lost)
    with pytest.raises(Conflict):  # what is spare is nobody's yet
        country.claim(others, *GUARANTEED[lost])
    for zone in others:
        spare = country.spare(zone)
        answer = country.admin.post(f"pools/{country.pools[zone].id}/take-spare")
        assert answer.status == 202, answer
        assert answer["pool"]["survives_zone_loss"] is False
        assert answer["pool"]["spare"] == {"vcpu": 0, "memory_mib": 0}
        assert answer["pool"]["reserved"]["vcpu"] == guarantee(zone).vcpu + spare[0]
    room.check_books()
    country.claim(others, *GUARANTEED[lost])
    room.check_books()


def test_each_keeps_its_part_of_what_any_other_guarantees(country):
    """24, 16 and 20 vCPUs are guaranteed in three zones: the others keep half of each, in whole chunks of its shape."""
    with as_system():
        Wakeup.objects.all().delete()
    answer = flagged(country)
    assert (answer["pool"]["survives_zone_loss"], answer["operation"]["verb"]) == (True, "pool.update")
    assert country.spares() == {
        "az1": (12, 24 * GIB),  # three medium of az3 (12 vCPUs); one large of az2 is less
        "az2": (16, 32 * GIB),  # two large of az1
        "az3": (16, 32 * GIB),
    }
    assert [country.row(zone).generation for zone in ZONES] == [2, 2, 2]
    with as_system():  # a pool of another generation is looked at, or its projects' pools would wait for it
        asked = Operation.objects.filter(verb="pool.update", phase="pending", generation=2)
        assert set(asked.values_list("target_id", flat=True)) == {pool.id for pool in country.pools.values()}
        assert set(Wakeup.objects.values_list("key", flat=True)) == {pool.id for pool in country.pools.values()}
    room.check_books()
    # a larger guarantee: the others follow in the same transaction
    assert country.patch("az2", {"reserved": {"vcpu": 32, "memory_mib": 64 * GIB}}).status == 202
    assert country.spares() == {"az1": (16, 32 * GIB), "az2": (16, 32 * GIB), "az3": (16, 32 * GIB)}
    assert [country.row(zone).generation for zone in ZONES] == [2, 3, 2]  # spare room is no wish
    # and back
    assert country.patch("az2", {"reserved": {"vcpu": 16, "memory_mib": 32 * GIB}}).status == 202
    assert country.spares()["az1"] == (12, 24 * GIB)
    room.check_books()
    # one leaves, and the two others keep all of each other's
    assert country.patch("az3", {"survives_zone_loss": False}).status == 202
    assert country.spares() == {"az1": (16, 32 * GIB), "az2": (24, 48 * GIB), "az3": (0, 0)}
    room.check_books()
    gone = country.patch("az1", {"survives_zone_loss": False, "with_zones": ["az2"]})
    assert gone.status == 202, gone
    assert set(country.spares().values()) == {(0, 0)}
    ids = [country.row(zone).spare_id for zone in ZONES]
    with as_system():
        assert not Hold.objects.filter(pool_id__in=ids, vcpu__gt=0).exists()
    room.check_books()


def test_one_pool_cannot_survive_alone(country):
    alone = country.patch("az1", {"survives_zone_loss": True})
    assert (alone.status, alone["code"]) == (409, "alone")
    assert "with_zones" in alone["detail"]
    flagged(country, zones=("az1", "az2"))
    for left in (
        country.patch("az1", {"survives_zone_loss": False}),
        country.admin.delete(f"pools/{country.pools['az2'].id}"),
    ):
        assert (left.status, left["code"]) == (409, "alone")
    assert country.spares() == {"az1": (16, 32 * GIB), "az2": (24, 48 * GIB), "az3": (0, 0)}
    room.check_books()


def test_a_pool_that_goes_takes_its_spare_room_with_it_and_the_others_keep_more(country):
    flagged(country)
    assert country.admin.delete(f"pools/{country.pools['az3'].id}").status == 202
    del country.pools["az3"]
    assert country.spares() == {"az1": (16, 32 * GIB), "az2": (24, 48 * GIB)}
    room.check_books()
    with as_system():
        assert set(Host.objects.filter(zone__name="az3").values_list("vcpu_claimed", flat=True)) == {0}
    made = country.admin.post(
        f"tenants/{country.acme.tenant.id}/pools",
        {"zone": "az3", "model": "reserved", "reserved": {"vcpu": 8, "memory_mib": 16 * GIB},
         "survives_zone_loss": True},
    )  # fmt: skip
    assert made.status == 409  # the old one is still at its site
    with as_system():
        ResourcePool.objects.filter(project=None, phase="deleting").update(deleted_at="2026-01-01T00:00:00Z")
    made = country.admin.post(
        f"tenants/{country.acme.tenant.id}/pools",
        {"zone": "az3", "model": "reserved", "reserved": {"vcpu": 8, "memory_mib": 16 * GIB},
         "survives_zone_loss": True},
    )  # fmt: skip
    assert (made.status, made["pool"]["survives_zone_loss"]) == (202, True)
    assert made["pool"]["spare"] == {"vcpu": 16, "memory_mib": 32 * GIB}
    room.check_books()


def test_a_change_that_the_other_zones_cannot_keep_is_refused_as_a_whole(country):
    """The refusal names the zone that is short; nothing is held of it."""
    flagged(country)
    before = country.spares()
    filled(country)
    lone = country.lands["az1"]
    with as_system():
        hosts = Host.objects.filter(zone=lone.zone)
        hosts.update(vcpu_limit=200, memory_limit_mib=400 * GIB)
    ledger.look(full=True)
    grown = country.patch("az1", {"reserved": {"vcpu": 40, "memory_mib": 80 * GIB}})  # its own zone has room
    assert (grown.status, grown["code"]) == (409, "no_room")
    assert grown["zone"] in ("az2", "az3")
    assert f"Zone {grown['zone']} cannot keep" in grown["detail"]
    assert country.spares() == before
    assert country.row("az1").vcpu_reserved == 24
    room.check_books()


BAD = [
    ({"survives_zone_loss": "yes"}, "survives_zone_loss"),
    ({"survives_zone_loss": None}, "survives_zone_loss"),
    ({"survives_zone_loss": True, "with_zones": ["nowhere"]}, "with_zones"),
    ({"survives_zone_loss": True, "with_zones": ["az1"]}, "with_zones"),  # it is that one itself
    ({"survives_zone_loss": True, "with_zones": ["az4"]}, "with_zones"),  # on-demand
    ({"survives_zone_loss": True, "with_zones": [f"z{n}" for n in range(1000)]}, "with_zones"),
    ({"with_zones": ["az2"]}, "with_zones"),
    ({"survives_zone_loss": True, "with_zones": "az2"}, "with_zones"),
    ({"survives_zone_loss": True, "with_zones": ["az2"], "model": "on-demand"}, "survives_zone_loss"),
]


@pytest.mark.parametrize(("change", "field"), BAD)
def test_bad_input_names_the_field(country, change, field):
    room.pool(room.land(name="az4"), country.acme.tenant)
    answer = country.patch("az1", change)
    assert answer.status == 422, answer
    assert any(name.startswith(field) for name in answer["errors"]), answer
    assert country.row("az1").generation == 1


def test_a_projects_pool_does_not_survive_and_only_it_says_so(country):
    web = room.pool(country.lands["az1"], country.acme.tenant, country.acme.project)
    answer = country.acme.tenant_admin.patch(f"pools/{web.id}", {"survives_zone_loss": True})
    assert (answer.status, list(answer["errors"])) == (422, ["survives_zone_loss"])
    body = {"survives_zone_loss": True, "with_zones": ["az2"]}
    assert country.acme.tenant_admin.patch(f"pools/{country.pools['az1'].id}", body).status == 403
    assert country.acme.tenant_admin.post(f"pools/{country.pools['az1'].id}/take-spare").status == 403
    nothing = country.admin.post(f"pools/{country.pools['az1'].id}/take-spare")
    assert (nothing.status, nothing["code"]) == (409, "no_spare")


def test_a_transfer_moves_the_spare_room_of_both_tenants(country):
    beta = factories.office("beta")
    theirs = {
        zone: room.pool(country.lands[zone], beta.tenant, model="flex", reserved=Amounts(8, 16 * GIB),
                        largest_shape="large")
        for zone in ("az1", "az2")
    }  # fmt: skip
    flagged(country)
    body = {"survives_zone_loss": True, "with_zones": ["az2"]}
    assert country.admin.patch(f"pools/{theirs['az1'].id}", body).status == 202
    moved = country.admin.post(
        f"pools/{country.pools['az1'].id}/transfer", {"to": str(theirs["az1"].id), "vcpu": 16, "memory_mib": 32 * GIB}
    )
    assert moved.status == 202, moved
    assert country.spares()["az2"] == (12, 24 * GIB)  # half of az3's five medium; one large of az1 is less
    with as_system():
        row = ResourcePool.objects.get(pk=theirs["az2"].pk)
    assert (row.vcpu_spare, row.memory_spare_mib) == (24, 48 * GIB)
    room.check_books()


def test_spare_room_leaves_hosts_that_close_too(country):
    flagged(country)
    with as_system():
        there = services.kept_in(country.lands["az2"].zone.id)
        spare_id = country.pools["az2"].spare_id
        home = Hold.objects.filter(pool_id=spare_id, vcpu__gt=0)[0].host_id
    done = rehousing.rehouse(there, [home], seed=1)
    assert done.short == {}
    with as_system():
        services.guarantees.move(country.lands["az2"].zone.id, done.moves)
        assert not Hold.objects.filter(pool_id=spare_id, host_id=home, vcpu__gt=0).exists()
    assert country.spare("az2") == (16, 32 * GIB)
    room.check_books()


def test_a_lost_zone_does_not_stop_what_needs_no_room_there(country):
    """After the loss of az1 a smaller guarantee in az2 is written all the same."""
    flagged(country)
    lose(country, "az1")
    with as_system():
        Zone.objects.filter(name="az1").update(phase=ZonePhase.DISABLED)
    ledger.look(full=True)
    answer = country.patch("az3", {"reserved": {"vcpu": 12, "memory_mib": 24 * GIB}})
    assert answer.status == 202, answer
    assert country.spare("az1") == (8, 16 * GIB)  # one large of az2, two medium of az3
    room.check_books()


def test_two_changes_at_once_never_leave_too_little(country):
    """Guarantees of all three zones grow and shrink at once, and others claim over all zones: no deadlock, and in the
    end the spare room is what the guarantees want."""
    flagged(country)
    rival = factories.office("other")
    theirs = {zone: room.pool(country.lands[zone], rival.tenant) for zone in ZONES}
    where = tuple(country.lands[zone].zone.id for zone in ZONES)

    def changing(zone, seed):
        dice, ends = random.Random(seed), []
        for _ in range(8):
            try:
                with as_system():
                    wanted = services.changed(country.pools[zone], {"reserved": guarantee(zone, dice.randint(1, 4))})
                moves = services.decide(wanted)
                with as_system():
                    services.update_pool(wanted=wanted, moves=moves, by=SYSTEM)
                ends.append("changed")
            except Stale:
                ends.append("stale")
            except Conflict as refusal:
                ends.append(refusal.code)
        return ends

    def claiming():
        ends = []
        for _ in range(10):
            asks = [
                room.ask(country.lands["az1"], theirs["az1"], 2, 2 * GIB, 1, zones=where,
                         pools=tuple(pool.id for pool in theirs.values()))
                for _ in range(3)
            ]  # fmt: skip
            try:
                plan = ledger.decide(asks, policy=Policy.SPREAD, seed=1)
                with isolation.context(isolation.of([rival.tenant.id])):
                    ledger.commit(
                        tenant_id=rival.tenant.id, project_id=rival.project.id, asks=asks, plan=plan,
                        pools={pool.zone_id: pool.id for pool in theirs.values()},
                    )  # fmt: skip
                ends.append("granted")
            except Stale:
                ends.append("stale")
                continue
            except Conflict as refusal:
                ends.append(refusal.code)
                continue
            room.release(rival.project, [ask.key for ask in asks])
        return ends

    works = [lambda z=zone, n=n: changing(z, n) for n, zone in enumerate(ZONES)] + [claiming]
    ends = {end for found in kept.at_once(works) for end in found}
    assert ends >= {"changed", "granted"}
    assert ends <= {"changed", "granted", "stale", "no_room", "guarantee_in_use"}
    room.check_books()
    spares = country.spares()
    for zone in ZONES:
        wanted = country.row(zone).vcpu_reserved
        assert sum(spare[0] for other, spare in spares.items() if other != zone) >= wanted
    with as_system():
        assert Event.objects.filter(verb="pool.update").exists()
