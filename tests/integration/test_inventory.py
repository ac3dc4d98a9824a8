"""A look at a site, written down: what is there, what went away, and what others take of it."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from facet.operations.models import Event, Inflight, Wakeup
from infra import inventory, looks
from infra.drivers.base import HostState, Power, TemplateFacts
from infra.models import Datastore, Host, PhysicalNetwork, Site, Template, Zone
from tests import sites
from tests.factories import as_system
from tests.vcsim import run


@pytest.fixture(scope="module")
def vcsim(tmp_path_factory):
    with run.running(tmp_path_factory.mktemp("vcsim"), "-hosts", "4") as program:
        yield program


def events(verb):
    with as_system():
        return list(Event.objects.filter(verb=verb).order_by("seq"))


def test_a_site_shows_its_hosts_datastores_networks_and_templates(admin, vcsim):
    asked = sites.add_vcenter(admin, vcsim)
    assert asked.status == 202
    sites.work()
    site = admin.get(f"sites/{asked['site']['id']}")
    assert (site["phase"], site["reason"], site["simulated"]) == ("active", None, True)
    assert site["product"]
    assert site["last_synced_at"]
    assert admin.get(f"operations/{asked['operation']['id']}")["phase"] == "succeeded"

    hosts = {row["name"]: row for row in admin.get(f"sites/{site['id']}/hosts")["items"]}
    in_cluster = [row for row in hosts.values() if row["vsphere_cluster"] == "DC0_C0"]
    assert len(in_cluster) == 4
    assert {(row["state"], row["cpu_cores"], row["memory_mib"]) for row in in_cluster} == {("up", 32, 262144)}
    assert {row["zone"] for row in hosts.values()} == {None}
    (store,) = admin.get(f"sites/{site['id']}/datastores")["items"]
    assert (store["name"], store["capacity_gib"], store["limit_gib"], store["zones"]) == ("LocalDS_0", 16384, 0, [])
    networks = {row["name"] for row in admin.get(f"sites/{site['id']}/networks")["items"]}
    assert {"VM Network", "DC0_DVPG0"} <= networks
    templates = {row["name"]: row for row in admin.get(f"sites/{site['id']}/templates")["items"]}
    assert templates["DC0_C0_RP0_VM0"]["disk_gib"] == 10
    assert templates["DC0_C0_RP0_VM0"]["path"].endswith("/DC0_C0_RP0_VM0")


def test_a_sync_is_a_look_that_began_after_it_was_asked_for(admin, vcsim):
    site = sites.add_vcenter(admin, vcsim)["site"]
    sites.work()
    vcsim.admin("POST", "host", name="DC0_C0_H0", cores=16, memory_mib=131072)
    asked = admin.post(f"sites/{site['id']}/sync")
    assert asked.status == 202
    assert "site" not in asked.body
    sites.work()
    assert admin.get(f"operations/{asked['operation']['id']}")["phase"] == "succeeded"
    (host,) = admin.get(f"sites/{site['id']}/hosts?name=DC0_C0_H0")["items"]
    assert (host["cpu_cores"], host["memory_mib"]) == (16, 131072)
    vcsim.admin("POST", "host", name="DC0_C0_H0", cores=32, memory_mib=262144)


def versions():
    """Which transaction wrote each row last."""
    tables = "infra_host", "infra_datastore", "infra_physicalnetwork", "infra_template"
    with connection.cursor() as cursor:
        found = {}
        for table in tables:
            cursor.execute(f"select id, ctid::text, xmin::text from {table}")
            found |= {row[0]: (table, *row[1:]) for row in cursor.fetchall()}
    return found


def test_a_look_that_shows_nothing_new_writes_no_row():
    site = sites.registered()
    sites.carved(site)
    sites.observe(site, sites.world(vms=[sites.vm("host-1")]))
    before = {id: (table, ctid) for id, (table, ctid, _) in versions().items()}
    sites.observe(site, sites.world(vms=[sites.vm("host-1")]))
    assert {id: (table, ctid) for id, (table, ctid, _) in versions().items()} == before
    assert len(before) == 3 + 2 + 2 + 1


def test_one_host_that_differs_is_one_row_written():
    site = sites.registered()
    before = {id: ctid for id, (_, ctid, _) in versions().items()}
    changed = sites.host(2, state=HostState.MAINTENANCE)
    sites.observe(site, sites.world([sites.host(1), changed, sites.host(3, rack=2)]))
    after = {id: ctid for id, (_, ctid, _) in versions().items()}
    assert [id for id in after if after[id] != before[id]] == [Host.objects.get(name=changed.name).id]
    assert Host.objects.get(name=changed.name).state == "maintenance"


def test_what_vanishes_is_marked_and_comes_back_as_the_same_row():
    site = sites.registered()
    ids = {row.ref: row.id for row in Host.objects.all()}
    less = sites.world([sites.host(1)], datastores=(sites.store(1),), networks=(), templates=())
    sites.observe(site, less)
    assert set(Host.objects.filter(state="gone").values_list("ref", flat=True)) == {"host-2", "host-3"}
    assert list(Datastore.objects.filter(present=False).values_list("ref", flat=True)) == ["datastore-2"]
    assert not PhysicalNetwork.objects.filter(present=True).exists()
    assert not Template.objects.filter(present=True).exists()
    assert len(events("host.gone")) == 2
    assert len(events("datastore.gone")) == 1
    sites.observe(site, less)
    assert len(events("host.gone")) == 2
    sites.observe(site, sites.world())
    assert {row.ref: row.id for row in Host.objects.filter(state="up")} == ids
    assert not Datastore.objects.filter(present=False).exists()
    assert not Template.objects.filter(present=False).exists()


def test_a_host_that_shrinks_below_its_claims_is_overdrawn_told_once_and_takes_nothing_new():
    site = sites.registered()
    sites.carved(site)
    sites.claim("host-1.example.org", vcpu=40, memory_mib=60000)
    small = sites.world([sites.host(1, cpu_cores=4, memory_mib=32768), sites.host(2), sites.host(3, rack=2)])
    sites.observe(site, small)
    sites.observe(site, small)
    host = Host.objects.get(ref="host-1")
    assert (host.vcpu_limit, host.vcpu_claimed, host.vcpu_overdrawn) == (16, 40, 24)
    assert (host.memory_limit_mib, host.memory_overdrawn_mib) == (32768, 60000 - 32768)
    (told,) = events("host.overdrawn")
    assert told.after == {"vcpu": 24, "memory_mib": 27232}
    with pytest.raises(IntegrityError, match="host_vcpu_not_oversold"):
        Host.objects.filter(ref="host-1").update(vcpu_claimed=41)
    sites.observe(site, sites.world())
    host.refresh_from_db()
    assert (host.vcpu_overdrawn, host.memory_overdrawn_mib) == (0, 0)


def test_a_datastore_that_others_fill_is_overdrawn():
    site = sites.registered()
    sites.carved(site)
    with as_system():
        Datastore.objects.filter(name="ssd-1").update(claimed_gib=600)
    sites.observe(site, sites.world(datastores=(sites.store(1, free_gib=100), sites.store(2))))
    store = Datastore.objects.get(name="ssd-1")
    assert (store.unmanaged_gib, store.overdrawn_gib) == (900, 500)
    assert len(events("datastore.overdrawn")) == 1
    with pytest.raises(IntegrityError, match="datastore_not_oversold"):
        Datastore.objects.filter(name="ssd-1").update(claimed_gib=601)


def test_others_vms_that_run_take_room_and_nothing_else_does():
    site = sites.registered()
    sites.carved(site)
    template = sites.vm("host-1", ref="vm-100")
    vms = [
        sites.vm("host-1", vcpu=3, memory_mib=3000),
        sites.vm("host-1", vcpu=5, memory_mib=5000, power=Power.OFF),
        sites.vm("host-1", vcpu=7, memory_mib=7000, witness=True),
        template,
    ]
    sites.observe(site, sites.world(vms=vms))
    host = Host.objects.get(ref="host-1")
    assert (host.vcpu_unmanaged, host.memory_unmanaged_mib) == (3, 3000)
    free = host.vcpu_limit - 3
    with pytest.raises(IntegrityError, match="host_vcpu_not_oversold"):
        Host.objects.filter(ref="host-1").update(vcpu_claimed=free + 1)
    assert Host.objects.filter(ref="host-1").update(vcpu_claimed=free) == 1


def test_outside_zones_nothing_is_called_overdrawn():
    site = sites.registered()
    sites.observe(site, sites.world(vms=[sites.vm("host-1")]))
    assert not events("host.overdrawn")


def used(site, used_gib, *vms):
    sites.observe(site, sites.world(vms=vms, datastores=(sites.store(1, free_gib=1000 - used_gib), sites.store(2))))
    return Datastore.objects.get(name="ssd-1").unmanaged_gib


def claimed(gib):
    with as_system():
        Datastore.objects.filter(name="ssd-1").update(claimed_gib=gib)


def test_what_others_use_of_a_datastore_is_what_is_used_less_our_disks():
    site = sites.registered()
    sites.carved(site)
    assert used(site, 100) == 100
    claimed(80)
    ours = [sites.vm("host-1", witness=True), sites.vm("host-2", witness=True)]
    assert used(site, 180, *ours) == 100
    assert used(site, 250, *ours) == 170
    assert used(site, 120, *ours) == 40


def test_a_clone_on_its_way_is_not_counted_as_others_too():
    site = sites.registered()
    sites.carved(site)
    assert used(site, 100) == 100
    claimed(80)
    with as_system():
        row = Inflight.objects.create(
            site_id=site.id, ref="task-1", kind="cluster", key=uuid4(), about=uuid4(), doing="clone"
        )
    assert used(site, 140) == 100  # 40 of ours are written, and no VM is listed yet
    assert used(site, 300) == 220  # more than ours can be
    with as_system():
        row.delete()
    assert used(site, 180, sites.vm("host-1", witness=True), sites.vm("host-2", witness=True)) == 100


def test_thin_disks_of_ours_hide_nothing_of_others():
    site = sites.registered()
    sites.carved(site)
    assert used(site, 100) == 100
    claimed(200)
    thin = [sites.vm("host-1", witness=True, disk_gib=200)]
    assert used(site, 105, *thin) == 100  # less is used than our disk declares
    assert used(site, 50, *thin) == 50  # others freed some: they cannot use more than is used at all


def test_hosts_that_the_selector_names_join_and_those_that_it_names_no_more_leave(admin):
    site = sites.registered()
    zone = sites.carved(site)
    hosts = [sites.host(1), sites.host(2, rack=2), sites.host(3, rack=2), sites.host(4), sites.host(5)]
    sites.claim("host-1.example.org")
    look(site, sites.world([sites.host(1, rack=2), *hosts[1:]]))
    assert set(Host.objects.filter(zone=zone).values_list("ref", flat=True)) == {"host-1", "host-4", "host-5"}
    left = Host.objects.get(ref="host-2")
    assert (left.zone_id, left.vcpu_limit, left.memory_limit_mib) == (None, 0, 0)
    joined = Host.objects.get(ref="host-4")
    assert (joined.vcpu_limit, joined.memory_limit_mib) == (64, 65536)
    (told,) = events("zone.hosts_changed")
    assert len(told.after["joined"]) == 2
    assert told.after["left"] == ["host-2.example.org"]
    with as_system():
        assert Wakeup.objects.filter(kind="zone", key=zone.id).exists()
    sites.claim("host-1.example.org", 0, 0)
    look(site, sites.world([sites.host(1, rack=2), *hosts[1:]]))
    assert Host.objects.get(ref="host-1").zone_id is None


def test_a_host_of_another_zone_is_not_taken_by_a_label(admin):
    site = sites.registered()
    one, two = sites.carved(site), sites.carved(site, "az2", rack=2)
    with as_system():
        Zone.objects.filter(pk=two.pk).update(selector={"label": "rack=r1"})
    look(site, sites.world())
    assert Host.objects.filter(zone=one).count() == 2
    assert Host.objects.filter(zone=two).count() == 0


class Here:
    instance_id = "here"


def look(site, found):
    """A complete look, as the site's pass takes it."""
    looks.complete(site, looks.begin(site.id, as_system), Here(), found, as_system)


