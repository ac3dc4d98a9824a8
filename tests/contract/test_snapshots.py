"""Snapshots of VMs: taken once by key, gone back to, and gone once.

vcsim goes back to a snapshot and changes nothing of the VM but which one is the current, takes each in no time, and
says of each snapshot the power that its VM had, with memory or without: what a VM is like afterwards, and the one
that is in flight, are seen on the simulator alone.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import InFlight, Power, SizeSpec, SnapshotFacts, SnapshotSpec

from .room import settled


def spec(vm, name="before", **changes):
    return SnapshotSpec(key=uuid4(), vm_key=vm.key, name=name, **changes)


def taken(driver, *specs):
    return settled(lambda: dict(driver.ensure_snapshots(specs)), driver)


def gone(driver, vm, *keys):
    return settled(lambda: dict(driver.ensure_no_snapshots(dict.fromkeys(keys, vm.key))), driver)


def shown(driver, vm):
    return [(one.key, one.name) for one in driver.snapshots([vm.key])[vm.key]]


def test_a_snapshot_is_taken_once_and_gone_once(site, room, driver, connect):
    vm = room.vm()
    assert shown(driver, vm) == []
    one, two = spec(vm, "one"), spec(vm, "two")
    facts = taken(driver, one, two)
    assert all(isinstance(fact, SnapshotFacts) for fact in facts.values())
    assert {key: (fact.key, fact.name) for key, fact in facts.items()} == {
        one.key: (one.key, "one"), two.key: (two.key, "two"),
    }  # fmt: skip
    before = site.by_hand.writes()
    assert dict(connect().ensure_snapshots([one, two])) == facts  # another process that knows nothing
    assert shown(driver, vm) == [(one.key, "one"), (two.key, "two")]
    assert site.by_hand.writes() == before
    assert gone(driver, vm, one.key) == {one.key: None}
    assert shown(driver, vm) == [(two.key, "two")]  # its child stays
    before = site.by_hand.writes()
    assert gone(driver, vm, one.key) == {one.key: None}
    assert site.by_hand.writes() == before
    assert gone(driver, vm, two.key, uuid4())[two.key] is None
    assert shown(driver, vm) == []
    assert driver.find_vms([vm.key])[vm.key] == vm


def test_a_snapshot_by_somebody_else_is_shown_and_left(site, room, driver):
    vm, mine = room.vm(), None
    site.by_hand.snapshot(vm.key, "before")
    mine = spec(vm, "before")
    taken(driver, mine)
    assert shown(driver, vm) == [(None, "before"), (mine.key, "before")]
    gone(driver, vm, mine.key)
    assert shown(driver, vm) == [(None, "before")]


def test_a_vm_goes_back_to_its_snapshot(site, room, driver):
    vm = room.vm()
    one = spec(vm)
    taken(driver, one)
    larger = SizeSpec(vcpu=4, memory_mib=4096, disk_gib=vm.disk_gib)
    settled(lambda: dict(driver.ensure_size({vm.key: larger})), driver)
    room.power(vm.key, Power.ON)
    room.right(driver.revert(vm.key, one.key))
    if site.kind == "simulator":
        seen = driver.find_vms([vm.key])[vm.key]
        assert (seen.vcpu, seen.memory_mib, seen.power) == (vm.vcpu, vm.memory_mib, Power.OFF)
    assert shown(driver, vm) == [(one.key, "before")]


def test_memory_goes_with_a_snapshot_where_it_was_asked_for(site, room, driver):
    vm = room.vm()
    cold = spec(vm, "cold", with_memory=True)
    assert taken(driver, cold)[cold.key].with_memory is False  # of a VM that is off
    room.power(vm.key, Power.ON)
    hot = spec(vm, "hot", with_memory=True)
    assert taken(driver, hot)[hot.key].with_memory is True
    if site.kind == "simulator":
        assert room.right(driver.revert(vm.key, cold.key)).power is Power.OFF
        assert room.right(driver.revert(vm.key, hot.key)).power is Power.ON


@pytest.mark.parametrize("site", ["simulator"], indirect=True)  # vcsim takes a snapshot in no time
def test_what_is_in_flight_is_not_begun_again(site, room, driver):
    vm = room.vm()
    one, two = spec(vm, "one"), spec(vm, "two")
    site.by_hand.hand("latency", snapshot=0.5)
    try:
        first = driver.ensure_snapshots([one, two])
        assert isinstance(first[one.key], InFlight)
        assert first[two.key].code == "not_ready"
        assert driver.ensure_snapshots([one])[one.key].code == "not_ready"
        assert driver.revert(vm.key, one.key).code == "snapshot_not_found"
        taken(driver, one, two)
    finally:
        site.by_hand.hand("latency", snapshot=0)
    assert shown(driver, vm) == [(one.key, "one"), (two.key, "two")]


def test_a_snapshot_that_fails_is_taken_when_it_is_asked_for_again(site, room, driver):
    vm, nobody = room.vm(), SnapshotSpec(key=uuid4(), vm_key=uuid4(), name="lost")
    one = spec(vm)
    site.by_hand.fail_snapshot(vm.key)
    answers = taken(driver, one, nobody)
    assert (answers[one.key].code, answers[nobody.key].code) == ("no_space", "not_found")
    assert shown(driver, vm) == []
    assert isinstance(taken(driver, one)[one.key], SnapshotFacts)
    assert driver.revert(vm.key, uuid4()).code == "snapshot_not_found"
    assert driver.revert(uuid4(), one.key).code == "not_found"
    assert gone(driver, vm, uuid4()).popitem()[1] is None
    assert driver.ensure_no_snapshots({one.key: nobody.vm_key})[one.key] is None  # with its VM
    assert driver.snapshots([nobody.vm_key]) == {}
