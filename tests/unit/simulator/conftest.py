"""One simulator for all tests that leave it running; tests that kill or restart one start their own."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from infra.drivers import factory
from tests.contract import simulator_site
from tests.contract.room import Room


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    with simulator_site.running(tmp_path_factory.mktemp("simulator")) as found:
        yield found


@pytest.fixture
def driver(site):
    opened = factory.connect(site.connection)
    yield opened
    opened.close()


@pytest.fixture
def hand(site):
    """The hand at the site; what it put wrong is right again after the test."""
    yield site.by_hand
    site.by_hand.hand("clear-faults")
    site.by_hand.hand("host", name="rack-1-host-1", state="up", cpu_cores=32, memory_mib=256 * 1024)
    site.by_hand.hand("datastore", name="rack-1-ssd", capacity_gib=8192, free_gib=8192, accessible=True)


@pytest.fixture
def room(site, driver, hand):
    made = Room.make(site, driver)
    yield made
    hand.hand("clear-faults")
    hand.hand("host", name="rack-1-host-1", state="up")
    made.clear()


@pytest.fixture
def own(tmp_path):
    """Start simulators of one's own on one folder, one after the other, each with a driver and a room."""

    @contextmanager
    def started(*flags, room=None):
        with simulator_site.started(tmp_path, "--racks", "1", "--hosts-per-rack", "2", *flags) as simulator:
            found = simulator_site.site_of(simulator)
            driver = factory.connect(found.connection)
            try:
                yield found, driver, room or Room.make(found, driver)
            finally:
                driver.close()

    return started
