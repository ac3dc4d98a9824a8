"""Items of content libraries: told as templates, and templates of ours before a VM is made of them.

vcsim deploys none: its front end makes a clone of a VM that is there (tests/vcsim/library.go), whatever the item holds.
"""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import ImageSpec, Refused, TemplateFacts

from .room import pool_spec, settled


@pytest.fixture
def copies(site, room, driver):
    """Specs of templates to be made; what is left of them goes with the test."""
    keys = []
    pool = driver.ensure_pool(pool_spec(room.host.compute_ref))[room.host.compute_ref]

    def spec(ref, **changes):
        key = uuid4()
        keys.append(key)
        where = {"folder_ref": room.folder_ref, "pool_ref": pool, "host_ref": room.host.ref}
        asked = {"template_ref": ref, "datastore_ref": room.datastore_ref, **where}
        return ImageSpec(key=key, name=f"golden-{key.hex[:8]}", **(asked | changes))

    yield spec
    left = settled(lambda: dict(driver.ensure_no_images(keys)), driver)
    assert set(left.values()) <= {None}
    if site.kind == "simulator":
        driver.ensure_no_pool([pool])


def made(driver, *specs):
    return settled(lambda: dict(driver.ensure_images(specs)), driver)


def listed(driver, ref):
    return [one for one in driver.inventory().templates if one.ref == ref]


def test_items_are_told_among_the_templates(site, connect):
    ref = site.by_hand.library_item(f"kube-{uuid4().hex[:8]}")
    (item,) = listed(connect(), ref)
    assert (item.kind, item.datastore_refs) == ("library-item", ())
    assert item.path == f"/content-library/golden/{item.name}"
    assert {one.kind for one in connect().inventory().templates} == {"template", "library-item"}


def test_an_item_becomes_a_template_once_and_vms_are_made_of_that(site, room, driver, connect, copies):
    ref = site.by_hand.library_item(f"kube-{uuid4().hex[:8]}")
    spec = copies(ref)
    copy = made(driver, spec)[spec.key]
    assert isinstance(copy, TemplateFacts), copy
    assert (copy.name, copy.is_template, copy.datastore_refs) == (spec.name, True, (room.datastore_ref,))
    writes = site.by_hand.writes()
    assert connect().ensure_images([spec])[spec.key] == copy
    assert site.by_hand.writes() == writes
    assert listed(driver, copy.ref) == []  # it is Facet's own
    assert room.vm(template_ref=copy.ref).disk_gib >= copy.disk_gib


def test_an_item_that_is_gone_is_refused(site, driver, copies):
    spec = copies(f"library-item:{uuid4()}")
    outcome = made(driver, spec)[spec.key]
    assert isinstance(outcome, Refused), outcome
    assert outcome.code == "not_found"


def test_nothing_is_cloned_from_an_item(site, room):
    spec = room.spec(template_ref=site.by_hand.library_item(f"kube-{uuid4().hex[:8]}"))
    outcome = room.make_vms(spec)[spec.key]
    assert isinstance(outcome, Refused), outcome
    assert outcome.code in ("invalid", "not_found")
