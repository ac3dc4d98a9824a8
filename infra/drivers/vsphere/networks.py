"""Networks of projects' own, and what filters their traffic."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..base import FirewallRule, NetworkFacts, NetworkSpec, Refused, SwitchFacts
from .parts import Parts


class Networks(Parts):
    """See infra.drivers.base."""

    def isolation(self) -> str:
        return "l2"

    def switches(self) -> tuple[SwitchFacts, ...]:
        return ()

    def ensure_network(self, spec: NetworkSpec) -> NetworkFacts:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_no_network(self, key: UUID) -> None:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def ensure_firewall(self, key: UUID, rules: Sequence[FirewallRule]) -> None:
        raise Refused("This layer does not do that yet.", code="not_supported")

    def firewall(self, key: UUID) -> tuple[FirewallRule, ...]:
        raise Refused("This layer does not do that yet.", code="not_supported")
