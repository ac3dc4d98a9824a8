"""A VM's life on a vCenter (vcsim behind our front end), through the API: what the simulator shows of it elsewhere."""

from __future__ import annotations

from uuid import UUID

import pytest

from facet.workloads.models import VM
from infra import outside
from tests import ground, work
from tests.contract import vsphere_site
from tests.factories import as_system

from .test_vm_power import RESTS, RUNS, done, power, say
from .test_vms import ask, shown

ADDRESS = "127.0.0.77"
USER_DATA = "#cloud-config\nhostname: db\n"


@pytest.fixture
def land(tmp_path):
    with vsphere_site.running(tmp_path) as site:
        found = ground.carved(site)
        yield found
        outside.forget(UUID(found.site_id))


def calls(land, method):
    return land.site.by_hand.program.calls().get(method, 0)


def comes_up(land, asked):
    """vcsim's guests say nothing: their address and their tools are told by hand, once the VM is on."""
    id = UUID(asked["vm"]["id"])
    work.until(lambda: shown(land, asked)["power"] == "on")
    land.site.by_hand.tell_addresses(id, [ADDRESS])
    land.site.by_hand.guest(id, hot_add=True)
    return work.succeed(land.editor, asked)


def at_the_vcenter(land, asked):
    config = land.site.by_hand._vm(asked["vm"]["id"]).config
    return config.hardware.numCPU, config.hardware.memoryMB


def test_a_vm_lives_on_a_vcenter_as_elsewhere(land):
    db = ask(land, user_data=USER_DATA)
    comes_up(land, db)
    assert (power(land, db), shown(land, db)["address"]) == (RUNS, ADDRESS)
    assert "guestinfo.userdata" not in land.site.by_hand.extra_config(db["vm"]["id"])
    with as_system():
        assert VM.objects.get().user_data_sealed is None
    done(land, db, "resize", vcpu=4, memory_mib=4096)
    assert (at_the_vcenter(land, db), power(land, db), calls(land, "ShutdownGuest")) == ((4, 4096), RUNS, 0)
    needs_off = work.done(land.editor, say(land, db, "resize", memory_mib=2048))
    assert needs_off["problem"]["code"] == "needs_power_off"
    done(land, db, "stop")
    assert (power(land, db), calls(land, "ShutdownGuest"), calls(land, "PowerOffVM_Task")) == (RESTS, 1, 0)
    done(land, db, "resize", memory_mib=2048)
    assert at_the_vcenter(land, db) == (4, 2048)
    comes_up(land, say(land, db, "start"))
    land.site.by_hand.guest(db["vm"]["id"], deaf=True)
    done(land, db, "stop", within_s=1)
    assert (power(land, db), calls(land, "ShutdownGuest"), calls(land, "PowerOffVM_Task")) == (RESTS, 2, 1)
    refused = land.editor.get(f"vms/{db['vm']['id']}/console")
    assert (refused.status, refused["code"]) == (409, "no_console")
    work.succeed(land.editor, land.editor.delete(f"vms/{db['vm']['id']}"))
