"""Anti-affinity rules of vSphere clusters. On standalone hosts there are none: vCenter never moves a VM there."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyVmomi import vim

from ..base import AntiAffinityRule
from . import properties, tasks
from .machine import Machine
from .session import Session

WAIT_S = 15.0
_locks: dict[tuple[str, str], threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def _alone(session: Session, cluster: Any) -> Iterator[None]:
    """Rules are written as a list of edits; two writers at once would each add the same rule."""
    with _locks[session.connection.endpoint, cluster._moId]:
        yield


def ensure_rule(session: Session, rule: AntiAffinityRule, machines: list[Machine]) -> None:
    """In each vSphere cluster, the rule holds the members that run there. vCenter wants two of them or more."""
    hosts = properties.read(session, [session.object(vim.HostSystem, one.host) for one in machines], ("parent",))
    members: dict[str, list[Any]] = defaultdict(list)
    clusters: dict[str, Any] = {}
    for machine in machines:
        host = hosts.get(machine.host)
        cluster = host.get("parent") if host else None
        if isinstance(cluster, vim.ClusterComputeResource):
            clusters[cluster._moId] = cluster
            members[cluster._moId].append(machine.obj)
    for id, cluster in clusters.items():
        with _alone(session, cluster):
            _write(session, cluster, rule.name, members[id] if len(members[id]) > 1 else [])


def ensure_no_rule(session: Session, name: str) -> None:
    for one in properties.read_all(session, {vim.ClusterComputeResource: ("name",)}):
        with _alone(session, one.obj):
            _write(session, one.obj, name, [])


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
    spec = vim.cluster.ConfigSpecEx(rulesSpec=edits)
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
