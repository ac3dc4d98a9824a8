"""Snapshots of VMs on a simulated site: taken, gone back to, removed; and bad luck."""

from __future__ import annotations

import pytest

from facet.operations.models import Operation
from facet.workloads.models import VM, Snapshot
from tests import work
from tests.factories import as_system

from .test_clusters import at_site, held
from .test_vm_power import RESTS, RUNS, calls, done, power, say
from .test_vms import ask, at_once, deleted, shown, till_the_end


@pytest.fixture
def db(land):
    asked = ask(land)
    work.succeed(land.editor, asked)
    return asked


def snap(land, asked, name="before", **body):
    return land.editor.post(f"vms/{asked['vm']['id']}/snapshots", {"name": name, **body})


def taken(land, asked, name="before", **body):
    receipt = snap(land, asked, name, **body)
    assert receipt["snapshot"]["phase"] == "pending"
    work.succeed(land.editor, receipt)
    return receipt["snapshot"]["id"]


def revert(land, id):
    return land.editor.post(f"snapshots/{id}/revert", {})


def listed(land, asked):
    return [(one["name"], one["phase"]) for one in land.editor.get(f"vms/{asked['vm']['id']}/snapshots")["items"]]


def there(land, asked):
    """The descriptions of what the site has, the oldest first."""
    key = asked["vm"]["id"]
    found = land.site.by_hand._post("v1/snapshots", {"keys": [key]})
    return [one["description"] for one in found.get(key, {"snapshots": []})["snapshots"]]


def test_a_snapshot_is_taken_reverted_to_and_removed(land, db):
    empty = held()
    first, second = taken(land, db, "first"), taken(land, db, "second")
    assert listed(land, db) == [("first", "ready"), ("second", "ready")]
    assert there(land, db) == [f"facet:{first}", f"facet:{second}"]
    done(land, db, "stop")
    operation = work.succeed(land.editor, revert(land, first))
    assert [step["name"] for step in operation["steps"]] == ["machine", "revert"]
    assert power(land, db) == RESTS  # as it was asked to be before
    done(land, db, "start")
    operation = work.succeed(land.editor, revert(land, second))
    assert [step["name"] for step in operation["steps"]] == ["machine", "revert", "boot", "address"]
    assert power(land, db) == RUNS
    assert calls(land, "revert") == 2
    work.succeed(land.editor, land.editor.delete(f"snapshots/{first}"))
    assert (listed(land, db), there(land, db)) == ([("second", "ready")], [f"facet:{second}"])
    assert land.editor.get(f"snapshots/{first}").status == 404
    assert held() == empty
    deleted(land, db)  # and its snapshots with it
    assert land.editor.get(f"snapshots/{second}").status == 404
    with as_system():
        assert not Snapshot.objects.filter(deleted_at=None).exists()
        assert not Operation.objects.filter(ended_at=None).exists()


def test_said_twice_it_is_done_once(land, db):
    land.site.by_hand.hand("latency", snapshot=0.1, revert=0.3, no_snapshot=0.1)
    answers = at_once(*[lambda: snap(land, db)] * 3)
    assert sorted(answer.status for answer in answers) == [202, 409, 409]
    receipt = next(answer for answer in answers if answer.status == 202)
    work.succeed(land.editor, receipt)
    id = receipt["snapshot"]["id"]
    answers = at_once(*[lambda: revert(land, id)] * 3)
    assert len({answer["operation"]["id"] for answer in answers}) == 1
    refused = [say(land, db, "stop"), land.editor.delete(f"snapshots/{id}"), snap(land, db, "more")]
    assert [(answer.status, answer["code"]) for answer in refused] == [(409, "reverting")] * 3
    work.succeed(land.editor, answers[0])
    assert (there(land, db), calls(land, "revert"), power(land, db)) == ([f"facet:{id}"], 1, RUNS)
    answers = at_once(*[lambda: land.editor.delete(f"snapshots/{id}")] * 2)
    assert len({answer["operation"]["id"] for answer in answers}) == 1
    work.succeed(land.editor, answers[0])
    assert there(land, db) == []
    deleted(land, db)


