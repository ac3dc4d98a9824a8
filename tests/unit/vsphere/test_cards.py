"""Network cards on networks of every kind: which change makes which card right."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from infra.drivers.vsphere.shape import card_changes

CARD = vim.vm.device.VirtualEthernetCard


def standard(name):
    return CARD.NetworkBackingInfo(deviceName=name)


def distributed(key):
    return CARD.DistributedVirtualPortBackingInfo(port=vim.dvs.PortConnection(portgroupKey=key, switchUuid="dvs"))


def opaque(id):
    return CARD.OpaqueNetworkBackingInfo(opaqueNetworkId=id, opaqueNetworkType="nsx.LogicalSwitch")


KINDS = [standard, distributed, opaque]


def card(key, backing):
    return vim.vm.device.VirtualE1000(key=key, backing=backing)


def told(changes):
    return [(one.operation, one.device.key) for one in changes]


@pytest.mark.parametrize("kind", KINDS)
def test_cards_that_lead_where_they_shall_are_left(kind):
    assert card_changes([card(4000, kind("a")), card(4001, kind("b"))], [kind("a"), kind("b")]) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", KINDS)
def test_a_card_that_leads_elsewhere_is_edited_and_stays_of_its_kind(before, kind):
    changes = card_changes([card(4000, before("a"))], [kind("b")])
    assert told(changes) == [("edit", 4000)]
    assert isinstance(changes[0].device, vim.vm.device.VirtualE1000)
    assert type(changes[0].device.backing) is type(kind("b"))


def test_what_is_missing_is_added_and_what_is_too_many_removed():
    assert told(card_changes([], [standard("a"), opaque("b")])) == [("add", -1), ("add", -2)]
    cards = [card(4000, standard("a")), card(4001, standard("b")), card(4002, standard("c"))]
    assert told(card_changes(cards, [standard("a")])) == [("remove", 4001), ("remove", 4002)]


def test_a_vm_that_nothing_is_said_about_keeps_its_cards():
    assert card_changes([card(4000, standard("a"))], []) == []
