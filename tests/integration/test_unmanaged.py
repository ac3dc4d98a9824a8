"""VMs that Facet did not make: listed as they are seen, and their room is no room of ours."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from infra import unmanaged
from infra.apart import Standing
from infra.drivers import base
from infra.models import Host, UnmanagedVm
from tests import factories, sites, strangers, work
from tests.factories import as_system

from .test_vms import ask, deleted


def taken(ref):
    with as_system():
        row = Host.objects.get(ref=ref)
    return row.vcpu_unmanaged, row.memory_unmanaged_mib


def test_a_strange_vm_counts_against_its_host(land):
    vm = strangers.made(strangers.room(land))
    land.sync()
    (found,) = strangers.listed(land)
    assert (found["key"], found["name"], found["power"], found["vcpu"]) == (str(vm.key), "legacy", "on", 1)
    assert (found["memory_mib"], found["disk_gib"]) == (512, vm.disk_gib)
    assert taken(vm.host_ref) == (1, 512)
    resources = land.it.get(f"zones/{strangers.zone_id(land)}/capacity")["items"]
    assert {one["resource"]: one["unmanaged"] for one in resources}["vcpu"] == 1
    land.site.by_hand.power_off(vm.key)
    land.sync()
    assert strangers.listed(land)[0]["power"] == "off"
    assert taken(vm.host_ref) == (0, 0)
    land.site.by_hand.delete_vm(vm.key)
    land.sync()
    assert strangers.listed(land) == []


def test_what_is_ours_and_what_is_a_template_is_not_listed(land):
    ours = ask(land)
    work.succeed(land.editor, ours)
    land.sync()
    assert strangers.listed(land) == []
    deleted(land, ours)


def test_only_it_sees_what_is_nobodys(land):
    strangers.made(strangers.room(land), power="off")
    land.sync()
    path = f"zones/{strangers.zone_id(land)}/unmanaged-vms"
    assert land.editor.get(path).status == 403
    assert factories.person("reader", "auditor").get(path)["items"][0]["name"] == "legacy"


# --- how it is written ---------------------------------------------------------------------------------------------


def look(site, vms, began=None, **more):
    found = sites.world(vms=vms, **more)
    unmanaged.write_complete(site, found.vms, found.templates, as_system, began or timezone.now())


def test_a_look_writes_what_differs_and_no_more():
    site = sites.registered()
    vms = [sites.vm("host-1") for _ in range(5)]
    look(site, vms)
    with CaptureQueriesContext(connection) as same:
        look(site, vms)
    assert not written(same)
    with CaptureQueriesContext(connection) as one:
        look(site, [sites.vm("host-2", key=vms[0].key), *vms[1:]])
    assert [text.split()[0] for text in written(one)] == ["UPDATE"]
    look(site, vms[1:])
    with as_system():
        assert set(UnmanagedVm.objects.values_list("key", flat=True)) == {vm.key for vm in vms[1:]}


def written(queries):
    return [one["sql"] for one in queries if one["sql"].split()[0] in ("UPDATE", "INSERT", "DELETE")]


def test_a_late_look_leaves_what_was_told_since_it_began():
    site = sites.registered()
    began = timezone.now() - timedelta(seconds=5)
    vm = sites.vm("host-1")
    unmanaged.write_changes(site, [vm], (), (), as_system)
    look(site, [], began=began)
    with as_system():
        assert UnmanagedVm.objects.get().key == vm.key
    look(site, [sites.vm("host-1", key=vm.key, vcpu=9)], began=began)
    with as_system():
        assert UnmanagedVm.objects.get().vcpu == 4
    unmanaged.write_changes(site, [], (), (vm.ref,), as_system)
    with as_system():
        assert not UnmanagedVm.objects.exists()


def test_a_vm_that_becomes_a_template_or_ours_is_listed_no_more():
    site = sites.registered()
    one, two = sites.vm("host-1"), sites.vm("host-1")
    look(site, [one, two])
    unmanaged.write_changes(site, [sites.vm("host-1", key=one.key, witness=True)], (), (), as_system)
    template = base.TemplateFacts(two.ref, "golden", "/DC/vm/golden", 1, 512, 1)
    look(site, [two], templates=(template,))
    with as_system():
        assert not UnmanagedVm.objects.exists()


def test_adopted_ones_count_as_ours_whenever_they_were_adopted(monkeypatch):
    """A look tells them apart when it writes, and not when it began."""
    site, vm = sites.registered(), sites.vm("host-1")
    ours: set[UUID] = set()
    monkeypatch.setattr("facet.registry.ADOPTED_VMS", (lambda site_id: set(ours),))
    standing = Standing(site.id, (vm,))
    assert dict(standing.apart().vcpu) == {"host-1": 4}
    ours.add(vm.key)
    assert dict(standing.apart().vcpu) == {}
    assert dict(standing.apart().ours_gib) == {"datastore-1": 40}
