"""Networks of projects' own, and what filters their traffic: port groups of a distributed switch.

A port group's key stands in its description, in the very call that makes it, and is looked for before it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from pyVmomi import vim

from ..base import FirewallRule, NetworkFacts, NetworkSpec, NotReady, Refused, SwitchFacts
from ..names import place_name
from . import firewall, properties, tasks
from .inventory import PORTGROUP
from .parts import Parts
from .properties import Found
from .session import ref_of

SWITCH = vim.DistributedVirtualSwitch
Switch = vim.dvs.VmwareDistributedVirtualSwitch  # a vCenter's own kind, whose ports have VLANs and filters
GROUP = (
    "config.name",
    "config.description",
    "config.configVersion",
    "config.defaultPortConfig",
    "config.distributedVirtualSwitch",
    "config.type",
    "config.numPorts",
    "config.autoExpand",
    "vm",
)
OURS = "facet:"
TYPE, PORTS = "earlyBinding", 8  # the switch makes more ports as VMs come
WAIT_S = 15.0


class Networks(Parts):
    """See infra.drivers.base."""

    def isolation(self) -> str:
        return "stateless-acl"

    def switches(self) -> tuple[SwitchFacts, ...]:
        found = properties.read_all(self._session, {SWITCH: ("name", "summary.hostMember")})
        return tuple(
            SwitchFacts(
                ref_of(one.obj, SWITCH),
                unquote(one.get("name", "")),
                tuple(h._moId for h in one.get("summary.hostMember", ())),
            )
            for one in found
        )

    def ensure_network(self, spec: NetworkSpec) -> NetworkFacts:
        groups = self._groups()
        ours = _of(groups, spec.key)
        name = place_name(spec.name, spec.key)
        if ours is not None and _switch(ours) != spec.switch_ref:
            raise Refused(f"Network {name} stands on another switch.", code="invalid")
        for one in groups:
            if one is not ours and _switch(one) == spec.switch_ref and _tag(one) == spec.vlan:
                sentence = f"VLAN {spec.vlan} of this switch is that of port group {_name(one)}."
                raise Refused(sentence, code="vlan_taken")
        if ours is None:
            ours = self._make(spec, name)
        elif (_name(ours), _tag(ours)) != (name, spec.vlan):
            setting = ours.get("config.defaultPortConfig")
            setting.vlan = _vlan(spec.vlan)
            self._change(ours, setting, name)
        return NetworkFacts(ref_of(ours.obj, vim.Network), name, "distributed", spec.vlan)

    def _make(self, spec: NetworkSpec, name: str) -> Found:
        config = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=name,
            description=f"{OURS}{spec.key}",
            type=TYPE,
            numPorts=PORTS,
            autoExpand=True,
            defaultPortConfig=Switch.VmwarePortConfigPolicy(vlan=_vlan(spec.vlan)),
        )
        try:
            self._carry_out(self._session.object(SWITCH, spec.switch_ref).AddDVPortgroup_Task, spec=[config])
        except (Refused, NotReady) as error:
            made = _of(self._groups(), spec.key)  # a name that is taken may be ours, made at this moment
            if made is None:
                raise _name_taken(error, name) from error
            return made
        made = _of(self._groups(), spec.key)
        if made is None:
            raise NotReady(f"Port group {name} is being made.")
        return made

    def ensure_no_network(self, key: UUID) -> None:
        group = _of(self._groups(), key)
        if group is None:
            return
        if group.get("vm"):
            raise Refused(f"VMs are on port group {_name(group)}.", code="in_use")
        try:
            self._carry_out(group.obj.Destroy_Task)
        except Refused as refused:
            if refused.code != "not_found":
                raise

    def ensure_firewall(self, key: UUID, rules: Sequence[FirewallRule]) -> None:
        group = self._found(key)
        setting = group.get("config.defaultPortConfig")
        if firewall.rules(setting.filterPolicy) != tuple(rules):
            setting.filterPolicy = firewall.policy(rules)
            self._change(group, setting, _name(group))

    def firewall(self, key: UUID) -> tuple[FirewallRule, ...]:
        return firewall.rules(self._found(key).get("config.defaultPortConfig").filterPolicy)

    # --- small parts -----------------------------------------------------------------------------------------------

    def _groups(self) -> list[Found]:
        return properties.read_all(self._session, {PORTGROUP: GROUP})

    def _found(self, key: UUID) -> Found:
        group = _of(self._groups(), key)
        if group is None:
            raise Refused(f"There is no network with the key {key}.", code="not_found")
        return group

    def _change(self, group: Found, setting: Any, name: str) -> None:
        """All that it shall be is said again: a simulated vCenter forgets what a change does not name."""
        config = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            configVersion=group.get("config.configVersion"),
            name=name,
            description=group.get("config.description"),
            type=group.get("config.type"),
            numPorts=group.get("config.numPorts"),
            autoExpand=group.get("config.autoExpand"),
            defaultPortConfig=setting,
        )
        self._carry_out(group.obj.ReconfigureDVPortgroup_Task, spec=config)

    def _carry_out(self, method: Any, **arguments: Any) -> None:
        task = self._session.call(method, **arguments)
        error = tasks.wait(self._session, [task._moId], WAIT_S)[task._moId]
        if error is not None:
            raise error


def _of(groups: Sequence[Found], key: UUID) -> Found | None:
    """The port group of this key. A copy of its description on another is not to be had: nobody clones port groups."""
    return next((one for one in groups if one.get("config.description") == f"{OURS}{key}"), None)


def _switch(group: Found) -> str:
    switch = group.get("config.distributedVirtualSwitch")
    return ref_of(switch, SWITCH) if switch is not None else ""


def _name(group: Found) -> str:
    return unquote(str(group.get("config.name", "")))


def _tag(group: Found) -> int | None:
    """Of a port group with one tag; trunks, as uplinks have, are no networks of VMs."""
    vlan = getattr(group.get("config.defaultPortConfig"), "vlan", None)
    return vlan.vlanId if isinstance(vlan, Switch.VlanIdSpec) else None


def _vlan(tag: int) -> Any:
    return Switch.VlanIdSpec(inherited=False, vlanId=tag)


def _name_taken(error: Exception, name: str) -> Exception:
    """A task says a taken name as something that passes, which for VMs it is; a port group's stays taken."""
    if isinstance(error, NotReady) and "appeared meanwhile" in error.reason:
        return Refused(f"The name {name!r} is taken there already.", code="name_taken")
    return error
