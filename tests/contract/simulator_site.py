"""A simulated datacenter for the contract suite: the program that ships, and its admin API as the hand at the site."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from infra.drivers.base import Connection, PolicyFacts
from infra.simulator.guests import addresses

from .site import Site

USERNAME, PASSWORD = "facet", "a simulator's password"
STOP_S = 10.0
GUEST_NETWORKS = [second for second in range(2, 32) if second != 20]  # no simulator outside the tests picks these


@dataclass
class Simulator:
    """One running program. `hand` acts at the site itself; docs/simulator.md lists the acts."""

    endpoint: str
    network: str
    process: subprocess.Popen[str]

    @property
    def connection(self) -> Connection:
        return Connection(
            driver="simulator", endpoint=self.endpoint, username=USERNAME, password=PASSWORD, installation="contract"
        )

    def hand(self, act: str, **request: Any) -> Any:
        return self._post(f"hand/{act}", request)

    def _post(self, path: str, request: Mapping[str, Any]) -> Any:
        who = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        asked = urllib.request.Request(
            f"{self.endpoint}/{path}", data=json.dumps(request).encode(), headers={"Authorization": f"Basic {who}"}
        )
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return json.loads(answer.read())

    def inject(self, verb: str, kind: str, **more: Any) -> None:
        """Let a fault befall the next calls of a verb; see Fault in infra/simulator/faults.py."""
        self.hand("fault", verb=verb, kind=kind, **more)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(STOP_S)

    # what the suite asks of a hand

    def writes(self) -> int:
        return int(self.hand("calls")["writes"])

    def vm_names(self, folder_ref: str) -> list[str]:
        return list(self.hand("folder", ref=folder_ref)["vms"])

    def extra_config(self, key: UUID) -> Mapping[str, str]:
        return dict(self.hand("vm", key=str(key))["extra_config"])

    def make_vm(self, name: str, folder_ref: str, pool_ref: str, host_ref: str, datastore_ref: str) -> str:
        where = {"folder_ref": folder_ref, "pool_ref": pool_ref, "host_ref": host_ref, "datastore_ref": datastore_ref}
        return str(self.hand("make-vm", name=name, **where)["ref"])

    def delete_vm(self, key: UUID) -> None:
        self.hand("delete-vm", key=str(key))

    def power_off(self, key: UUID) -> None:
        self.hand("power-vm", key=str(key), power="off")

    def guest(self, key: UUID, *, tools: bool = True, deaf: bool = False, hot_add: bool = False) -> None:
        self.hand("guest", key=str(key), tools=tools, deaf=deaf, hot_add=hot_add)

    def snapshot(self, key: UUID, name: str) -> None:
        self.hand("snapshot-vm", key=str(key), name=name)

    def library_item(self, name: str, library: str = "golden") -> str:
        """An item of a content library; its ref."""
        like = self._post("v1/inventory", {})["templates"][0]
        return str(
            self.hand("template", name=name, disk_gib=like["disk_gib"], version="v1.34.2", library=library)["ref"]
        )

    def fail_image(self, name: str) -> None:
        self.inject("image", "error", match=name, code="no_space", reason="The datastore is full.")

    def fail_snapshot(self, key: UUID) -> None:
        name = str(self.hand("vm", key=str(key))["name"])
        self.inject("snapshot", "task", match=name, code="no_space", reason="The datastore is full.")

    def make_network(self, name: str) -> str:
        return str(self.hand("network", name=name)["ref"])

    def strange_network(self, name: str, vlan: int, switch_ref: str) -> None:
        self.hand("strange-network", name=name, vlan=vlan, switch=switch_ref)

    def made_networks(self) -> dict[int, str]:
        seen = self._post("v1/inventory", {})["networks"]
        return {one["vlan"]: one["name"] for one in seen if one["kind"] == "distributed"}

    def change_network(self, vlan: int, *, to: int, name: str) -> None:
        self.hand("change-network", name=self.made_networks()[vlan], vlan=to, rename=name)

    def lose_network(self, vlan: int) -> None:
        self.hand("lose-network", name=self.made_networks()[vlan])

    def networks_of(self, key: UUID) -> list[str]:
        return list(self.hand("vm", key=str(key))["networks"])

    def tell_addresses(self, key: UUID, addresses: list[str]) -> None:
        self.hand("guest", key=str(key), addresses=addresses)

    def rename_vm(self, key: UUID, name: str) -> None:
        self.hand("rename-vm", key=str(key), name=name)

    def fail_clone(self, name: str) -> None:
        self.inject("clone", "task", match=name, code="no_resources", reason="There are not enough resources.")

    @contextmanager
    def clones_take(self, seconds: float) -> Iterator[None]:
        self.hand("latency", clone=seconds)
        try:
            yield
        finally:
            self.hand("latency", clone=0)

    def fail_move(self, key: UUID) -> None:
        name = str(self.hand("vm", key=str(key))["name"])
        self.inject("move", "task", match=name, code="no_resources", reason="There are not enough resources.")

    @contextmanager
    def moves_take(self, seconds: float) -> Iterator[None]:
        self.hand("latency", move=seconds)
        try:
            yield
        finally:
            self.hand("latency", move=0)

    def satisfied_by(self, policy: PolicyFacts, datastores: list[str]) -> None:
        self.hand("policy", name=policy.name, datastores=datastores)

    def lacks(self, privileges: list[str]) -> None:
        self.hand("privileges", names=privileges)

    @contextmanager
    def maintenance(self, host_ref: str) -> Iterator[None]:
        self.hand("host", name=host_ref, state="maintenance")
        try:
            yield
        finally:
            self.hand("host", name=host_ref, state="up")

    @contextmanager
    def unmounted(self, host_ref: str, datastore_ref: str) -> Iterator[None]:
        hosts = self._post("v1/inventory", {})["hosts"]
        mounted = next(host["datastore_refs"] for host in hosts if host["ref"] == host_ref)
        self.hand("host", name=host_ref, datastores=[ref for ref in mounted if ref != datastore_ref])
        try:
            yield
        finally:
            self.hand("host", name=host_ref, datastores=mounted)


def network_of(folder: Path) -> str:
    """The guests' network of the simulator on this folder: from this test process's share, so that no other process
    takes it between two starts."""
    kept = folder / "network"
    if not kept.exists():
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
        with closing(addresses.pick(GUEST_NETWORKS[number::workers])) as network:
            kept.write_text(network.cidr)
    return kept.read_text()


@contextmanager
def started(folder: Path, *flags: str) -> Iterator[Simulator]:
    """The program on this folder until the block ends; a second start goes on where the first was left or killed."""
    secret = folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    process, line = _start(folder, flags)
    try:
        endpoint = line.split("answers at ")[1].split(",")[0]
        yield Simulator(endpoint, line.rsplit(" ", 1)[1].strip(), process)
    finally:
        _end(process)


def _start(folder: Path, flags: Sequence[str]) -> tuple[subprocess.Popen[str], str]:
    """The program, and the line that says where it answers. Where another test run on this machine has taken the
    network of a first start in that moment, there is another network.
    """
    first = not (folder / "network").exists()
    while True:
        where = ("--home", str(folder / "simulator"), "--port", "0", "--network", network_of(folder))
        command = [sys.executable, "-m", "facet.manage", "simulate", *where]
        with (folder / "simulator.log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--password-file", str(folder / "password"), *flags],
                stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        if "answers at" in line:
            return process, line
        _end(process)
        said = (folder / "simulator.log").read_text()
        if not (first and "is in use by another process" in said):
            raise RuntimeError(f"the simulator did not start: {line}{said}")
        (folder / "network").unlink()


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    finally:
        process.kill()
        process.stdout.close()


def site_of(simulator: Simulator) -> Site:
    return Site(
        kind="simulator",
        connection=simulator.connection,
        by_hand=simulator,
        vsphere_cluster="rack-1",
        datastore="rack-1-ssd",
        other_datastore="templates",
        network="VM Network",
        template="kube-v1.34",
        simulated=True,
    )


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    with started(folder, "--racks", "2", "--hosts-per-rack", "4") as simulator:
        yield site_of(simulator)
