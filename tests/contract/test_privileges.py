"""What the user may do at a site, by layer. vcsim grants everything: its front end answers (vsphere_site.py)."""

from __future__ import annotations

import pytest

LACKS = {
    "simulator": {"compute": ("machines.make",), "network": ("networks.change",), "storage": ("volumes.change",)},
    "vsphere": {
        "compute": ("VirtualMachine.Inventory.Create", "VirtualMachine.Inventory.CreateFromExisting"),
        "network": ("DVPortgroup.Create",),
        "storage": ("StorageProfile.View",),
    },
}


@pytest.fixture
def lacks(site):
    yield site.by_hand.lacks
    site.by_hand.lacks([])


def test_a_user_that_may_do_all_lacks_nothing(driver):
    assert driver.missing_privileges() == {}


def test_what_is_missing_is_named_by_layer_and_what_comes_back_is_not(site, driver, connect, lacks):
    wanted = LACKS[site.kind]
    lacks([name for names in wanted.values() for name in names])
    writes = site.by_hand.writes()
    assert driver.missing_privileges() == wanted
    assert connect().missing_privileges() == wanted
    assert site.by_hand.writes() == writes
    lacks(list(wanted["network"]))
    assert driver.missing_privileges() == {"network": wanted["network"]}
