"""Networks of projects' own, and what filters their traffic."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..base import FirewallRule, NetworkFacts, NetworkSpec, SwitchFacts
from ..names import place_name
from . import firewall
from .parts import Parts


class Networks(Parts):
    """See infra.drivers.base."""

    def isolation(self) -> str:
        return "stateless-acl"

    def switches(self) -> tuple[SwitchFacts, ...]:
        found = self._way.ask("switches")["switches"]
        return tuple(SwitchFacts(**one | {"host_refs": tuple(one["host_refs"])}) for one in found)

    def ensure_network(self, spec: NetworkSpec) -> NetworkFacts:
        name = place_name(spec.name, spec.key)
        made = self._way.ask("network", key=str(spec.key), name=name, switch_ref=spec.switch_ref, vlan=spec.vlan)
        return NetworkFacts(**made)

    def ensure_no_network(self, key: UUID) -> None:
        self._way.ask("no_network", key=str(key))

    def ensure_firewall(self, key: UUID, rules: Sequence[FirewallRule]) -> None:
        self._way.ask("firewall", key=str(key), rules=[firewall.document(rule) for rule in rules])

    def firewall(self, key: UUID) -> tuple[FirewallRule, ...]:
        return tuple(firewall.rule(one) for one in self._way.ask("firewall_of", key=str(key))["rules"])
