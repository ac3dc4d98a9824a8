"""The engine's laws, each against real PostgreSQL with several connections: a thread is a worker slot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from facet.embedded import valkey
from facet.operations import bell, circuits, engine, events, services, tasks, wakeups
from facet.operations.engine import Again, ComeAgain, Done, LostTurn, SiteDown, Waiting
from facet.operations.models import Circuit, Event, Operation, Phase, Wakeup
from facet.rest.access import SYSTEM, Actor
from facet.rest.ids import uuid7
from facet.rest.problems import Conflict
from tests import factories
from tests.integration import trial_registry

KIND = "thing"
PATIENCE_S = 20


@pytest.fixture(autouse=True)
def reconcilers(settings, monkeypatch):
    """The reconcilers of this test: kind -> what looks at it."""
    settings.FACET_REGISTRY = trial_registry.__name__
    monkeypatch.setattr(trial_registry, "RECONCILERS", {})
    return trial_registry.RECONCILERS


@pytest.fixture
def slot():
    """`slot(work)`: run `work` on a connection of its own, as another worker would."""

    def closing(work):
        try:
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=16) as pool:
        yield lambda work: pool.submit(closing, work)


def wake(kind=KIND, key=None, **more):
    key = key or uuid7()
    wakeups.wake(kind, key, **more)
    return key


def row(key):
    return Wakeup.objects.filter(key=key).first()


def lease_runs_out(key):
    """Time passes: the lease of this object is over."""
    Wakeup.objects.filter(key=key).update(lease_until=timezone.now() - timedelta(seconds=1))


def until(true):
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        pause.wait(0.01)


# --- no wake-up is lost ----------------------------------------------------------------------------------------------


def test_a_wake_during_a_pass_is_not_lost(reconcilers, slot):
    looking, woken, passes = threading.Event(), threading.Event(), []

    def reconcile(turn):
        passes.append(turn.lease.turn)
        if len(passes) == 1:
            looking.set()
            assert woken.wait(PATIENCE_S)
        return Done()

    reconcilers[KIND] = reconcile
    key = wake()
    first = slot(engine.take_next)
    assert looking.wait(PATIENCE_S)
    slot(lambda: wake(key=key)).result()
    assert not engine.take_next()  # someone looks at it already
    woken.set()
    assert first.result()
    assert row(key) is not None
    assert engine.take_next()
    assert len(passes) == 2
    assert passes[1] > passes[0]
    assert row(key) is None
    assert not engine.take_next()


@pytest.mark.parametrize("outcome", [Done(), Again(60), Waiting("a task")], ids=["done", "again", "waiting"])
def test_a_wake_that_commits_while_a_pass_is_ending_is_not_lost(slot, outcome):
    key = wake()
    lease = wakeups.take()
    with transaction.atomic():
        wake(key=key)  # this wake holds the row; the pass that is ending has to wait for its commit
        ending = slot(lambda: engine._settle(lease, outcome))
        until(lambda: slot(_someone_waits_for_the_row).result())
    ending.result()
    found = row(key)
    assert found.lease_until is None
    assert found.due_at <= timezone.now()
    assert wakeups.take().key == key


def _someone_waits_for_the_row():
    with connection.cursor() as cursor:
        cursor.execute(
            """select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
               and query like '%operations_wakeup%'"""
        )
        return cursor.fetchone()[0]


def test_a_wake_that_is_rolled_back_wakes_nobody():
    key = uuid7()
    with transaction.atomic():
        wake(key=key)
        transaction.set_rollback(True)
    assert row(key) is None


def test_many_wakes_and_many_workers_lose_nothing_and_look_one_at_a_time(reconcilers, slot, settings):
    settings.FACET_WORKER_SLOTS = 8
    keys = [uuid7() for _ in range(5)]
    wanted, seen, looking, guard = dict.fromkeys(keys, 0), dict.fromkeys(keys, 0), set(), threading.Lock()

    def reconcile(turn):
        with guard:
            assert turn.key not in looking, "two passes over one object"
            looking.add(turn.key)
        found = wanted[turn.key]  # the look at the world
        with guard:
            seen[turn.key] = found
            looking.remove(turn.key)
        return Done()

    def ask():
        for key in keys * 10:
            with transaction.atomic():
                with guard:
                    wanted[key] += 1
                wake(key=key)

    reconcilers[KIND] = reconcile
    over = threading.Event()

    def work():
        while engine.take_next() or not over.is_set():
            continue

    workers = [slot(work) for _ in range(4)]
    askers = [slot(ask) for _ in range(3)]
    for asker in askers:
        asker.result()
    over.set()
    for worker in workers:
        worker.result()
    while engine.take_next():
        continue
    assert seen == wanted == dict.fromkeys(keys, 30)
    assert not Wakeup.objects.exists()


# --- turns -----------------------------------------------------------------------------------------------------------


def test_a_paused_worker_cannot_write_after_its_lease(reconcilers, slot):
    looking, paused, wrote = threading.Event(), threading.Event(), []
    tenant = factories.tenant("acme")

    def reconcile(turn):
        if not looking.is_set():
            looking.set()
            assert paused.wait(PATIENCE_S)
            with turn.transaction():
                events.record("old", by=SYSTEM, kind=KIND, id=turn.key, name="x", tenant_id=turn.tenant_id)
            wrote.append("old")
        with turn.transaction():
            events.record("new", by=SYSTEM, kind=KIND, id=turn.key, name="x", tenant_id=turn.tenant_id)
        wrote.append("new")
        return Again(60)

    reconcilers[KIND] = reconcile
    key = wake(tenant_id=tenant.id)
    first = slot(engine.take_next)
    assert looking.wait(PATIENCE_S)
    lease_runs_out(key)
    assert slot(engine.take_next).result()  # another worker takes it over
    after = row(key)
    paused.set()
    assert first.result()
    assert wrote == ["new"]
    with factories.as_system():
        assert list(Event.objects.filter(target_id=key).values_list("verb", flat=True)) == ["new"]
    found = row(key)
    assert (found.turn, found.due_at, found.attempts) == (after.turn, after.due_at, 0)


def test_a_turn_is_lost_even_when_the_row_was_deleted_and_made_anew():
    key = wake()
    old = wakeups.take()
    lease_runs_out(key)
    wakeups.finish(wakeups.take())
    assert row(key) is None
    wake(key=key)
    new = wakeups.take()
    turn = engine.Turn(old, engine.wiring().context)
    with pytest.raises(LostTurn):
        turn.renew()
    with pytest.raises(LostTurn), turn.transaction():
        pass
    wakeups.finish(old)
    wakeups.sleep(old, 0)
    wakeups.fail(old, 0, error="too late")
    assert row(key).turn == new.turn
    assert row(key).lease_until > timezone.now()


def test_renewing_pushes_the_lease_out_and_an_expired_one_is_lost(settings):
    settings.FACET_LEASE_S = 60
    key = wake()
    lease = wakeups.take()
    Wakeup.objects.filter(key=key).update(lease_until=timezone.now() + timedelta(seconds=2))
    assert wakeups.renew(lease)
    assert row(key).lease_until > timezone.now() + timedelta(seconds=50)
    lease_runs_out(key)
    assert not wakeups.renew(lease)


def test_a_writer_with_its_turn_and_the_next_taker_wait_for_each_other(slot):
    """The fence is a row lock: a turn cannot change hands between the check and the commit."""
    key = wake()
    lease = wakeups.take()
    lease_runs_out(key)
    with engine.Turn(lease, engine.wiring().context).transaction():
        assert wakeups.still_ours(lease)
        assert slot(wakeups.take).result() is None
    assert slot(wakeups.take).result().key == key


# --- the sweep and the bell ------------------------------------------------------------------------------------------


def test_the_sweep_rings_for_what_is_due_and_not_leased(monkeypatch):
    """No message was ever sent: the broker of the tests does not exist. What is due is found all the same."""
    due, later, leased, crashed, fresh = (wake() for _ in range(5))
    now = timezone.now()
    Wakeup.objects.filter(key=later).update(due_at=now + timedelta(seconds=60))
    Wakeup.objects.filter(key=leased).update(lease_until=now + timedelta(seconds=60))
    Wakeup.objects.filter(key=crashed).update(lease_until=now - timedelta(seconds=1), turn=1)
    Wakeup.objects.filter(key=fresh).update(rung_at=now)
    assert wakeups.sweep(limit=200) == 2
    assert set(Wakeup.objects.filter(rung_at__gte=now).exclude(key=fresh).values_list("key", flat=True)) == {
        due,
        crashed,
    }
    assert wakeups.sweep(limit=200) == 0  # rung a moment ago
    Wakeup.objects.update(rung_at=now - timedelta(seconds=31))
    assert wakeups.sweep(limit=200) == 3
    Wakeup.objects.update(rung_at=None)
    rung = []
    monkeypatch.setattr(bell, "ring", lambda after_s=0.0, always=False: rung.append(after_s))
    tasks.sweep()
    assert rung == [0.0] * 3


def test_the_sweep_is_silent_about_a_site_that_is_left_alone():
    site = uuid7()
    wake(site_id=site)
    circuits.trip(site, "down")
    assert wakeups.sweep(limit=200) == 0
    Circuit.objects.update(open_until=timezone.now())
    assert wakeups.sweep(limit=200) == 1


RING = """
import time, django
django.setup()
from facet.celery import app
from facet.operations import bell
began = time.monotonic()
for _ in range(50):
    bell.ring()
