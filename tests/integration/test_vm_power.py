"""Starting, stopping and restarting a VM that stands, on a simulated site; and bad luck."""

from __future__ import annotations

import pytest
from django.utils import timezone

from facet.operations.models import Wakeup
from facet.workloads.models import VM
from tests import work
from tests.factories import as_system

from .test_clusters import at_site, held
from .test_vms import ask, at_once, deleted, reason, shown, till_the_end


@pytest.fixture
def db(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    return asked


def say(land, asked, act, **body):
    return land.editor.post(f"vms/{asked['vm']['id']}/{act}", body)


def done(land, asked, act, **body):
    return work.succeed(land.editor, say(land, asked, act, **body))


def steps(operation):
    return [(step["name"], step["phase"]) for step in operation["steps"]]


def power(land, asked):
    vm = shown(land, asked)
    return vm["phase"], vm["power"], vm["power_wanted"], vm["reason"]


def guest(land, asked, **more):
    land.site.by_hand.hand("guest", key=asked["vm"]["id"], **more)


def calls(land, verb):
    return land.site.by_hand.hand("calls")["calls"].get(verb, 0)


RUNS, RESTS = ("running", "on", "on", None), ("built", "off", "off", None)


def test_a_vm_stops_by_its_guest_then_hard_and_starts_again(land, db):
    empty = held()
    assert steps(done(land, db, "stop")) == [("machine", "done"), ("off", "done")]
    assert power(land, db) == RESTS
    assert shown(land, db)["address"] is None
    assert (calls(land, "shut_down"), calls(land, "power")) == (1, 1)  # the one power is the boot's
    assert [step[0] for step in steps(done(land, db, "start"))] == ["machine", "boot", "address"]
    assert power(land, db) == RUNS
    assert shown(land, db)["address"]
    guest(land, db, deaf=True)
    done(land, db, "stop", within_s=1)
    assert power(land, db) == RESTS
    guest(land, db, deaf=False)
    done(land, db, "start")
    assert [step[0] for step in steps(done(land, db, "restart"))] == ["machine", "off", "boot", "address"]
    assert power(land, db) == RUNS
    assert held() == empty  # its room was its own all the while
    deleted(land, db)


def test_a_guest_without_tools_is_powered_off_at_once_and_so_is_one_that_is_given_no_time(land, db):
    guest(land, db, tools=False)
    done(land, db, "stop", within_s=3600)
    assert power(land, db) == RESTS
    guest(land, db, tools=True, deaf=True)
    done(land, db, "start")
    before = calls(land, "shut_down")
    done(land, db, "stop", within_s=0)
    assert power(land, db) == RESTS
    assert calls(land, "shut_down") == before
    deleted(land, db)


def test_a_guest_that_takes_its_time_is_waited_for(land, db):
    guest(land, db, deaf=True)
    asked = say(land, db, "stop")
    work.until(lambda: calls(land, "shut_down") > 0)
    assert [step["phase"] for step in land.editor.get(f"operations/{asked['operation']['id']}")["steps"]] == [
        "done", "running",
    ]  # fmt: skip
    land.site.by_hand.power_off(db["vm"]["id"])  # as it does itself in the end
    work.succeed(land.editor, asked)
    assert power(land, db) == RESTS
    deleted(land, db)


def test_a_stop_that_is_said_again_with_no_time_is_hard(land, db):
    guest(land, db, deaf=True)
    first = say(land, db, "stop")
    assert say(land, db, "stop")["operation"]["id"] == first["operation"]["id"]
    work.until(lambda: calls(land, "shut_down") > 0)
    done(land, db, "stop", within_s=0)
    assert land.editor.get(f"operations/{first['operation']['id']}")["phase"] == "cancelled"
    assert power(land, db) == RESTS
    deleted(land, db)


def test_said_twice_it_is_done_once(land, db):
    for act in ("restart", "stop", "start"):
        answers = at_once(*[lambda act=act: say(land, db, act)] * 4)
        assert {answer.status for answer in answers} == {202}, answers
        assert len({answer["operation"]["id"] for answer in answers}) == 1
        work.succeed(land.editor, answers[0])
    assert (calls(land, "shut_down"), power(land, db)) == (2, RUNS)
    done(land, db, "start")  # of what runs already
    assert calls(land, "shut_down") == 2
    deleted(land, db)


@pytest.mark.parametrize("act", ["stop", "restart"])
def test_killed_at_any_statement_it_comes_to_its_end(land, db, act):
    land.site.by_hand.hand("latency", power_off=0.2, power_on=0.2)
    receipt = say(land, db, act)
    till_the_end(land, receipt)
    work.succeed(land.editor, receipt)
    assert power(land, db) == (RUNS if act == "restart" else RESTS)
    assert at_site(land) == ["db"]
    deleted(land, db)


def test_power_is_observed_and_not_assumed(land, db):
    land.site.by_hand.power_off(db["vm"]["id"])  # and nobody has told
    assert shown(land, db)["power"] == "on"
    done(land, db, "start")
    assert power(land, db) == RUNS
    assert land.site.by_hand.hand("calls")["calls"]["power"] == 2
    done(land, db, "stop")
    land.site.by_hand.hand("power-vm", key=db["vm"]["id"], power="on")
    land.sync()
    work.until(lambda: reason(land, db) == "machine_on")
    done(land, db, "stop")
    assert power(land, db) == RESTS
    deleted(land, db)


def test_a_start_that_finds_no_room_at_the_site_ends_and_may_be_said_again(land, db):
    done(land, db, "stop")
    land.site.by_hand.inject("power_on", "error", code="no_resources", reason="The host is full.")
    operation = work.done(land.editor, say(land, db, "start"))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_resources")
    work.until(lambda: power(land, db) == RESTS)
    assert held()["allocations"] == 1
    for _ in range(2):  # a task that fails is tried again
        land.site.by_hand.inject("power_on", "task", code="fault", reason="A fault of the host.")
    land.site.by_hand.hand("latency", power_on=0.1)
    done(land, db, "start")
    assert power(land, db) == RUNS
    deleted(land, db)


def test_a_stop_that_the_site_refuses_ends_and_the_vm_runs_on(land, db):
    guest(land, db, tools=False)
    land.site.by_hand.inject("power_off", "error", code="no_permission", reason="You may not.")
    operation = work.done(land.editor, say(land, db, "stop"))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_permission")
    work.until(lambda: power(land, db) == RUNS)
    deleted(land, db)


def test_a_stop_is_taken_back_and_its_guest_comes_again(land, db):
    cancelled = say(land, db, "stop")
    assert land.editor.post(f"operations/{cancelled['operation']['id']}/cancel").status == 202
    assert power(land, db)[2] == "on"
    guest(land, db, deaf=True)
    asked = say(land, db, "stop")
    work.until(lambda: calls(land, "shut_down") > 0)
    assert land.editor.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    land.site.by_hand.power_off(db["vm"]["id"])  # the guest that cannot be unasked
    work.until(lambda: power(land, db) == RUNS)
    deleted(land, db)


def test_a_start_is_taken_back(land, db):
    done(land, db, "stop")
    asked = say(land, db, "start")
    assert land.editor.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    work.until(lambda: not Wakeup.objects.filter(kind="vm").exists())
    assert power(land, db) == RESTS
    deleted(land, db)


def test_a_restart_is_taken_back_only_before_its_guest_was_asked(land, db):
    asked = say(land, db, "restart")
    assert land.editor.post(f"operations/{asked['operation']['id']}/cancel").status == 202
    guest(land, db, deaf=True)
    second = say(land, db, "restart")
    work.until(lambda: calls(land, "shut_down") > 0)
    refused = land.editor.post(f"operations/{second['operation']['id']}/cancel")
    assert (refused.status, refused["code"]) == (409, "not_cancellable")
    guest(land, db, deaf=False)
    work.succeed(land.editor, second)
    assert power(land, db) == RUNS
    deleted(land, db)


def test_started_while_its_guest_goes_down_it_goes_off_and_comes_again(land, db):
    guest(land, db, deaf=True)
    say(land, db, "stop")
    work.until(lambda: calls(land, "shut_down") > 0)
    asked = say(land, db, "start")
    work.until(lambda: calls(land, "shut_down") > 1)
    land.site.by_hand.power_off(db["vm"]["id"])
    work.succeed(land.editor, asked)
    assert power(land, db) == RUNS
    deleted(land, db)


def test_one_that_was_made_off_is_started(land):
    asked = ask(land, power="off")
    work.succeed(land.editor, asked)
    done(land, asked, "start")
    assert power(land, asked) == RUNS
    deleted(land, asked)


def test_what_is_being_made_or_is_a_clusters_or_is_lost_refuses(land):
    asked = ask(land)
    refused = say(land, asked, "stop")
    assert (refused.status, refused["code"]) == (409, "not_ready")
    work.succeed(land.editor, asked)
    assert say(land, asked, "stop", within_s=-1).status == 422
    assert say(land, asked, "start", within_s=1).status == 422
    with as_system():
        VM.objects.update(owner_kind="cluster")
    refused = say(land, asked, "stop")
    assert (refused.status, refused["code"]) == (409, "in_use")
    with as_system():
        VM.objects.update(owner_kind="vm", missing_at=timezone.now())
    refused = say(land, asked, "restart")
    assert (refused.status, refused["code"]) == (409, "machine_missing")


def test_lost_while_it_is_stopped_it_is_told_and_not_made_anew(land):
    others = [ask(land, f"ci{number}") for number in range(3)]
    asked = ask(land)
    for receipt in (*others, asked):
        work.succeed(land.editor, receipt)
    guest(land, asked, deaf=True)
    stopping = say(land, asked, "stop")
    work.until(lambda: calls(land, "shut_down") > 0)
    land.site.by_hand.delete_vm(asked["vm"]["id"])
    operation = work.done(land.editor, stopping)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "machine_missing")
    assert sorted(at_site(land)) == ["ci0", "ci1", "ci2"]
    work.until(lambda: reason(land, asked) == "machine_missing")
    assert held()["allocations"] == 4


def test_deleted_while_it_is_stopped_the_delete_wins(land, db):
    empty_of_rooms = held() | {"vms": 0}
    guest(land, db, deaf=True)
    say(land, db, "stop")
    work.until(lambda: calls(land, "shut_down") > 0)
    deleted(land, db)
    assert held() != empty_of_rooms
    assert held()["allocations"] == 0


def test_a_task_that_hangs_ends_what_was_asked_for(land, db, settings):
    done(land, db, "stop")
    settings.FACET_TASK_DEADLINE_S = 1
    land.site.by_hand.hand("latency", power_on=60)
    operation = work.done(land.editor, say(land, db, "start"))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "task_hangs")
    work.until(lambda: power(land, db)[:3] == RESTS[:3])
