"""Disks with a life of their own: made once by key, grown, attached to one VM at most, left behind by it, and gone.

vcsim attaches no First Class Disk and grows none: our front end does both there, as a vCenter does (tests/vcsim).
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import AttachSpec, Power, Refused, VolumeFacts, VolumeSnapshotSpec, VolumeSpec

from .room import settled


class Shelf:
    """Volumes of one test on the room's datastore; what is left of them goes with it."""

    def __init__(self, room):
        self.room, self.driver, self.keys = room, room.driver, set()

    def place(self, *keys):
        return dict.fromkeys(keys, self.room.datastore_ref)

    def spec(self, size_gib=2, **more):
        key = more.pop("key", None) or uuid4()
        self.keys.add(key)
        return VolumeSpec(key=key, name="data", size_gib=size_gib, datastore_ref=self.room.datastore_ref, **more)

    def said(self, ask):
        return settled(lambda: dict(ask()), self.driver)

    def made(self, spec):
        return right(self.said(lambda: self.driver.ensure_volumes([spec]))[spec.key])

    def attached(self, key, vm):
        spec = AttachSpec(key, self.room.datastore_ref, vm)
        return self.said(lambda: self.driver.attach([spec]))[key]

    def detached(self, key):
        return self.said(lambda: self.driver.detach(self.place(key)))[key]

    def removed(self, key):
        return self.said(lambda: self.driver.ensure_no_volumes(self.place(key)))[key]

    def seen(self, key):
        return self.driver.find_volumes(self.place(key)).get(key)

    def clear(self):
        for key in self.keys:
            if self.seen(key) is not None:
                self.detached(key)
                assert self.removed(key) is None


@pytest.fixture
def shelf(room):
    made = Shelf(room)
    yield made
    made.clear()


def right(outcome):
    assert isinstance(outcome, VolumeFacts), outcome
    return outcome


def test_a_volume_is_made_attached_and_gone_once(site, room, driver, shelf):
    spec = shelf.spec()
    made = shelf.made(spec)
    assert (made.key, made.size_gib, made.datastore_ref) == (spec.key, 2, room.datastore_ref)
    assert (made.attached_to, made.snapshots) == (None, ())
    vm = room.vm()
    held = right(shelf.attached(spec.key, vm.key))
    assert held.attached_to == vm.key
    before = site.by_hand.writes()
    assert driver.ensure_volumes([spec])[spec.key] == held
    assert driver.attach([AttachSpec(spec.key, room.datastore_ref, vm.key)])[spec.key] == held
    assert shelf.seen(spec.key) == held
    assert site.by_hand.writes() == before
    assert right(shelf.detached(spec.key)).attached_to is None
    before = site.by_hand.writes()
    assert right(shelf.detached(spec.key)) == made
    assert site.by_hand.writes() == before
    assert shelf.removed(spec.key) is None
    before = site.by_hand.writes()
    assert shelf.removed(spec.key) is None
    assert shelf.seen(spec.key) is None
    assert site.by_hand.writes() == before


def test_what_one_vm_has_no_other_takes_and_nobody_removes(room, shelf):
    spec = shelf.spec()
    shelf.made(spec)
    vm, rival = room.vm(), room.vm()
    right(shelf.attached(spec.key, vm.key))
    assert shelf.attached(spec.key, rival.key).code == "attached"
    assert shelf.removed(spec.key).code == "attached"
    assert shelf.seen(spec.key).attached_to == vm.key
    right(shelf.detached(spec.key))
    assert right(shelf.attached(spec.key, rival.key)).attached_to == rival.key


def test_a_volume_grows_lying_free_and_attached_and_never_shrinks(room, driver, shelf):
    spec = shelf.spec()
    shelf.made(spec)
    assert shelf.made(shelf.spec(4, key=spec.key)).size_gib == 4
    vm = room.vm()
    right(shelf.attached(spec.key, vm.key))
    room.power(vm.key, Power.ON)
    grown = shelf.made(shelf.spec(5, key=spec.key))
    assert (grown.size_gib, grown.attached_to) == (5, vm.key)
    assert driver.ensure_volumes([shelf.spec(3, key=spec.key)])[spec.key].code == "shrinks"
    right(shelf.detached(spec.key))
    assert shelf.seen(spec.key).size_gib == 5


def test_a_volume_outlives_its_vm(room, shelf):
    """It is no part of the VM's own disk either, whoever counts it."""
    spec = shelf.spec()
    shelf.made(spec)
    vm = room.vm()
    right(shelf.attached(spec.key, vm.key))
    assert room.driver.find_vms([vm.key])[vm.key].disk_gib == vm.disk_gib
    assert room.remove([vm.key]) == {vm.key: None}
    left = shelf.seen(spec.key)
    assert (left.attached_to, left.size_gib) == (None, 2)


def test_a_snapshot_of_a_volume_is_taken_and_gone_once(site, driver, shelf):
    spec = shelf.spec()
    shelf.made(spec)
    snapshot = VolumeSnapshotSpec(uuid4(), spec.key, spec.datastore_ref)
    taken = shelf.said(lambda: driver.ensure_volume_snapshots([snapshot]))[snapshot.key]
    if site.kind == "vsphere":  # vcsim says that it is a vCenter 6.5: from 6.7 on one takes snapshots of volumes
        assert taken.code == "not_supported"
        assert shelf.said(lambda: driver.ensure_no_volume_snapshots([snapshot])) == {snapshot.key: None}
        return
    assert right(taken).snapshots == (snapshot.key,)
    before = site.by_hand.writes()
    assert driver.ensure_volume_snapshots([snapshot])[snapshot.key] == taken
    assert site.by_hand.writes() == before
    assert shelf.said(lambda: driver.ensure_no_volume_snapshots([snapshot])) == {snapshot.key: None}
    assert shelf.seen(spec.key).snapshots == ()
    right(shelf.said(lambda: driver.ensure_volume_snapshots([snapshot]))[snapshot.key])
    assert shelf.removed(spec.key) is None
    assert shelf.said(lambda: driver.ensure_no_volume_snapshots([snapshot])) == {snapshot.key: None}


def test_what_is_not_there_is_refused_and_one_refusal_is_no_other_volumes(room, driver, shelf):
    spec, vm, nobody = shelf.spec(), room.vm(), uuid4()
    shelf.made(spec)
    asked = [AttachSpec(nobody, room.datastore_ref, vm.key), AttachSpec(spec.key, room.datastore_ref, vm.key)]
    answers = shelf.said(lambda: driver.attach(asked))
    assert isinstance(answers[nobody], Refused)
    assert answers[nobody].code == "not_found"
    assert right(answers[spec.key]).attached_to == vm.key
    right(shelf.detached(spec.key))
    assert shelf.attached(spec.key, nobody).code == "not_found"
    assert shelf.detached(nobody).code == "not_found"
