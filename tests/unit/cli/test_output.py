from __future__ import annotations

import json

import yaml

from facet.cli.output import plain

from .server import ACME, CLUSTER, SHOP, WEB, items


def test_a_table_is_aligned_and_plain_in_a_pipe(facet) -> None:
    ran = facet("cluster", "list", "--project", "acme/web")

    head, row = ran.out.splitlines()
    assert head.split() == ["NAME", "PHASE", "VERSION", "NODES", "ZONES", "ENDPOINT", "AGE", "SIMULATED", "REASON"]
    assert row.index("ready") == head.index("PHASE")
    assert row.split()[3] == "4/4"
    assert "\x1b" not in ran.out + ran.err


def test_json_and_yaml_are_the_apis_own_documents(facet) -> None:
    assert json.loads(facet("cluster", "show", "shop", "--project", "acme/web", "-o", "json").out) == CLUSTER
    assert yaml.safe_load(facet("cluster", "show", "shop", "--project", "acme/web", "-o", "yaml").out) == CLUSTER


def test_an_empty_list_says_so_to_people_and_is_empty_for_programs(facet, server) -> None:
    server.answers["GET", f"projects/{WEB}/clusters"] = items()

    ran = facet("cluster", "list", "--project", "acme/web")
    assert (ran.out, "No clusters yet." in ran.err) == ("", True)
    assert json.loads(facet("cluster", "list", "--project", "acme/web", "-o", "json").out) == {"items": []}


def test_names_of_others_move_no_cursor(facet, server) -> None:
    server.answers["GET", f"projects/{WEB}/clusters"] = items({**CLUSTER, "reason": "x\x1b[2Jy"})

    assert "\x1b" not in facet("cluster", "list", "--project", "acme/web").out
    assert plain("a\r\nb") == "a  b"


def test_unicode_and_markup_come_out_as_they_are(facet, server) -> None:
    server.answers["GET", "tenants"] = items({"id": ACME, "name": "acme", "description": "Bücher [bold]日本[/bold]"})

    assert "Bücher [bold]日本[/bold]" in facet("tenant", "list").out


def test_waiting_prints_the_final_object_as_json(facet) -> None:
    ran = facet("cluster", "create", "shop", "--project", "acme/web", "--zone", "az1", "--wait", "-o", "json")

    document = json.loads(ran.out)
    assert document["cluster"]["phase"] == "ready"
    assert document["operation"]["phase"] == "succeeded"


def test_without_waiting_the_receipt_says_how_to_follow(facet) -> None:
    ran = facet("cluster", "create", "shop", "--project", "acme/web", "--zone", "az1")

    assert "facet operation watch" in ran.err
    assert ran.out.splitlines()[1].split()[:2] == ["shop", "pending"]


def test_a_dry_run_that_does_not_fit_is_6_and_says_why(facet, server) -> None:
    refusal = {"fits": False, "placements": [], "filters": [{"reason": "too few hosts", "removed": 3}], "nearest": []}
    server.answers["POST", f"projects/{WEB}/placements"] = (200, refusal)

    ran = facet("placement", "explain", "--project", "acme/web", "--zone", "az1")

    assert ran.code == 6
    assert "3  too few hosts" in ran.err


def test_warnings_go_to_stderr(facet, server) -> None:
    server.answers["POST", "images"] = (201, {"id": SHOP, "name": "k", "warnings": ["No CNI is in the catalogue."]})

    ran = facet("image", "add", "k", "--site", "dc1", "--template", "t", "--version", "v1.34.2")

    assert "warning: No CNI is in the catalogue." in ran.err
    assert "CNI" not in ran.out