def test_an_older_look_does_not_undo_what_a_newer_one_wrote():
    site = sites.registered()
    before = timezone.now()
    sites.observe(site, sites.world([sites.host(1, state=HostState.DOWN), sites.host(2), sites.host(3, rack=2)]))
    inventory.write(site, sites.world(), as_system, before)
    assert Host.objects.get(ref="host-1").state == "down"
    sites.observe(site, sites.world())
    assert Host.objects.get(ref="host-1").state == "up"


def test_a_thousand_hosts_and_templates_are_written_a_hundred_at_a_time():
    hosts = [sites.host(n, rack=n % 7) for n in range(1, 1001)]
    templates = tuple(TemplateFacts(f"t-{n}", f"t{n}", f"/t{n}", 1, 1024, 1) for n in range(300))
    site = sites.registered(found=sites.world(hosts, templates=templates))
    assert Host.objects.filter(site=site).count() == 1000
    assert Template.objects.filter(site=site).count() == 300


# --- a site that shows too few of our VMs --------------------------------------------------------------------------


@pytest.fixture
def expecting(monkeypatch):
    """The rooms above expect these VMs."""
    keys = set()
    monkeypatch.setattr("facet.registry.EXPECTED_VMS", (lambda site_id: set(keys),))
    monkeypatch.setattr("facet.registry.SITE_OBSERVERS", ())
    return keys


