"""Pools at their site: mirrored by a worker, followed when they change, removed when they go; looked up by hand."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import pytest
from pyVmomi import vim

from facet.operations import engine
from facet.operations.models import Operation, Wakeup
from infra.drivers import factory
from infra.drivers.names import place_name
from infra.models import Host, Zone, ZonePhase
from scheduler.models import Hold, PoolPhase, ResourcePool
from tests import factories, ground, room, work
from tests.contract import vsphere_site
from tests.contract.site import Site
from tests.factories import as_system
from tests.room import GIB

CORE_MHZ, OVERCOMMIT = 2294, 4  # of vcsim's hosts, and of a zone by default
VCPU_MHZ = CORE_MHZ // OVERCOMMIT


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory):
    with vsphere_site.running(tmp_path_factory.mktemp("vcsim")) as found:
        yield found


@dataclass(frozen=True)
class Land:
    """A zone on vcsim over a vSphere cluster and a standalone host, and a tenant."""

    site: Site
    it: Any
    office: factories.Office

    @property
    def tenant_pools(self):
        return f"tenants/{self.office.tenant.id}/pools"

    @property
    def project_pools(self):
        return f"projects/{self.office.project.id}/pools"

    def mirrors(self, pool):
        """What plain pyVmomi finds of a pool: (name of its compute resource, its path, the pool there)."""
        content = self.site.by_hand.content
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ResourcePool], True)
        found = [one for one in view.view if one.name == place_name(pool["name"], row(pool).id)]
        view.Destroy()
        return sorted((one.owner.name, tuple(path(one)), one) for one in found)


def path(pool):
    names = []
    while isinstance(pool, vim.ResourcePool):
        names.append(pool.name.rpartition(" (")[0] or pool.name)
        pool = pool.parent
    return reversed(names)


def row(pool):
    with as_system():
        return ResourcePool.objects.get(pk=pool["id"])


@pytest.fixture
def land(vcenter):
    it = factories.person("root", "platform-admin")
    ground.register(it, vcenter)
    body = {
        "name": "az1", "site": "dc1", "selector": {"hosts": ["DC0_H0", "DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2"]},
        "datastores": [vcenter.datastore], "networks": [vcenter.network],
    }  # fmt: skip
    work.succeed(it, it.post("zones", body))
    return Land(vcenter, it, factories.office("acme"))


FLEX = {
    "zone": "az1", "model": "flex", "reserved": {"vcpu": 8, "memory_mib": 4 * GIB},
    "limit": {"vcpu": 20, "memory_mib": 10 * GIB}, "largest_shape": "small",
}  # fmt: skip
BELOW = {"zone": "az1", "model": "flex", "name": "web", "reserved": {"vcpu": 4, "memory_mib": 2 * GIB},
         "limit": {"vcpu": 8, "memory_mib": 4 * GIB}}  # fmt: skip


def made(api, where, body):
    answer = api.post(where, body)
    work.succeed(api, answer)
    return answer["pool"]


def test_a_pool_is_mirrored_at_the_site(land):
    """In each compute resource of its zone, below the zone's own, with its reservation and its limit; a project's below
    its tenant's. It follows a change, and is gone when it is deleted."""
    pool = made(land.it, land.tenant_pools, FLEX)
    assert land.it.get(f"pools/{pool['id']}")["phase"] == "active"
    mirrors = land.mirrors(pool)
    assert [(owner, way) for owner, way, _ in mirrors] == [
        (owner, ("Resources", "facet", "az1", "az1")) for owner in ("DC0_C0", "DC0_H0")
    ]
    cpu = [one.config.cpuAllocation for _, _, one in mirrors]
    memory = [one.config.memoryAllocation for _, _, one in mirrors]
    assert [one.reservation for one in cpu] == [8 * VCPU_MHZ * 3 // 4, 8 * VCPU_MHZ // 4]  # 3 hosts there, 1 here
    assert [one.reservation for one in memory] == [3 * GIB, 1 * GIB]
    assert [one.limit for one in cpu] == [20 * VCPU_MHZ] * 2
    assert [one.limit for one in memory] == [10752 + 128 * 10] * 2  # 5 % more, and 128 MiB for each of ten tiny VMs
    assert not any(one.expandableReservation for one in cpu + memory)

    below = made(land.office.tenant_admin, land.project_pools, BELOW)
    children = land.mirrors(below)
    assert [(owner, way) for owner, way, _ in children] == [
        (owner, ("Resources", "facet", "az1", "az1", "web")) for owner in ("DC0_C0", "DC0_H0")
    ]
    assert [one.config.cpuAllocation.reservation for _, _, one in children] == [3 * VCPU_MHZ, VCPU_MHZ]
    assert all(one.config.cpuAllocation.expandableReservation for _, _, one in children)

    change = land.it.patch(f"pools/{pool['id']}", {"reserved": {"vcpu": 16, "memory_mib": 4 * GIB}, "limit": None})
    work.succeed(land.it, change)
    grown = [one.config for _, _, one in land.mirrors(pool)]
    assert [one.cpuAllocation.reservation for one in grown] == [16 * VCPU_MHZ * 3 // 4, 16 * VCPU_MHZ // 4]
    assert [(one.cpuAllocation.limit, one.memoryAllocation.limit) for one in grown] == [(-1, -1)] * 2

    for api, gone in ((land.office.tenant_admin, below), (land.it, pool)):
        assert len(land.mirrors(gone)) == 2
        work.succeed(api, api.delete(f"pools/{gone['id']}"))
        assert land.mirrors(gone) == []
        assert row(gone).deleted_at is not None
        assert api.get(f"pools/{gone['id']}").status == 404
    with as_system():
        assert not Hold.objects.exists()
        assert set(Host.objects.values_list("vcpu_claimed", flat=True)) == {0}
    again = made(land.it, land.tenant_pools, FLEX)
    assert again["id"] != pool["id"]


def test_a_pass_that_was_killed_leaves_no_second_pool_and_none_behind(land):
    """The site made the pool, and nobody saved its refs: the next pass finds it by name, also a pass that removes."""
    pool = made(land.it, land.tenant_pools, FLEX)
    refs = row(pool).refs
    forget(pool)
    poke(pool)
    work.until(lambda: row(pool).phase == PoolPhase.ACTIVE)
    assert row(pool).refs == refs
    assert len(land.mirrors(pool)) == 2
    forget(pool)
    work.succeed(land.it, land.it.delete(f"pools/{pool['id']}"))
    assert land.mirrors(pool) == []


def forget(pool):
    with as_system():
        ResourcePool.objects.filter(pk=pool["id"]).update(phase=PoolPhase.PENDING, refs={}, observed_generation=0)


def poke(pool):
    found = row(pool)
    with as_system():
        engine.wakeups.wake("pool", found.id, tenant_id=found.tenant_id, site_id=Zone.objects.get().site_id)


def test_a_site_that_refuses_is_named_and_tried_again(land):
    land.site.by_hand.program.inject(
        "CreateResourcePool", "InsufficientResourcesFault", text="No room for it.", times=1
    )
    answer = land.it.post(land.tenant_pools, FLEX)
    operation = work.done(land.it, answer)
    assert operation["phase"] == "failed"
    pool = land.it.get(f"pools/{answer['pool']['id']}")
    assert pool["phase"] == "failed"
    assert pool["reason"]["code"] == operation["problem"]["code"]
    with as_system():
        Wakeup.objects.update(due_at="2026-01-01T00:00:00Z")
    work.until(lambda: row(pool).phase == PoolPhase.ACTIVE)
    assert land.it.get(f"pools/{pool['id']}")["reason"] is None
    land.site.by_hand.program.heal()
    work.succeed(land.it, land.it.delete(f"pools/{pool['id']}"))


def test_a_pool_that_somebody_removed_at_the_site_is_made_again(land):
    pool = made(land.it, land.tenant_pools, FLEX)
    for _, _, mirror in land.mirrors(pool):
        mirror.Destroy_Task()
    work.until(lambda: not land.mirrors(pool))
    poke(pool)
    work.until(lambda: len(land.mirrors(pool)) == 2)
    work.until(lambda: len(row(pool).refs) == 2)
    work.succeed(land.it, land.it.delete(f"pools/{pool['id']}"))
    assert land.mirrors(pool) == []


def test_new_hosts_of_a_zone_get_the_pool_with_the_next_look(land):
    pool = made(land.it, land.tenant_pools, FLEX)
    found = row(pool)
    lost = sorted(found.refs)[0]
    with as_system():
        ResourcePool.objects.filter(pk=found.pk).update(refs={k: v for k, v in found.refs.items() if k != lost})
    with as_system():
        site = Zone.objects.get().site
    work.succeed(land.it, land.it.post(f"sites/{site.id}/sync"))
    work.until(lambda: row(pool).refs == found.refs)


def test_a_zone_with_pools_does_not_go(land):
    pool = made(land.it, land.tenant_pools, FLEX)
    with as_system():
        zone = Zone.objects.get()
    refused = land.it.delete(f"zones/{zone.id}")
    assert (refused.status, refused["code"], refused["holders"][0]["kind"]) == (409, "in_use", "pool")
    work.succeed(land.it, land.it.delete(f"pools/{pool['id']}"))
    work.succeed(land.it, land.it.delete(f"zones/{zone.id}"))


# --- waiting, without any site -------------------------------------------------------------------------------------


def test_a_pool_waits_for_its_zone_and_a_projects_for_its_tenants():
    """No call goes out while what it hangs from does not stand: nothing answers at this endpoint, and no pass fails."""
    place, office = room.land(), factories.office("acme")
    above = room.pool(place, office.tenant)
    below = room.pool(place, office.tenant, office.project)
    with as_system():
        Zone.objects.update(phase=ZonePhase.PENDING)
    for _ in range(2):
        work.until(lambda: not engine.take_next())
        with as_system():
            assert list(Wakeup.objects.values_list("attempts", "last_error")) == [(0, "")] * 2
            Wakeup.objects.update(due_at="2026-01-01T00:00:00Z")
            ResourcePool.objects.filter(pk=above.pk).update(phase=PoolPhase.PENDING)
    with as_system():
        assert set(ResourcePool.objects.values_list("phase", flat=True)) == {"pending"}
        assert below.parent_id == above.id


def test_a_site_that_is_away_costs_the_pool_nothing():
    place, office = room.land(), factories.office("acme")
    pool = room.pool(place, office.tenant)
    with as_system():
        Zone.objects.filter(pk=place.zone.pk).update(pool_refs={host.compute_ref: "p" for host in place.hosts})
    work.until(lambda: not engine.take_next())
    with as_system():
        assert ResourcePool.objects.get(pk=pool.pk).phase == PoolPhase.PENDING
        assert Operation.objects.get(target_id=pool.id).phase == "pending"
        assert Wakeup.objects.get().attempts == 1


# --- the other driver ----------------------------------------------------------------------------------------------


def test_the_same_on_a_simulated_site(tmp_path):
    with ground.simulated(tmp_path) as land:
        where = f"projects/{land.office.project.id}/pools"
        below = made(land.office.tenant_admin, where, {"zone": "az1", "model": "on-demand", "limit": ground.POOL})
        with as_system():
            zone = Zone.objects.get()
            above = ResourcePool.objects.get(project=None)
        assert set(row(below).refs) == set(zone.pool_refs) == set(above.refs)
        with contextlib.closing(factory.connect(land.site.connection)) as driver:
            for holding in (zone.pool_refs, above.refs):  # the tenant's stands in the zone's, the project's in it
                with pytest.raises(Exception, match="in use"):
                    driver.ensure_no_pool(holding.values())
        work.succeed(land.office.tenant_admin, land.office.tenant_admin.delete(f"pools/{below['id']}"))
        work.succeed(land.it, land.it.delete(f"pools/{above.id}"))
        with contextlib.closing(factory.connect(land.site.connection)) as driver:
            driver.ensure_no_pool(zone.pool_refs.values())
