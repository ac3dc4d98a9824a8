"""A place at a site that belongs to one test, and the loops that a caller of a driver runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID, uuid4

from infra.drivers import base
from infra.drivers.base import (
    Driver,
    DriverError,
    FolderSpec,
    InFlight,
    MoveSpec,
    NotReady,
    PoolPart,
    PoolSpec,
    VmFacts,
    VmSpec,
)

from .site import Site

PATIENCE_S = 30.0
T = TypeVar("T")


def until(look: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    """The first answer of `look` that is neither None nor False; fails when patience ends."""
    end = time.monotonic() + patience_s
    while True:
        found = look()
        if found is not None and found is not False:
            return found
        assert time.monotonic() < end, f"nothing came in {patience_s} s; the last look said {found!r}"
        time.sleep(0.02)  # a site of another process: asked again until it answers


def settled(ask: Callable[[], dict[UUID, object]], driver: Driver) -> dict[UUID, object]:
    """Ask again, each time when what is in flight has ended, until nothing is in flight and all are ready."""

    def look() -> dict[UUID, object] | None:
        answer = ask()
        refs = [outcome.ref for outcome in answer.values() if isinstance(outcome, InFlight)]
        if refs:
            until(lambda: all(task.state is not base.TaskState.RUNNING for task in driver.poll(refs).values()))
            return None
        return None if any(isinstance(outcome, NotReady) for outcome in answer.values()) else answer

    return until(look)


@dataclass
class Room:
    site: Site
    driver: Driver
    folder_ref: str
    pool_ref: str
    host: base.HostFacts
    datastore_ref: str
    network_ref: str
    template: base.TemplateFacts
    keys: set[UUID] = field(default_factory=set)
    other_pool_refs: set[str] = field(default_factory=set)

    @classmethod
    def make(cls, site: Site, driver: Driver) -> Room:
        seen = driver.inventory()
        datastore = next(store for store in seen.datastores if store.name == site.datastore)
        network = next(net for net in seen.networks if net.name == site.network)
        host = next(
            host
            for host in seen.hosts
            if host.vsphere_cluster == site.vsphere_cluster and datastore.ref in host.datastore_refs
        )
        template = next(found for found in seen.templates if site.template in (found.name, found.path))
        folder = driver.ensure_folder(FolderSpec(key=uuid4(), name="contract", parent_ref=None))
        pool = driver.ensure_pool(pool_spec(host.compute_ref))
        return cls(site, driver, folder, pool[host.compute_ref], host, datastore.ref, network.ref, template)

    def spec(self, name: str = "node", **changes: object) -> VmSpec:
        key = uuid4()
        self.keys.add(key)
        made = VmSpec(
            key=key,
            name=f"{name}-{key.hex[:8]}",
            template_ref=self.template.ref,
            folder_ref=self.folder_ref,
            pool_ref=self.pool_ref,
            host_ref=self.host.ref,
            datastore_ref=self.datastore_ref,
            network_ref=self.network_ref,
            vcpu=2,
            memory_mib=2048,
            disk_gib=self.template.disk_gib + 4,
            metadata=f"instance-id: {key}\nlocal-hostname: {name}\n",
            guest_version="v1.34.2",
        )
        return replace(made, **changes)

    def make_vms(self, *specs: VmSpec, driver: Driver | None = None) -> dict[UUID, object]:
        """Outcomes once nothing is in flight."""
        chosen = driver or self.driver
        return settled(lambda: dict(chosen.ensure_vms(specs)), chosen)

    def vm(self, **changes: object) -> VmFacts:
        """One VM that stands, not powered on."""
        spec = self.spec(**changes)
        return self.right(self.make_vms(spec)[spec.key])

    def power(self, key: UUID, power: base.Power) -> VmFacts:
        return self.right(settled(lambda: dict(self.driver.ensure_power({key: power})), self.driver)[key])

    def hosts(self) -> list[base.HostFacts]:
        """The hosts of the room's compute resource that a VM of the room can move to."""
        seen = self.driver.inventory().hosts
        return [one for one in seen if one.compute_ref == self.host.compute_ref and one.ref != self.host.ref]

    def place(self, vm: VmFacts, host: base.HostFacts, **changes: object) -> MoveSpec:
        """The VM on that host, with its disks and in the pool where they are."""
        return replace(MoveSpec(vm.key, host.ref, self.datastore_ref, self.pool_ref), **changes)

    def pool_elsewhere(self, host: base.HostFacts) -> str:
        """A pool of that host's compute resource; it goes with the room."""
        ref = self.driver.ensure_pool(pool_spec(host.compute_ref))[host.compute_ref]
        self.other_pool_refs.add(ref)
        return ref

    def move(self, *moves: MoveSpec) -> dict[UUID, object]:
        """Outcomes once nothing is in flight."""
        return settled(lambda: dict(self.driver.ensure_moved(moves)), self.driver)

    def remove(self, keys: Iterable[UUID]) -> dict[UUID, object]:
        wanted = list(keys)
        return settled(lambda: dict(self.driver.ensure_no_vms(wanted)), self.driver)

    def clear(self) -> None:
        left = {key: outcome for key, outcome in self.remove(self.keys).items() if outcome is not None}
        assert not left
        self.driver.ensure_no_pool([self.pool_ref, *self.other_pool_refs])
        if not self.site.by_hand.vm_names(self.folder_ref):
            self.driver.ensure_no_folder(self.folder_ref)

    @staticmethod
    def right(outcome: object) -> VmFacts:
        if isinstance(outcome, DriverError):
            raise outcome
        assert isinstance(outcome, VmFacts)
        return outcome


def pool_spec(compute_ref: str, *, parent_ref: str | None = None, ref: str | None = None, **limits: object) -> PoolSpec:
    part = PoolPart(compute_ref=compute_ref, parent_ref=parent_ref, ref=ref)
    return PoolSpec(key=uuid4(), name="contract", parts=(replace(part, **limits),), expandable=True)
