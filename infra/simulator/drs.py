"""The simulator's DRS: hosts for VMs that were asked for with a pool alone, in that pool's vSphere cluster.

Like vCenter's it chooses when a VM is made and again when it is powered on, by the rules that stand then. It does not
move what runs: a hand at the site does (docs/simulator.md, move-vm).
"""

from __future__ import annotations

from infra.drivers.base import Refused

from .admission import known
from .records import Host, Vm
from .state import State


def chosen(state: State, pool_ref: str) -> str:
    """A host for a VM that is to be made in this pool. Raises Refused(no_resources)."""
    pool = known(state.pools, pool_ref, "resource pool")
    return _best(state, [host for host in state.hosts.values() if host.compute == pool.compute], pool.name).ref


def settle(state: State, vm: Vm) -> None:
    """Before it is powered on: to a host that its rules allow. Raises Refused(no_resources)."""
    rules = [rule for rule in state.rules.values() if vm.key in rule.vm_keys]
    compute = state.hosts[vm.host].compute
    barred = {
        other.host
        for rule in rules
        for key in rule.vm_keys
        if not rule.hosts and key != vm.key and (other := state.vm(key)) is not None and other.power == "on"
    }
    allowed = [
        host
        for host in state.hosts.values()
        if host.compute == compute and all(host.ref in rule.hosts for rule in rules if rule.hosts and rule.must)
    ]
    kept_apart = [host for host in allowed if host.ref not in barred]
    if state.hosts[vm.host] not in kept_apart:
        vm.host = _best(state, kept_apart or allowed, vm.name).ref  # "separate VMs" is kept as well as it can be


def _best(state: State, hosts: list[Host], name: str) -> Host:
    """The one with the most memory left."""
    standing = [host for host in hosts if host.state == "up"]
    if not standing:
        raise Refused(f"No host of its vSphere cluster can take {name}.", code="no_resources")
    return max(standing, key=lambda host: (host.memory_mib - state.memory_on_mib[host.ref], -_placed(state, host)))


def _placed(state: State, host: Host) -> int:
    return sum(vm.host == host.ref for vm in state.vms.values())
