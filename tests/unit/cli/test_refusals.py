"""What a refusal brings along is printed so that a person can act on it."""

from __future__ import annotations

from .server import WEB, problem


def test_the_limits_to_raise_stand_in_a_table(facet, server) -> None:
    raises = [
        {"scope": "tenant pool", "pool": "az1", "resource": "memory_mib", "by": 2048, "to": 8192},
        {"scope": "project", "zone": None, "resource": "vms", "by": 2, "to": 5},
    ]
    near = {"kind": "limits", "sentence": "All fit with 2 limits raised.", "change": {"raise": raises}}
    server.answers["POST", f"projects/{WEB}/clusters"] = problem(409, "pool_exceeded", "Too much.", nearest=[near])

    ran = facet("cluster", "create", "more", "--project", "acme/web", "--zone", "az1")

    assert ran.code == 6
    lines = [line.split() for line in ran.err.splitlines()]
    assert ["tenant", "pool", "memory", "az1", "2", "GiB", "8", "GiB"] in lines
    assert ["project", "vms", "-", "2", "5"] in lines
