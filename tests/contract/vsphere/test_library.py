"""Bad luck with content libraries: vCenter's REST services are another way than the one that all else goes."""

from __future__ import annotations

from uuid import uuid4

import pytest

from infra.drivers.base import ImageSpec, NotReady, Refused, TemplateFacts, Unreachable
from tests.contract.room import pool_spec, settled


@pytest.fixture
def copies(vcenter, room, driver):
    """Specs of templates to be made, in a pool that is left behind: vcsim lists them there for ever."""
    keys = []
    pool = driver.ensure_pool(pool_spec(room.host.compute_ref))[room.host.compute_ref]

    def spec(item, key=None):
        keys.append(key or uuid4())
        return ImageSpec(
            key=keys[-1], name=f"golden-{keys[-1].hex[:8]}", template_ref=item, folder_ref=room.folder_ref,
            pool_ref=pool, host_ref=room.host.ref, datastore_ref=room.datastore_ref,
        )  # fmt: skip

    yield spec
    vcenter.program.heal()
    left = settled(lambda: dict(driver.ensure_no_images(keys)), driver)
    assert set(left.values()) <= {None}


@pytest.fixture
def item(vcenter):
    return vcenter.by_hand.library_item(f"kube-{uuid4().hex[:8]}")


def kinds(driver):
    return {one.kind for one in driver.inventory().templates}


@pytest.mark.parametrize("status", ["401", "403", "404", "500", "503"])
def test_a_site_is_seen_though_its_libraries_are_not(vcenter, connect, item, status):
    vcenter.program.inject("rest", status, times=0)
    assert kinds(connect()) == {"template"}


def test_a_service_that_hangs_costs_a_look_its_patience_and_no_more(vcenter, connect, item):
    vcenter.program.inject("rest", "", kind="hang", times=1, hang_s=5.0)
    assert kinds(connect(call_timeout_s=1.0)) == {"template"}


def test_a_session_that_has_ended_is_opened_again(vcenter, connect, room, copies, item):
    driver = connect()
    assert "library-item" in kinds(driver)
    vcenter.program.inject("rest", "401")
    assert isinstance(made(driver, copies(item)), TemplateFacts)


def made(driver, asked):
    return settled(lambda: dict(driver.ensure_images([asked])), driver)[asked.key]


def test_who_is_killed_before_the_key_is_written_finds_what_was_deployed(vcenter, connect, room, copies, item):
    asked = copies(item)
    vcenter.program.inject("ReconfigVM_Task", "", kind="reset")
    first = connect().ensure_images([asked])[asked.key]
    assert not isinstance(first, TemplateFacts), first
    before = vcenter.program.calls()["deploy"]
    copy = made(connect(), asked)
    assert isinstance(copy, TemplateFacts), copy
    assert vcenter.program.calls()["deploy"] == before
    assert vcenter.by_hand.vm_names(room.folder_ref) == [copy.name]


def test_a_datastore_that_is_full_is_said(vcenter, connect, room, copies, item):
    vcenter.program.inject("deploy", "NoDiskSpace")
    outcome = made(connect(), copies(item))
    assert isinstance(outcome, Refused), outcome
    assert outcome.code == "no_space"


def test_a_deployment_that_takes_longer_than_a_call_is_met_again_by_its_name(vcenter, connect, room, copies, item):
    asked = copies(item)
    driver = connect(call_timeout_s=1.0)
    vcenter.program.inject("rest", "", kind="hang", times=2, hang_s=3.0)  # the session, and the deployment
    outcome = driver.ensure_images([asked])[asked.key]
    assert isinstance(outcome, NotReady | Unreachable), outcome
    vcenter.program.heal()
    copy = made(connect(), asked)
    assert isinstance(copy, TemplateFacts), copy
    assert vcenter.by_hand.vm_names(room.folder_ref) == [copy.name]
