"""Simulated guests for tests: a House in a thread of its own, and clusters booted on it from Facet's boot data."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

from facet.clusters.frameworks.base import Boot, ClusterFacts, ClusterHealth, Level, NodeFacts, Prepared, Role, Taint
from facet.clusters.frameworks.kubernetes.framework import Kubernetes
from facet.clusters.frameworks.kubernetes.userdata import encoded
from infra.simulator.guests.house import House, Machine

DEADLINE_S = 30.0
KUBECTL = Path(sys.executable).parent / "kubectl"
CNI = Path(__file__).resolve().parents[2] / "docs" / "examples" / "facet-cni.yaml"


def until(true: Callable[[], object], what: Callable[[], object]) -> None:
    """Wait for a condition; `what` tells the failure when it never comes."""
    pause, end = threading.Event(), time.monotonic() + DEADLINE_S
    while not true():
        if time.monotonic() > end:
            raise AssertionError(what())
        pause.wait(0.02)


@dataclass
class Datacenter:
    house: House
    loop: asyncio.AbstractEventLoop

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_S)

    def console(self, key: str) -> str:
        async def read():
            return self.house.console_log(key)

        return self.run(read())

    def state(self, key: str) -> str:
        async def read():
            return self.house.boot_state(key)

        return self.run(read())


@contextmanager
def datacenter(folder: Path) -> Iterator[Datacenter]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def open_house() -> House:  # its file belongs to the thread that opens it
        return House(folder / "guests.sqlite", None)

    house = asyncio.run_coroutine_threadsafe(open_house(), loop).result(DEADLINE_S)
    site = Datacenter(house, loop)
    site.run(house.start())
    try:
        yield site
    finally:
        site.run(house.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        loop.close()


@dataclass
class Shop:
    """One cluster under construction. `nodes` are what was powered on, with the address each got."""

    site: Datacenter
    framework: Kubernetes
    cluster: ClusterFacts
    prepared: Prepared
    nodes: dict[str, NodeFacts] = field(default_factory=dict)

    @property
    def secrets(self):
        return self.prepared.secrets

    def health(self) -> ClusterHealth:
        return self.framework.health(self.cluster, self.secrets)

    def boot(
        self, role: Role, boot: Boot, pool: str = "main", labels=None, taints: tuple[Taint, ...] = ()
    ) -> NodeFacts:
        """Power one guest on and wait until its boot has ended, well."""
        node_id = uuid4()
        pool = "cp" if role is Role.CONTROL_PLANE else pool
        name = self.framework.node_name(self.cluster.name, pool, node_id)
        node = NodeFacts(node_id, name, role, pool, str(uuid4()), labels=labels or {}, taints=taints)
        address = self.power_on(node, self.framework.user_data(self.cluster, node, self.prepared, boot).user_data)
        until(lambda: self.site.state(node.vm_key) != "booting", lambda: self.site.console(node.vm_key))
        assert self.site.state(node.vm_key) == "running", self.site.console(node.vm_key)
        self.nodes[name] = replace(node, address=address)
        return self.nodes[name]

    def power_on(self, node: NodeFacts, user_data: str) -> str:
        metadata = self.framework.user_data(self.cluster, node, self.prepared, Boot.JOIN).metadata
        guestinfo = {
            "guestinfo.userdata": encoded(user_data),
            "guestinfo.userdata.encoding": "gzip+base64",
            "guestinfo.metadata": encoded(metadata),
            "guestinfo.metadata.encoding": "gzip+base64",
        }
        machine = Machine(node.vm_key, node.name, 2, 2048, self.cluster.version)
        return self.site.run(self.site.house.power_on(machine, guestinfo))

    def ready(self) -> ClusterHealth:
        until(lambda: self.health().ready, lambda: self.health())
        return self.health()

    def addresses(self, role: Role, but: str = "") -> list[str]:
        return [node.address for node in self.nodes.values() if node.role is role and node.name != but]


def shop(site: Datacenter, *, control_planes: int = 1, workers: int = 3, last: int = 10) -> Shop:
    """A cluster with its nodes booted and its network applied. last: fourth octet of its endpoint."""
    host = ".".join([*site.house.network.split(".")[:2], "1", str(last)])
    facts = ClusterFacts(
        uuid4(),
        "shop",
        UUID(int=2),
        UUID(int=3),
        "v1.34.2",
        host,
        6443,
        "10.244.0.0/16",
        "10.96.0.0/12",
        control_planes,
    )
    framework = Kubernetes()
    made = Shop(site, framework, facts, framework.prepare(facts))
    made.boot(Role.CONTROL_PLANE, Boot.INIT)
    until(lambda: made.health().answers, lambda: made.health())
    for _ in range(control_planes - 1):
        made.framework.admit(made.cluster, made.prepared)
        made.boot(Role.CONTROL_PLANE, Boot.JOIN)
    for _ in range(workers):
        made.boot(Role.WORKER, Boot.JOIN)
    return made


def config_file(folder: Path, made: Shop, level: Level = Level.EDITOR) -> Path:
    """A kubeconfig as a person of the project gets it."""
    given = made.framework.access(made.cluster, made.secrets, "ada", level, timedelta(hours=1))
    cluster = replace(made.cluster, simulated=made.health().simulated)
    path = folder / "shop.yaml"
    path.write_text(made.framework.kubeconfig(cluster, made.secrets, given))
    return path


def kubectl(config: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The real kubectl, as a person runs it."""
    environment = {**os.environ, "HOME": str(config.parent), "KUBECONFIG": str(config)}
    return subprocess.run(
        [KUBECTL, "--request-timeout=20s", *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
