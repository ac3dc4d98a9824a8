"""What-ifs at the edges: more hosts where a zone keeps room free for those that fail."""

from __future__ import annotations

import pytest

from facet.rest.problems import Invalid
from infra import capacity
from infra.models import Host, PhysicalNetwork, Zone
from scheduler import history, ledger, whatif
from tests import room
from tests.factories import as_system
from tests.room import GIB

from .test_ledger import straight


def counted(place):
    with as_system():
        capacity.refresh_hosts(Zone.objects.select_for_update(no_key=True).get(pk=place.zone.pk))


def supposed(place, **what):
    with as_system():
        found = whatif.suppose(Zone.objects.get(pk=place.zone.pk), **what)
    return found.answer()


@pytest.mark.parametrize(("there", "failover_hosts"), [(2, 1), (1, 1), (2, 3), (3, 0)])
def test_added_hosts_make_the_part_that_each_keeps_free_smaller(there, failover_hosts):
    """Where all are spare ones nothing fits yet, and the first host more makes room on those that are there."""
    place = room.land(
        hosts=there, vcpu=8, memory_mib=64 * GIB, cpu_overcommit=1, failover_hosts=failover_hosts, name="az1"
    )
    counted(place)
    told = supposed(place, kind="add_hosts", count=2, like="host-1")
    with as_system():
        for number in (1, 2):
            Host.objects.create(
                site=place.zone.site, zone=place.zone, ref=f"new-{number}", name=f"new-{number}", compute_ref="c-1",
                cpu_cores=8, core_mhz=2000, memory_mib=64 * GIB, datastore_refs=["ds-1"],
            )  # fmt: skip
    counted(place)
    now = supposed(place, kind="add_hosts", count=1, like="host-1")["before"]
    assert told["after"] == now
    assert any(one["count"] for one in now["flavors"])


def test_a_replay_of_more_than_can_be_replayed_is_refused_with_how_many_they_were(acme, monkeypatch):
    place = room.land()
    pool = room.pool(place, acme.tenant)
    room.claim(acme.project, pool, [room.ask(place, pool) for _ in range(3)])
    monkeypatch.setattr(history, "MOST", 3)
    assert supposed(place, kind="replay", days=1)["asked"] == 3
    monkeypatch.setattr(history, "MOST", 2)
    with pytest.raises(Invalid, match="3 VMs came"):
        supposed(place, kind="replay", days=1)


@pytest.mark.parametrize(("reaches", "fits"), [(["net-1"], True), (["net-2"], False), (["net-2", "net-1"], True)])
def test_who_moves_keeps_the_network_that_it_is_on(acme, reaches, fits):
    """It was asked for with either of two, and is on the first of them that its host reaches."""
    place = room.land(hosts=2)
    with as_system():
        networks = [
            PhysicalNetwork.objects.create(site=place.zone.site, ref=f"net-{number}", name=f"net-{number}", vlan=number)
            for number in (1, 2)
        ]
        for network in networks:
            network.zones.add(place.zone)
        Host.objects.filter(pk=place.hosts[0].pk).update(network_refs=["net-1", "net-2"])
        Host.objects.filter(pk=place.hosts[1].pk).update(network_refs=reaches)
    ledger.look(full=True)
    pool = room.pool(place, acme.tenant)
    asks = [room.ask(place, pool, networks=tuple(network.id for network in networks))]
    room.claim(acme.project, pool, asks, straight(asks[0], place.hosts[0], place))
    told = supposed(place, kind="drain_hosts", hosts=["host-1"])
    assert (told["fits"], [one["id"] for one in told["unplaced"]]) == (fits, [] if fits else [asks[0].key])
