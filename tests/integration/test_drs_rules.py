"""Rules of a cluster stand at its site before any of its control planes is powered on, and go with it."""

from __future__ import annotations

import pytest

from facet.workloads.models import VM, VmPhase
from infra import outside
from infra.drivers.base import Power
from infra.models import Site, Zone
from tests import ground, work
from tests.contract import simulator_site, vsphere_site
from tests.factories import as_system

PLANES = {"count": 3, "flavor": "small"}


@pytest.fixture(params=["simulator", "vsphere"])
def land(request, tmp_path):
    starter = {"simulator": simulator_site, "vsphere": vsphere_site}[request.param]
    with starter.running(tmp_path) as site:
        found = ground.carved(site)
        if site.kind == "vsphere":  # a simulator proposes addresses for clusters' endpoints
            with as_system():
                zone = Zone.objects.get()
            work.succeed(found.it, found.it.patch(f"zones/{zone.id}", {"endpoint_range": "10.0.8.10-10.0.8.20"}))
        yield found


def rules(land):
    with as_system():
        site = Site.objects.get(pk=land.site_id)
    return outside.driver_of(site).rules()


def planes(asked):
    with as_system():
        rows = VM.objects.filter(owner_id=asked["cluster"]["id"], deleted_at=None, node__role="control-plane")
        return {vm.id: vm for vm in rows}


def hinder(land):
    """No rule can be written at the site: it is busy, and says so."""
    if land.site.kind == "vsphere":
        land.site.by_hand.program.inject("ReconfigureComputeResource_Task", "TaskInProgress", times=0)
    else:
        land.site.by_hand.inject("rule", "error", times=-1, code="not_ready", reason="It is busy.")


def heal(land):
    if land.site.kind == "vsphere":
        land.site.by_hand.program.heal()
    else:
        land.site.by_hand.hand("clear-faults")


def tries(land):
    """How often the site was asked to write a rule."""
    if land.site.kind == "vsphere":
        return land.site.by_hand.program.calls().get("ReconfigureComputeResource_Task", 0)
    return land.site.by_hand.hand("calls")["calls"].get("rule", 0)


def powers(land):
    """What the control planes are at the site itself."""
    with as_system():
        site = Site.objects.get(pk=land.site_id)
    return {vm.power for vm in outside.driver_of(site).inventory().vms if vm.witness}


def test_rules_are_there_before_power_on_and_go_with_the_cluster(land):
    """As long as the rule cannot be written, none of them goes on: so it stands before the first of them does."""
    hinder(land)
    asked = land.cluster(control_planes=PLANES, node_pools=[])
    work.until(lambda: tries(land) >= 2, what=lambda: land.editor.get(f"clusters/{asked['cluster']['id']}").body)
    assert {vm.phase for vm in planes(asked).values()} == {VmPhase.BUILT}
    assert (powers(land), rules(land)) == ({Power.OFF}, ())

    heal(land)
    work.until(lambda: Power.ON in powers(land))
    (rule,) = rules(land)
    assert (rule.kind, asked["cluster"]["id"] in rule.name) == ("apart", True)
    assert set(rule.vm_keys) == set(planes(asked))

    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert (rules(land), powers(land)) == ((), set())


def test_a_pool_whose_workers_must_stay_apart_has_a_rule_of_its_own(land):
    apart = {"name": "db", "size": 2, "placement": {"anti_affinity": "required"}}
    asked = land.cluster(control_planes={"count": 1}, node_pools=[apart, {"name": "workers", "size": 2}])
    work.until(lambda: any(rule.kind == "apart" for rule in rules(land)))
    (rule,) = rules(land)
    with as_system():
        nodes = VM.objects.filter(owner_id=asked["cluster"]["id"], node__pool__name="db")
        assert set(rule.vm_keys) == set(nodes.values_list("id", flat=True))
    work.succeed(land.editor, land.editor.delete(f"clusters/{asked['cluster']['id']}"))
    assert rules(land) == ()
