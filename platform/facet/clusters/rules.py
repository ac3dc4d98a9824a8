"""Rules for the hosts of a cluster's nodes: each role has its own, kept as they were said, for scale-ups too.

As JSON: those of any machine (facet/workloads/rules.py), anti_affinity, affinity (null or {"level", "mode"}).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from facet.rest.problems import Invalid
from facet.workloads.rules import NO_RULES, Rules
from infra import storage
from infra.models import Zone
from scheduler.core.ask import Apart, Group, Level, Together

from .models import Cluster, NodePool

NONE = "none"
BEST_APART = {"planes": Apart.REQUIRED.value, "workers": Apart.PREFERRED.value}  # where it is not said


def defaults(role: str) -> dict[str, Any]:
    """The rules of a role for which none were said."""
    return {**NO_RULES, "anti_affinity": BEST_APART[role], "affinity": None}


def of_control_planes(cluster: Cluster) -> dict[str, Any]:
    return defaults("planes") | cluster.control_plane_placement


def of_pool(pool: NodePool) -> dict[str, Any]:
    return defaults("workers") | pool.placement


def group(rules: Rules, key: str, members: Sequence[UUID]) -> Group:
    """Those who keep apart, or together. `members`: hosts of those that stand."""
    affinity = rules["affinity"]
    return Group(
        key=key,
        apart=None if rules["anti_affinity"] == NONE else Apart(rules["anti_affinity"]),
        over_zones=True,
        members=tuple(members),
        together=Together(affinity["mode"]) if affinity else None,
        level=Level(affinity["level"]) if affinity else Level.HOST,
    )


def check_storage(rules: Iterable[tuple[str, Rules]], zones: Sequence[Zone]) -> None:
    """Raises Invalid where a zone does not offer the storage class that is named. `rules`: with the path of each."""
    for path, said in rules:
        name = said["storage_class"]
        lacking = storage.missing(name, zones) if name else []
        if lacking:
            where = f"zone {lacking[0]}" if len(lacking) == 1 else f"zones {', '.join(lacking)}"
            raise Invalid({f"{path}.storage_class": f"There is no storage class {name} in {where}."})
