"""Another size for a VM that stands, on a simulated site: the ledger first, hot where it may be; and bad luck."""

from __future__ import annotations

import pytest

from infra.models import Host
from scheduler.models import Allocation
from tests import factories, work
from tests.factories import as_system

from .test_clusters import at_site, held
from .test_vm_power import RESTS, RUNS, calls, done, guest, power, say
from .test_vms import ask, at_once, deleted, shown, till_the_end

SMALL = (2, 2048, 20)


@pytest.fixture
def db(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    assert size(shown(land, asked)) == SMALL
    return asked


def size(vm):
    return vm["vcpu"], vm["memory_mib"], vm["disk_gib"]


def at_the_site(land, asked):
    found = land.site.by_hand._post("v1/find", {"keys": [asked["vm"]["id"]]})
    return size(found[asked["vm"]["id"]]["vm"])


def room():
    """What the ledger holds: of its allocation, and on its host."""
    with as_system():
        one = Allocation.objects.get(released=None)
        host = Host.objects.get(pk=one.host_id)
        assert (host.vcpu_claimed, host.memory_claimed_mib) == (one.vcpu, one.memory_mib)
        return one.vcpu, one.memory_mib, one.storage_gib


def failed(land, asked, **body):
    operation = work.done(land.editor, say(land, asked, "resize", **body))
    assert operation["phase"] == "failed", operation
    return operation["problem"]["code"]


def test_a_resize_takes_room_first_and_gives_it_back_last(land, db):
    asked = say(land, db, "resize", vcpu=4, memory_mib=8192, disk_gib=30)
    assert asked.status == 202
    assert (size(asked["vm"]), room()) == ((4, 8192, 30),) * 2  # claimed with the answer
    assert at_the_site(land, db) == SMALL
    work.succeed(land.editor, asked)
    assert (at_the_site(land, db), room()) == ((4, 8192, 30),) * 2
    assert (power(land, db), calls(land, "shut_down")) == (RUNS, 0)  # hot
    smaller = say(land, db, "resize", vcpu=1, memory_mib=1024, may_stop=True)
    assert (size(smaller["vm"]), room()) == ((1, 1024, 30), (4, 8192, 30))  # still held
    land.site.by_hand.hand("latency", resize=0.3)
    work.until(lambda: calls(land, "shut_down") == 1)
    assert room() == (4, 8192, 30)
    work.succeed(land.editor, smaller)
    assert (at_the_site(land, db), room()) == ((1, 1024, 30),) * 2
    assert power(land, db) == RUNS
    deleted(land, db)
    assert held()["allocations"] == 0


def test_a_flavor_is_a_size_and_its_name_is_shown(land, db):
    done(land, db, "resize", flavor="medium")
    vm = shown(land, db)
    assert (vm["flavor"], vm["vcpu"]) == ("medium", 4)
    assert at_the_site(land, db) == room() == size(vm)
    done(land, db, "resize", vcpu=5)
    assert shown(land, db)["flavor"] == ""
    deleted(land, db)


def test_what_makes_no_sense_names_its_field(land, db):
    for body, field in (
        ({}, "flavor"),
        ({"flavor": "small", "vcpu": 2}, "vcpu"),
        ({"flavor": "nothing"}, "flavor"),
        ({"disk_gib": 19}, "disk_gib"),
        ({"vcpu": 0}, "vcpu"),
        ({"memory_mib": "1"}, "memory_mib"),
        ({"may_stop": 1, "vcpu": 1}, "may_stop"),
    ):
        refused = say(land, db, "resize", **body)
        assert (refused.status, list(refused["errors"])) == (422, [field]), body
    assert room() == SMALL


def test_what_needs_it_off_is_refused_unless_it_may_be_stopped(land, db):
    guest(land, db, hot_add=False)
    assert failed(land, db, vcpu=4) == "needs_power_off"
    work.until(lambda: (power(land, db), room(), size(shown(land, db))) == (RUNS, SMALL, SMALL))
    assert shown(land, db)["flavor"] == "small"
    operation = done(land, db, "resize", vcpu=4, may_stop=True)
    assert [step["name"] for step in operation["steps"]][:3] == ["machine", "off", "size"]
    assert (power(land, db), room(), at_the_site(land, db)) == (RUNS, (4, 2048, 20), (4, 2048, 20))
    deleted(land, db)


def test_what_is_off_stays_off(land, db):
    done(land, db, "stop")
    done(land, db, "resize", vcpu=1, memory_mib=1024)
    assert (power(land, db), room(), at_the_site(land, db)) == (RESTS, (1, 1024, 20), (1, 1024, 20))
    deleted(land, db)


def test_refused_by_room_or_quota_nothing_is_held(land, db):
    before = held()
    refused = say(land, db, "resize", memory_mib=1 << 20)
    assert (refused.status, refused["code"]) == (409, "no_room"), refused
    limits = {name: limit // 2 for name, limit in factories.PLENTY.items()} | {"vcpu": 4}
    answer = land.office.tenant_admin.put(f"{land.project}/quota", {"limits": limits})
    assert answer.status == 200, answer
    refused = say(land, db, "resize", vcpu=5)
    assert (refused.status, refused["code"]) == (409, "quota_exceeded"), refused
    assert (held(), room(), size(shown(land, db))) == (before, SMALL, SMALL)
    assert shown(land, db)["generation"] == 1
    done(land, db, "resize", vcpu=4)
    deleted(land, db)


def test_refused_by_the_site_after_the_ledger_granted_the_room_is_given_back(land, db):
    land.site.by_hand.inject("resize", "error", code="no_resources", reason="The host is full.")
    assert failed(land, db, vcpu=8, disk_gib=40) == "no_resources"
    work.until(lambda: (room(), size(shown(land, db)), power(land, db)) == (SMALL, SMALL, RUNS))
    land.site.by_hand.hand("latency", resize=0.1)
    land.site.by_hand.inject("resize", "task", times=3, code="fault", reason="A fault of the host.")
    assert failed(land, db, vcpu=8) == "fault"
    assert room() == SMALL
    land.site.by_hand.inject("resize", "task", code="fault", reason="A fault of the host.")
    done(land, db, "resize", vcpu=8)  # one that passes is tried again
    assert room() == (8, 2048, 20) == at_the_site(land, db)
    deleted(land, db)


def test_refused_while_it_is_off_for_it_the_vm_comes_again(land, db):
    guest(land, db, hot_add=False)
    land.site.by_hand.inject("resize", "error", code="no_resources", reason="The host is full.")
    assert failed(land, db, vcpu=8, may_stop=True) == "no_resources"
    work.until(lambda: (power(land, db), room()) == (RUNS, SMALL))
    deleted(land, db)


def test_what_was_reached_before_it_was_given_up_is_kept(land, db):
    land.site.by_hand.hand("latency", resize=0.2)
    land.site.by_hand.inject("resize", "hang", after=True, seconds=60)
    asked = say(land, db, "resize", vcpu=4)
    work.until(lambda: land.editor.get(f"operations/{asked['operation']['id']}")["phase"] == "running")
    land.site.by_hand.hand("clear-faults")
    work.succeed(land.editor, asked)
    assert room() == (4, 2048, 20) == at_the_site(land, db)
    deleted(land, db)


@pytest.mark.parametrize("hot", [True, False])
def test_killed_at_any_statement_it_carries_on(land, db, hot):
    guest(land, db, hot_add=hot)
    land.site.by_hand.hand("latency", resize=0.2)
    asked = say(land, db, "resize", vcpu=4, memory_mib=1024 if not hot else 8192, may_stop=True)
    till_the_end(land, asked)
    work.succeed(land.editor, asked)
    assert room() == at_the_site(land, db) == size(shown(land, db))
    assert (power(land, db), at_site(land)) == (RUNS, ["db"])
    deleted(land, db)


def test_said_twice_it_is_one_and_nothing_else_is_taken_meanwhile(land, db):
    answers = at_once(*[lambda: say(land, db, "resize", vcpu=4)] * 4)
    assert {answer.status for answer in answers} == {202}, answers
    assert len({answer["operation"]["id"] for answer in answers}) == 1
    assert room() == (4, 2048, 20)
    for refused in (say(land, db, "resize", vcpu=5), say(land, db, "stop")):
        assert (refused.status, refused["code"]) == (409, "resizing")
    work.succeed(land.editor, answers[0])
    deleted(land, db)


def test_a_resize_is_taken_back_before_the_site_was_asked(land, db):
    asked = say(land, db, "resize", vcpu=4)
    assert room() == (4, 2048, 20)
    assert land.editor.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    assert (room(), size(shown(land, db)), shown(land, db)["flavor"]) == (SMALL, SMALL, "small")
    land.site.by_hand.hand("latency", resize=30)
    second = say(land, db, "resize", vcpu=4)
    work.until(lambda: calls(land, "resize") == 1)
    refused = land.editor.post(f"operations/{second['operation']['id']}/cancel")
    assert (refused.status, refused["code"]) == (409, "not_cancellable")


def test_deleted_while_it_is_resized_everything_is_given_back(land, db):
    guest(land, db, hot_add=False, deaf=True)
    say(land, db, "resize", vcpu=4, may_stop=True)
    work.until(lambda: calls(land, "shut_down") > 0)
    deleted(land, db)
    assert held()["allocations"] == 0
    assert held()["vcpu_on_hosts"] == 0


def test_a_disk_that_was_grown_by_hand_is_no_reason_to_shrink_it(land, db):
    done(land, db, "resize", disk_gib=30)
    land.site.by_hand._post("v1/resize", {"sizes": {db["vm"]["id"]: {"vcpu": 2, "memory_mib": 2048, "disk_gib": 50}}})
    assert failed(land, db, disk_gib=40) == "disk_shrinks"
    assert room() == (2, 2048, 30)
    deleted(land, db)
