"""What Facet's user may do here: everything, until somebody takes a privilege away by hand.

A verb whose privilege was taken away is refused (`no_permission`), as a vCenter would refuse it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from infra.drivers.base import Refused

# layer -> privilege -> the verbs that need it
PRIVILEGES: dict[str, dict[str, tuple[str, ...]]] = {
    "compute": {
        "machines.make": ("clone",),
        "machines.change": ("reconfigure", "guestinfo", "resize"),
        "machines.power": ("power", "shut_down"),
        "machines.move": ("move",),
        "machines.remove": ("destroy",),
        "places.change": ("folder", "no_folder", "pool", "no_pool"),
        "rules.change": ("rule", "no_rule"),
    },
    "network": {"networks.change": ("ensure_network", "no_network", "firewall")},
    "storage": {"volumes.change": ("volume", "no_volume", "attach", "detach", "volume_snapshot")},
}
NEEDED = {
    verb: privilege for layer in PRIVILEGES.values() for privilege, verbs in layer.items() for verb in verbs
}  # fmt: skip


class Rights:
    """Those that are taken away are known to this process alone: with a new start everything is granted again."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, names: Collection[str]) -> dict[str, Any]:
        """From now on these are taken away, and no others."""
        unknown = sorted(set(names) - {name for layer in PRIVILEGES.values() for name in layer})
        if unknown:
            raise Refused(f"The datacenter has no privilege {unknown[0]}.", code="not_found")
        self._taken = set(names)
        return {}

    def missing(self) -> dict[str, Any]:
        lacks = {
            layer: [name for name in privileges if name in self._taken] for layer, privileges in PRIVILEGES.items()
        }
        return {"missing": {layer: names for layer, names in lacks.items() if names}}

    def check(self, verb: str) -> None:
        """Raises Refused(no_permission)."""
        needed = NEEDED.get(verb)
        if needed in self._taken:
            raise Refused(f"The user lacks the privilege {needed}.", code="no_permission")
