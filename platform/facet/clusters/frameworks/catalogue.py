"""The frameworks that this Facet offers, one instance a process."""

from __future__ import annotations

from collections.abc import Mapping

from facet.clusters.frameworks.base import BadSpec, Framework
from facet.clusters.frameworks.kubernetes.framework import Kubernetes

FRAMEWORKS: Mapping[str, Framework] = {"kubernetes": Kubernetes()}


def framework(name: str) -> Framework:
    """Raises BadSpec("framework", ...)."""
    if name not in FRAMEWORKS:
        raise BadSpec("framework", f"Offered: {', '.join(FRAMEWORKS)}.")
    return FRAMEWORKS[name]
