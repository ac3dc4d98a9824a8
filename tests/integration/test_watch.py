"""The watch process: what moves at a site is heard, what is in flight is asked after, and no lease is written past."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.utils import timezone
from pyVmomi import vim

from facet.operations import inflight, wakeups
from facet.operations.models import Circuit, Event, Inflight, Wakeup
from infra import outside, sitewatch
from infra.drivers import base
from infra.models import Datastore, Host, Site
from infra.sitewatch import LEASE_S, LostLease, SiteWatch, claim, renew
from infra.watch import Watch
from tests import sites
from tests.contract import room as contract
from tests.contract import simulator_site, vsphere_site
from tests.contract.room import Room
from tests.contract.site import Site as ContractSite
from tests.contract.vsphere_site import VcenterByHand
from tests.factories import as_system
from tests.vcsim import run


def until(look, patience_s=30.0):
    """Wait for a true answer."""
    return contract.until(lambda: look() or None, patience_s)


@pytest.fixture
def vcsim(tmp_path):
    with run.running(tmp_path, "-hosts", "2") as program:
        yield program


@pytest.fixture
def site(admin, vcsim):
    """A site that is active; its id."""
    id = UUID(sites.add_vcenter(admin, vcsim)["site"]["id"])
    sites.work()
    yield id
    outside.forget(id)


class Told:
    """An observer that keeps what it is told."""

    def __init__(self):
        self.complete, self.partial, self.gone = [], [], []

    def __call__(self, transaction, site_id, vms, *, gone_refs=(), complete, began=None):
        with transaction():
            (self.complete if complete else self.partial).extend((vm.ref, vm.power) for vm in vms)
            self.gone.extend(gone_refs)


@pytest.fixture
def told(monkeypatch):
    made = Told()
    monkeypatch.setattr("facet.registry.SITE_OBSERVERS", (made,))
    return made


@contextmanager
def watching():
    """A watch in a thread of this process."""
    watch = Watch()
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield watch
    finally:
        watch.stopping.set()
        thread.join(20)
        assert not thread.is_alive()
        assert not lingering(watch)


def lingering(watch):
    return [thread.name for one in watch.watches.values() for thread in one.threads if thread.is_alive()]


def row(site_id):
    return Site.objects.get(pk=site_id)


def room(vcsim, site_id):
    """A place at the site for VMs of a test."""
    by_hand = VcenterByHand(vcsim)
    with as_system():
        way = outside.connection_of(row(site_id))
        driver = outside.driver_of(row(site_id))
    where = ContractSite("vsphere", way, by_hand, "DC0_C0", "LocalDS_0", "VM Network", "DC0_C0_RP0_VM0", True)
    return Room.make(where, driver)


@pytest.fixture(params=[vsphere_site, simulator_site], ids=["vcsim", "simulator"])
def place(request, admin, tmp_path):
    """A place for VMs at an active site of each kind."""
    with request.param.running(tmp_path) as there:
        way = there.connection
        body = {name: getattr(way, name) for name in ("driver", "endpoint", "username", "password", "ca_pem")}
        made = admin.post("sites", body | {"name": "dc1"})
        sites.work()
        id = UUID(made["site"]["id"])
        assert admin.get(f"sites/{id}")["phase"] == "active"
        yield Room.make(there, outside.driver_of(row(id)))
        outside.forget(id)


def test_a_vm_that_is_powered_off_by_hand_is_told(place, told):
    vm = place.vm()
    place.power(vm.key, base.Power.ON)
    with watching():
        until(lambda: (vm.ref, base.Power.ON) in told.complete)
        place.site.by_hand.power_off(vm.key)
        until(lambda: (vm.ref, base.Power.OFF) in told.partial)
        place.site.by_hand.delete_vm(vm.key)
        until(lambda: vm.ref in told.gone)


def test_a_host_that_shrinks_and_a_datastore_that_fills_are_heard_of(vcsim, site, told):
    with watching():
        until(lambda: told.complete)
        vcsim.admin("POST", "host", name="DC0_C0_H0", cores=8, memory_mib=65536)
        vcsim.admin("POST", "datastore", name="LocalDS_0", free_gib=100)
        until(lambda: Host.objects.get(name="DC0_C0_H0").cpu_cores == 8)
        until(lambda: Datastore.objects.get(name="LocalDS_0").free_gib == 100)


def test_a_vm_that_somebody_else_starts_takes_its_room_at_once(vcsim, site, told):
    place = room(vcsim, site)
    foreign = place.site.by_hand.make_vm(
        "theirs", place.folder_ref, place.pool_ref, place.host.ref, place.datastore_ref
    )
    with as_system():
        before = Host.objects.get(ref=place.host.ref).memory_unmanaged_mib
    with watching():
        until(lambda: told.complete)
        key = next(vm.key for vm in place.driver.inventory().vms if vm.ref == foreign)
        place.power(key, base.Power.ON)
        until(lambda: Host.objects.get(ref=place.host.ref).memory_unmanaged_mib == before + 512)
        place.site.by_hand.power_off(key)
        until(lambda: Host.objects.get(ref=place.host.ref).memory_unmanaged_mib == before)


def started(site_id, ref, about=None):
    """A task that a cluster's pass has recorded; the key of the cluster."""
    key = uuid4()
    with as_system():
        lease = wakeups.Lease(uuid4(), "cluster", key, None, site_id, 1, 0)
        inflight.record(lease, [inflight.Started(ref, about or uuid4(), "clone")])
        wakeups.wake("cluster", key, site_id=site_id, after_s=3600)
    return key


