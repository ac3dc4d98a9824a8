"""Rows as the values that a framework is told, and the cluster's secrets in and out of their seals."""

from __future__ import annotations

import base64
import json

from facet.clusters.frameworks.base import ClusterFacts, NodeFacts, Prepared, Role, Secrets, Taint
from facet.clusters.frameworks.catalogue import framework
from facet.rest import secrets

from .models import Cluster, Node, NodePool


def of_cluster(cluster: Cluster) -> ClusterFacts:
    return ClusterFacts(
        id=cluster.id,
        name=cluster.name,
        tenant_id=cluster.tenant_id,
        project_id=cluster.project_id,
        version=cluster.version,
        endpoint_host=str(cluster.endpoint_host),
        endpoint_port=cluster.endpoint_port,
        pod_cidr=cluster.pod_cidr,
        service_cidr=cluster.service_cidr,
        control_planes=cluster.control_planes,
        simulated=cluster.simulated,
    )


def of_node(node: Node) -> NodeFacts:
    """Needs `pool`, `vm` and `cluster` at hand."""
    return NodeFacts(
        id=node.id,
        name=node.name,
        role=Role(node.role),
        pool=node.pool.name if node.pool else framework(node.cluster.framework).control_plane_pool,
        vm_key=str(node.vm_id),
        address=node.vm.address or "",
        labels=node.pool.labels if node.pool else {},
        taints=taints(node.pool) if node.pool else (),
    )


def taints(pool: NodePool) -> tuple[Taint, ...]:
    return tuple(Taint(key=t["key"], effect=t["effect"], value=t.get("value", "")) for t in pool.taints)


# --- secrets -------------------------------------------------------------------------------------------------------


def _owner(cluster: Cluster) -> str:
    return f"cluster:{cluster.id}"


def seal(cluster: Cluster, prepared: Prepared) -> None:
    """Put what the framework prepared onto the (unsaved) row, sealed for it."""
    text = json.dumps({name: base64.b64encode(value).decode() for name, value in prepared.secrets.items()})
    cluster.secrets_sealed = secrets.seal(text.encode(), owner=_owner(cluster))
    cluster.token_sealed = secrets.seal(prepared.token.encode(), owner=_owner(cluster))


def unseal(cluster: Cluster) -> Prepared:
    """Never log it, never keep it."""
    text = secrets.unseal(bytes(cluster.secrets_sealed), owner=_owner(cluster))
    found: Secrets = {name: base64.b64decode(value) for name, value in json.loads(text).items()}
    return Prepared(found, secrets.unseal(bytes(cluster.token_sealed), owner=_owner(cluster)).decode())
