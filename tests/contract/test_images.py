"""Copies of templates: made once by key on the datastore that was asked for, cloned from, and gone once.

The simulator copies in no time. vcsim lists a copy in its pool for ever, also when it is a template and when it is
gone; a vCenter takes it out: the pool of these tests is left behind there.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import ImageSpec, InFlight, TemplateFacts

from .room import pool_spec, settled


@pytest.fixture
def copies(site, room, driver):
    """Specs of copies onto the other datastore; what is left of them goes with the test."""
    keys = []
    pool = driver.ensure_pool(pool_spec(room.host.compute_ref))[room.host.compute_ref]
    stores = {store.name: store.ref for store in driver.inventory().datastores}

    def spec(**changes):
        key = uuid4()
        keys.append(key)
        where = {"folder_ref": room.folder_ref, "pool_ref": pool, "host_ref": room.host.ref}
        asked = {"template_ref": room.template.ref, "datastore_ref": stores[site.other_datastore], **where}
        return ImageSpec(key=key, name=f"kube-{key.hex[:8]}", **(asked | changes))

    yield spec
    left = settled(lambda: dict(driver.ensure_no_images(keys)), driver)
    assert set(left.values()) <= {None}
    if site.kind == "simulator":
        driver.ensure_no_pool([pool])


def made(driver, *specs):
    return settled(lambda: dict(driver.ensure_images(specs)), driver)


def test_an_image_is_copied_once(site, room, driver, connect, copies):
    spec = copies()
    copy = made(driver, spec)[spec.key]
    assert isinstance(copy, TemplateFacts), copy
    assert (copy.name, copy.disk_gib, copy.is_template) == (spec.name, room.template.disk_gib, True)
    assert copy.datastore_refs == (spec.datastore_ref,)
    before = site.by_hand.writes()
    assert connect().ensure_images([spec])[spec.key] == copy
    assert site.by_hand.writes() == before
    seen = driver.inventory()
    assert copy.ref not in {one.ref for one in (*seen.templates, *seen.vms)}  # it is Facet's own
    vm = room.vm(template_ref=copy.ref)
    assert vm.disk_gib == room.template.disk_gib + 4
    assert settled(lambda: dict(driver.ensure_no_images([spec.key])), driver) == {spec.key: None}
    before = site.by_hand.writes()
    assert driver.ensure_no_images([spec.key]) == {spec.key: None}
    assert site.by_hand.writes() == before


def test_one_that_fails_is_no_other_ones_and_may_be_asked_for_again(site, driver, copies):
    spec, lost = copies(), copies(template_ref="vm-999999")
    site.by_hand.fail_image(spec.name)
    answers = made(driver, spec, lost)
    assert [answers[one.key].code for one in (spec, lost)] == ["no_space", "not_found"]
    assert isinstance(made(driver, spec)[spec.key], TemplateFacts)


@pytest.mark.parametrize("site", ["vsphere"], indirect=True)  # the simulator copies in no time
def test_a_copy_in_flight_is_waited_for_and_not_begun_again(site, driver, connect, copies):
    spec = copies()
    with site.by_hand.clones_take(0.5):
        assert isinstance(driver.ensure_images([spec])[spec.key], InFlight)
        assert connect().ensure_images([spec])[spec.key].code == "not_ready"
        assert isinstance(made(driver, spec)[spec.key], TemplateFacts)
