"""What stands at a vCenter, as facts of the contract, from one bulk read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from pyVmomi import vim

from ..base import DatastoreFacts, HostFacts, HostState, NetworkFacts, TemplateFacts, VmFacts
from . import properties
from .digests import Digests
from .machine import LIGHT
from .properties import Found
from .session import Session, ref_of

GIB = 1 << 30
PORTGROUP = vim.dvs.DistributedVirtualPortgroup

HOST = (
    "name",
    "parent",
    "summary.hardware.numCpuCores",
    "summary.hardware.cpuMhz",
    "summary.hardware.memorySize",
    "runtime.connectionState",
    "runtime.inMaintenanceMode",
    "datastore",
    "network",
    "customValue",
)
DATASTORE = (
    "summary.name",
    "summary.type",
    "summary.capacity",
    "summary.freeSpace",
    "summary.accessible",
    "summary.maintenanceMode",
)
PLACES: Mapping[Any, Sequence[str]] = {
    vim.Datacenter: ("name", "parent"),
    vim.Folder: ("name", "parent"),
    vim.VirtualApp: ("name", "parentFolder"),
    vim.ComputeResource: ("name",),
    vim.ClusterComputeResource: ("name",),
}
EVERYTHING: Mapping[Any, Sequence[str]] = {
    **PLACES,
    vim.HostSystem: HOST,
    vim.Datastore: DATASTORE,
    vim.Network: ("name",),
    PORTGROUP: ("name", "config.defaultPortConfig"),
    vim.OpaqueNetwork: ("name",),
    vim.VirtualMachine: LIGHT,
}


class Look:
    """Everything at a vCenter at one moment."""

    def __init__(self, found: Iterable[Found], labels: Mapping[int, str], digests: Digests) -> None:
        self._by_kind: dict[Any, list[Found]] = {}
        for one in found:
            self._by_kind.setdefault(type(one.obj), []).append(one)
        self._labels = labels
        self._names = {one.id: unquote(one.get("name", "")) for kind in PLACES for one in self._by_kind.get(kind, ())}
        self._parents = {
            one.id: one.get("parent") or one.get("parentFolder")
            for kind in PLACES
            for one in self._by_kind.get(kind, ())
        }
        self._vms = digests.complete(self._by_kind.get(vim.VirtualMachine, ()))

    @classmethod
    def at(cls, session: Session, digests: Digests) -> Look:
        return cls(properties.read_all(session, EVERYTHING), custom_attributes(session), digests)

    def hosts(self) -> tuple[HostFacts, ...]:
        """Of the networks that a host names only those that there are: one that has just gone lingers on hosts."""
        there = {network.ref for network in self.networks()}
        found = (host_facts(one, self._names, self._labels) for one in self._by_kind.get(vim.HostSystem, ()))
        return tuple(
            replace(host, network_refs=tuple(ref for ref in host.network_refs if ref in there)) for host in found
        )

    def datastores(self) -> tuple[DatastoreFacts, ...]:
        return tuple(datastore_facts(one) for one in self._by_kind.get(vim.Datastore, ()))

    def networks(self) -> tuple[NetworkFacts, ...]:
        kinds = {vim.Network: "network", PORTGROUP: "distributed", vim.OpaqueNetwork: "opaque"}
        return tuple(
            NetworkFacts(ref_of(one.obj, vim.Network), unquote(one.get("name", "")), kind, _vlan(one))
            for vim_kind, kind in kinds.items()
            for one in self._by_kind.get(vim_kind, ())
        )

    def vms(self) -> tuple[VmFacts, ...]:
        return tuple(facts for machine, facts in self._vms if not machine.template)

    def templates(self) -> tuple[TemplateFacts, ...]:
        """Every VM that is not Facet's own: whatever there is can be cloned."""
        return tuple(
            TemplateFacts(
                ref=facts.ref,
                name=facts.name,
                path=f"{self._path(machine.folder)}/{facts.name}",
                vcpu=facts.vcpu,
                memory_mib=facts.memory_mib,
                disk_gib=facts.disk_gib,
                datastore_refs=facts.datastore_refs,
                is_template=machine.template,
            )
            for machine, facts in self._vms
            if not facts.witness
        )

    def _path(self, place: Any) -> str:
        parts: list[str] = []
        while place is not None and place._moId in self._names:
            parts.append(self._names[place._moId])
            place = self._parents[place._moId]
        return "".join(f"/{part}" for part in reversed(parts[:-1] if place is None else parts))  # less the root folder


