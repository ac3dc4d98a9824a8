"""Placement rules: there before anybody asks twice, changed where they are wrong, gone with their owner."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from infra.drivers.base import AntiAffinityRule, HostRule


@pytest.fixture
def told(driver):
    """The rules of this name, as the site has them now."""
    return lambda name: [one for one in driver.rules() if one.name == name]


def test_who_stays_apart_is_told_by_their_keys(site, room, driver, told):
    keys = tuple(sorted(room.vm().key for _ in range(2)))
    rule = AntiAffinityRule(f"facet-{uuid4()}", keys)
    driver.ensure_rule(rule)
    (one,) = told(rule.name)
    assert (one.kind, one.compute_ref, one.vm_keys, one.enabled) == ("apart", room.host.compute_ref, keys, True)
    driver.ensure_no_rule(rule.name)
    assert told(rule.name) == []


def test_a_host_rule_is_written_once_follows_what_is_asked_and_goes(site, room, driver, connect, told):
    keys = tuple(sorted(room.vm().key for _ in range(2)))
    first, second = (host.ref for host in room.hosts()[:2])
    rule = HostRule(f"facet-{uuid4()}", keys, (first,))
    driver.ensure_rule(rule)
    (one,) = told(rule.name)
    assert (one.kind, one.vm_keys, one.host_refs) == ("hosts", keys, (first,))
    writes = site.by_hand.writes()
    for saying in (driver, connect()):
        saying.ensure_rule(rule)
    assert site.by_hand.writes() == writes

    driver.ensure_rule(replace(rule, vm_keys=keys[:1], host_refs=(first, second), must=False))
    (one,) = told(rule.name)
    assert (one.vm_keys, one.host_refs) == (keys[:1], tuple(sorted((first, second))))

    driver.ensure_no_rule(rule.name)
    assert told(rule.name) == []
    gone = site.by_hand.writes()
    driver.ensure_no_rule(rule.name)
    assert site.by_hand.writes() == gone


def test_a_rule_says_only_who_still_stands(room, driver, told):
    keys = [room.vm().key for _ in range(3)]
    rule = AntiAffinityRule(f"facet-{uuid4()}", tuple(keys))
    driver.ensure_rule(rule)
    room.remove(keys[:1])
    driver.ensure_rule(rule)
    (one,) = told(rule.name)
    assert set(one.vm_keys) == set(keys[1:])
    driver.ensure_no_rule(rule.name)


def test_who_joins_a_host_rule_leaves_the_others_in_it(site, room, driver, connect, told):
    first, second, third = sorted(room.vm().key for _ in range(3))
    rule = HostRule(f"facet-{uuid4()}", (first,), (room.host.ref,), beside=True)
    driver.ensure_rule(rule)
    driver.ensure_rule(replace(rule, vm_keys=(second, third)))
    assert told(rule.name)[0].vm_keys == (first, second, third)
    writes = site.by_hand.writes()
    connect().ensure_rule(replace(rule, vm_keys=(third,)))
    assert site.by_hand.writes() == writes
    driver.ensure_rule(replace(rule, vm_keys=(), leaving=(second,)))
    assert told(rule.name)[0].vm_keys == (first, third)
    room.remove([first])
    assert told(rule.name)[0].vm_keys == (third,)
    driver.ensure_no_rule(rule.name)
    assert told(rule.name) == []