print("seconds", time.monotonic() - began)
"""


@pytest.mark.parametrize(("broker", "at_most_s"), [("absent", 1.0), ("silent", 7.0)])
def test_a_bell_without_a_broker_says_so_and_holds_nobody_up(tmp_path, broker, at_most_s):
    """No broker at all, and one that accepts connections and never says a word: fifty bells wait for it once."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent = f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        environ = os.environ | {
            "DJANGO_SETTINGS_MODULE": "facet.settings",
            "FACET_REDIS_URL": silent if broker == "silent" else f"unix://{tmp_path}/none.sock?db=0",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run([sys.executable, "-c", RING], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.rsplit("seconds ", 1)[1]) < at_most_s
    assert done.stdout.count("the bell is out of order") == 1


COUNT = """
import sys, django
django.setup()
from facet.celery import app
from django.conf import settings
from facet.operations import bell
for _ in range(50):
    bell.ring()
few = bell._waiting()
bell.ring(always=True)
print(few == settings.FACET_WORKER_SLOTS, bell._waiting() == few + 1)
"""


def test_no_more_bells_wait_than_there_are_slots_to_hear_them(tmp_path):
    with valkey.running(tmp_path / "home") as broker:
        environ = os.environ | {
            "DJANGO_SETTINGS_MODULE": "facet.settings", "FACET_REDIS_URL": broker.url,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        done = subprocess.run([sys.executable, "-c", COUNT], env=environ, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_a_transaction_that_wakes_many_rings_for_the_slots_and_no_more(settings):
    settings.FACET_WORKER_SLOTS = 3
    with transaction.atomic():
        for _ in range(50):
            wake()
        assert sum(known is bell.ring for _, known, _ in connection.run_on_commit) == 3


def test_what_is_woken_without_a_broker_is_kept():
    with transaction.atomic():
        keys = [wake() for _ in range(5)]
    assert Wakeup.objects.filter(key__in=keys).count() == 5


# --- fairness --------------------------------------------------------------------------------------------------------


def test_leases_are_fair_between_sites_and_tenants(slot, settings):
    settings.FACET_WORKER_SLOTS = 8
    big, small, full, other = uuid7(), uuid7(), uuid7(), uuid7()
    for _ in range(20):
        wake(tenant_id=big, site_id=full)
    leases = [future.result() for future in [slot(wakeups.take) for _ in range(8)]]
    taken = [lease for lease in leases if lease]
    assert len(taken) == 3  # of half the slots for one site a tenant leaves one, whoever asks at the same moment
    newcomer = wake(tenant_id=small, site_id=full)
    assert wakeups.take().key == newcomer
    assert wakeups.take() is None
    wakeups.finish(taken.pop())
    taken.append(wakeups.take())
    assert (taken[-1].site_id, taken[-1].tenant_id) == (full, big)
    small = uuid7()
    late = wake(tenant_id=small, site_id=other)
    wake(tenant_id=big, site_id=other)
    Wakeup.objects.filter(tenant_id=big, site_id=other).update(due_at=timezone.now() - timedelta(hours=1))
    assert wakeups.take().key == late  # the tenant with the fewest leases, though the other has waited longer
    assert wakeups.take().tenant_id == big
    assert wakeups.take() is None
    wakeups.finish(taken[0])
    following = wakeups.take()
    assert (following.site_id, following.tenant_id) == (full, big)


def test_the_platform_counts_as_one_tenant(settings):
    settings.FACET_WORKER_SLOTS = 8
    tenant = uuid7()
    for _ in range(3):
        wake(kind="site")
    Wakeup.objects.update(due_at=timezone.now() - timedelta(hours=1))
    wake(tenant_id=tenant)
    assert wakeups.take().tenant_id is None
    assert wakeups.take().tenant_id == tenant
    assert wakeups.take().tenant_id is None


def test_one_slot_still_serves_every_site(settings):
    settings.FACET_WORKER_SLOTS = 1
    wake(site_id=uuid7())
    assert wakeups.take() is not None


def test_slots_of_all_workers_count_together(settings):
    settings.FACET_WORKER_SLOTS, settings.FACET_WORKERS = 2, 3
    site = uuid7()
    for number in range(6):
        wake(site_id=site, tenant_id=uuid7() if number % 2 else None)
    assert [wakeups.take() is not None for _ in range(4)] == [True, True, True, False]


def test_a_tenant_leaves_one_of_all_slots(settings):
    settings.FACET_WORKER_SLOTS, settings.FACET_WORKERS = 4, 1
    tenant = uuid7()
    for _ in range(6):
        wake(tenant_id=tenant)
    assert [wakeups.take() is not None for _ in range(4)] == [True, True, True, False]
    wake(tenant_id=uuid7())
    assert wakeups.take().tenant_id != tenant


# --- failing ---------------------------------------------------------------------------------------------------------


def _fault(kind):
    raise {"crash": ValueError("a fault of ours"), "later": ComeAgain("not ready"), "down": SiteDown("no answer")}[kind]


@pytest.mark.parametrize("kind", ["crash", "later"])
def test_a_failed_pass_is_counted_and_tried_ever_more_slowly(reconcilers, kind):
    reconcilers[KIND] = lambda turn: _fault(kind)
    key = wake(site_id=uuid7())
    for attempts in range(1, 12):
        Wakeup.objects.update(due_at=timezone.now())
        Circuit.objects.update(open_until=timezone.now())
        began = timezone.now()
        assert engine.take_next()
        found = row(key)
        longest = min(engine.LONGEST_BACK_OFF_S, 2 ** (attempts - 1))
        assert found.attempts == attempts
        assert found.lease_until is None
        assert found.last_error
        assert longest / 2 <= (found.due_at - began).total_seconds() <= longest + 5
    assert not engine.take_next()
    reconcilers[KIND] = lambda turn: Again(60)
    wake(key=key)
    assert row(key).attempts == 11  # a wake brings a look at once and forgets nothing
    Circuit.objects.all().delete()
    assert engine.take_next()
    assert (row(key).attempts, row(key).last_error) == (0, "")


@pytest.mark.parametrize(("whose", "counted"), [("an object's", 0), ("the site's own", 4)])
def test_a_site_that_is_down_costs_its_objects_no_attempt(reconcilers, whose, counted):
    """The circuit says when to try again, for all of the site's objects together; only its own look counts."""
    reconcilers[KIND] = lambda turn: _fault("down")
    site = uuid7()
    key = wake(key=None if whose == "an object's" else site, site_id=site)
    for _ in range(4):
        Wakeup.objects.update(due_at=timezone.now())
        Circuit.objects.update(open_until=timezone.now())
        assert engine.take_next()
        assert not engine.take_next()
    found = row(key)
    assert found.attempts == counted
    assert "no answer" in found.last_error
    assert found.lease_until is None
    assert counted or (found.due_at - timezone.now()).total_seconds() <= 1.0


def test_a_pass_that_wakes_itself_and_fails_does_not_spin(reconcilers):
    def reconcile(turn):
        wake(key=turn.key)
        raise ValueError("after it woke itself")

    reconcilers[KIND] = reconcile
    key = wake()
    for _ in range(5):
        Wakeup.objects.update(due_at=timezone.now())
        assert engine.take_next()
    assert not engine.take_next()
    assert row(key).attempts == 5
    assert (row(key).due_at - timezone.now()).total_seconds() <= wakeups.WOKEN_AFTER_A_FAILURE_S


def test_a_kind_that_nobody_reconciles_is_put_to_sleep_and_stops_nobody(reconcilers):
    reconcilers[KIND] = lambda turn: Done()
    strange = wake(kind="stranger")
    assert engine.take_next()
    assert not engine.take_next()
    assert "nobody reconciles a stranger" in row(strange).last_error
    assert row(strange).attempts == 1
    wake()
    assert engine.take_next()


def test_a_pass_whose_connection_breaks_is_counted(reconcilers, slot):
    """The server ends the session in mid-pass, as it does with an idle transaction."""

    def reconcile(turn):
        with turn.reading(), connection.cursor() as cursor:
            cursor.execute("select pg_terminate_backend(pg_backend_pid())")

    reconcilers[KIND] = reconcile
    key = wake()
    assert slot(engine.take_next).result()
    assert row(key).attempts == 1


def test_a_killed_worker_costs_its_lease_and_no_more(reconcilers):
    key = wake()
    assert wakeups.take() is not None  # and it is never heard of again
    assert not engine.take_next()
    lease_runs_out(key)
    reconcilers[KIND] = lambda turn: Done()
    assert wakeups.sweep(limit=10) == 1
    assert engine.take_next()
    assert row(key) is None


@pytest.mark.parametrize(
    ("outcome", "after_s"), [(Again(7), 7), (Again(0), 0), (Waiting("a task"), 600), (Waiting("x", at_most_s=9), 9)]
)
def test_a_pass_says_when_to_come_again(reconcilers, outcome, after_s):
    reconcilers[KIND] = lambda turn: outcome
    key = wake()
    began = timezone.now()
    assert engine.take_next()
    assert after_s <= (row(key).due_at - began).total_seconds() < after_s + 5


def test_a_sleeper_is_woken_at_once_and_a_later_wake_never_delays_it():
    key = wake()
    wakeups.sleep(wakeups.take(), 600)
    assert wakeups.take() is None
    wake(key=key, after_s=30)
    assert 25 < (row(key).due_at - timezone.now()).total_seconds() < 31
    wake(key=key)
    wake(key=key, after_s=300)
    assert wakeups.take().key == key


# --- circuits --------------------------------------------------------------------------------------------------------


def test_a_site_that_is_down_is_left_alone_and_others_go_on(reconcilers, settings):
    settings.FACET_WORKER_SLOTS = 8
    down, well, looked = uuid7(), uuid7(), []

    def reconcile(turn):
        looked.append(turn.lease.site_id)
        turn.renew()
        if turn.lease.site_id == down:
            raise SiteDown("no answer")
        return Again(600)

    reconcilers[KIND] = reconcile
    for _ in range(3):
        wake(site_id=down)
        wake(site_id=well)
    while engine.take_next():
        continue
    assert looked.count(well) == 3
    assert looked.count(down) == 1
    Circuit.objects.update(open_until=timezone.now())
    Wakeup.objects.filter(site_id=down).update(due_at=timezone.now())
    probe = wakeups.take()
    assert probe.site_id == down
    assert wakeups.take() is None  # one at a time, until it has answered
    engine.run(probe)
    found = Circuit.objects.get(site_id=down)
    assert found.failures == 2
    assert 1 < (found.open_until - timezone.now()).total_seconds() <= 2


def test_only_a_pass_that_acted_at_the_site_closes_its_circuit(reconcilers):
    site = uuid7()
    circuits.trip(site, "no answer")
    Circuit.objects.update(open_until=timezone.now())
    reconcilers["idle"] = lambda turn: Again(60)
    wake(kind="idle", site_id=site)
    assert engine.take_next()
    assert Circuit.objects.exists()

    def acting(turn):
        turn.renew()
        return Again(60)

    reconcilers["acting"] = acting
    wake(kind="acting", site_id=site)
    assert engine.take_next()
    assert not Circuit.objects.exists()


def test_passes_that_fail_together_open_a_circuit_once_and_it_stays_under_a_minute():
    site = uuid7()
    for _ in range(5):
        circuits.trip(site, "no answer")
    assert Circuit.objects.get().failures == 1
    for _ in range(12):
        Circuit.objects.update(open_until=timezone.now() - timedelta(seconds=1))
        circuits.trip(site, "no answer")
    assert Circuit.objects.get().failures == 13
    assert (Circuit.objects.get().open_until - timezone.now()).total_seconds() <= circuits.LONGEST_S


# --- operations ------------------------------------------------------------------------------------------------------


@contextmanager
def operating():
    with factories.as_system():
        yield


def start(verb="thing.create", *, id=None, generation=1, **more):
    target = services.Target(kind=KIND, id=id or uuid7(), name="x")
    return services.start(verb, target=target, by=SYSTEM, generation=generation, **more)


def test_a_newer_operation_supersedes_an_older_one_that_is_open():
    id = uuid7()
    with operating():
        old = start(id=id)
        new = start("thing.scale", id=id, generation=2)
        services.succeed(KIND, id, generation=2)
        old.refresh_from_db()
        new.refresh_from_db()
        assert (old.phase, old.superseded_by) == (Phase.CANCELLED, new.id)
        assert new.phase == Phase.SUCCEEDED


def test_an_operation_succeeds_when_its_generation_is_real_and_not_before():
    with operating():
        operation = start(generation=3)
        services.succeed(KIND, operation.target_id, generation=2)
        operation.refresh_from_db()
        assert operation.phase == Phase.PENDING
        services.succeed(KIND, operation.target_id, generation=3)
        operation.refresh_from_db()
        assert operation.phase == Phase.SUCCEEDED


def test_the_first_cause_is_kept():
    with operating():
        operation = start()
        services.report(KIND, operation.target_id, [services.Step("vms", "Machines", "running", 1, 4)])
        services.fail(KIND, operation.target_id, code="no_space", detail="the first cause")
        services.fail(KIND, operation.target_id, code="other", detail="what came of it")
        services.succeed(KIND, operation.target_id, generation=9)
        services.report(KIND, operation.target_id, [services.Step("vms", "Machines", "done", 4, 4)])
        operation.refresh_from_db()
        assert operation.phase == Phase.FAILED
        assert operation.problem == {"code": "no_space", "detail": "the first cause"}
        assert operation.steps[0]["phase"] == "failed"
        ended = Event.objects.filter(target_id=operation.target_id, verb="thing.create.failed")
        assert [event.message for event in ended] == ["the first cause"]


def test_two_ends_at_once_leave_one(slot):
    with operating():
        operation = start()
    line = threading.Barrier(2)

    def end(how):
        with operating():
            line.wait(PATIENCE_S)
            how()

    ends = [
        slot(lambda: end(lambda: services.fail(KIND, operation.target_id, code="c", detail="d"))),
        slot(lambda: end(lambda: services.succeed(KIND, operation.target_id, generation=1))),
    ]
    for future in ends:
        future.result()
    with operating():
        operation.refresh_from_db()
        assert operation.phase in (Phase.FAILED, Phase.SUCCEEDED)
        assert (operation.problem is None) == (operation.phase == Phase.SUCCEEDED)
        assert Event.objects.filter(target_id=operation.target_id).count() == 2  # asked for, and one end


ADA = Actor("user", None, "ada")


def test_a_cancel_undoes_and_says_who():
    undone = []
    with operating():
        operation = start(undo={"size": 3})
        services.cancel(operation, by=ADA, cancellers={"thing.create": lambda what, by: undone.append(what.undo)})
        operation.refresh_from_db()
        assert operation.phase == Phase.CANCELLED
        assert undone == [{"size": 3}]
        assert Event.objects.get(verb="thing.create.cancelled").actor_name == "ada"


def test_a_cancel_of_a_create_is_a_delete_that_supersedes_it():
    with operating():
        operation = start()
        cancellers = {"thing.create": lambda what, by: start("thing.delete", id=what.target_id, generation=2)}
        services.cancel(operation, by=ADA, cancellers=cancellers)
        operation.refresh_from_db()
        assert operation.phase == Phase.CANCELLED
        assert Operation.objects.get(pk=operation.superseded_by).verb == "thing.delete"


@pytest.mark.parametrize("rival", ["end", "newer"])
def test_a_cancel_that_comes_too_late_undoes_nothing(slot, rival):
    id = uuid7()
    with operating():
        operation = start(id=id)

    def meanwhile():
        with operating():
            if rival == "end":
                services.succeed(KIND, id, generation=1)
            else:
                start("thing.scale", id=id, generation=2)

    def undo(what, by):
        start("thing.unrelated")  # what the undo writes
        slot(meanwhile).result()

    with pytest.raises(Conflict) as refusal, operating():
        services.cancel(operation, by=ADA, cancellers={"thing.create": undo})
    assert refusal.value.code == "already_ended"
    with operating():
        assert not Operation.objects.filter(verb="thing.unrelated").exists()


def test_a_delete_cannot_be_cancelled_and_neither_can_what_nobody_takes_back():
    with operating():
        with pytest.raises(Conflict) as refusal:
            services.cancel(start("thing.delete"), by=ADA, cancellers={})
        assert refusal.value.code == "use_restore"
        with pytest.raises(Conflict) as refusal:
            services.cancel(start("thing.paint"), by=ADA, cancellers={})
        assert refusal.value.code == "not_cancellable"


def test_steps_keep_their_times_and_an_unchanged_report_writes_nothing():
    with operating():
        operation = start()
        steps = [services.Step("a", "A", "running", 0, 2), services.Step("b", "B")]
        services.report(KIND, operation.target_id, steps)
        operation.refresh_from_db()
        before = operation.steps
        with connection.cursor() as cursor:
            cursor.execute("select xmin::text from operations_operation where id = %s", [operation.id])
            version = cursor.fetchone()
        services.report(KIND, operation.target_id, steps)
        with connection.cursor() as cursor:
            cursor.execute("select xmin::text from operations_operation where id = %s", [operation.id])
            assert cursor.fetchone() == version
        services.report(KIND, operation.target_id, [services.Step("a", "A", "done", 2, 2), services.Step("b", "B")])
        operation.refresh_from_db()
        assert operation.steps[0]["started_at"] == before[0]["started_at"]
        assert operation.steps[0]["ended_at"] is not None
        assert operation.steps[1]["started_at"] is None
