"""What a strict vCenter refuses: room that is not there, and things that do not belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from infra.drivers.base import NotReady, Refused
from infra.drivers.extraconfig import LARGEST_VALUE

from .records import Host, Pool, Vm
from .state import State

T = TypeVar("T")


def standing(host: Host) -> None:
    """A host that can be worked with. Raises NotReady while it is down, Refused in maintenance."""
    if host.state == "down":
        raise NotReady(f"The host {host.name} does not answer.")
    if host.state == "maintenance":
        raise Refused(f"The host {host.name} is in maintenance.", code="no_resources")


def fits_host(state: State, vm: Vm) -> None:
    """Room for a VM that is to run on its host."""
    host = state.hosts[vm.host]
    standing(host)
    free = host.memory_mib - state.memory_on_mib[host.ref]
    if vm.memory_mib > free:
        raise Refused(
            f"The host {host.name} has {max(0, free)} MiB of memory left; {vm.name} needs {vm.memory_mib} MiB.",
            code="no_resources",
        )


def fits_datastore(state: State, ref: str, more_gib: int) -> None:
    """Room for `more_gib` on a datastore."""
    store = state.datastores[ref]
    if not store.accessible:
        raise NotReady(f"The datastore {store.name} is not accessible.")
    free = state.free_gib(store)
    if more_gib > free:
        raise Refused(f"The datastore {store.name} has {free} GiB left; {more_gib} GiB are needed.", code="no_space")


def grows(state: State, vm: Vm, changes: Mapping[str, Any]) -> None:
    """Room for another size: on the host for the memory of a running VM, on the datastore for its disk."""
    more_mib = int(changes.get("memory_mib", vm.memory_mib)) - vm.memory_mib
    host = state.hosts[vm.host]
    free = host.memory_mib - state.memory_on_mib[host.ref]
    if vm.power == "on" and more_mib > max(0, free):
        raise Refused(
            f"The host {host.name} has {max(0, free)} MiB of memory left; {vm.name} needs {more_mib} MiB more.",
            code="no_resources",
        )
    fits_datastore(state, vm.datastore, int(changes.get("disk_gib", vm.disk_gib)) - vm.disk_gib)


def goes_together(state: State, vm: Vm) -> None:
    """A VM's host, datastore, networks and pool exist and belong together."""
    host = known(state.hosts, vm.host, "host")
    store = known(state.datastores, vm.datastore, "datastore")
    pool = known(state.pools, vm.pool, "resource pool")
    known(state.folders, vm.folder, "folder")
    if pool.compute != host.compute:
        raise Refused(f"The resource pool {pool.name} is not of the vSphere cluster of {host.name}.", code="invalid")
    if store.ref not in host.datastores:
        raise Refused(f"The host {host.name} does not mount the datastore {store.name}.", code="invalid")
    for ref in vm.networks:
        network = known(state.networks, ref, "network")
        if network.ref not in host.networks:
            raise Refused(f"The network {network.name} does not reach the host {host.name}.", code="invalid")
    for volume in state.volumes_of(vm.ref) if vm.ref else ():
        if volume.datastore not in host.datastores:
            raise Refused(f"The host {host.name} does not mount the datastore of {volume.name}.", code="invalid")
    if vm.vcpu < 1 or vm.memory_mib < 1:
        raise Refused(f"{vm.name}: a VM has a vCPU and memory.", code="invalid")


def reaches(state: State, vm: Vm, there: Vm) -> None:
    """A VM can go from where it stands to where `there` does: both ends answer, and the target sees what it needs."""
    goes_together(state, there)
    standing(state.hosts[there.host])
    if state.hosts[vm.host].state == "down":
        raise NotReady(f"The host {state.hosts[vm.host].name} does not answer.")
    for store in (state.datastores[vm.datastore], state.datastores[there.datastore]):
        if not store.accessible:
            raise NotReady(f"The datastore {store.name} is not accessible.")


def arrives(state: State, vm: Vm, there: Vm) -> None:
    """Room at the target for what is new there: memory of a running VM on another host, disks on another datastore."""
    reaches(state, vm, there)
    if there.host != vm.host and vm.power == "on":
        fits_host(state, there)
    if there.datastore != vm.datastore:
        fits_datastore(state, there.datastore, vm.disk_gib)


def guestinfo(values: dict[str, str]) -> None:
    for name, value in values.items():
        if len(value) > LARGEST_VALUE:
            raise Refused(f"{name} is larger than a guestinfo value may be (64 KiB).", code="invalid")


def reservations(state: State, pool: Pool) -> None:
    """A pool's reservation comes out of its parent's, and out of the next one's above where that may expand."""
    above = pool.parent
    while above in state.pools:
        parent = state.pools[above]
        for dimension, unit in (("cpu", "MHz"), ("memory", "MiB")):
            asked = sum(_claim(state, state.pools[ref], dimension) for ref in state.inside[above] if ref in state.pools)
            room = _room(state, parent, dimension)
            if room is not None and asked > room:
                raise Refused(
                    f"The pools in {parent.name} would reserve {asked} {unit} of {dimension}; it has {room} {unit}.",
                    code="no_resources",
                )
        above = parent.parent


def _claim(state: State, pool: Pool, dimension: str) -> int:
    own = _reserved(pool, dimension)
    if not pool.expandable:
        return own
    children = (state.pools[ref] for ref in state.inside[pool.ref] if ref in state.pools)
    return max(own, sum(_claim(state, child, dimension) for child in children))


def _room(state: State, pool: Pool, dimension: str) -> int | None:
    """What children may reserve; None where the pool asks its own parent for more."""
    if pool.parent in state.computes:
        hosts = [host for host in state.hosts.values() if host.compute == pool.compute]
        if dimension == "cpu":
            return sum(host.cpu_cores * host.core_mhz for host in hosts)
        return sum(host.memory_mib for host in hosts)
    return None if pool.expandable else _reserved(pool, dimension)


def _reserved(pool: Pool, dimension: str) -> int:
    return pool.cpu_reserved_mhz if dimension == "cpu" else pool.memory_reserved_mib


def known(things: dict[str, T], ref: str, what: str) -> T:
    if ref not in things:
        raise Refused(f"The datacenter does not know the {what} {ref}.", code="not_found")
    return things[ref]
