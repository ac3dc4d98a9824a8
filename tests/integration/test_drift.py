"""What is changed by hand at the site is seen, said, and mended or left; bad luck on the way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from facet.operations.models import Event
from facet.workloads.models import VM
from infra.models import Zone
from scheduler import ledger
from tests import room, strangers, work
from tests.factories import as_system

from .test_vms import ask, deleted, shown


@pytest.fixture
def vm(land):
    """A VM that runs, and has done so for a while."""
    asked = ask(land)
    work.succeed(land.editor, asked)
    with as_system():
        VM.objects.filter(pk=asked["vm"]["id"]).update(booted_at=timezone.now() - timedelta(hours=1))
    return asked


def policy(land, said):
    answer = land.it.patch(f"zones/{strangers.zone_id(land)}", {"drift_policy": said})
    work.succeed(land.it, answer)
    assert land.it.get(f"zones/{strangers.zone_id(land)}")["drift_policy"] == said


def drift(land, asked):
    """field -> (wanted, seen)"""
    lines = shown(land, asked)["drift"]
    return {line["field"]: (line["wanted"], line["seen"]) for line in lines} if lines is not None else None


def told(asked, verb):
    with as_system():
        return Event.objects.filter(verb=verb, target_id=asked["vm"]["id"]).count()


def change(land, asked, **what):
    """By hand, as far as the act takes it."""
    hand = land.site.by_hand
    key = asked["vm"]["id"]
    if "name" in what:
        hand.rename_vm(key, what["name"])
    if "power" in what:
        hand.hand("power-vm", key=key, power=what["power"])
    size = {field: what[field] for field in ("vcpu", "memory_mib", "disk_gib") if field in what}
    if size:
        hand.hand("resize-vm", key=key, **size)


def test_what_was_changed_by_hand_is_shown_and_mended_or_left(land, vm):
    assert drift(land, vm) is None
    change(land, vm, power="off", name="mine")
    land.sync()
    assert drift(land, vm) == {"power": ("on", "off"), "name": ("db", "mine")}
    assert told(vm, "vm.drifted") == 1
    land.sync()
    assert told(vm, "vm.drifted") == 1  # once a change
    policy(land, "repair")
    change(land, vm, vcpu=1)
    land.sync()
    work.until(lambda: drift(land, vm) is None, what=lambda: shown(land, vm))
    after = shown(land, vm)
    assert (after["power"], after["vcpu"], after["phase"]) == ("on", 2, "running")
    assert land.site.by_hand.hand("vm", key=vm["vm"]["id"])["name"] == "db"
    assert told(vm, "vm.drift_mended") >= 1
    deleted(land, vm)


def test_a_person_has_it_put_back(land, vm):
    change(land, vm, power="off")
    land.sync()
    operation = land.editor.post(f"vms/{vm['vm']['id']}/repair")
    assert operation.status == 202
    assert land.editor.post(f"vms/{vm['vm']['id']}/repair")["operation"]["id"] == operation["operation"]["id"]
    work.succeed(land.editor, operation)
    assert drift(land, vm) is None
    assert shown(land, vm)["power"] == "on"
    refused = land.editor.post(f"vms/{vm['vm']['id']}/repair")
    assert (refused.status, refused["code"]) == (409, "no_drift")
    deleted(land, vm)


def test_a_person_takes_over_how_it_stands(land, vm):
    change(land, vm, power="off", vcpu=4, memory_mib=8192, name="mine")
    land.sync()
    answer = land.editor.post(f"vms/{vm['vm']['id']}/accept-drift")
    assert answer.status == 200, answer
    assert (answer["drift"], answer["power_wanted"], answer["vcpu"], answer["name"]) == (None, "off", 4, "db")
    with as_system():
        held = ledger.allocations([vm["vm"]["id"]])
        assert {(one.vcpu, one.memory_mib) for one in held.values()} == {(4, 8192)}
    room.check_books()
    land.sync()
    assert drift(land, vm) is None
    assert shown(land, vm)["reason"] is None
    refused = land.editor.post(f"vms/{vm['vm']['id']}/accept-drift")
    assert (refused.status, refused["code"]) == (409, "no_drift")
    deleted(land, vm)


def test_a_size_that_finds_no_room_is_not_taken_over(land, vm):
    change(land, vm, vcpu=3)
    land.sync()
    with as_system():
        row = VM.objects.get(pk=vm["vm"]["id"])
        row.drift[0]["seen"] = 5000
        VM.objects.filter(pk=row.pk).update(drift=row.drift)
    refused = land.editor.post(f"vms/{vm['vm']['id']}/accept-drift")
    assert refused.status == 409
    assert refused["limits"]
    assert (shown(land, vm)["vcpu"], len(shown(land, vm)["drift"])) == (2, 1)
    room.check_books()
    deleted(land, vm)


def test_a_disk_that_grew_is_accepted_and_never_shrunk(land, vm):
    policy(land, "repair")
    change(land, vm, disk_gib=50)
    land.sync()
    refused = land.editor.post(f"vms/{vm['vm']['id']}/repair")
    assert (refused.status, refused["code"]) == (409, "disk_shrinks")
    assert land.editor.post(f"vms/{vm['vm']['id']}/accept-drift")["disk_gib"] == 50
    deleted(land, vm)


def test_one_that_was_deleted_by_hand_is_said_to_be_missing(land, vm):
    land.site.by_hand.delete_vm(vm["vm"]["id"])
    land.sync()
    assert drift(land, vm) == {"machine": ("present", "missing")}
    refused = land.editor.post(f"vms/{vm['vm']['id']}/repair")
    assert (refused.status, refused["code"]) == (409, "machine_missing")
    deleted(land, vm)


def test_what_is_on_its_way_is_no_drift(land, vm):
    """A person stops it while a look that saw it run is written down, and one that saw it off after that."""
    stopping = land.editor.post(f"vms/{vm['vm']['id']}/stop", {"within_s": 0})
    assert stopping.status == 202
    land.site.by_hand.power_off(vm["vm"]["id"])
    land.sync()
    work.succeed(land.editor, stopping)
    land.sync()
    assert drift(land, vm) is None
    assert told(vm, "vm.drifted") == 0
    deleted(land, vm)


def test_a_policy_is_said_when_a_zone_is_made_and_shown(land):
    with as_system():
        assert Zone.objects.get(name="az1").drift_policy == "report"
    answer = land.it.patch(f"zones/{strangers.zone_id(land)}", {"drift_policy": "ignore"})
    assert (answer.status, set(answer["errors"])) == (422, {"drift_policy"})
