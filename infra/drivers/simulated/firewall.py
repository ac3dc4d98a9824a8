"""Rules of a network's filter as the simulator's JSON, both ways."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..base import FirewallRule


def document(rule: FirewallRule) -> dict[str, Any]:
    return asdict(rule) | {"ports": None if rule.ports is None else list(rule.ports)}


def rule(found: dict[str, Any]) -> FirewallRule:
    first_and_last = found["ports"]
    return FirewallRule(**found | {"ports": None if first_and_last is None else tuple(first_and_last)})
