"""All guests of one simulator: their power, their addresses, their clusters. Lives in one asyncio event loop."""

from __future__ import annotations

import asyncio
import json
import resource
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from infra.simulator.guests import addresses
from infra.simulator.guests.addresses import Network
from infra.simulator.guests.cluster import Cluster, Peer
from infra.simulator.guests.disk import Disk, Record
from infra.simulator.guests.guest import API_PORT, Guest
from infra.simulator.guests.kubeadm import leaves

JOIN_TIMEOUT_S = 300.0  # kubeadm's own


@dataclass(frozen=True)
class Machine:
    """What a guest runs on. key: never used twice. version: of the kubeadm in its image, such as v1.34.2."""

    key: str
    name: str
    vcpu: int
    memory_mib: int
    version: str


class House:
    """Every verb may be said twice. The file holds the guests' disks and which of them are on."""

    def __init__(
        self,
        path: Path,
        network: str | None,
        boot_s: float = 0.0,
        clock: Callable[[], float] = time.time,
        join_timeout_s: float = JOIN_TIMEOUT_S,
    ) -> None:
        self.disk = Disk(path)
        self.boot_s = boot_s
        self.join_timeout_s = join_timeout_s
        self._clock = clock
        self._wanted = network
        self._network: Network | None = None
        self._guests: dict[str, Guest] = {}
        self._clusters: dict[str, Cluster] = {}
        self._endpoints: dict[tuple[str, int], Guest] = {}  # a cluster's endpoint -> who serves it
        self._by_address: dict[str, Guest] = {}
        self._waiting: dict[tuple[str, int], set[asyncio.Future[None]]] = defaultdict(set)

    async def start(self) -> None:
        """Take the network (raises AddressesTaken) and serve again what was on."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        kept = self._wanted or self.disk.note("network")
        self._network = Network(kept) if kept else addresses.pick()
        self.disk.set_note("network", self._network.cidr)
        for member in self.disk.members():
            self._cluster(member.cluster).members.append(member)
        for record in self.disk.records():
            self._network.take(record.address)
            self._add(Guest(record, self))
        for guest in list(self._guests.values()):
            if guest.record.powered:
                guest.power_on()

    async def stop(self) -> None:
        """Leave everything as it is for the next start."""
        for guest in self._guests.values():
            guest.halt()
        for cluster in self._clusters.values():
            cluster.store.end_watches()
        if self._network is not None:
            self._network.close()
        self.disk.close()

    @property
    def network(self) -> str:
        if self._network is None:
            raise RuntimeError("the house has not been started")
        return self._network.cidr

    async def power_on(self, machine: Machine, guestinfo: Mapping[str, str]) -> str:
        """The machine's address, at once; it boots in the background. A machine that is on stays as it is."""
        guest = self._guests.get(machine.key) or self._make(machine)
        if guest.record.powered:
            return guest.address
        record = guest.record
        record.name, record.vcpu, record.memory_mib = machine.name, machine.vcpu, machine.memory_mib
        if record.state == "booting":  # its first boot has not ended yet: it reads its guestinfo (again)
            record.version = machine.version
            if any(value for name, value in guestinfo.items() if name.endswith("userdata")) or record.step < 0:
                record.guestinfo = json.dumps(dict(guestinfo))
        else:
            record.guestinfo = json.dumps(dict(guestinfo)) if _names_another(record, guestinfo) else record.guestinfo
        guest.power_on()
        return guest.address

    async def power_off(self, key: str) -> None:
        guest = self._guests.get(key)
        if guest is not None and guest.record.powered:
            guest.power_off()

    async def destroy(self, key: str) -> None:
        """The machine and its disk are gone; with the last etcd member's disk its cluster is."""
        guest = self._guests.get(key)
        if guest is None:
            return
        await self.power_off(key)
        cluster = self.cluster_of(guest)
        del self._guests[key]
        self._by_address.pop(guest.address, None)
        self.disk.remove_machine(key)
        if self._network is not None:
            self._network.give_back(guest.address)
        if cluster is not None and cluster.lost():
            cluster.store.end_watches()
            self.disk.remove_cluster(cluster.id)
            self._clusters.pop(cluster.id, None)
        elif cluster is not None:
            cluster.refresh()

    def console_log(self, key: str) -> str:
        return self.disk.console(key)

    def address(self, key: str) -> str | None:
        guest = self._guests.get(key)
        return guest.address if guest else None

    def boot_state(self, key: str) -> str:
        """booting | running | failed. Raises KeyError for a machine that was never on."""
        return self._guests[key].record.state

    # what guests ask of it
    def now(self) -> float:
        return self._clock()

    def _make(self, machine: Machine) -> Guest:
        if self._network is None:
            raise RuntimeError("the house has not been started")
        address = self._network.give()
        record = Record(machine.key, machine.name, machine.vcpu, machine.memory_mib, machine.version, address)
        return self._add(Guest(record, self))

    def _add(self, guest: Guest) -> Guest:
        self._guests[guest.record.key] = guest
        self._by_address[guest.address] = guest
        return guest

    def found_cluster(self) -> Cluster:
        return self._cluster(str(uuid.uuid4()))

    def _cluster(self, cluster_id: str) -> Cluster:
        if cluster_id not in self._clusters:
            self._clusters[cluster_id] = Cluster(cluster_id, self.disk, self._guests.get, self._clock)
        return self._clusters[cluster_id]

    def cluster_of(self, guest: Guest) -> Cluster | None:
        return self._clusters.get(guest.record.cluster)

    def place_endpoint(self, cluster: Cluster) -> None:
        """One living member, the oldest, serves the endpoint that its kube-vip manifest names. Raises OSError."""
        members = [self._guests[member.machine] for member in cluster.members if member.machine in self._guests]
        for guest in members:
            if guest.endpoint is not None and guest.serves:
                return
        for place, holder in list(self._endpoints.items()):
            if holder in members:
                holder.release_endpoint()
                del self._endpoints[place]
        for guest in members:
            wanted = leaves.virtual_address(guest) if guest.serves else None
            if wanted is not None and wanted != (guest.address, API_PORT):
                guest.hold_endpoint(*wanted)
                self._endpoints[wanted] = guest
                self.tell(*wanted)
                return

    def answers(self, host: str, port: int) -> tuple[Cluster, Peer] | None:
        guest = self._endpoints.get((host, port))
        if guest is None and port == API_PORT:
            guest = self._by_address.get(host)
        cluster = self.cluster_of(guest) if guest is not None and guest.serves else None
        return (cluster, guest) if cluster is not None and guest is not None else None

    async def came_up(self, host: str, port: int, timeout_s: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[host, port].add(future)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(future, timeout_s)
        finally:
            self._waiting[host, port].discard(future)
            if not self._waiting[host, port]:
                del self._waiting[host, port]

    def tell(self, host: str, port: int) -> None:
        for future in self._waiting.get((host, port), set()):
            if not future.done():
                future.set_result(None)


def _names_another(record: Record, guestinfo: Mapping[str, str]) -> bool:
    """Does the guestinfo name an instance at all? Where it is wiped, the one on the disk goes on."""
    return any(value for name, value in guestinfo.items() if name.removeprefix("guestinfo.") == "metadata")
