"""VMs made of another VM, or of nothing.

vcsim gives a clone all disks of its source, whatever the call says, and takes no heed of the snapshot that it names.
"""

from __future__ import annotations

from uuid import uuid4

from infra.drivers.base import Power, SnapshotSpec

from .room import settled


def clone_of(room, source, **changes):
    return room.spec("copy", template_ref="", source_key=source.key, disk_gib=source.disk_gib, **changes)


def test_a_vm_is_cloned_once_and_is_its_own(site, room, driver, connect):
    source = room.vm()
    room.power(source.key, Power.ON)
    spec = clone_of(room, source, vcpu=1)
    made = room.right(room.make_vms(spec)[spec.key])
    assert (made.key, made.vcpu, made.memory_mib, made.disk_gib) == (spec.key, 1, 2048, source.disk_gib)
    assert (made.witness, made.power, made.boot_data_present) == (True, Power.OFF, False)
    before = site.by_hand.writes()
    assert connect().ensure_vms([spec])[spec.key] == made
    assert site.by_hand.writes() == before
    assert driver.find_vms([source.key])[source.key].power is Power.ON
    metadata = {"guestinfo.metadata", "facet.key"}
    ours, its = site.by_hand.extra_config(spec.key), site.by_hand.extra_config(source.key)
    assert all(ours[name] != its[name] for name in metadata)
    assert room.remove([source.key]) == {source.key: None}
    assert room.power(made.key, Power.ON).power is Power.ON


def test_a_clone_of_a_snapshot_needs_it(room, driver):
    source = room.vm()
    snapshot = SnapshotSpec(key=uuid4(), vm_key=source.key, name="before")
    settled(lambda: dict(driver.ensure_snapshots([snapshot])), driver)
    spec, lost = (clone_of(room, source, source_snapshot=key) for key in (snapshot.key, uuid4()))
    answers = room.make_vms(spec, lost)
    assert room.right(answers[spec.key]).disk_gib == source.disk_gib
    assert answers[lost.key].code == "snapshot_not_found"


def test_a_source_that_is_gone_or_too_large_is_refused(room):
    source = room.vm()
    small = room.spec("small", template_ref="", source_key=source.key, disk_gib=source.disk_gib - 1)
    orphan = room.spec("orphan", template_ref="", source_key=uuid4())
    answers = room.make_vms(small, orphan)
    assert [answers[spec.key].code for spec in (small, orphan)] == ["disk_too_small", "source_gone"]


def test_an_empty_vm_is_made_once(site, room, connect):
    spec = room.spec("empty", template_ref="", guest_id="otherLinux64Guest", disk_gib=3)
    made = room.right(room.make_vms(spec)[spec.key])
    assert (made.key, made.vcpu, made.memory_mib, made.disk_gib) == (spec.key, 2, 2048, 3)
    assert (made.witness, made.host_ref) == (True, room.host.ref)
    assert site.by_hand.networks_of(spec.key) == [room.network_ref]
    before = site.by_hand.writes()
    assert connect().ensure_vms([spec])[spec.key] == made
    assert site.by_hand.writes() == before
    assert room.power(spec.key, Power.ON).power is Power.ON