def held_back(site):
    return Site.objects.values_list("held_back", flat=True).get(pk=site.pk)


@pytest.mark.parametrize(
    ("expected", "missing", "held"), [(20, 20, True), (20, 6, True), (20, 5, False), (100, 10, False), (100, 11, True)]
)
def test_a_site_that_shows_too_few_of_our_vms_is_held_back(expecting, expected, missing, held):
    site = sites.registered()
    ours = [sites.vm("host-1", witness=True, vcpu=0, memory_mib=0) for _ in range(expected)]
    expecting.update(vm.key for vm in ours)
    look(site, sites.world(vms=ours))
    assert not held_back(site)
    look(site, sites.world(vms=ours[missing:]))
    assert held_back(site) is held
    assert len(events("site.held_back")) == held
    site.refresh_from_db()
    assert site.vms_seen == expected - missing
    assert (site.reason or {}).get("code") == ("fewer_vms" if held else None)


def test_vms_that_people_delete_hold_nothing_back(expecting):
    site = sites.registered()
    ours = [sites.vm("host-1", witness=True) for _ in range(20)]
    expecting.update(vm.key for vm in ours)
    begun = looks.begin(site.id, as_system)
    expecting.clear()  # somebody asks for it while the site is being looked at
    looks.complete(site, begun, Here(), sites.world(), as_system)
    assert not held_back(site)


