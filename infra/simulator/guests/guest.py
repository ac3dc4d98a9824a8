"""One guest: a machine that boots from its user-data and, as a control plane, listens.

booting -> running | failed. The first boot of an instance writes its files and runs its commands; each command and the
count of those that have ended are one transaction, so a house that was killed carries on where it stood.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from typing import Protocol

import yaml

from infra.simulator.guests import addresses, cloudconfig, etcd, shell, tls
from infra.simulator.guests.api import resources, verbs
from infra.simulator.guests.api.errors import ApiError
from infra.simulator.guests.api.verbs import Target
from infra.simulator.guests.cloudconfig import BadUserData, Loader, Seed
from infra.simulator.guests.cluster import Cluster, Peer
from infra.simulator.guests.disk import Disk, Record
from infra.simulator.guests.kubeadm import config, init, join, leaves
from infra.simulator.guests.kubeadm.config import KubeadmError
from infra.simulator.guests.tls import Listener
from infra.simulator.guests.wire import Handler, HttpProtocol

log = logging.getLogger(__name__)
API_PORT, ETCD_PORT = 6443, 2379
FILES_NOT_WRITTEN = -1


class Surroundings(Protocol):
    """The house, as its guests see it."""

    disk: Disk
    boot_s: float
    join_timeout_s: float

    def now(self) -> float: ...

    def found_cluster(self) -> Cluster: ...

    def cluster_of(self, guest: Guest) -> Cluster | None: ...

    def place_endpoint(self, cluster: Cluster) -> None:
        """Let one living member serve the cluster's endpoint. Raises OSError."""

    def answers(self, host: str, port: int) -> tuple[Cluster, Peer] | None: ...

    async def came_up(self, host: str, port: int, timeout_s: float) -> None: ...

    def tell(self, host: str, port: int) -> None:
        """Something answers there now."""


