"""Networks that are made on a switch, and what filters their traffic. What is right already is not touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from infra.drivers.base import Refused

from . import documents
from .admission import known
from .faults import Faults
from .records import Network, Switch
from .state import State

Document = dict[str, Any]
FIELDS = ("action", "direction", "protocol", "remote", "ports", "description")


class Networks:
    def __init__(self, state: State, faults: Faults) -> None:
        self._state = state
        self._faults = faults

    def switches(self) -> Document:
        return {"switches": [{"ref": one.ref, "name": one.name, "host_refs": one.hosts} for one in self._all()]}

    def ensure(self, key: str, name: str, switch_ref: str, vlan: int) -> Document:
        """The network of this key, named and tagged so, and reached by the switch's hosts."""
        switch = known(self._state.switches, switch_ref, "switch")
        there = self._of(key)
        if there is not None and there.switch != switch.ref:
            raise Refused(f"Network {there.name} stands on another switch.", code="invalid")
        self._check_free(there, name, switch, int(vlan))
        wanted = replace(there or Network("", ""), name=name, kind="distributed", vlan=int(vlan))
        wanted = replace(wanted, switch=switch.ref, key=key)
        if there != wanted:
            self._refuse("network", name)
            with self._state.writing(by_call=True):
                wanted = self._put(wanted, switch)
        return documents.network(wanted)

    def _put(self, network: Network, switch: Switch) -> Network:
        if network.ref:
            self._state.put(network)
            return network
        made = replace(network, ref=self._state.new_ref("dvportgroup"))
        self._state.put(made)
        for host in [self._state.hosts[ref] for ref in switch.hosts if ref in self._state.hosts]:
            host.networks = [*host.networks, made.ref]
            self._state.put(host)
        return made

    def _check_free(self, there: Network | None, name: str, switch: Switch, vlan: int) -> None:
        """Names are unique on a switch; a tag may be anybody's, and is not shared with us."""
        others = [one for one in self._state.networks.values() if one.switch == switch.ref and one is not there]
        tagged = next((one for one in others if one.vlan == vlan), None)
        if tagged is not None:
            raise Refused(f"VLAN {vlan} of {switch.name} is that of network {tagged.name}.", code="vlan_taken")
        if any(one.name == name for one in others):
            raise Refused(f"The name {name!r} is taken there already.", code="name_taken")

    def remove(self, key: str) -> Document:
        """Gone from every host; refused while a card is on it."""
        network = self._of(key)
        if network is None:
            return {}
        users = sorted(vm.name for vm in self._state.vms.values() if network.ref in vm.networks)
        if users:
            raise Refused(f"VMs are on network {network.name}: {', '.join(users[:5])}.", code="in_use")
        self._refuse("no_network", network.name)
        with self._state.writing(by_call=True):
            self.drop(network)
        return {}

    def drop(self, network: Network) -> None:
        for host in [host for host in self._state.hosts.values() if network.ref in host.networks]:
            host.networks = [ref for ref in host.networks if ref != network.ref]
            self._state.put(host)
        self._state.remove(network)

    def ensure_firewall(self, key: str, rules: Iterable[Mapping[str, Any]]) -> Document:
        network = self._found(key)
        wanted = [{name: rule[name] for name in FIELDS} for rule in rules]
        if network.rules != wanted:
            self._refuse("firewall", network.name)
            with self._state.writing(by_call=True):
                self._state.put(replace(network, rules=wanted))
        return {}

    def firewall(self, key: str) -> Document:
        return {"rules": self._found(key).rules}

    def _all(self) -> list[Switch]:
        return list(self._state.switches.values())

    def _of(self, key: str) -> Network | None:
        return next((one for one in self._state.networks.values() if key and one.key == key), None)

    def _found(self, key: str) -> Network:
        network = self._of(key)
        if network is None:
            raise Refused(f"There is no network with the key {key}.", code="not_found")
        return network

    def _refuse(self, verb: str, name: str) -> None:
        error = self._faults.of_item(verb, "error", name)
        if error is not None:
            raise error
