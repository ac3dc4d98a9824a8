"""The witness: whether nodes that must not share a host do, as their site shows it.

DRS keeps a rule as well as it can, and people move VMs by hand. What breaks a rule is told once, with the nodes and the
host, and stands on the cluster until the rule holds again. Nothing is moved because of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from facet.operations import events
from facet.rest.access import SYSTEM
from facet.workloads.models import VmPhase
from infra.drivers.base import VmFacts
from infra.models import Host, HostKind
from scheduler import ledger
from scheduler.core.ask import Apart
from scheduler.models import Allocation

from . import rules
from .models import CLUSTER_KIND, GONE_PHASES, Cluster, ClusterPhase, Node

PLANES = "control-planes"
SLICE = 500
Broken = dict[str, Any]  # {"group", "host", "nodes"}


def observe(
    transaction: Callable[[], AbstractContextManager[None]],
    site_id: UUID,
    vms: Sequence[VmFacts],
    *,
    gone_refs: Sequence[str] = (),
    complete: bool,
    began: datetime | None = None,
) -> None:
    """The engine's site observer, after the allocations have followed: clusters of the VMs that were seen, or left."""
    seen = {vm.key: vm.host_ref for vm in vms if vm.witness}
    keys = sorted(seen)
    touched: set[UUID] = set()
    with transaction():
        for start in range(0, len(keys), SLICE):
            rows = Node.objects.filter(vm_id__in=keys[start : start + SLICE]).exclude(phase__in=GONE_PHASES)
            touched |= set(rows.values_list("cluster_id", flat=True))
        if gone_refs:
            rows = Node.objects.filter(vm__external_ref__in=list(gone_refs), vm__zone__site_id=site_id)
            touched |= set(rows.values_list("cluster_id", flat=True))
        names = dict(Host.objects.filter(site_id=site_id).values_list("ref", "name")) if touched else {}
    for id in sorted(touched):
        with transaction():
            _judge(id, seen, names)


def _judge(id: UUID, seen: Mapping[UUID, str], names: Mapping[str, str]) -> None:
    cluster = Cluster.objects.select_for_update(no_key=True).filter(pk=id, deleted_at=None).first()
    if cluster is None or cluster.phase == ClusterPhase.DELETING:
        return
    now = _broken(cluster, seen, names)
    before = cluster.broken_rules
    if now == before:
        return
    Cluster.objects.filter(pk=id).update(broken_rules=now)
    for one in now:
        if one not in before:
            _tell(cluster, "rule.violated", one, "stand on one host, and must not")
    for one in before:
        if one not in now:
            _tell(cluster, "rule.restored", one, "keep apart again, or are other nodes now")


def _broken(cluster: Cluster, seen: Mapping[UUID, str], names: Mapping[str, str]) -> list[Broken]:
    """Every host that two or more of a group share. Where one was not seen just now, it stands where its room is."""
    nodes = Node.objects.filter(cluster=cluster, vm__phase=VmPhase.RUNNING, vm__missing_at=None)
    living = list(nodes.exclude(phase__in=GONE_PHASES).select_related("pool").order_by("name"))
    apart = [node for node in living if _keeps_apart(cluster, node)]
    held = ledger.allocations([node.vm_id for node in apart])
    shared: dict[tuple[str, str], list[str]] = defaultdict(list)
    for node in apart:
        ref = seen.get(node.vm_id) or (_recorded(held[node.vm_id]) if node.vm_id in held else "")
        if ref:
            shared[node.pool.name if node.pool else PLANES, names.get(ref, ref)].append(node.name)
    return [_fact(*place, nodes) for place, nodes in sorted(shared.items()) if len(nodes) > 1]


def _recorded(held: Allocation) -> str:
    """Where its room is; in a zone that DRS places, where it was last seen, if it has been seen at all."""
    if held.host.kind == HostKind.BIN:
        return held.seen_on.ref if held.seen_on is not None else ""
    ref: str = held.host.ref
    return ref


def _keeps_apart(cluster: Cluster, node: Node) -> bool:
    said = rules.of_pool(node.pool) if node.pool else rules.of_control_planes(cluster)
    return bool(said["anti_affinity"] == Apart.REQUIRED)


def _fact(group: str, host: str, nodes: Iterable[str]) -> Broken:
    return {"group": group, "host": host, "nodes": list(nodes)}


def _tell(cluster: Cluster, verb: str, one: Broken, what: str) -> None:
    events.record(
        verb, by=SYSTEM, kind=CLUSTER_KIND, id=cluster.id, name=cluster.name, tenant_id=cluster.tenant_id,
        project_id=cluster.project_id, message=f"{' and '.join(one['nodes'])} {what}: {one['host']}.", after=one,
    )  # fmt: skip