class Guest:
    """Boots, listens and goes off; its files lie on the house's disk."""

    def __init__(self, record: Record, house: Surroundings) -> None:
        self.record = record
        self._house = house
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self.join_timeout_s = house.join_timeout_s
        self.endpoint: Listener | None = None  # the cluster's, where this guest serves it
        self._version = ""

    # what others see
    @property
    def address(self) -> str:
        return self.record.address

    @property
    def serves(self) -> bool:
        return bool(self._listeners)

    @property
    def kubelet_runs(self) -> bool:
        return bool(self.record.powered and self.record.node)

    @property
    def api_version(self) -> str:
        if not self._version:
            pod = leaves.manifest(self, "kube-apiserver")
            self._version = pod["spec"]["containers"][0]["image"].rpartition(":")[2] if pod else self.record.version
        return self._version

    def read(self, path: str) -> bytes | None:
        return self._house.disk.read(self.record.key, path)

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self._house.disk.write(self.record.key, path, content, mode)

    def now(self) -> float:
        return self._house.now()

    def log(self, line: str) -> None:
        self._house.disk.log(self.record.key, line)

    def dial(self, host: str, port: int) -> tuple[Cluster, Peer] | None:
        return self._house.answers(host, port)

    async def came_up(self, host: str, port: int, timeout_s: float) -> None:
        await self._house.came_up(host, port, timeout_s)

    # power
    def power_on(self) -> None:
        """Begin to boot, in the background."""
        self.record.powered = 1
        self._house.disk.save(self.record)
        self._task = asyncio.get_running_loop().create_task(self._boot())

    def power_off(self) -> None:
        """Like a pulled plug: what was going on ends, connections are cut, the disk stays."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.stop_listening()
        self.record.powered = 0
        self._house.disk.save(self.record)
        cluster = self._house.cluster_of(self)
        if cluster is not None:
            self._house.place_endpoint(cluster)
            cluster.refresh()

    def halt(self) -> None:
        """The house stops: as power_off, but the next house finds this guest on."""
        if self._task is not None:
            self._task.cancel()
        self.stop_listening()

    async def _boot(self) -> None:
        try:
            await self._boot_now()
        except Exception:  # a fault of the simulator must not look like a slow boot
            log.exception("The guest %s could not be simulated", self.record.name)
            self._fail("simulator: this guest could not be simulated; the simulator's log says why")

    async def _boot_now(self) -> None:
        await asyncio.sleep(self._house.boot_s)
        try:
            seed = cloudconfig.seed(json.loads(self.record.guestinfo))
        except BadUserData as error:
            return self._fail(f"cloud-init: {error}")
        instance = seed.instance or self.record.key
        if self.record.instance == instance and self.record.step != FILES_NOT_WRITTEN and not self._unfinished():
            self._start_again()
            return None
        await self._first_boot(seed, instance)
        return None

    def _unfinished(self) -> bool:
        return self.record.state == "booting"

    async def _first_boot(self, seed: Seed, instance: str) -> None:
        record, disk = self.record, self._house.disk
        if record.instance != instance:
            self._begin(seed, instance)
        elif record.node:
            self._start_again(done=False)  # killed in mid-boot after it had joined
        status, at = 0, 0
        for item in seed.commands:
            try:
                chain = shell.chain(item) if isinstance(item, str) else [item]
            except ValueError as error:
                return self._fail(f"cloud-init: runcmd: {error}")
            ended = 0
            for words in chain:
                at += 1
                if at <= record.step or ended:
                    continue
                act = await shell.prepare(self, words)
                with disk.transaction():
                    ended = act()
                    record.step = at
                    disk.save(record)
            status = status or ended
        if status:
            return self._fail("cloud-init: runcmd failed")
        record.state, record.guestinfo = "running", self._kept(seed)
        self.log("cloud-init: finished")
        disk.save(record)
        return None

    def _kept(self, seed: Seed) -> str:
        """What of the guestinfo stays: who this instance is. The rest holds keys and has done its work."""
        return json.dumps(
            {"metadata": json.dumps({"instance-id": self.record.instance, "local-hostname": seed.hostname})}
        )

    def _begin(self, seed: Seed, instance: str) -> None:
        record, disk = self.record, self._house.disk
        with disk.transaction():
            record.instance, record.step, record.state = instance, 0, "booting"
            record.hostname = seed.hostname or record.name
            for file in seed.files:
                disk.write(record.key, file.path, file.content, file.mode, file.owner)
            self.log(f"cloud-init: instance {instance}, host {record.hostname}, {len(seed.files)} files")
            disk.save(record)

    def _fail(self, line: str) -> None:
        """The boot has failed; the machine stays on, and its console says why."""
        with self._house.disk.transaction():
            self.log(line)
            self.record.state = "failed"
            self._house.disk.save(self.record)

    def _start_again(self, *, done: bool = True) -> None:
        """A boot that is not this instance's first: what stands on the disk runs again."""
        if leaves.manifest(self, "kube-apiserver") is not None and self.record.cluster:
            try:
                self.listen()
            except OSError as error:
                self.stop_listening()
                return self._fail(f"kubelet: the API server has ended: {error.strerror or error}")
        if done:
            self.log("cloud-init: not the first boot of this instance; nothing to do")
            if self.record.state == "booting":
                self.record.state = "running"
            self._house.disk.save(self.record)
        cluster = self._house.cluster_of(self)
        if cluster is not None:
            cluster.refresh()
        return None

    # commands
    async def kubeadm(self, verb: str, path: str) -> Callable[[], int]:
        try:
            documents = config.documents(self.read(path), path)
        except KubeadmError as error:
            words = str(error)

            def refuse() -> int:
                self.log(words)
                return 1

            return refuse
        return init.init(self, documents) if verb == "init" else await join.join(self, documents)

    def kubectl_apply(self, kubeconfig: str, manifest: bytes) -> int:
        """Create what the manifest names and is not there. The kubeconfig must lie on this disk."""
        cluster = self._house.cluster_of(self)
        if self.read(kubeconfig) is None or cluster is None or not cluster.etcd_healthy():
            self.log("kubectl: the connection to the server was refused - did you specify the right host or port?")
            return 1
        for obj in filter(None, yaml.load_all(manifest, Loader=Loader)):
            known = next(
                (
                    one
                    for one in resources.BUILT_IN
                    if (one.api_version, one.kind) == (obj.get("apiVersion"), obj.get("kind"))
                ),
                None,
            )
            if known is None:
                self.log(f"error: no matches for kind {obj.get('kind')!r} in version {obj.get('apiVersion')!r}")
                return 1
            namespace = (obj.get("metadata") or {}).get("namespace", "default") if known.namespaced else ""
            try:
                if cluster.store.get(known.key, namespace, obj["metadata"]["name"]) is None:
                    verbs.create_object(cluster.store, Target(known, namespace), obj)
            except ApiError as error:
                self.log(f"error: {error.message}")
                return 1
        cluster.controllers.settle(self)
        return 0

    # being a node
    def new_cluster(self) -> Cluster:
        return self._house.found_cluster()

    def enter(self, cluster: Cluster, node_name: str) -> None:
        self.record.cluster, self.record.node = cluster.id, node_name
        self._house.disk.save(self.record)

    def listen(self) -> None:
        """API server and etcd on this guest's own address, and the endpoint where it is its turn. Raises OSError."""
        cluster = self._house.cluster_of(self)
        assert cluster is not None
        gateway = etcd.Gateway(cluster)
        for port, make, handler in (
            (API_PORT, self._api_context, lambda request, peer: cluster.api.answer(self, request, peer)),
            (ETCD_PORT, self._etcd_context, gateway.answer),
        ):
            self._listeners.append(self._listener(self.address, port, make, handler))
        self._house.place_endpoint(cluster)
        self._house.tell(self.address, API_PORT)

    def hold_endpoint(self, host: str, port: int) -> None:
        """Serve the cluster's endpoint. Raises OSError."""
        cluster = self._house.cluster_of(self)
        assert cluster is not None
        self.endpoint = self._listener(
            host, port, self._api_context, lambda request, peer: cluster.api.answer(self, request, peer)
        )
        self._house.tell(host, port)

    def release_endpoint(self) -> None:
        if self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None

    def _listener(self, host: str, port: int, make: Callable[[], ssl.SSLContext], handler: Handler) -> Listener:
        try:
            bound = addresses.bind(host, port)
        except OSError as error:
            self.log(f"listen tcp {host}:{port}: bind: {error.strerror}")
            raise
        return Listener(bound, make, lambda: HttpProtocol(handler))

    def stop_listening(self) -> None:
        self.release_endpoint()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    def _api_context(self) -> ssl.SSLContext:
        return self._context("apiserver", "ca", required=False)

    def _etcd_context(self) -> ssl.SSLContext:
        return self._context("etcd/server", "etcd/ca", required=True)

    def _context(self, pair: str, authority: str, *, required: bool) -> ssl.SSLContext:
        crt, key, ca = (
            self.read(f"{leaves.PKI}/{name}") or b"" for name in (f"{pair}.crt", f"{pair}.key", f"{authority}.crt")
        )
        return tls.context(crt, key, ca, required=required)
