"""A VM that nobody has ever been about to make is not looked for first; one that stands all the same is found."""

from __future__ import annotations

from dataclasses import replace

from infra.drivers.base import VmFacts


def test_a_fresh_vm_is_made_once_however_often_it_is_asked_for(site, room, driver, connect):
    spec = replace(room.spec(), fresh=True)
    made = room.right(room.make_vms(spec)[spec.key])
    assert made.key == spec.key
    again = connect().ensure_vms([spec])[spec.key]  # another process, that believes it fresh: its name guards
    assert isinstance(again, VmFacts)
    assert again == made
    assert site.by_hand.vm_names(room.folder_ref) == [spec.name]


def test_a_fresh_vm_whose_name_is_taken_is_refused(site, room, driver):
    first = replace(room.spec(), fresh=True)
    room.right(room.make_vms(first)[first.key])
    second = replace(room.spec(), name=first.name, fresh=True)
    outcome = driver.ensure_vms([second])[second.key]
    assert getattr(outcome, "code", "") == "name_taken"
    assert site.by_hand.vm_names(room.folder_ref) == [first.name]