def host_facts(found: Found, names: Mapping[str, str], labels: Mapping[int, str]) -> HostFacts:
    """A host; `names` holds the names of compute resources by id, `labels` those of custom attributes by key."""
    compute = found.get("parent")
    in_cluster = isinstance(compute, vim.ClusterComputeResource)
    connected = found.get("runtime.connectionState") == "connected"
    state = HostState.UP if connected else HostState.DOWN
    if connected and found.get("runtime.inMaintenanceMode"):
        state = HostState.MAINTENANCE
    return HostFacts(
        ref=found.id,
        name=unquote(found.get("name", "")),
        compute_ref=ref_of(compute, vim.ClusterComputeResource),
        vsphere_cluster=names.get(compute._moId, "") if in_cluster else "",
        cpu_cores=int(found.get("summary.hardware.numCpuCores", 0)),
        core_mhz=int(found.get("summary.hardware.cpuMhz", 0)),
        memory_mib=int(found.get("summary.hardware.memorySize", 0)) >> 20,
        state=state,
        labels={labels[own.key]: own.value for own in found.get("customValue", ()) if own.key in labels},
        datastore_refs=tuple(store._moId for store in found.get("datastore", ())),
        network_refs=tuple(ref_of(net, vim.Network) for net in found.get("network", ()) if type(net) in EVERYTHING),
    )


def datastore_facts(found: Found) -> DatastoreFacts:
    return DatastoreFacts(
        ref=found.id,
        name=unquote(found.get("summary.name", "")),
        kind=str(found.get("summary.type", "")).lower(),
        capacity_gib=int(found.get("summary.capacity", 0)) // GIB,
        free_gib=max(0, int(found.get("summary.freeSpace", 0))) // GIB,
        accessible=bool(found.get("summary.accessible")) and found.get("summary.maintenanceMode") != "inMaintenance",
    )


def custom_attributes(session: Session) -> dict[int, str]:
    """Names of the custom attributes that hosts may bear, by key: a host's are its labels. A key may be 0."""
    manager = session.content.customFieldsManager
    if manager is None:
        return {}
    read = properties.read(session, [manager], ("field",)).get(manager._moId)
    fields = read.get("field", ()) if read else ()
    return {one.key: one.name for one in fields if one.managedObjectType in (None, vim.HostSystem)}


def some_hosts(session: Session, ids: Iterable[str]) -> tuple[HostFacts, ...]:
    """These hosts, as they are now."""
    found = properties.read(session, [session.object(vim.HostSystem, id) for id in ids], HOST)
    computes = {one.get("parent")._moId: one.get("parent") for one in found.values()}
    clusters = [one for one in computes.values() if isinstance(one, vim.ClusterComputeResource)]
    names = {id: unquote(one.get("name", "")) for id, one in properties.read(session, clusters, ("name",)).items()}
    labels = custom_attributes(session)
    return tuple(host_facts(one, names, labels) for one in found.values())


def some_datastores(session: Session, ids: Iterable[str]) -> tuple[DatastoreFacts, ...]:
    found = properties.read(session, [session.object(vim.Datastore, id) for id in ids], DATASTORE)
    return tuple(datastore_facts(one) for one in found.values())


def _vlan(found: Found) -> int | None:
    vlan = getattr(getattr(found.get("config.defaultPortConfig"), "vlan", None), "vlanId", None)
    return vlan if isinstance(vlan, int) and vlan else None
