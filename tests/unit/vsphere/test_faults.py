"""What a real vCenter says, and its simulator never does, as the errors of the contract."""

from __future__ import annotations

import pytest
from pyVmomi import vim

from infra.drivers.vsphere.faults import driver_error


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (vim.fault.CpuHotPlugNotSupported(), "needs_power_off"),
        (vim.fault.MemoryHotPlugNotSupported(), "needs_power_off"),
        (vim.fault.ToolsUnavailable(), "no_guest_tools"),
    ],
)
def test_a_fault_about_a_running_vm_says_what_would_help(fault, code):
    assert driver_error(fault).code == code
