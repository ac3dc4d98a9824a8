"""What a person does at a simulated datacenter with another client than Facet, and what befalls it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from infra.drivers.base import DriverError, Refused

from . import admission
from .guesthouse import Guesthouse
from .moments import take
from .records import Network, Policy, Template, Vm
from .state import State

Document = dict[str, Any]
STATES = ("up", "maintenance", "down")


class Hand:
    """Every act happens at once, without a task, and counts as a call that writes."""

    def __init__(self, state: State, guests: Guesthouse) -> None:
        self._state = state
        self._guests = guests

    # --- looking ---------------------------------------------------------------------------------------------------

    def folder(self, ref: str) -> Document:
        """The names of all VMs in a folder, also those that are still being made."""
        inside = self._state.inside.get(ref, set())
        return {"vms": sorted(self._state.vms[one].name for one in inside if one in self._state.vms)}

    def vm(self, key: str) -> Document:
        """A VM's name, extraConfig (what is empty is left out) and the networks of its cards."""
        vm = self._found(key)
        return {
            "ref": vm.ref,
            "name": vm.name,
            "extra_config": {name: value for name, value in vm.extra.items() if value},
            "networks": vm.networks,
        }

    # --- hosts and datastores --------------------------------------------------------------------------------------

    def host(
        self,
        name: str,
        state: str | None = None,
        cpu_cores: int | None = None,
        memory_mib: int | None = None,
        labels: dict[str, str] | None = None,
        datastores: list[str] | None = None,
        networks: list[str] | None = None,
    ) -> Document:
        """Put a host down (what runs there goes off), up or in maintenance; give it another size, labels, or reach."""
        host = _named(self._state.hosts, name, "host")
        if state is not None and state not in STATES:
            raise Refused(f"A host is {', '.join(STATES)}.", code="invalid")
        with self._state.writing(by_call=True):
            host.state = state or host.state
            host.cpu_cores = host.cpu_cores if cpu_cores is None else int(cpu_cores)
            host.memory_mib = host.memory_mib if memory_mib is None else int(memory_mib)
            host.labels = host.labels if labels is None else dict(labels)
            if datastores is not None:
                host.datastores = [_named(self._state.datastores, one, "datastore").ref for one in datastores]
            if networks is not None:
                host.networks = [_named(self._state.networks, one, "network").ref for one in networks]
            self._state.put(host)
            if host.state == "down":
                for vm in [vm for vm in self._state.vms.values() if vm.host == host.ref and vm.power != "off"]:
                    self._power(vm, "off")
        return {}

    def datastore(
        self,
        name: str,
        capacity_gib: int | None = None,
        free_gib: int | None = None,
        accessible: bool | None = None,
    ) -> Document:
        """Give a datastore another capacity, fill it until so much is free, or take it away."""
        store = _named(self._state.datastores, name, "datastore")
        with self._state.writing(by_call=True):
            store.capacity_gib = store.capacity_gib if capacity_gib is None else int(capacity_gib)
            if free_gib is not None:
                store.others_gib = max(0, store.capacity_gib - self._state.used_gib[store.ref] - int(free_gib))
            store.accessible = store.accessible if accessible is None else bool(accessible)
            self._state.put(store)
        return {}

    def template(self, name: str, disk_gib: int, version: str = "", library: str = "") -> Document:
        """Another template beside the others, or an item of a content library; its ref."""
        state = self._state
        like = next(iter(state.templates.values()))
        with state.writing(by_call=True):
            made = Template(
                state.new_ref("vm"), name, like.folder, like.vcpu, like.memory_mib, int(disk_gib), like.datastore,
                version, library=library,
            )  # fmt: skip
            state.put(made)
        return {"ref": made.ref}

    def network(self, name: str, hosts: list[str] | None = None, vlan: int = 0) -> Document:
        """Another network, on these hosts or on all; its ref."""
        state = self._state
        reached = state.hosts.values() if hosts is None else [_named(state.hosts, one, "host") for one in hosts]
        with state.writing(by_call=True):
            made = Network(state.new_ref("network"), name, vlan=int(vlan))
            state.put(made)
            for host in reached:
                host.networks = [*host.networks, made.ref]
                state.put(host)
        return {"ref": made.ref}

    def policy(self, name: str, datastores: list[str] | None = None) -> Document:
        """Which datastores satisfy a storage policy from now on; null takes the policy away. A new name: a new one."""
        state = self._state
        there = next((one for one in state.policies.values() if one.name == name), None)
        satisfying = [_named(state.datastores, one, "datastore").ref for one in datastores or ()]
        with state.writing(by_call=True):
            if datastores is None:
                state.remove(_named(state.policies, name, "storage policy"))
                return {}
            made = Policy(there.ref if there else state.new_ref("policy"), name, satisfying)
            state.put(made)
        return {"ref": made.ref}

    def strange_network(self, name: str, vlan: int, switch: str) -> Document:
        """Somebody else's network on a switch, under this tag; its ref."""
        there = _named(self._state.switches, switch, "switch")
        with self._state.writing(by_call=True):
            made = Network(self._state.new_ref("dvportgroup"), name, "distributed", int(vlan), there.ref)
            self._state.put(made)
        return {"ref": made.ref}

    def lose_network(self, name: str) -> Document:
        """A network is removed, from every host."""
        network = _named(self._state.networks, name, "network")
        with self._state.writing(by_call=True):
            for host in [host for host in self._state.hosts.values() if network.ref in host.networks]:
                host.networks = [ref for ref in host.networks if ref != network.ref]
                self._state.put(host)
            self._state.remove(network)
        return {}

    def change_network(self, name: str, vlan: int | None = None, rename: str | None = None) -> Document:
        """Another tag, or another name."""
        network = _named(self._state.networks, name, "network")
        with self._state.writing(by_call=True):
            network.vlan = network.vlan if vlan is None else int(vlan)
            network.name = network.name if rename is None else rename
            self._state.put(network)
        return {}

    # --- VMs -------------------------------------------------------------------------------------------------------

    def make_vm(
        self,
        name: str,
        folder_ref: str,
        pool_ref: str,
        host_ref: str,
        datastore_ref: str,
        vcpu: int = 1,
        memory_mib: int = 512,
        disk_gib: int = 1,
        power: str = "off",
    ) -> Document:
        """A VM of somebody else's."""
        state = self._state
        vm = Vm(
            state.new_ref("vm"), str(uuid4()), name, str(uuid4()), folder_ref, pool_ref, host_ref, datastore_ref, "",
            int(vcpu), int(memory_mib), int(disk_gib),
        )  # fmt: skip
        admission.goes_together(state, vm)
        with state.writing(by_call=True):
            state.put(vm)
            self._power(vm, power)
        return {"ref": vm.ref, "key": vm.key}

    def delete_vm(self, key: str) -> Document:
        vm = self._found(key)
        with self._state.writing(by_call=True):
            self._lose(vm)
        return {}

    def power_vm(self, key: str, power: str) -> Document:
        vm = self._found(key)
        with self._state.writing(by_call=True):
            self._power(vm, power)
        return {}

    def rename_vm(self, key: str, name: str) -> Document:
        vm = self._found(key)
        if (vm.folder, name) in self._state.names:
            raise Refused(f"Another thing in the folder is named {name}.", code="name_taken")
        with self._state.writing(by_call=True):
            vm.name = name
            self._state.put(vm)
        return {}

    def resize_vm(
        self, key: str, vcpu: int | None = None, memory_mib: int | None = None, disk_gib: int | None = None
    ) -> Document:
        """Another size, running or not."""
        vm = self._found(key)
        with self._state.writing(by_call=True):
            vm.vcpu = vm.vcpu if vcpu is None else int(vcpu)
            vm.memory_mib = vm.memory_mib if memory_mib is None else int(memory_mib)
            vm.disk_gib = vm.disk_gib if disk_gib is None else int(disk_gib)
            self._state.put(vm)
        return {}

    def guest(
        self,
        key: str,
        tools: bool | None = None,
        deaf: bool | None = None,
        hot_add: bool | None = None,
        addresses: list[str] | None = None,
    ) -> Document:
        """Whether a guest has tools, does nothing when it is asked to shut down, takes more vCPUs while it runs; and
        the addresses that it tells from now on."""
        vm = self._found(key)
        with self._state.writing(by_call=True):
            vm.tools = vm.tools if tools is None else bool(tools)
            vm.deaf = vm.deaf if deaf is None else bool(deaf)
            if addresses is not None:
                vm.address, vm.more_addresses = next(iter(addresses), ""), list(addresses[1:])
            vm.hot_add = vm.hot_add if hot_add is None else bool(hot_add)
            self._state.put(vm)
        return {}

    def snapshot_vm(self, key: str, name: str) -> Document:
        """A snapshot of somebody else's."""
        vm = self._found(key)
        with self._state.writing(by_call=True):
            take(vm, {"ref": self._state.new_ref("snapshot"), "name": name, "description": "", "with_memory": False})
            self._state.put(vm)
        return {}

    def move_vm(self, key: str, host: str) -> Document:
        """To another host, running or not, as DRS would."""
        vm, there = self._found(key), _named(self._state.hosts, host, "host")
        admission.standing(there)
        if there.ref == vm.host:
            return {}
        with self._state.writing(by_call=True):
            before, vm.host = vm.host, there.ref
            try:
                admission.goes_together(self._state, vm)
                if vm.power == "on":
                    admission.fits_host(self._state, vm)
            except DriverError:
                vm.host = before
                raise
            self._state.put(vm)
        return {}

    def lose_everything(self) -> Document:
        """The datacenter comes back as from an old backup: every VM, folder and pool that Facet made is gone."""
        state = self._state
        with state.writing(by_call=True):
            for vm in list(state.vms.values()):
                self._lose(vm)
            for rule in list(state.rules.values()):
                state.remove(rule)
            for pool in [pool for pool in state.pools.values() if pool.parent not in state.computes]:
                state.remove(pool)
            seeded = {template.folder for template in state.templates.values()}
            for folder in [one for one in state.folders.values() if one.parent and one.ref not in seeded]:
                state.remove(folder)
        return {}

    # --- small parts -----------------------------------------------------------------------------------------------

    def _found(self, key: str) -> Vm:
        vm = self._state.vm(key)
        if vm is None:
            raise Refused(f"There is no VM with the key {key}.", code="not_found")
        return vm

    def _power(self, vm: Vm, power: str) -> None:
        if power not in ("on", "off"):
            raise Refused("By hand a VM is put on or off.", code="invalid")
        if vm.power == power:
            return
        if power == "on":
            admission.fits_host(self._state, vm)
            vm.has_been_on = True
        vm.power, vm.address, vm.more_addresses = power, "", []
        self._state.put(vm)
        self._guests.order(power, vm)

    def _lose(self, vm: Vm) -> None:
        self._state.remove(vm)
        self._guests.order("destroy", vm)


def _named(things: dict[str, Any], name: str, what: str) -> Any:
    """By name or ref."""
    if name in things:
        return things[name]
    found = [one for one in things.values() if one.name == name]
    if not found:
        raise Refused(f"The datacenter has no {what} {name}.", code="not_found")
    return found[0]
