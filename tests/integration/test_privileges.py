"""What a site's user may not do is named by layer, before work is accepted there."""

from __future__ import annotations

import pytest

from facet.rest.problems import Conflict
from infra import privileges
from infra.models import Site
from tests import factories, ground, work
from tests.contract import simulator_site, vsphere_site
from tests.contract.test_privileges import LACKS
from tests.factories import as_system


@pytest.fixture(scope="module", params=["simulator", "vsphere"])
def running(request, tmp_path_factory):
    starter = {"simulator": simulator_site, "vsphere": vsphere_site}[request.param]
    with starter.running(tmp_path_factory.mktemp(request.param)) as site:
        yield site


@pytest.fixture
def site(running):
    yield running
    running.by_hand.lacks([])


@pytest.fixture
def it():
    return factories.person("root", "platform-admin")


def way(site):
    there = site.connection
    return {
        "name": "dc1", "driver": there.driver, "endpoint": there.endpoint, "username": there.username,
        "password": there.password, "ca_pem": there.ca_pem,
    }  # fmt: skip


def lists(wanted):
    return {layer: list(names) for layer, names in wanted.items()}


def test_a_check_names_the_privileges_that_are_missing(site, it):
    wanted = LACKS[site.kind]
    fine = it.post("sites/check", way(site))
    assert (fine["ok"], fine["missing_privileges"]) == (True, {})

    site.by_hand.lacks([name for names in wanted.values() for name in names])
    before = it.post("sites/check", way(site))
    assert (before["ok"], before["missing_privileges"]) == (True, lists(wanted))

    added = it.post("sites", way(site))
    operation = work.done(it, added)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_permission")
    assert all(name in operation["problem"]["detail"] for name in wanted["compute"])
    shown = it.get(f"sites/{added['site']['id']}")
    assert (shown["phase"], shown["reason"]["code"]) == ("failing", "no_permission")
    assert shown["missing_privileges"] == lists(wanted)
    assert it.post(f"sites/{added['site']['id']}/check")["missing_privileges"] == lists(wanted)
    zone = it.post("zones", {"name": "az1", "site": "dc1", "selector": {"vsphere_cluster": site.vsphere_cluster}})
    assert (zone.status, zone["code"]) == (409, "no_permission")

    site.by_hand.lacks([])
    work.succeed(it, it.post(f"sites/{added['site']['id']}/sync"))
    shown = it.get(f"sites/{added['site']['id']}")
    assert (shown["phase"], shown["reason"], shown["missing_privileges"]) == ("active", None, {})
    assert ground.carve(it, added["site"]["id"], site, 1) == "az1"


def test_a_layer_that_lacks_something_keeps_its_own_work_out_alone(site, it):
    wanted = LACKS[site.kind]
    site.by_hand.lacks([*wanted["network"], *wanted["storage"]])
    id = ground.register(it, site)
    shown = it.get(f"sites/{id}")
    assert (shown["phase"], list(shown["missing_privileges"])) == ("active", ["network", "storage"])
    assert ground.carve(it, id, site, 1) == "az1"
    with as_system():
        row = Site.objects.get(pk=id)
    privileges.require(row, "compute")
    for layer in ("network", "storage"):
        with pytest.raises(Conflict) as refused:
            privileges.require(row, layer)
        assert refused.value.code == "no_permission"
        assert wanted[layer][0] in str(refused.value.document())


def test_a_privilege_that_is_taken_away_later_is_told_by_the_next_look(site, it):
    id = ground.register(it, site)
    name = LACKS[site.kind]["compute"][0]
    site.by_hand.lacks([name])
    operation = work.done(it, it.post(f"sites/{id}/sync"))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_permission")
    shown = it.get(f"sites/{id}")
    assert (shown["phase"], shown["missing_privileges"]) == ("failing", {"compute": [name]})