def due(key):
    with as_system():
        return Wakeup.objects.filter(key=key, due_at__lte=timezone.now()).exists()


def test_a_task_that_ends_is_marked_and_its_owner_is_due(place, told):
    (id,) = Site.objects.values_list("id", flat=True)
    with place.site.by_hand.clones_take(1.5):
        spec = place.spec()
        outcome = place.driver.ensure_vms([spec])[spec.key]
    assert isinstance(outcome, base.InFlight)
    with watching():
        key = started(id, outcome.ref, spec.key)
        until(lambda: due(key))
        with as_system():
            (ended,) = Inflight.objects.filter(key=key)
        assert (ended.error_code, ended.error) == ("", "")
        assert ended.ended_at


def test_a_task_that_failed_and_one_that_vanished_wake_their_owners(vcsim, site, told):
    hand = VcenterByHand(vcsim)
    hand.fail_clone("never")
    template = hand.content.searchIndex.FindByInventoryPath("DC0/vm/DC0_C0_RP0_VM0")
    clone = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(), powerOn=False, template=False)
    task = template.CloneVM_Task(folder=template.parent, name="never", spec=clone)
    with watching():
        failed, vanished = started(site, task._moId), started(site, "task-999999")
        until(lambda: due(failed) and due(vanished))
        with as_system():
            rows = {row.key: (row.error_code, bool(row.error)) for row in Inflight.objects.all()}
    assert rows == {failed: ("no_resources", True), vanished: ("", False)}


def test_without_open_refs_the_site_is_not_asked(vcsim, site, told):
    with watching():
        until(lambda: told.complete)
        before = vcsim.calls().get("RetrievePropertiesEx", 0)
        key = started(site, "task-999999")
        until(lambda: due(key))
        after = vcsim.calls().get("RetrievePropertiesEx", 0)
        assert after > before
        passed = time.monotonic() + 3 * 0.4
        until(lambda: time.monotonic() > passed)
        assert vcsim.calls().get("RetrievePropertiesEx", 0) == after


# --- many sites ----------------------------------------------------------------------------------------------------


def watched(site_id):
    found = row(site_id)
    return found.watcher is not None and found.watched_until > timezone.now()


def test_new_sites_are_picked_up_and_deleted_ones_dropped_within_seconds(admin, vcsim, told):
    with watching() as watch:
        id = UUID(sites.add_vcenter(admin, vcsim)["site"]["id"])
        sites.work()
        until(lambda: watched(id), 5)
        admin.delete(f"sites/{id}")
        until(lambda: not watch.watches, 5)
        sites.work()
        assert row(id).watcher is None


def test_another_generation_is_watched_by_another_session(admin, vcsim, site, told):
    with watching() as watch:
        until(lambda: told.complete)
        before = watch.watches[site]
        admin.patch(f"sites/{site}", {"password": vcsim.password})
        sites.work()
        until(lambda: site in watch.watches and watch.watches[site] is not before and watched(site), 10)
        until(lambda: not before.alive)


