"""The console log of a VM: shown where its layer keeps one, else refused with the reason."""

from __future__ import annotations

import pytest

from facet.workloads.models import VM, VmPhase
from tests import ground, work
from tests.api import world
from tests.contract import vsphere_site
from tests.factories import as_system


@pytest.fixture
def land(tmp_path):
    with ground.simulated(tmp_path) as found:
        yield found


def asked(land):
    return land.editor.post(f"{land.project}/vms", {"name": "db", "zones": land.zones})


def test_a_console_log_is_shown_where_the_layer_has_one(land):
    receipt = asked(land)
    console = f"vms/{receipt['vm']['id']}/console"
    not_yet = land.editor.get(console)
    assert (not_yet.status, not_yet["code"]) == (409, "no_console")
    work.succeed(land.editor, receipt)
    shown = land.editor.get(console)
    assert (shown.status, set(shown.body)) == (200, {"text"})
    assert shown["text"]
    assert land.office.viewer.get(console).status == 403  # it may hold what a guest says at its first boot
    land.site.by_hand.delete_vm(receipt["vm"]["id"])
    gone = land.editor.get(console)
    assert (gone.status, gone["code"]) == (409, "no_console")
    land.site.by_hand.kill()
    away = land.editor.get(console)
    assert (away.status, away["code"]) == (409, "site_unreachable")


def test_a_layer_without_one_says_so(tmp_path):
    with vsphere_site.running(tmp_path) as site:
        land = ground.carved(site)
        receipt = asked(land)
        with as_system():
            VM.objects.update(phase=VmPhase.BUILT)
        refused = land.editor.get(f"vms/{receipt['vm']['id']}/console")
        assert (refused.status, refused["code"]) == (409, "no_console")
        assert "vSphere" in refused["detail"]


def test_a_strangers_console_is_no_object():
    it, _ = world.platform()
    mine, theirs = world.belongings(it, "acme"), world.belongings(it, "shop")
    stranger = world.client(theirs.people["editor"])
    assert stranger.get(f"vms/{mine.ids['vms'][0]}/console").status == 404
