"""One vCenter a test module: its faults are this module's alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from infra.drivers.base import Connection
from infra.drivers.vsphere.driver import VsphereDriver
from tests.contract import vsphere_site
from tests.contract.room import Room
from tests.contract.site import Site
from tests.contract.vsphere_site import VcenterByHand
from tests.vcsim.run import Vcsim


@dataclass(frozen=True)
class Vcenter:
    """A site of the contract suite, and the program behind it."""

    site: Site
    program: Vcsim

    @property
    def by_hand(self) -> VcenterByHand:
        assert isinstance(self.site.by_hand, VcenterByHand)
        return self.site.by_hand

    def connection(self, **changes: Any) -> Connection:
        return replace(self.site.connection, **changes)


@pytest.fixture(scope="module")
def vcenter(tmp_path_factory) -> Iterator[Vcenter]:
    with vsphere_site.running(tmp_path_factory.mktemp("vcenter")) as site:
        yield Vcenter(site, site.by_hand.program)


@pytest.fixture(autouse=True)
def healed(vcenter):
    yield
    vcenter.program.heal()


@pytest.fixture
def connect(vcenter):
    """A driver of one's own, closed when the test ends."""
    opened = []

    def connected(**changes: Any) -> VsphereDriver:
        opened.append(VsphereDriver(vcenter.connection(**changes)))
        return opened[-1]

    yield connected
    for driver in opened:
        driver.close()


@pytest.fixture
def driver(connect):
    return connect()


@pytest.fixture
def room(vcenter, driver):
    made = Room.make(vcenter.site, driver)
    yield made
    vcenter.program.heal()
    made.clear()
