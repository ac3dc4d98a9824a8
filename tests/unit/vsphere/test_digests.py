"""What an inventory keeps of a VM between two looks."""

from __future__ import annotations

from uuid import UUID

import pytest
from pyVmomi import vim

from infra.drivers.vsphere import digests
from infra.drivers.vsphere.digests import Digests
from infra.drivers.vsphere.properties import Found

KEY = UUID("019a0000-0000-7000-8000-000000000001")


class Heavy:
    """Stands in for the vCenter's answer to the heavy read; counts how many VMs were asked for."""

    def __init__(self):
        self.asked = 0

    def __call__(self, session, objects, names):
        self.asked += len(objects)
        extra = [vim.option.OptionValue(key="facet.key", value=str(KEY))]
        return {obj._moId: Found(obj, {"config.hardware.device": (), "config.extraConfig": extra}) for obj in objects}


@pytest.fixture
def heavy(monkeypatch):
    made = Heavy()
    monkeypatch.setattr(digests.properties, "read", made)
    return made


def light(version="1", **changes):
    values = {
        "name": "node",
        "config.instanceUuid": str(KEY),
        "config.hardware.numCPU": 2,
        "config.hardware.memoryMB": 2048,
        "config.changeVersion": version,
        "runtime.powerState": "poweredOn",
        "runtime.host": vim.HostSystem("host-1"),
    }
    return Found(vim.VirtualMachine("vm-1"), {**values, **changes})


def test_what_is_heavy_is_read_once_for_each_version(heavy):
    kept = Digests(None)
    for version, expected in (("1", 1), ("1", 1), ("2", 2)):
        ((_, facts),) = kept.complete([light(version)])
        assert facts.witness
        assert heavy.asked == expected


def test_a_vm_that_cannot_be_read_for_a_while_is_told_as_it_was(heavy):
    kept = Digests(None)
    ((_, before),) = kept.complete([light()])
    dark = Found(vim.VirtualMachine("vm-1"), {"name": "node"})
    for _ in range(3):
        ((_, now),) = kept.complete([dark])
        assert now == before
    ((_, back),) = kept.complete([light(**{"config.hardware.numCPU": 4})])
    assert back.vcpu == 4
    assert kept.complete([]) == []
    assert kept.complete([dark]) == []


def test_a_vm_that_was_never_read_is_not_made_up(heavy):
    assert Digests(None).complete([Found(vim.VirtualMachine("vm-1"), {"name": "node"})]) == []
