"""Nodes that must not share a host and do, since DRS or a person moved one: told once, and until it holds again."""

from __future__ import annotations

from facet.clusters.models import Cluster, Node
from facet.operations.models import Event
from scheduler import ledger
from tests import work
from tests.factories import as_system


def told(verb):
    with as_system():
        return list(Event.objects.filter(verb=verb).order_by("seq"))


def hosts(asked):
    """node -> host, as the ledger has it."""
    with as_system():
        nodes = dict(Node.objects.filter(cluster_id=asked["cluster"]["id"]).values_list("vm_id", "name"))
        return {nodes[vm]: (vm, held.host.name) for vm, held in ledger.allocations(nodes).items()}


def move(land, vm, host):
    land.site.by_hand.hand("move-vm", key=str(vm), host=host)


def broken(land, asked):
    return land.editor.get(f"clusters/{asked['cluster']['id']}")["broken_rules"]


def test_a_witness_names_the_pair_that_breaks_a_rule(land):
    asked = land.cluster(control_planes={"count": 3, "flavor": "small"}, node_pools=[])
    work.succeed(land.editor, asked)
    land.sync()
    assert (broken(land, asked), told("rule.violated")) == ([], [])
    (first, (_, host)), (second, (vm, home)), _ = sorted(hosts(asked).items())

    move(land, vm, host)
    for _ in range(2):  # said once, however often it is seen
        land.sync()
        assert broken(land, asked) == [{"group": "control-planes", "host": host, "nodes": [first, second]}]
        (event,) = told("rule.violated")
    assert event.after == {"group": "control-planes", "host": host, "nodes": [first, second]}
    assert str(event.target_id) == asked["cluster"]["id"]
    assert all(name in event.message for name in (first, second, host))
    assert told("rule.restored") == []

    move(land, vm, home)
    for _ in range(2):
        land.sync()
        assert broken(land, asked) == []
        (restored,) = told("rule.restored")
    assert restored.after["nodes"] == [first, second]
    assert len(told("rule.violated")) == 1


def test_who_may_share_a_host_breaks_nothing(land):
    planes = {"count": 3, "flavor": "small", "placement": {"anti_affinity": "preferred"}}
    asked = land.cluster(control_planes=planes, node_pools=[])
    work.succeed(land.editor, asked)
    (_, (_, host)), (_, (vm, _)), _ = sorted(hosts(asked).items())
    move(land, vm, host)
    land.sync()
    assert {name for _, name in hosts(asked).values()} != set()
    assert (broken(land, asked), told("rule.violated")) == ([], [])


def test_a_cluster_that_goes_breaks_nothing_any_more(land):
    asked = land.cluster(control_planes={"count": 3, "flavor": "small"}, node_pools=[])
    work.succeed(land.editor, asked)
    (_, (_, host)), (_, (vm, _)), _ = sorted(hosts(asked).items())
    gone = land.editor.delete(f"clusters/{asked['cluster']['id']}")
    move(land, vm, host)
    land.sync()
    work.succeed(land.editor, gone)
    land.sync()
    assert told("rule.violated") == []
    with as_system():
        assert Cluster.objects.get().deleted_at is not None