@pytest.mark.parametrize("act", ["snapshot", "revert", "delete"])
def test_killed_at_any_statement_it_comes_to_its_end(land, db, act):
    land.site.by_hand.hand("latency", snapshot=0.1, revert=0.1, no_snapshot=0.1)
    if act == "snapshot":
        receipt = snap(land, db)
    else:
        id = taken(land, db)
        receipt = revert(land, id) if act == "revert" else land.editor.delete(f"snapshots/{id}")
    till_the_end(land, receipt)
    work.succeed(land.editor, receipt)
    assert len(there(land, db)) == (0 if act == "delete" else 1)
    assert power(land, db) == RUNS
    again = calls(land, "revert")
    land.sync()
    work.until(lambda: power(land, db) == RUNS)
    assert calls(land, "revert") == again  # what was told done is never said again
    deleted(land, db)


def test_what_the_site_refuses_ends_with_its_reason_and_may_be_asked_again(land, db):
    land.site.by_hand.inject("snapshot", "error", code="no_space", reason="The datastore is full.")
    receipt = snap(land, db)
    operation = work.done(land.editor, receipt)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_space")
    assert listed(land, db) == [("before", "failed")]
    assert revert(land, receipt["snapshot"]["id"])["code"] == "not_ready"
    work.succeed(land.editor, land.editor.delete(f"snapshots/{receipt['snapshot']['id']}"))
    id = taken(land, db)
    land.site.by_hand.hand("latency", revert=0.1)
    land.site.by_hand.inject("revert", "task", code="fault", reason="A fault of the host.")
    work.succeed(land.editor, revert(land, id))  # a task that fails is tried again
    land.site.by_hand.inject("revert", "error", code="no_permission", reason="You may not.")
    operation = work.done(land.editor, revert(land, id))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "no_permission")
    work.until(lambda: power(land, db) == RUNS)
    assert say(land, db, "restart").status == 202  # nothing is under way any more
    deleted(land, db)


def test_a_snapshot_that_somebody_removed_is_not_gone_back_to_and_its_delete_ends(land, db):
    id = taken(land, db)
    key = db["vm"]["id"]
    land.site.by_hand._post("v1/no_snapshot", {"gone": {id: {"vm": key, "description": f"facet:{id}"}}})
    operation = work.done(land.editor, revert(land, id))
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "snapshot_not_found")
    work.succeed(land.editor, land.editor.delete(f"snapshots/{id}"))
    deleted(land, db)


def test_deleted_while_it_goes_back_the_delete_wins(land, db):
    id = taken(land, db)
    land.site.by_hand.hand("latency", revert=0.3)
    revert(land, id)
    snapping = calls(land, "revert")
    work.until(lambda: calls(land, "revert") > snapping)
    deleted(land, db)
    assert at_site(land) == []
    assert land.editor.get(f"snapshots/{id}").status == 404


def test_what_is_being_made_or_is_a_clusters_has_no_snapshots(land):
    asked = ask(land)
    refused = snap(land, asked)
    assert (refused.status, refused["code"]) == (409, "not_ready")
    work.succeed(land.editor, asked)
    id = taken(land, asked)
    refused = snap(land, asked)
    assert (refused.status, refused["code"]) == (409, "name_taken")
    assert snap(land, asked, "No name").status == 422
    with as_system():
        VM.objects.update(owner_kind="cluster")
    for refused in (snap(land, asked, "more"), revert(land, id), land.editor.delete(f"snapshots/{id}")):
        assert (refused.status, refused["code"]) == (409, "in_use")
    assert shown(land, asked)["phase"] == "running"


def test_no_snapshot_keeps_what_a_guest_has_not_read_yet(land):
    asked = ask(land, user_data="#cloud-config\nruncmd: []\n")
    land.site.by_hand.hand("latency", snapshot=0)
    work.succeed(land.editor, asked)
    id = taken(land, asked)
    found = land.site.by_hand.extra_config(asked["vm"]["id"])
    assert not found.get("guestinfo.userdata")
    work.succeed(land.editor, revert(land, id))
    assert not land.site.by_hand.extra_config(asked["vm"]["id"]).get("guestinfo.userdata")
    deleted(land, asked)
