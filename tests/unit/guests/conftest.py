"""A house of guests in an event loop of the test's own."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from infra.simulator.guests.house import House, Machine
from tests.unit.guests.userdata import Cluster, guestinfo

SOON_S = 20.0


class Site:
    """Boots machines one after the other; `skew_s` moves the guests' clock."""

    def __init__(self, folder: Path) -> None:
        self.skew_s = 0.0
        self.loop = asyncio.new_event_loop()
        self._folder = folder
        self.house = self._open()

    def _open(self) -> House:
        house = House(self._folder / "guests.sqlite", None, clock=lambda: time.time() + self.skew_s, join_timeout_s=0.2)
        self.run(house.start())
        return house

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, SOON_S))

    def vip(self, last: int = 10) -> str:
        return ".".join([*self.house.network.split(".")[:2], "1", str(last)])

    def cluster(self, **changes: Any) -> Cluster:
        return Cluster(self.vip(), **changes)

    def boot(self, name: str, config: Any, *, vcpu: int = 2, memory_mib: int = 2048, version: str = "v1.34.2") -> str:
        """Power one machine on; its key, once its boot has ended."""
        key = str(uuid4())
        machine = Machine(key, name, vcpu, memory_mib, version)
        self.run(self.house.power_on(machine, guestinfo(config, key, name)))
        self.run(self._settled(key))
        return key

    async def _settled(self, key: str) -> None:
        while self.house.boot_state(key) == "booting":
            await asyncio.sleep(0.005)

    def fails(self, name: str, config: Any, **machine: Any) -> str:
        """The console of a machine whose boot must fail."""
        key = self.boot(name, config, **machine)
        assert self.house.boot_state(key) == "failed", self.house.console_log(key)
        return self.house.console_log(key)

    def works(self, name: str, config: Any, **machine: Any) -> str:
        """The key of a machine whose boot must end well."""
        key = self.boot(name, config, **machine)
        assert self.house.boot_state(key) == "running", self.house.console_log(key)
        return key

    def nodes(self, cluster: Cluster) -> set[str]:
        """Names of the Nodes that stand in the cluster behind an endpoint."""
        found = self.house.answers(cluster.endpoint, 6443)
        assert found is not None, f"nothing answers at {cluster.endpoint}"
        return {node["metadata"]["name"] for node in found[0].store.list("nodes")}

    def restart(self) -> None:
        self.run(self.house.stop())
        self.house = self._open()

    def close(self) -> None:
        self.run(self.house.stop())
        self.loop.close()


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def shop(site):
    """A cluster's secrets; its first control plane, shop-cp, runs."""
    cluster = site.cluster()
    site.works("shop-cp", cluster.init("shop-cp"))
    return cluster