def test_a_held_back_site_goes_on_when_a_person_says_so(admin, expecting, vcsim):
    asked = sites.add_vcenter(admin, vcsim)
    sites.work()
    id = asked["site"]["id"]
    expecting.update(uuid4() for _ in range(9))
    admin.post(f"sites/{id}/sync")
    sites.work()
    site = admin.get(f"sites/{id}")
    assert (site["phase"], site["held_back"], site["reason"]["code"]) == ("active", True, "fewer_vms")
    expecting.clear()  # what is missing has been noted by then
    assert admin.post(f"sites/{id}/resume").status == 202
    sites.work()
    site = admin.get(f"sites/{id}")
    assert (site["held_back"], site["reason"]) == (False, None)
    assert [event.actor_name for event in events("site.resumed")] == ["root"]


def test_another_vcenter_at_the_same_address_writes_nothing(admin, vcsim):
    asked = sites.add_vcenter(admin, vcsim)
    sites.work()
    id = asked["site"]["id"]
    with as_system():
        Site.objects.filter(pk=id).update(instance_id="the one that was added")
        Host.objects.filter(ref__isnull=False).update(name="as it was")
    sync = admin.post(f"sites/{id}/sync")
    sites.work()
    site = admin.get(f"sites/{id}")
    assert (site["phase"], site["held_back"], site["reason"]["code"]) == ("failing", True, "another_site")
    assert admin.get(f"operations/{sync['operation']['id']}")["problem"]["code"] == "another_site"
    assert {row["name"] for row in admin.get(f"sites/{id}/hosts")["items"]} == {"as it was"}
    assert admin.post(f"sites/{id}/resume").status == 202
    sites.work()
    site = admin.get(f"sites/{id}")
    assert (site["phase"], site["held_back"], site["reason"]) == ("active", False, None)
