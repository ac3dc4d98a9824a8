"""VMs made of another VM of the project, or of nothing, on a simulated site; and bad luck."""

from __future__ import annotations

import pytest

from facet.workloads.models import VM
from tests import work
from tests.factories import as_system

from .test_clusters import at_site, held
from .test_vm_power import RUNS, done, power
from .test_vm_snapshots import taken
from .test_vms import ask, at_once, deleted, failed, shown, till_the_end


@pytest.fixture
def db(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    return asked


def gone(land, asked):
    work.succeed(land.editor, land.editor.delete(f"vms/{asked['vm']['id']}"))


def test_a_clone_and_an_empty_vm_are_made(land, db):
    one = held()
    done(land, db, "resize", disk_gib=33)
    copy = ask(land, "copy", clone_of="db")
    assert (copy["vm"]["disk_gib"], copy["vm"]["image"]) == (33, None)  # as large as its source's
    assert held()["gib_on_datastores"] == 33 + 33
    work.succeed(land.editor, copy)
    assert power(land, copy) == RUNS
    assert shown(land, copy)["address"] != shown(land, db)["address"]
    empty = ask(land, "empty", empty={"guest_id": "otherLinux64Guest"})
    operation = work.succeed(land.editor, empty)
    assert [(step["name"], step["phase"]) for step in operation["steps"]][:2] == [("machine", "done"), ("boot", "done")]
    vm = shown(land, empty)
    assert (vm["phase"], vm["power"], vm["address"], vm["reason"], vm["disk_gib"]) == ("running", "on", None, None, 20)
    assert at_site(land) == ["copy", "db", "empty"]
    assert held()["allocations"] == one["allocations"] + 2
    for asked in (db, copy):  # a clone outlives its source
        gone(land, asked)
    deleted(land, empty)


def test_a_clone_of_a_snapshot_is_how_its_source_was(land, db):
    id = taken(land, db, "before")
    for snapshot in ("before", id):
        copy = ask(land, "copy", clone_of=db["vm"]["id"], snapshot=snapshot)
        work.succeed(land.editor, copy)
        assert power(land, copy) == RUNS
        gone(land, copy)
    deleted(land, db)


def test_what_cannot_be_a_source_is_refused_by_name(land, db):
    none = held()
    refusals = {
        "clone_of": [{"clone_of": "nobody"}, {"clone_of": "db", "image": "kube"}],
        "snapshot": [{"clone_of": "db", "snapshot": "nothing"}, {"snapshot": "before"}],
        "empty": [{"image": "kube", "empty": {}}, {"clone_of": "db", "empty": {}}],
        "empty.guest_id": [{"empty": {"guest_id": "no guest"}}],
    }
    for field, bodies in refusals.items():
        for body in bodies:
            answer = ask(land, "copy", **body)
            assert answer.status == 422, (body, answer)
            named = [field] if field in answer["errors"] else [".".join(path) for path in answer["errors"]]
            assert named == [field], (body, answer)
    asked = ask(land, "ci")
    assert ask(land, "copy", clone_of="ci").status == 422  # it does not stand yet
    work.succeed(land.editor, asked)
    gone(land, asked)
    assert held() == none
    deleted(land, db)


@pytest.mark.parametrize("body", [{"clone_of": "db"}, {"empty": {"guest_id": "otherGuest64"}}], ids=["clone", "empty"])
def test_killed_at_any_statement_it_is_made_once(land, db, body):
    land.site.by_hand.hand("latency", clone=0.1)
    copy = ask(land, "copy", **body)
    till_the_end(land, copy)
    work.succeed(land.editor, copy)
    assert at_site(land) == ["copy", "db"]
    gone(land, copy)
    deleted(land, db)


def test_a_source_that_is_deleted_meanwhile_fails_its_clone_and_nothing_is_left(land, db):
    copy = ask(land, "copy", clone_of="db")
    land.site.by_hand.power_off(db["vm"]["id"])
    land.site.by_hand.delete_vm(db["vm"]["id"])
    assert failed(land, copy) == "source_gone"
    gone(land, copy)
    assert held()["allocations"] == 1


def test_a_clone_that_finds_no_space_fails_and_may_be_asked_again(land, db):
    land.site.by_hand.inject("clone", "error", match="copy", code="no_space", reason="The datastore is full.")
    copy = ask(land, "copy", clone_of="db")
    assert failed(land, copy) == "no_space"
    gone(land, copy)
    again = ask(land, "copy", clone_of="db")
    work.succeed(land.editor, again)
    gone(land, again)
    deleted(land, db)


def test_a_source_that_is_busy_is_waited_for_and_many_clones_are_made_of_it(land, db):
    land.site.by_hand.hand("latency", clone=0.2)
    copies = at_once(*[lambda number=number: ask(land, f"copy{number}", clone_of="db") for number in range(3)])
    assert {answer.status for answer in copies} == {202}
    done(land, db, "restart")
    for copy in copies:
        work.succeed(land.editor, copy)
    with as_system():
        assert VM.objects.filter(source_id=db["vm"]["id"], deleted_at=None).count() == 3
    for copy in copies:
        gone(land, copy)
    deleted(land, db)
