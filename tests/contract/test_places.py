"""Folders and pools: made once, changed only where wrong, removed only when empty."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from infra.drivers.base import FolderSpec, Refused

from .room import pool_spec


def test_a_folder_asked_for_twice_is_one_folder(site, room, driver, connect):
    spec = FolderSpec(key=uuid4(), name="team", parent_ref=room.folder_ref)
    ref = driver.ensure_folder(spec)
    before = site.by_hand.writes()
    assert driver.ensure_folder(spec) == ref
    assert connect().ensure_folder(replace(spec, ref=ref)) == ref
    assert site.by_hand.writes() == before
    driver.ensure_no_folder(ref)


def test_folders_of_one_name_and_two_keys_are_two(room, driver):
    refs = {driver.ensure_folder(FolderSpec(uuid4(), "team", room.folder_ref)) for _ in range(2)}
    assert len(refs) == 2
    for ref in refs:
        driver.ensure_no_folder(ref)


def test_a_folder_that_went_away_is_made_again(room, driver):
    spec = FolderSpec(key=uuid4(), name="team", parent_ref=room.folder_ref)
    ref = driver.ensure_folder(spec)
    driver.ensure_no_folder(ref)
    again = driver.ensure_folder(replace(spec, ref=ref))
    assert again != ref
    driver.ensure_no_folder(again)


def test_a_folder_that_holds_something_is_not_removed(room, driver):
    room.vm()
    with pytest.raises(Refused) as refused:
        driver.ensure_no_folder(room.folder_ref)
    assert refused.value.code == "in_use"


def test_a_folder_that_is_gone_is_done(room, driver):
    ref = driver.ensure_folder(FolderSpec(uuid4(), "team", room.folder_ref))
    driver.ensure_no_folder(ref)
    driver.ensure_no_folder(ref)


def test_a_folder_below_an_unknown_parent_is_refused(driver):
    with pytest.raises(Refused) as refused:
        driver.ensure_folder(FolderSpec(uuid4(), "team", "group-v987654321"))
    assert refused.value.code == "not_found"


def test_a_pool_asked_for_twice_is_one_pool(site, room, driver, connect):
    spec = pool_spec(room.host.compute_ref, parent_ref=room.pool_ref, memory_limit_mib=4096, memory_reserved_mib=1024)
    refs = driver.ensure_pool(spec)
    assert set(refs) == {room.host.compute_ref}
    before = site.by_hand.writes()
    assert driver.ensure_pool(spec) == refs
    known = replace(spec, parts=tuple(replace(part, ref=refs[part.compute_ref]) for part in spec.parts))
    assert connect().ensure_pool(known) == refs
    assert site.by_hand.writes() == before
    driver.ensure_no_pool(refs.values())


def test_a_pool_with_another_limit_is_changed_and_stays_the_same_pool(site, room, driver):
    spec = pool_spec(room.host.compute_ref, parent_ref=room.pool_ref, memory_limit_mib=4096)
    refs = driver.ensure_pool(spec)
    before = site.by_hand.writes()
    wider = replace(spec, parts=tuple(replace(part, memory_limit_mib=8192, cpu_limit_mhz=4000) for part in spec.parts))
    assert driver.ensure_pool(wider) == refs
    assert site.by_hand.writes() > before
    after = site.by_hand.writes()
    assert driver.ensure_pool(wider) == refs
    assert site.by_hand.writes() == after
    driver.ensure_no_pool(refs.values())


def test_a_pool_with_children_is_not_removed(site, room, driver):
    spec = pool_spec(room.host.compute_ref, parent_ref=room.pool_ref)
    child = driver.ensure_pool(spec)
    with pytest.raises(Refused) as refused:
        driver.ensure_no_pool([room.pool_ref])
    assert refused.value.code == "in_use"
    before = site.by_hand.writes()
    assert driver.ensure_pool(spec) == child
    assert site.by_hand.writes() == before
    driver.ensure_no_pool(child.values())


def test_a_pool_with_a_vm_is_not_removed_and_the_vm_stays(room, driver):
    vm = room.vm()
    with pytest.raises(Refused) as refused:
        driver.ensure_no_pool([room.pool_ref])
    assert refused.value.code == "in_use"
    assert driver.find_vms([vm.key])[vm.key].pool_ref == room.pool_ref


def test_pools_that_are_gone_are_done(room, driver):
    refs = driver.ensure_pool(pool_spec(room.host.compute_ref, parent_ref=room.pool_ref))
    driver.ensure_no_pool(refs.values())
    driver.ensure_no_pool(refs.values())
