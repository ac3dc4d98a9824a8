"""One suite, every driver: each test runs once per site.

A site starts once per test process; a test gets a room of its own in it.
"""

from __future__ import annotations

import importlib
import importlib.util

import pytest

from infra.drivers import factory

from .room import Room

SITES = [name for name in ("simulator", "vsphere") if importlib.util.find_spec(f"tests.contract.{name}_site")]


@pytest.fixture(scope="session", params=SITES)
def site(request, tmp_path_factory):
    starter = importlib.import_module(f"tests.contract.{request.param}_site")
    with starter.running(tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture
def connect(site):
    """A driver of one's own, as another process would have it; closed when the test ends."""
    opened = []

    def connected(connection=site.connection):
        opened.append(factory.connect(connection))
        return opened[-1]

    yield connected
    for driver in opened:
        driver.close()


@pytest.fixture
def driver(connect):
    return connect()


@pytest.fixture
def room(site, driver):
    """An empty folder and an empty pool at the site; whatever is in them after the test is removed."""
    made = Room.make(site, driver)
    yield made
    made.clear()
