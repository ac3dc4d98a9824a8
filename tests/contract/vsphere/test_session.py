"""The way to a vCenter: verified, one session, opened again when it was ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.drivers.base import Refused, TaskState, Unreachable, VmFacts
from tests.contract.room import until


def another_ca() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vcsim CA")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("ca_pem", [another_ca(), "", "not a certificate"], ids=["another", "none", "nonsense"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_vcenter_that_the_ca_does_not_vouch_for_is_refused(vcenter, connect, ca_pem, host):
    before = vcenter.program.calls().get("Login", 0)
    endpoint = vcenter.site.connection.endpoint.replace("127.0.0.1", host)
    with pytest.raises(Refused) as refused:
        connect(ca_pem=ca_pem, endpoint=endpoint).check()
    assert refused.value.code == "bad_certificate"
    assert vcenter.program.calls().get("Login", 0) == before


def test_an_endpoint_without_tls_is_refused(vcenter, connect):
    with pytest.raises(Refused) as refused:
        connect(endpoint=vcenter.site.connection.endpoint.replace("https", "http")).check()
    assert refused.value.code == "invalid"


@pytest.mark.parametrize("path", ["/about", "/nowhere", "/folder"])
def test_a_server_that_is_no_vcenter_is_said_to_be_none(vcenter, connect, path):
    with pytest.raises(Unreachable):
        connect(endpoint=vcenter.site.connection.endpoint.replace("/sdk", path)).check()


def test_a_driver_that_was_closed_opens_no_session_again(vcenter, connect):
    driver = connect()
    driver.check()
    driver.close()
    before = vcenter.program.calls()["Login"]
    with pytest.raises(Unreachable):
        driver.check()
    assert vcenter.program.calls()["Login"] == before


def test_a_wrong_password_is_not_tried_again_at_once(vcenter, connect):
    driver = connect(password="wrong")
    before = vcenter.program.calls().get("Login", 0)
    for _ in range(5):
        with pytest.raises(Refused):
            driver.check()
    assert vcenter.program.calls()["Login"] == before + 1


def test_all_threads_of_a_driver_share_one_session(vcenter, driver):
    before = vcenter.program.calls().get("Login", 0)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: driver.check(), range(24)))
    assert vcenter.program.calls()["Login"] == before + 1


def test_eight_workers_that_meet_the_end_of_a_session_open_one_and_lose_no_call(vcenter, room, driver):
    vm = room.vm()
    manager = vcenter.by_hand.content.sessionManager
    mine = manager.currentSession.key
    for _ in range(3):
        before = vcenter.program.calls()["Login"]
        manager.TerminateSession([one.key for one in manager.sessionList if one.key != mine])
        with ThreadPoolExecutor(8) as threads:
            found = list(threads.map(lambda _: driver.find_vms([vm.key]), range(24)))
        assert all(vm.key in one for one in found)
        assert vcenter.program.calls()["Login"] == before + 1


def test_an_answer_to_another_session_does_not_end_ours(vcenter, room, driver):
    vm = room.vm()
    before = vcenter.program.calls()["Login"]
    driver._session._stub.cookie = 'vmware_soap_session="of-an-answer-that-came-late"'  # as pyVmomi does
    assert vm.key in driver.find_vms([vm.key])
    assert vcenter.program.calls()["Login"] == before


def test_eight_workers_build_with_one_driver(vcenter, room, driver):
    sets = [[room.spec(), room.spec()] for _ in range(8)]
    before = vcenter.program.calls().get("Login", 0)
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda specs: room.make_vms(*specs), sets))
    assert all(isinstance(outcome, VmFacts) for part in made for outcome in part.values())
    assert len(vcenter.by_hand.vm_names(room.folder_ref)) == 16
    assert vcenter.program.calls().get("Login", 0) == before


def test_a_driver_that_is_closed_in_mid_call_says_only_what_the_contract_knows(room, connect):
    specs = [room.spec() for _ in range(12)]
    room.make_vms(*specs)
    keys = [spec.key for spec in specs]
    driver = connect()

    def ask(_):
        try:
            while True:
                driver.find_vms(keys)
                driver.ensure_boot_data(dict.fromkeys(keys))
        except Unreachable as error:
            return error.code

    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, number) for number in range(8)]
        until(lambda: driver._finder._ids.keys() >= set(keys))
        driver.close()
        assert {one.result(20) for one in asked} <= {"session_lost", "unreachable"}


def test_a_session_that_ends_in_mid_batch_is_opened_again_and_nothing_is_made_twice(vcenter, room, driver):
    specs = [room.spec() for _ in range(6)]
    vcenter.program.inject("CloneVM_Task", "NotAuthenticated", match=specs[3].name)
    made = room.make_vms(*specs)
    assert all(isinstance(outcome, VmFacts) for outcome in made.values())
    assert len(vcenter.by_hand.vm_names(room.folder_ref)) == 6


def test_a_session_that_an_admin_terminated_is_opened_again_and_its_cursor_is_lost(vcenter, room, driver):
    cursor = driver.inventory().cursor
    manager = vcenter.by_hand.content.sessionManager
    mine = vcenter.by_hand.content.sessionManager.currentSession.key
    manager.TerminateSession([one.key for one in manager.sessionList if one.key != mine])
    assert driver.changes(cursor, 0).resync
    again = driver.inventory().cursor
    assert not driver.changes(again, 0).resync


def test_a_connection_reset_in_mid_call_leaves_one_vm(vcenter, room, driver):
    specs = [room.spec() for _ in range(3)]
    vcenter.program.inject("CloneVM_Task", "", kind="reset", match=specs[1].name)
    first = driver.ensure_vms(specs)
    assert isinstance(first[specs[1].key], Unreachable)
    made = room.make_vms(*specs)
    assert all(isinstance(outcome, VmFacts) for outcome in made.values())
    assert len(vcenter.by_hand.vm_names(room.folder_ref)) == 3


def test_a_clone_call_that_outlasts_our_patience_is_adopted(vcenter, room, connect):
    spec = room.spec()
    vcenter.program.inject("CloneVM_Task", "", kind="hang", match=spec.name, hang_s=1.0)
    hasty = connect(call_timeout_s=0.3)
    outcome = hasty.ensure_vms([spec])[spec.key]
    assert isinstance(outcome, Unreachable)
    assert outcome.code == "timeout"
    until(lambda: vcenter.by_hand.vm_names(room.folder_ref) == [spec.name])
    room.right(room.make_vms(spec)[spec.key])
    assert vcenter.by_hand.vm_names(room.folder_ref) == [spec.name]


def test_tasks_that_the_vcenter_forgot_have_vanished(vcenter, room, driver):
    with vcenter.program.clones_take(0.3):
        spec = room.spec()
        ref = driver.ensure_vms([spec])[spec.key].ref
    until(lambda: driver.poll([ref])[ref].state is TaskState.SUCCEEDED)
    vcenter.program.admin("POST", "forget-tasks")
    assert driver.poll([ref])[ref].state is TaskState.VANISHED
    room.right(room.make_vms(spec)[spec.key])


def test_a_simulated_vcenter_is_never_taken_for_a_real_one(driver):
    check = driver.check()
    assert check.simulated
    assert driver.inventory().simulated
    assert "vCenter" in check.product


def test_a_long_poll_ends_when_the_driver_is_closed(connect):
    driver = connect()
    cursor = driver.inventory().cursor
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(driver.changes, cursor, 30)
        until(lambda: driver._watch.cancel() or waiting.done())
        assert waiting.result().resync
