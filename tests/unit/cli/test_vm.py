from __future__ import annotations

import pytest

from .server import DB, WEB, items

EXPLAIN = ("placement", "explain", "--project", "acme/web", "--zone", "az1")


@pytest.mark.parametrize(
    "rule",
    [("--require", "rack"), ("--require", "=r1"), ("--avoid", "rack=r1", "--avoid", "rack=r2")],
    ids=["no value", "no name", "said twice"],
)
def test_a_label_that_is_none_is_a_usage_error(rule, facet, server) -> None:
    ran = facet("vm", "create", "db", "--project", "acme/web", "--zone", "az1", *rule)

    assert ran.code == 2
    assert rule[0] in ran.err
    assert server.writes() == []


def test_rules_of_a_dry_run_are_the_vms_or_the_workers(facet, server) -> None:
    facet(*EXPLAIN, "--prefer", "rack=r1", "--vm", "small")
    facet(*EXPLAIN, "--prefer", "rack=r1")

    (_, _, vms), (_, _, cluster) = server.writes()
    assert vms["vm"]["placement"] == {"prefer": {"rack": "r1"}}
    assert cluster["node_pools"][0]["placement"] == {"prefer": {"rack": "r1"}}


def test_a_dry_run_of_vms_shows_where_they_would_go(facet, server) -> None:
    placed = {"name": "dry-run", "role": "vm", "zone": "az1", "host": "host-1", "datastore": "ssd-1", "why": {}}
    server.answers["POST", f"projects/{WEB}/placements"] = (200, {"fits": True, "placements": [placed]})

    ran = facet(*EXPLAIN, "--vm", "small")

    assert ran.code == 0
    assert ran.out.splitlines()[1].split() == ["dry-run", "vm", "az1", "host-1", "ssd-1"]


def test_a_list_says_whose_machine_a_vm_is(facet, server) -> None:
    rows = [
        {"id": DB, "name": "db", "phase": "running", "owner": {"kind": "vm", "id": DB}},
        {"id": WEB, "name": "shop-w-1", "phase": "running", "owner": {"kind": "cluster", "id": WEB}},
    ]
    server.answers["GET", f"projects/{WEB}/vms"] = items(*rows)

    ran = facet("vm", "list", "--project", "acme/web")

    assert "cluster" not in ran.out.splitlines()[1]
    assert "cluster" in ran.out.splitlines()[2]


@pytest.mark.parametrize("said", ["", "=10.0.0.5", "lan="])
def test_a_card_that_is_none_is_refused_before_anything_is_sent(facet, server, said) -> None:
    ran = facet("vm", "create", "db", "--project", "acme/web", "--zone", "az1", "--nic", said)
    assert ran.code == 2
    assert "--nic" in ran.err
    assert server.requests == []


def test_an_address_that_is_not_given_out_cannot_be_dropped(facet, server) -> None:
    ran = facet("address", "drop", "10.0.0.6", "--network", "lan", "--project", "acme/web", "--yes")
    assert ran.code == 3
    assert server.writes() == []
