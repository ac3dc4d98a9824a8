"""Zones that are emptied, and guarantees on hosts that are: who pays, what opens again, what can go afterwards."""

from __future__ import annotations

import pytest

from facet.workloads.models import Drain
from infra.models import Zone
from scheduler.models import Allocation, Hold, ResourcePool
from tenants.models import Quota
from tests import ground, work
from tests.factories import as_system

from .test_drain import (
    as_it_says,
    drain,
    host_of,
    made,
    made_in_az1,
    one_claim_each,
    open_moves,
    row,
    till_the_end,
)


@pytest.fixture
def two_zones(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


# --- guarantees ----------------------------------------------------------------------------------------------------


def reserve(land, vcpu):
    with as_system():
        pool = ResourcePool.objects.get()
    reserved = {"model": "flex", "reserved": {"vcpu": vcpu, "memory_mib": vcpu * 1024}}
    work.succeed(land.it, land.it.patch(f"pools/{pool.id}", reserved))


def within():
    with as_system():
        return sum(Allocation.objects.filter(released=None).values_list("vcpu_from_hold", flat=True))


def kept():
    with as_system():
        return sum(Hold.objects.values_list("vcpu", flat=True))


def test_who_is_within_a_guarantee_stays_within_it(land):
    reserve(land, 8)
    ids = made(land, 4)
    before = within(), kept()
    assert before[0] > 0
    host = host_of(ids[0])
    work.succeed(land.it, drain(land, host))
    assert (within(), kept()) == before
    assert row(host).vcpu_claimed == 0
    one_claim_each(*ids)


# --- zones ---------------------------------------------------------------------------------------------------------


def test_a_zone_is_not_drained_into_quotas_and_pools_that_are_too_small(two_zones):
    land = two_zones
    ids = made_in_az1(land, 2)
    with as_system():
        zone, other = Zone.objects.get(name="az1"), Zone.objects.get(name="az2")
        standing = Allocation.objects.filter(released=None, zone=zone).count()
        pool = ResourcePool.objects.get(zone=other)
        used = pool.vcpu_used
        ResourcePool.objects.filter(pk=pool.pk).update(vcpu_limit=used)
    assert standing
    refused = land.it.post(f"zones/{zone.id}/drain")
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert "Pool az2 there" in refused["holders"][0]["why"]
    with as_system():
        ResourcePool.objects.filter(pk=pool.pk).update(vcpu_limit=None)
        project = land.office.project
        Quota.objects.update_or_create(
            tenant=land.office.tenant,
            project=project,
            zone_id=other.id,
            resource="vms",
            defaults={"limit": len(ids) - standing},
        )
    refused = land.it.post(f"zones/{zone.id}/drain")
    assert (refused.status, refused["code"]) == (409, "no_room")
    assert "quota of vms" in refused["holders"][0]["why"]


def test_a_cancelled_drain_of_a_zone_opens_it_again(two_zones):
    land = two_zones
    ids = made_in_az1(land, 3)
    with as_system():
        zone = Zone.objects.get(name="az1")
    land.site.by_hand.hand("latency", move=0.3)
    asked = land.it.post(f"zones/{zone.id}/drain")
    refused = land.it.post(f"zones/{zone.id}/resume")
    assert (refused.status, refused["code"]) == (409, "draining")
    work.until(lambda: open_moves())
    assert land.it.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    work.until(lambda: not Drain.objects.filter(ended_at=None).exists())
    assert land.it.get(f"zones/{zone.id}")["phase"] == "active"
    one_claim_each(*ids)
    as_it_says(land, *ids)


def test_a_drain_of_a_zone_is_killed_anywhere_and_goes_on(two_zones):
    land = two_zones
    ids = made_in_az1(land, 2)
    with as_system():
        zone = Zone.objects.get(name="az1")
    land.site.by_hand.hand("latency", move=0.2)
    asked = land.it.post(f"zones/{zone.id}/drain")
    assert till_the_end(land, asked) > 20
    assert land.it.get(f"operations/{asked['operation']['id']}")["phase"] == "succeeded"
    one_claim_each(*ids)
    as_it_says(land, *ids)
    with as_system():
        assert not Allocation.objects.filter(released=None, zone=zone).exists()


def test_a_zone_that_was_drained_can_be_taken_apart(two_zones):
    """VMs lie in the folder of their former zone until they go; then it goes too."""
    land = two_zones
    (id,) = made_in_az1(land, 1)
    with as_system():
        zone, pool = Zone.objects.get(name="az1"), ResourcePool.objects.get(zone__name="az1")
    work.succeed(land.it, land.it.post(f"zones/{zone.id}/drain"))
    work.succeed(land.it, land.it.delete(f"pools/{pool.id}"))
    work.succeed(land.editor, land.editor.delete(f"vms/{id}"))
    work.succeed(land.it, land.it.delete(f"zones/{zone.id}"))
    assert land.it.get(f"zones/{zone.id}").status == 404