def test_a_site_that_dies_backs_off_is_told_and_affects_no_other(admin, tmp_path, vcsim, site, told):
    folder = tmp_path / "other"
    folder.mkdir()
    with run.running(folder, "-hosts", "1") as other:
        second = UUID(sites.add_vcenter(admin, other, "dc2")["site"]["id"])
        sites.work()
        outside.forget(second)
        with watching():
            until(lambda: watched(site) and watched(second))
            with as_system():
                Wakeup.objects.filter(key=second).update(due_at=timezone.now() + timedelta(hours=1))
            other.process.kill()
            until(lambda: due(second))  # its own pass says what is wrong
            sites.work(most=1)
            assert admin.get(f"sites/{second}")["phase"] == "failing"
            vcsim.admin("POST", "host", name="DC0_C0_H1", cores=4, memory_mib=65536)
            until(lambda: Host.objects.get(site=site, name="DC0_C0_H1").cpu_cores == 4, 10)


def test_a_session_that_was_ended_is_opened_again_and_begins_with_a_complete_look(admin, tmp_path, told):
    with run.running(tmp_path, "-hosts", "1") as vcsim:
        id = UUID(sites.add_vcenter(admin, vcsim)["site"]["id"])
        sites.work()
        with watching():
            until(lambda: told.complete)
            told.complete.clear()
            with as_system():
                Circuit.objects.create(site_id=id, failures=3, open_until=timezone.now() + timedelta(hours=1))
                Wakeup.objects.filter(key=id).update(due_at=timezone.now() + timedelta(hours=1))
            vcsim.inject("WaitForUpdatesEx", "", kind="reset", times=1)
            by_hand = VcenterByHand(vcsim)
            by_hand.content.sessionManager.TerminateSession([
                one.key for one in by_hand.content.sessionManager.sessionList
                if one.key != by_hand.content.sessionManager.currentSession.key
            ])  # fmt: skip
            until(lambda: told.complete, 40)
    outside.forget(id)


def test_a_vcenter_that_comes_back_empty_is_held_back_before_anyone_is_told(vcsim, site, monkeypatch):
    held_when_told = []

    def observe(transaction, site_id, vms, *, gone_refs=(), complete, began=None):
        with transaction():
            held_when_told.append(Site.objects.get(pk=site_id).held_back)

    monkeypatch.setattr("facet.registry.SITE_OBSERVERS", (observe,))
    monkeypatch.setattr("facet.registry.EXPECTED_VMS", (lambda site_id: gone,))
    gone = {uuid4() for _ in range(20)}
    with watching():
        until(lambda: held_when_told)
    assert held_when_told[0] is True
    with as_system():
        assert Event.objects.filter(verb="site.held_back").count() == 1


def test_many_vms_that_leave_at_once_hold_the_site_back(site, monkeypatch, told):
    vms = [sites.vm("host-1", witness=True) for _ in range(12)]
    monkeypatch.setattr("facet.registry.EXPECTED_VMS", (lambda site_id: {vm.key for vm in vms},))
    with as_system():
        watch = SiteWatch(row(site))
        assert claim(site, watch.watcher)
    picture = sitewatch.Picture({vm.ref: vm for vm in vms})
    watch._write_down(picture, base.Changes("2", gone_refs=tuple(vm.ref for vm in vms[:3])))
    assert not row(site).held_back
    watch._write_down(picture, base.Changes("3", gone_refs=tuple(vm.ref for vm in vms[3:])))
    assert row(site).held_back
    watch.driver.close()


# --- the lease -----------------------------------------------------------------------------------------------------


def lapse(site_id):
    with as_system():
        Site.objects.filter(pk=site_id).update(watched_until=timezone.now() - timedelta(seconds=1))


def test_one_watcher_at_a_time_and_the_next_when_the_lease_lapses():
    site = sites.registered()
    one, two = uuid4(), uuid4()
    assert claim(site.id, one)
    assert not claim(site.id, two)
    assert renew([one, two]) == {one}
    lapse(site.id)
    assert claim(site.id, two)
    assert renew([one, two]) == {two}


