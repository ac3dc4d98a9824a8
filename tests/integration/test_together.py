"""VMs asked for one by one are carried out together: a slot and a call for many, each with its own outcome."""

from __future__ import annotations

import pytest
from django.utils import timezone

from facet.operations import engine, wakeups
from facet.operations.engine import Again, Done, LostTurn, SiteDown
from facet.operations.models import Circuit, Inflight, Wakeup
from facet.rest.ids import uuid7
from facet.workloads.models import VM, VmPhase
from tests import ground, room, work
from tests.factories import as_system
from tests.integration import trial_registry

from .test_clusters import at_site, held

KIND = "thing"


@pytest.fixture
def reconcilers(settings, monkeypatch):
    settings.FACET_REGISTRY = "tests.integration.trial_registry"
    monkeypatch.setattr(trial_registry, "RECONCILERS", {})
    return trial_registry.RECONCILERS


def wake(site, tenant, key=None):
    key = key or uuid7()
    wakeups.wake(KIND, key, tenant_id=tenant, site_id=site)
    return key


def row(key):
    return Wakeup.objects.get(key=key)


# --- a turn over several -------------------------------------------------------------------------------------------


def test_who_is_taken_along_takes_no_slot_and_is_let_go_at_the_end(reconcilers, settings):
    settings.FACET_WORKER_SLOTS = 8
    site, tenant = uuid7(), uuid7()
    keys = [wake(site, tenant) for _ in range(6)]
    elsewhere, others, failed = wake(uuid7(), tenant), wake(site, uuid7()), wake(site, tenant)
    Wakeup.objects.filter(key=failed).update(attempts=1)
    Wakeup.objects.exclude(key=keys[0]).update(due_at="2999-01-01T00:00:00Z")
    seen = {}

    def reconcile(turn):
        seen["taken"] = turn.take_along([*keys[1:], elsewhere, others, failed])
        seen["again"] = turn.take_along(keys)
        turn.renew()
        with turn.transaction():
            wakeups.wake(KIND, keys[1])  # somebody asks for a look meanwhile
        Wakeup.objects.filter(key=others).update(due_at=timezone.now())
        seen["beside"] = wakeups.take()
        turn.let_go(30.0)
        return Done()

    reconcilers[KIND] = reconcile
    assert engine.take_next()
    assert seen["taken"] == frozenset(keys[1:])
    assert not seen["again"]
    assert seen["beside"].key == others  # six objects at the site, one slot
    assert not Wakeup.objects.filter(key=keys[0]).exists()
    assert row(keys[1]).due_at <= timezone.now()
    for key in keys[2:]:
        assert row(key).lease_until is None
        assert 20 < (row(key).due_at - timezone.now()).total_seconds() <= 30


@pytest.mark.parametrize("how", ["down", "fault", "lost"])
def test_a_pass_that_fails_lets_them_go_at_once(reconcilers, how):
    site, tenant = uuid7(), uuid7()
    first, second = wake(site, tenant), wake(site, tenant)
    Wakeup.objects.filter(key=second).update(due_at="2999-01-01T00:00:00Z")

    def reconcile(turn):
        assert turn.take_along([second]) == {second}
        raise {"down": SiteDown("no answer"), "fault": ValueError("ours"), "lost": LostTurn("x")}[how]

    reconcilers[KIND] = reconcile
    assert engine.take_next()
    assert row(second).lease_until is None
    assert row(second).due_at <= timezone.now()
    assert row(second).attempts == 0
    assert row(first).attempts == (1 if how == "fault" else 0)
    Circuit.objects.all().delete()


def test_nothing_is_written_once_the_turn_over_one_of_them_is_lost(reconcilers):
    site, tenant = uuid7(), uuid7()
    first, second = wake(site, tenant), wake(site, tenant)
    Wakeup.objects.filter(key=second).update(due_at="2999-01-01T00:00:00Z")
    wrote = []

    def reconcile(turn):
        turn.take_along([second])
        Wakeup.objects.filter(key=second).update(turn=row(second).turn + 1000)  # its lease ran out, another has it
        with turn.transaction():
            Wakeup.objects.filter(key=first).update(last_error="written")
        wrote.append(first)
        return Again(60)

    reconcilers[KIND] = reconcile
    assert engine.take_next()
    assert not wrote
    assert row(first).last_error == ""
    assert row(second).lease_until is not None  # whoever has it now keeps it


# --- VMs -----------------------------------------------------------------------------------------------------------


def ask(land, name):
    answer = land.editor.post(f"{land.project}/vms", {"name": name, "zones": land.zones, "flavor": "small"})
    assert answer.status == 202, answer
    return answer


def calls(land):
    return dict(land.site.by_hand.hand("calls")["calls"])


def test_many_vms_asked_for_one_by_one_cost_a_few_calls(tmp_path):
    with ground.simulated(tmp_path) as land:
        empty, before = held(), calls(land)
        asked = [ask(land, f"web-{number}") for number in range(12)]
        for one in asked:
            work.succeed(land.editor, one)
        made = {verb: count - before.get(verb, 0) for verb, count in calls(land).items()}
        assert made["clone"] <= 2
        assert made["power"] <= 2
        assert len(at_site(land)) == 12
        with as_system():
            assert not Inflight.objects.exists()
            assert set(VM.objects.values_list("phase", flat=True)) == {VmPhase.RUNNING}
        for one in asked:
            work.succeed(land.editor, land.editor.delete(f"vms/{one['vm']['id']}"))
        assert held() == empty
        room.check_books()


def test_one_that_is_refused_fails_alone(tmp_path):
    with ground.simulated(tmp_path) as land:
        asked = [ask(land, f"web-{number}") for number in range(5)]
        land.site.by_hand.inject("clone", "error", match="web-3", code="no_permission", reason="You may not.")
        ended = {one["vm"]["name"]: work.done(land.editor, one)["phase"] for one in asked}
        assert ended == {f"web-{n}": "failed" if n == 3 else "succeeded" for n in range(5)}
        land.site.by_hand.hand("latency", clone=0.5)
        more = [ask(land, f"db-{number}") for number in range(5)]
        land.site.by_hand.inject("clone", "task", match="db-2", code="no_resources", reason="Not enough.")
        ended = {one["vm"]["name"]: work.done(land.editor, one)["phase"] for one in more}
        assert ended == {f"db-{n}": "failed" if n == 2 else "succeeded" for n in range(5)}
        assert len(at_site(land)) == 8
        room.check_books()


def test_one_that_is_deleted_meanwhile_goes(tmp_path):
    """Its delete waits for the turn that it was taken along in, and comes right after."""
    with ground.simulated(tmp_path) as land:
        land.site.by_hand.hand("latency", clone=1.0)
        asked = [ask(land, f"web-{number}") for number in range(4)]
        work.until(lambda: Inflight.objects.filter(doing="clone").count() == 4)
        assert len(set(Inflight.objects.values_list("key", flat=True))) == 4  # each task wakes its own
        gone = land.editor.delete(f"vms/{asked[2]['vm']['id']}")
        work.succeed(land.editor, gone)
        for number in (0, 1, 3):
            work.succeed(land.editor, asked[number])
        assert at_site(land) == ["web-0", "web-1", "web-3"]
        room.check_books()
