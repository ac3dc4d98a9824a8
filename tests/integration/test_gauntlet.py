"""Law 1 under fire: processes race for the same room and are killed, and a referee reads every law meanwhile. And the
proof that the referee would see it: with any one guard taken away, it does."""

from __future__ import annotations

import pytest

from scheduler.models import Allocation
from tests import factories
from tests.factories import as_system
from tests.gauntlet import course, guards, laws, race

SEED = 2026
SMALL_S, CONTROL_S, MOST_S = 8.0, 0.7, 20.0
CLIENTS = 5


@pytest.fixture
def own(database):
    """The database of one test alone."""
    with guards.own_database(database):
        yield


def told(report):
    return "\n".join(report.lines())


@pytest.mark.slow
def test_a_small_gauntlet_breaks_no_law(own):
    ground = course.made(course.Size())
    it = factories.person("root", "platform-admin")
    report = race.run(ground, it, race.Rules(seed=SEED, clients=CLIENTS, seconds=SMALL_S, kill_s=0.4))
    assert (report.broken, report.deadlocks, report.oversold) == ([], 0, 0), told(report)
    assert report.kills, told(report)
    assert report.looks > 5, told(report)
    silent = [verb for verb in race.TEAMS if not report.counts[verb, race.DONE]]
    assert not silent, told(report)


@pytest.mark.slow
@pytest.mark.parametrize("guard", guards.GUARDS, ids=str)
def test_without_a_guard_the_gauntlet_fails(own, guard):
    ground = course.made(guard.size)
    it = factories.person("root", "platform-admin")
    rules = {"clients": CLIENTS, "verbs": guard.verbs, "temper": guard.temper, "kill_s": None}
    with_it = race.run(ground, it, race.Rules(seed=SEED, seconds=CONTROL_S, **rules))
    assert not with_it.broken, told(with_it)
    guards.remove(guard)
    without_it = race.run(ground, it, race.Rules(seed=SEED, seconds=MOST_S, **rules))
    names = (*laws.LAWS, race.NO_CIRCLE)
    assert [text for text in without_it.broken if text.startswith(names)], told(without_it)


def test_the_referee_sees_overdrawn_that_nobody_outside_caused(own):
    """Room that is oversold and called overdrawn is oversold all the same."""
    ground = course.made(course.Size(zones=1, hosts=2, tenants=1))
    referee = laws.Referee()
    assert referee.broken() == []
    with as_system():
        place = ground.places[0]
        type(place.hosts[0]).objects.filter(pk=place.hosts[0].pk).update(vcpu_limit=0, vcpu_overdrawn=6)
    assert any(line.startswith("overdrawn rises only") for line in referee.broken())
    with as_system():
        assert not Allocation.objects.exists()
