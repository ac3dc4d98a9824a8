"""VMs of a project's own from request to gone, on a simulated site, by the passes of the real engine."""

from __future__ import annotations

import pytest

from tests import ground, work

from .test_clusters import at_site, held


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path, zones=2) as found:
        yield found


def ask(land, name="db", **body):
    """The answer to a request for a VM."""
    return land.editor.post(f"{land.project}/vms", {"name": name, "zones": land.zones[:1], "flavor": "small", **body})


def shown(land, asked):
    return land.editor.get(f"vms/{asked['vm']['id']}").body


def deleted(land, asked):
    work.succeed(land.editor, land.editor.delete(f"vms/{asked['vm']['id']}"))


def test_a_vm_is_made_boots_tells_its_address_and_goes(land):
    empty = held()
    asked = ask(land, image="kube")
    assert (asked["vm"]["phase"], asked["vm"]["zone"], asked["vm"]["simulated"]) == ("pending", land.zones[0], True)
    operation = work.succeed(land.editor, asked)
    assert [step["name"] for step in operation["steps"]] == ["machine", "boot", "address"]
    vm = shown(land, asked)
    assert (vm["phase"], vm["power"], vm["reason"], vm["host"]) == ("running", "on", None, asked["vm"]["host"])
    assert vm["address"]
    assert at_site(land) == ["db"]
    assert held() | {"vms": 1, "allocations": 1, "vcpu_on_hosts": 2, "gib_on_datastores": 20} == held()
    deleted(land, asked)
    assert held() == empty
    assert at_site(land) == []
    assert land.editor.get(f"vms/{vm['id']}").status == 404
