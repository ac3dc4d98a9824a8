"""How a cluster is, by the word of its own API: three requests on a kept connection."""

from __future__ import annotations

from facet.clusters.frameworks.base import ClusterHealth, ClusterRefused, NodeHealth, NotAnswering
from facet.clusters.frameworks.kubernetes.client import Client, Object

SIMULATED_VERSION = "+simulated"
SIMULATED_LABEL = "facet.dev/simulated"
# What a kubelet says of a node without a pod network, in its Ready condition.
NO_NETWORK = ("cni plugin not initialized", "NetworkPluginNotReady", "network plugin is not ready")
NAMED = 5  # nodes named in a sentence


def health(client: Client) -> ClusterHealth:
    """Never raises for a cluster that is silent or refuses: that is its health."""
    try:
        if not client.ready():
            return _unwell("not_ready", "The API server says that it is not ready.")
        return judge(client.version(), client.nodes())
    except NotAnswering as silent:
        return _unwell(silent.code, silent.sentence)
    except ClusterRefused as refusal:
        return _unwell("refused", f"The cluster refuses Facet's certificate: {refusal.sentence}")
    except (KeyError, TypeError, AttributeError):  # whoever owns the cluster may have put anything in its place
        return _unwell("nonsense", "The cluster's API answers what no Kubernetes would.")


def judge(version: str, found: list[Object]) -> ClusterHealth:
    """What the API's answers amount to. Ready: there are nodes, and each of them is."""
    nodes = tuple(node_health(item) for item in found)
    simulated = SIMULATED_VERSION in version or any(node.simulated for node in nodes)
    cni_present = any(node.ready for node in nodes) or (bool(nodes) and not any(map(_without_network, nodes)))
    code, sentence = _first_cause(nodes, cni_present)
    return ClusterHealth(
        answers=True,
        ready=not code,
        version=version,
        simulated=simulated,
        nodes=nodes,
        cni_present=cni_present,
        code=code,
        sentence=sentence,
    )


def node_health(node: Object) -> NodeHealth:
    metadata, status = node["metadata"], node.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    is_ready = ready.get("status") == "True"
    reason = ready.get("message") or ready.get("reason") or "The kubelet has not reported yet."
    return NodeHealth(
        name=metadata["name"],
        ready=is_ready,
        reason="" if is_ready else str(reason),
        version=str((status.get("nodeInfo") or {}).get("kubeletVersion", "")),
        simulated=(metadata.get("labels") or {}).get(SIMULATED_LABEL) == "true",
        provider_id=str((node.get("spec") or {}).get("providerID") or ""),
        addresses=tuple(item["address"] for item in status.get("addresses") or () if item["type"] == "InternalIP"),
        conditions={kind: str(item.get("status", "")) for kind, item in conditions.items()},
    )


def _without_network(node: NodeHealth) -> bool:
    return any(words in node.reason for words in NO_NETWORK)


def _first_cause(nodes: tuple[NodeHealth, ...], cni_present: bool) -> tuple[str, str]:
    if not nodes:
        return "no_nodes", "No node has joined yet."
    if not cni_present:
        return "no_cni", "No pod network stands in the cluster: no node can be Ready before a CNI add-on is applied."
    late = [node for node in nodes if not node.ready]
    if not late:
        return "", ""
    named = "; ".join(f"{node.name}: {node.reason}" for node in late[:NAMED])
    return "nodes_not_ready", f"{len(late)} of {len(nodes)} nodes are not Ready. {named}"


def _unwell(code: str, sentence: str) -> ClusterHealth:
    return ClusterHealth(answers=False, ready=False, code=code, sentence=sentence)
