"""One VM as a read found it: what is believed of its extraConfig, and what one that is dark does to others."""

from __future__ import annotations

from uuid import UUID

import pytest
from pyVmomi import vim

from infra.drivers.base import NotReady
from infra.drivers.extraconfig import packed
from infra.drivers.vsphere import rounds
from infra.drivers.vsphere.machine import Machine
from infra.drivers.vsphere.properties import Found

KEY = UUID("019a0000-0000-7000-8000-000000000001")
OTHER = UUID("019a0000-0000-7000-8000-000000000002")


def machine(*extra: tuple[str, str], **changes):
    values = {
        "name": "node%2f1",
        "config.instanceUuid": str(KEY),
        "runtime.host": vim.HostSystem("host-1"),
        "runtime.powerState": "poweredOff",
        "config.extraConfig": [vim.option.OptionValue(key=key, value=value) for key, value in extra],
    }
    return Machine.of(Found(vim.VirtualMachine("vm-1"), {**values, **changes}))


def test_the_last_value_of_a_key_counts():
    found = machine(("facet.key", str(OTHER)), ("guestinfo.userdata", "secret"), ("facet.key", str(KEY)),
                    ("guestinfo.userdata", ""))  # fmt: skip
    assert found.witness
    assert found.user_data is None
    assert found.facts().boot_data_present is False


@pytest.mark.parametrize("value", ["", "---"])
def test_wiped_is_absent_empty_or_dashes(value):
    assert machine().facts().boot_data_present is False
    assert machine(("guestinfo.userdata", value)).facts().boot_data_present is False
    assert machine(*packed("guestinfo.userdata", "text").items()).facts().boot_data_present is True


def test_a_witness_is_the_vms_own_key_and_nothing_like_it():
    for value in (str(OTHER), str(KEY).upper(), "", "facet"):
        assert machine(("facet.key", value)).witness is False


@pytest.mark.parametrize("value", ["not base64!", "aGVsbG8=", "H4sIAAAA"])
def test_boot_data_that_somebody_spoilt_reads_as_none(value):
    assert machine(("guestinfo.userdata", value), ("guestinfo.userdata.encoding", "gzip+base64")).user_data is None


def test_an_address_counts_only_while_the_vm_is_on():
    told = {"guest.ipAddress": "10.0.0.7"}
    assert machine(**told).address is None
    assert machine(**told, **{"runtime.powerState": "poweredOn"}).address == "10.0.0.7"


@pytest.mark.parametrize("missing", ["config.instanceUuid", "runtime.host"])
def test_a_vm_that_cannot_be_read_is_none(missing):
    assert machine(**{missing: None}) is None


class Finder:
    """Finds what is given, and says NotReady where a dark one is among it, as the real one does."""

    def __init__(self, dark, found):
        self.dark, self.found = dark, found

    def find(self, keys):
        if self.dark & set(keys):
            raise NotReady("The VM node cannot be read yet.")
        return {key: self.found[key] for key in keys if key in self.found}


def test_a_dark_vm_is_not_ready_and_the_others_are_seen():
    well = machine()
    seen = rounds.look(Finder({OTHER}, {KEY: well}), [KEY, OTHER])
    assert seen[KEY] is well
    assert isinstance(seen[OTHER], NotReady)