def test_a_lost_lease_writes_nothing():
    site = sites.registered()
    with as_system():
        first, second = SiteWatch(row(site.id)), SiteWatch(row(site.id))
    assert claim(site.id, first.watcher)
    with first.transaction():
        Host.objects.filter(ref="host-1").update(cordoned=True)
    lapse(site.id)
    assert claim(site.id, second.watcher)

    def write_late():
        with first.transaction():
            Host.objects.filter(ref="host-1").update(cordoned=False)

    with pytest.raises(LostLease):
        write_late()
    with pytest.raises(LostLease):
        first._write_down(sitewatch.Picture(), base.Changes("2", hosts=(sites.host(1, cpu_cores=1),)))
    host = Host.objects.get(ref="host-1")
    assert (host.cordoned, host.cpu_cores) == (True, 16)
    with second.transaction():
        Host.objects.filter(ref="host-1").update(cordoned=False)


def test_a_lease_that_lapsed_is_lost_even_when_nobody_took_it():
    site = sites.registered()
    with as_system():
        watch = SiteWatch(row(site.id))
    assert claim(site.id, watch.watcher)
    lapse(site.id)
    with pytest.raises(LostLease), watch.transaction():
        pass


def test_two_watches_share_the_sites_and_one_takes_over(vcsim, site, told):
    with watching() as one:
        until(lambda: site in one.watches)
        with watching() as two:
            first = row(site).watcher
            assert not two.watches
            one.stopping.set()
            until(lambda: site in two.watches, 5)
            assert row(site).watcher != first


# --- the process ---------------------------------------------------------------------------------------------------


ENVIRONMENT = {**os.environ, "FACET_LOG_LEVEL": "INFO", "DJANGO_SETTINGS_MODULE": "facet.settings"}


@contextmanager
def process(log):
    command = [sys.executable, "-m", "facet.manage", "watch"]
    with log.open("w") as out:
        started = subprocess.Popen(command, stdout=out, stderr=out, env=ENVIRONMENT)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_stop_signal_ends_it_within_two_seconds_and_frees_its_leases(vcsim, site, tmp_path):
    with process(tmp_path / "log") as started:
        until(lambda: watched(site))
        before = time.monotonic()
        started.send_signal(signal.SIGTERM)
        assert started.wait(10) == 0
        assert time.monotonic() - before < 2.0
    assert row(site).watcher is None
    assert vcsim.password not in (tmp_path / "log").read_text()


def test_a_stop_signal_ends_it_in_time_even_when_a_site_hangs(vcsim, site, tmp_path):
    with process(tmp_path / "log") as started:
        until(lambda: watched(site))
        vcsim.process.send_signal(signal.SIGSTOP)
        try:
            before = time.monotonic()
            started.send_signal(signal.SIGTERM)
            assert started.wait(10) == 0
            assert time.monotonic() - before < 2.5
        finally:
            vcsim.process.send_signal(signal.SIGCONT)


def test_killed_it_blocks_another_for_no_longer_than_the_lease(vcsim, site, tmp_path):
    with process(tmp_path / "log") as started:
        until(lambda: watched(site))
        first = row(site).watcher
        started.kill()
        started.wait()
    killed = time.monotonic()
    with watching():
        until(lambda: row(site).watcher not in (None, first), LEASE_S + 5)
        assert time.monotonic() - killed < LEASE_S + 2


def test_paused_past_its_lease_it_lets_go(vcsim, site, tmp_path, told):
    with process(tmp_path / "log") as started:
        until(lambda: watched(site))
        started.send_signal(signal.SIGSTOP)
        lapse(site)
        with watching() as other:
            until(lambda: site in other.watches)
            ours = row(site).watcher
            started.send_signal(signal.SIGCONT)
            until(lambda: "lost the lease" in (tmp_path / "log").read_text() or "another process" in
                  (tmp_path / "log").read_text(), 10)  # fmt: skip
            assert row(site).watcher == ours


def test_no_connection_is_left_when_a_watch_ends(vcsim, site, told):
    def connections():
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from pg_stat_activity where usename = 'facet_app'")
            return cursor.fetchone()[0]

    before = connections()
    with watching():
        until(lambda: told.complete)
        assert connections() > before
    until(lambda: connections() == before, 5)
