"""Placement rules of vSphere clusters. On standalone hosts there are none: vCenter never moves a VM there.

A host rule is three things in a vSphere cluster: a group of VMs, a group of hosts, and the rule that ties them. Both
groups bear the rule's name with what they are of behind it, so that all three are found by it and go with it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from pyVmomi import vim

from ..base import AntiAffinityRule, HostRule, RuleFacts
from . import properties, tasks
from .machine import Machine
from .session import Session

WAIT_S = 15.0
OURS = "facet-"  # how the name of every rule of ours begins
VMS, HOSTS = "-vms", "-hosts"  # what the groups of a host rule are of
_locks: dict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def _alone(session: Session, cluster: Any) -> Iterator[None]:
    """Rules are written as a list of edits; two writers at once would each add the same rule."""
    with _locks[session.connection.endpoint, cluster._moId]:
        yield


def ensure_rule(session: Session, rule: AntiAffinityRule, machines: list[Machine]) -> None:
    """In each vSphere cluster, the rule holds the members that run there. vCenter wants two of them or more."""
    clusters, members = _standing(session, machines)
    for id, cluster in clusters.items():
        with _alone(session, cluster):
            _write(session, cluster, rule.name, members[id] if len(members[id]) > 1 else [])


def ensure_host_rule(session: Session, rule: HostRule, machines: list[Machine], leaving: list[Machine]) -> None:
    """In each vSphere cluster where some of the VMs stand, and some of the hosts are."""
    clusters, members = _standing(session, machines + leaving)
    going = {machine.obj._moId for machine in leaving}
    hosts: dict[str, list[Any]] = defaultdict(list)
    wanted = [session.object(vim.HostSystem, ref) for ref in rule.host_refs]
    for ref, found in properties.read(session, wanted, ("parent",)).items():
        hosts[found.get("parent")._moId].append(session.object(vim.HostSystem, ref))
    for id, cluster in clusters.items():
        with _alone(session, cluster):
            staying = [vm for vm in members[id] if vm._moId not in going]
            _tie(session, cluster, rule, staying, hosts[id], going)


def rules(session: Session) -> tuple[RuleFacts, ...]:
    """Every rule whose name says that it is of Facet."""
    found = properties.read_all(session, {vim.ClusterComputeResource: ("configurationEx",)})
    keys = properties.read_all(session, {vim.VirtualMachine: ("config.instanceUuid",)})
    uuids = {one.obj._moId: one.get("config.instanceUuid") for one in keys}
    return tuple(fact for one in found for fact in _facts(one.obj._moId, one.get("configurationEx"), uuids))


def _facts(compute_ref: str, config: Any, uuids: Mapping[str, str | None]) -> Iterator[RuleFacts]:
    groups = {group.name: group for group in config.group}
    vms: Sequence[Any]
    hosts: Sequence[Any]
    for rule in config.rule:
        if not rule.name.startswith(OURS):
            continue
        if isinstance(rule, vim.cluster.AntiAffinityRuleSpec):
            kind, vms, hosts = "apart", rule.vm, ()
        elif isinstance(rule, vim.cluster.VmHostRuleInfo):
            ours, there = groups.get(rule.vmGroupName), groups.get(rule.affineHostGroupName)
            kind, vms, hosts = "hosts", ours.vm if ours else (), there.host if there else ()
        else:
            continue
        known = [uuids.get(vm._moId) for vm in vms]
        yield RuleFacts(
            name=rule.name,
            kind=kind,
            compute_ref=compute_ref,
            vm_keys=tuple(sorted(UUID(key) for key in known if key)),
            host_refs=tuple(sorted(host._moId for host in hosts)),
            enabled=bool(rule.enabled),
        )


def _standing(session: Session, machines: list[Machine]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """The vSphere clusters where these stand, and who of them stands in which."""
    hosts = properties.read(session, [session.object(vim.HostSystem, one.host) for one in machines], ("parent",))
    members: dict[str, list[Any]] = defaultdict(list)
    clusters: dict[str, Any] = {}
    for machine in machines:
        host = hosts.get(machine.host)
        cluster = host.get("parent") if host else None
        if isinstance(cluster, vim.ClusterComputeResource):
            clusters[cluster._moId] = cluster
            members[cluster._moId].append(machine.obj)
    return clusters, members


def ensure_no_rule(session: Session, name: str) -> None:
    for one in properties.read_all(session, {vim.ClusterComputeResource: ("name",)}):
        with _alone(session, one.obj):
            _write(session, one.obj, name, [])
            _untie(session, one.obj, name)


def _tie(
    session: Session, cluster: Any, rule: HostRule, members: list[Any], hosts: list[Any], going: Collection[str]
) -> None:
    """Groups first: a rule whose groups are not there is refused."""
    found = properties.read(session, [cluster], ("configurationEx",)).get(cluster._moId)
    if found is None:
        return
    config = found.get("configurationEx")
    groups = {group.name: group for group in config.group}
    if rule.beside:
        known_ids = {vm._moId for vm in members} | set(going)
        there = groups.get(rule.name + VMS)
        members = [*members, *(vm for vm in (there.vm if there else ()) if vm._moId not in known_ids)]
        if not members and there is None:
            return
    wanted = [
        vim.cluster.VmGroup(name=rule.name + VMS, userCreated=True, vm=members),
        vim.cluster.HostGroup(name=rule.name + HOSTS, userCreated=True, host=hosts),
    ]
    edits = [
        vim.cluster.GroupSpec(operation="edit" if group.name in groups else "add", info=group)
        for group in wanted
        if group.name not in groups or _inside(groups[group.name]) != _inside(group)
    ]
    info = vim.cluster.VmHostRuleInfo(
        name=rule.name,
        enabled=True,
        userCreated=True,
        mandatory=rule.must,
        vmGroupName=rule.name + VMS,
        affineHostGroupName=rule.name + HOSTS,
    )
    known = [one for one in config.rule if one.name == rule.name]
    ties = [_edit("remove", removeKey=one.key) for one in known[1:]]
    if not known:
        ties.append(_edit("add", info=info))
    elif not (known[0].enabled and bool(known[0].mandatory) == rule.must):
        info.key, info.ruleUuid = known[0].key, known[0].ruleUuid
        ties.append(_edit("edit", info=info))
    if edits or ties:
        _reconfigure(session, cluster, vim.cluster.ConfigSpecEx(groupSpec=edits, rulesSpec=ties))


def _untie(session: Session, cluster: Any, name: str) -> None:
    """The groups go after the rule that names them."""
    found = properties.read(session, [cluster], ("configurationEx",)).get(cluster._moId)
    left = [group.name for group in found.get("configurationEx").group] if found else []
    edits = [
        vim.cluster.GroupSpec(operation="remove", removeKey=group)
        for group in (name + VMS, name + HOSTS)
        if group in left
    ]
    if edits:
        _reconfigure(session, cluster, vim.cluster.ConfigSpecEx(groupSpec=edits))


def _inside(group: Any) -> set[str]:
    return {one._moId for one in (group.vm if isinstance(group, vim.cluster.VmGroup) else group.host)}


def _write(session: Session, cluster: Any, name: str, members: list[Any]) -> None:
    found = properties.read(session, [cluster], ("configurationEx",)).get(cluster._moId)
    known = [rule for rule in (found.get("configurationEx").rule if found else ()) if rule.name == name]
    edits = [_edit("remove", removeKey=rule.key) for rule in known[1 if members else 0 :]]
    if members and not known:
        edits.append(_edit("add", info=_info(name, members)))
    elif members and not _right(known[0], members):
        info = _info(name, members)
        info.key, info.ruleUuid = known[0].key, known[0].ruleUuid
        edits.append(_edit("edit", info=info))
    if not edits:
        return
    _reconfigure(session, cluster, vim.cluster.ConfigSpecEx(rulesSpec=edits))


def _reconfigure(session: Session, cluster: Any, spec: Any) -> None:
    task = session.call(cluster.ReconfigureComputeResource_Task, spec=spec, modify=True)
    error = tasks.wait(session, [task._moId], WAIT_S)[task._moId]
    if error is not None:
        raise error


def _edit(operation: str, **more: Any) -> Any:
    return vim.cluster.RuleSpec(operation=operation, **more)


def _info(name: str, members: list[Any]) -> Any:
    return vim.cluster.AntiAffinityRuleSpec(name=name, enabled=True, userCreated=True, vm=members)


def _right(rule: Any, members: list[Any]) -> bool:
    return bool(rule.enabled) and {vm._moId for vm in rule.vm} == {vm._moId for vm in members}
