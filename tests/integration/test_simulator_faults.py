"""The same misfortunes at a simulated datacenter, which every install without a vCenter meets first."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from facet.operations.models import Circuit, Inflight, Wakeup
from facet.workloads.models import VM
from tests import ground, room, work
from tests.contract import simulator_site
from tests.factories import as_system

from .test_clusters import at_site, held

FAULTS = [
    ("no_permission", "clone", "error", {"code": "no_permission", "reason": "You may not."}),
    ("no_resources", "clone", "task", {"code": "no_resources", "reason": "There are not enough resources."}),
    ("no_resources", "power_on", "task", {"code": "no_resources", "reason": "There are not enough resources."}),
    ("name_taken", "clone", "error", {"code": "name_taken", "reason": "Another VM bears the name."}),
    ("file_not_found", "clone", "error", {"code": "file_not_found", "reason": "A file is missing.", "times": -1}),
    ("invalid_state", "clone", "error", {"code": "invalid_state", "reason": "Not in this state.", "times": -1}),
    (None, "clone", "error", {"code": "file_not_found", "reason": "A file is missing."}),
    (None, "clone", "error", {"code": "not_ready", "reason": "It is busy."}),
    (None, "find", "down", {}),
    (None, "clone", "hang", {"seconds": 3.0}),
    (None, "clone", "hang", {"seconds": 3.0, "after": True}),
    (None, "power", "hang", {"seconds": 3.0, "after": True}),
]


@pytest.fixture(autouse=True)
def _impatient(settings):
    settings.FACET_CALL_TIMEOUT_S = 2.0


@pytest.fixture(scope="module")
def datacenter(tmp_path_factory):
    with simulator_site.running(tmp_path_factory.mktemp("simulator")) as site:
        yield site


@pytest.fixture
def land(datacenter):
    yield ground.carved(datacenter)
    datacenter.by_hand.hand("clear-faults")


def hurry():
    with as_system():
        Circuit.objects.update(open_until="2020-01-01T00:00:00Z")


def ask(land):
    answer = land.editor.post(f"{land.project}/vms", {"name": "db", "zones": land.zones, "flavor": "small"})
    assert answer.status == 202, answer
    return answer


def end(land, answer):
    id = answer["operation"]["id"]
    return work.until(lambda: (hurry(), work.ended(land.editor, id))[1])


@pytest.mark.parametrize(("code", "verb", "kind", "more"), FAULTS)
def test_a_fault_of_the_simulator_ends_in_the_right_outcome(land, code, verb, kind, more):
    empty = held()
    land.site.by_hand.inject(verb, kind, **more)
    asked = ask(land)
    operation = end(land, asked)
    assert (operation["phase"], (operation["problem"] or {}).get("code")) == ("failed" if code else "succeeded", code)
    land.site.by_hand.hand("clear-faults")
    assert end(land, land.editor.delete(f"vms/{asked['vm']['id']}"))["phase"] == "succeeded"
    assert at_site(land) == []
    assert held() == empty
    room.check_books()
    assert not Inflight.objects.exists()


def test_a_clone_that_ends_after_its_vm_was_given_up_and_deleted_is_removed(land):
    """A task that hangs fails what waited for it, and may be deleted; what it makes at last is found and destroyed."""
    empty = held()
    land.site.by_hand.hand("latency", clone=4.0)
    asked = ask(land)
    work.until(lambda: Inflight.objects.filter(doing="clone").exists())
    Inflight.objects.update(started_at=F("started_at") - timedelta(hours=2))
    operation = end(land, asked)
    assert (operation["phase"], operation["problem"]["code"]) == ("failed", "task_hangs")
    assert "60 minutes" in operation["problem"]["detail"]
    assert end(land, land.editor.delete(f"vms/{asked['vm']['id']}"))["phase"] == "succeeded"
    assert held() == empty
    land.site.by_hand.hand("latency", clone=0.0)
    work.until(lambda: at_site(land) == ["db"])
    with as_system():
        assert Wakeup.objects.filter(kind="reap").update(due_at="2020-01-01T00:00:00Z") == 1
    work.until(lambda: at_site(land) == [])
    with as_system():
        assert VM.objects.exclude(deleted_at=None).count() == 1
    room.check_books()
