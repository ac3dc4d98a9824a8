"""What a new simulated datacenter holds: racks of hosts, each rack a vSphere cluster with a datastore of its own.

rack-1..n, rack-1-ssd..n, the network `VM Network` and the switch `switch-1` everywhere, templates on the datastore
`templates`, and the storage policies `gold` (rack-n-ssd) and `standard` (all). A second start with more racks
or hosts adds them; nothing is ever taken away.
"""

from __future__ import annotations

from typing import Any

from .records import Compute, Datastore, Folder, Host, Network, Policy, Pool, Switch, Template
from .state import State

CORES, CORE_MHZ, MEMORY_MIB = 32, 2600, 256 * 1024
RACK_GIB, TEMPLATES_GIB = 8 * 1024, 512
NETWORK = "VM Network"
SWITCH = "switch-1"
KUBERNETES = {"kube-v1.33": "v1.33.5", "kube-v1.34": "v1.34.2", "kube-v1.35": "v1.35.0"}


def seed(state: State, racks: int, hosts_per_rack: int) -> None:
    with state.writing():
        network = _named(state.networks, NETWORK) or _new(state, Network(state.new_ref("network"), NETWORK))
        store = _named(state.datastores, "templates") or _new(
            state, Datastore(state.new_ref("datastore"), "templates", "nfs", TEMPLATES_GIB)
        )
        _templates(state, store)
        for number in range(1, racks + 1):
            _rack(state, f"rack-{number}", hosts_per_rack, store, network)
        _switch(state)
        _policies(state)


def _switch(state: State) -> None:
    """One, that reaches all hosts: those that came later too, and so do the networks that were made on it."""
    switch = _named(state.switches, SWITCH) or _new(state, Switch(state.new_ref("dvs"), SWITCH))
    new = [host for ref, host in state.hosts.items() if ref not in switch.hosts]
    if not new:
        return
    switch.hosts = [*switch.hosts, *(host.ref for host in new)]
    state.put(switch)
    made = [one.ref for one in state.networks.values() if one.switch == switch.ref]
    for host in new if made else ():
        host.networks = [*host.networks, *made]
        state.put(host)


def _policies(state: State) -> None:
    """`gold`: on solid state disks; `standard`: anywhere. One that stands keeps what it was given by hand."""
    for name, kinds in {"gold": ("vmfs",), "standard": ("vmfs", "nfs")}.items():
        satisfying = [store.ref for store in state.datastores.values() if store.kind in kinds]
        if _named(state.policies, name) is None:
            _new(state, Policy(state.new_ref("policy"), name, satisfying))


def _templates(state: State, store: Datastore) -> None:
    root = _named(state.folders, "vm") or _new(state, Folder(state.new_ref("group"), "vm", ""))
    folder = _named(state.folders, "templates") or _new(state, Folder(state.new_ref("group"), "templates", root.ref))
    for name, version in {**KUBERNETES, "debian-12": ""}.items():
        if _named(state.templates, name) is None:
            _new(state, Template(state.new_ref("vm"), name, folder.ref, 2, 2048, 8, store.ref, version))


def _rack(state: State, name: str, hosts: int, templates: Datastore, network: Network) -> None:
    rack = _named(state.computes, name)
    if rack is None:
        root = state.new_ref("resgroup")
        rack = _new(state, Compute(state.new_ref("domain"), name, root))
        _new(state, Pool(root, "Resources", rack.ref, rack.ref))
    store = _named(state.datastores, f"{name}-ssd") or _new(
        state, Datastore(state.new_ref("datastore"), f"{name}-ssd", "vmfs", RACK_GIB)
    )
    there = {host.name for host in state.hosts.values()}
    for number in range(1, hosts + 1):
        if f"{name}-host-{number}" not in there:
            host = Host(state.new_ref("host"), f"{name}-host-{number}", rack.ref, CORES, CORE_MHZ, MEMORY_MIB)
            host.labels, host.datastores, host.networks = {"rack": name}, [store.ref, templates.ref], [network.ref]
            _new(state, host)


def _named(things: dict[str, Any], name: str) -> Any:
    return next((one for one in things.values() if one.name == name), None)


def _new(state: State, record: Any) -> Any:
    state.put(record)
    return record
