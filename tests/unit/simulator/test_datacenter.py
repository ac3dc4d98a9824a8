"""The program as a whole: killed and started again, stopped, refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from infra.drivers import factory
from infra.drivers.base import InFlight, NotReady, Power, Refused, TaskState, Unreachable
from infra.simulator.guests.addresses import Network
from tests.contract import simulator_site
from tests.contract.room import until

USER_DATA = "#cloud-config\nruncmd:\n  - mkdir -p /run/facet && touch /run/facet/done\n"


def ended(driver, ref):
    return until(lambda: (task := driver.poll([ref])[ref]).state is not TaskState.RUNNING and task)


def address_of(driver, key):
    return until(lambda: driver.find_vms([key])[key].address)


def test_a_restart_finds_its_state_and_ends_its_tasks(own):
    with own() as (site, driver, room):
        stands, runs, goes = (room.spec() for _ in range(3))
        room.make_vms(stands, runs, goes)
        driver.ensure_boot_data({runs.key: USER_DATA})
        room.power(runs.key, Power.ON)
        address_of(driver, runs.key)
        before, check = driver.inventory(), driver.check()
        for verb in ("clone", "destroy"):
            site.by_hand.hand("latency", **{verb: 4.0})  # longer than a start takes where others are at work
        coming = room.spec()
        clone = driver.ensure_vms([coming])[coming.key]
        destroy = driver.ensure_no_vms([goes.key])[goes.key]
        assert isinstance(clone, InFlight)
        assert isinstance(destroy, InFlight)
        site.by_hand.kill()
        with pytest.raises(Unreachable):
            driver.check()
    with own(room=room) as (site, driver, _):
        assert driver.check() == check
        moved = driver.changes(before.cursor, 0)
        assert not moved.resync
        assert {vm.key for vm in moved.vms} <= {coming.key, goes.key}
        room = replace(room, driver=driver, site=site)
        assert isinstance(driver.ensure_vms([coming])[coming.key], NotReady), "its clone still holds the name"
        tasks = driver.poll([clone.ref, destroy.ref])
        assert {task.state for task in tasks.values()} == {TaskState.RUNNING}
        assert ended(driver, clone.ref).state is TaskState.SUCCEEDED
        assert ended(driver, destroy.ref).state is TaskState.SUCCEEDED
        after = {vm.key: vm for vm in driver.inventory().vms}
        assert after.keys() == {stands.key, runs.key, coming.key}
        assert {vm for vm in before.vms if vm.key != goes.key} <= set(after.values())
        assert driver.inventory().hosts == before.hosts
        assert room.right(driver.ensure_vms([coming])[coming.key]) == after[coming.key]
        assert site.by_hand.vm_names(room.folder_ref) == sorted(spec.name for spec in (stands, runs, coming))
        assert "cloud-init: finished" in driver.console_log(runs.key)


def test_a_task_whose_time_passed_while_nobody_ran_ends_with_the_start(own, tmp_path):
    with own("--latency", "clone=500") as (site, driver, room):
        spec = room.spec()
        ref = driver.ensure_vms([spec])[spec.key].ref
        site.by_hand.kill()
    with sqlite3.connect(tmp_path / "simulator" / "datacenter.sqlite") as file:
        file.execute("update tasks set begun = begun - 600, ends = ends - 600")
    with own(room=room) as (_, driver, _):
        assert ended(driver, ref).state is TaskState.SUCCEEDED
        assert set(driver.find_vms([spec.key])) == {spec.key}


def test_finished_tasks_vanish_after_a_while(own):
    with own("--latency", "clone=0.05", "--tasks-kept", "0.2") as (_, driver, room):
        spec = room.spec()
        ref = driver.ensure_vms([spec])[spec.key].ref
        assert ended(driver, ref).state is TaskState.SUCCEEDED
        until(lambda: driver.poll([ref])[ref].state is TaskState.VANISHED)


def test_guests_follow_what_was_written_when_the_program_died_before_it_told_them(own, tmp_path):
    with own() as (_, driver, room):
        off, gone = room.vm(), room.vm()
        for vm in (off, gone):
            room.power(vm.key, Power.ON)
        addresses = {vm.key: address_of(driver, vm.key) for vm in (off, gone)}
    with sqlite3.connect(tmp_path / "simulator" / "datacenter.sqlite") as file:
        file.execute("update vms set power = 'off', address = '' where key = ?", [str(off.key)])
        file.execute("delete from vms where key = ?", [str(gone.key)])
    with own(room=room) as (_, driver, _):
        assert driver.find_vms([off.key])[off.key].power is Power.OFF
        assert driver.ensure_power({off.key: Power.ON})[off.key].power is Power.ON
        assert address_of(driver, off.key) == addresses[off.key]
    with sqlite3.connect(tmp_path / "simulator" / "guests.sqlite") as file:
        assert file.execute("select address from machines").fetchall() == [(addresses[off.key],)]


def test_it_ends_well_when_it_is_asked_to_also_while_somebody_waits(own):
    with own() as (site, driver, _):
        cursor, seen = driver.inventory().cursor, []
        waiting = threading.Thread(target=lambda: seen.append(driver.changes(cursor, 30)))
        waiting.start()
        until(lambda: site.by_hand.hand("calls")["calls"].get("changes"))
        site.by_hand.process.terminate()
        assert site.by_hand.process.wait(5) == 0
        waiting.join(5)
        assert seen
        assert not seen[0].resync


def refusal(folder, *flags):
    secret = folder / "password"
    secret.write_text(simulator_site.PASSWORD)
    command = [sys.executable, "-m", "facet.manage", "simulate", "--home", str(folder / "simulator"), "--port", "0"]
    done = subprocess.run(
        [*command, "--password-file", str(secret), *flags], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_two_programs_do_not_share_a_home(own, tmp_path):
    with own():
        assert "Another process runs the datacenter" in refusal(tmp_path)


def test_it_keeps_its_network_and_refuses_to_start_where_another_has_it(own, tmp_path):
    with own() as (site, _, _):
        network = site.by_hand.network
    with own() as (site, driver, _):
        assert site.by_hand.network == driver.check().address_network == network
    held = Network(network)
    try:
        assert network in refusal(tmp_path)
    finally:
        held.close()


@pytest.mark.parametrize("flags", [["--latency", "fly=1"], ["--network", "10.0.0.0/16"], ["--password-file", "no"]])
def test_a_wrong_flag_is_a_sentence(tmp_path, flags):
    assert refusal(tmp_path, *flags)


def test_more_racks_are_added_and_nothing_is_taken_away(own):
    with own() as (_, driver, room):
        vm, before = room.vm(), driver.inventory()
    with own("--racks", "3", room=room) as (_, driver, _):
        after = driver.inventory()
    assert {host.vsphere_cluster for host in after.hosts} == {"rack-1", "rack-2", "rack-3"}
    assert [host for host in after.hosts if host in before.hosts] == list(before.hosts)
    assert [one.key for one in after.vms] == [vm.key]


def test_no_secret_is_in_what_it_writes(own, tmp_path):
    secret = "AKEYTHATNOBODYMAYREAD"
    with own() as (site, driver, room):
        vm = room.vm()
        driver.ensure_boot_data({vm.key: f"#cloud-config\nruncmd:\n  - {secret}\n"})
        room.power(vm.key, Power.ON)
        until(lambda: "runcmd failed" in driver.console_log(vm.key))
        assert driver.ensure_boot_data({vm.key: None}) == {vm.key: None}
        stranger = factory.connect(replace(site.connection, password=secret))
        with pytest.raises(Refused):
            stranger.check()
        stranger.close()
    log = (tmp_path / "simulator.log").read_text()
    assert secret not in log
    assert simulator_site.PASSWORD not in log
    with sqlite3.connect(tmp_path / "simulator" / "datacenter.sqlite") as file:
        (extra,) = file.execute("select extra from vms").fetchone()
    assert "userdata" not in extra
