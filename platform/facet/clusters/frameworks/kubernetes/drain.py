"""Emptying a node: one pass, never blocking. The caller comes again, and knows its own deadline."""

from __future__ import annotations

from facet.clusters.frameworks.base import Drained, PodLeft, Waiting
from facet.clusters.frameworks.kubernetes.client import Client, Object

MIRROR = "kubernetes.io/config.mirror"
DONE = ("Succeeded", "Failed")
NAMED = 3  # pods named in a sentence


def drain(client: Client, node: str) -> Drained | Waiting:
    """Cordon, ask each pod to go, look again. A node that is not there is drained."""
    if not client.cordon(node):
        return Drained()
    left = [pod for pod in client.pods_on(node) if must_move(pod)]
    if not left:
        return Drained()
    why = {_uid(pod): _evict(client, pod) for pod in left}
    left = [pod for pod in client.pods_on(node) if must_move(pod)]  # without grace periods they are gone by now
    if not left:
        return Drained()
    return _waiting(node, tuple(_left(pod, why.get(_uid(pod), "")) for pod in left))


def must_move(pod: Object) -> bool:
    """Not what belongs to the node (a DaemonSet's, a static pod's mirror) nor what has run to its end."""
    metadata = pod["metadata"]
    if MIRROR in (metadata.get("annotations") or {}):
        return False
    owners = metadata.get("ownerReferences") or ()
    if any(owner.get("kind") == "DaemonSet" and owner.get("controller") for owner in owners):
        return False
    return (pod.get("status") or {}).get("phase") not in DONE


def _evict(client: Client, pod: Object) -> str:
    metadata = pod["metadata"]
    if metadata.get("deletionTimestamp"):  # asked before; it takes its grace period
        return ""
    return client.evict(metadata["namespace"], metadata["name"], _uid(pod))


def _uid(pod: Object) -> str:
    return str(pod["metadata"].get("uid") or "")


def _left(pod: Object, why: str) -> PodLeft:
    metadata = pod["metadata"]
    return PodLeft(metadata["namespace"], metadata["name"], why or "It was asked to go and takes its grace period.")


def _waiting(node: str, pods: tuple[PodLeft, ...]) -> Waiting:
    named = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:NAMED])
    more = f" and {len(pods) - NAMED} more" if len(pods) > NAMED else ""
    return Waiting(f"{len(pods)} pods are still on {node}: {named}{more}.", pods)
