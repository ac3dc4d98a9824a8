"""What one pass over a network knows, and what it may write."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import QuerySet

from facet.operations.engine import Turn
from infra import outside
from infra.drivers import base
from infra.models import Site

from ..models import Firewall, Network, ObjectPhase
from .firewall import rules_of


@dataclass
class Scene:
    """A row is a look, not the truth: every write about it says under which condition it holds."""

    turn: Turn
    network: Network
    firewall: Firewall | None

    @classmethod
    def read(cls, turn: Turn) -> Scene:
        with turn.reading():
            network = Network.objects.select_related("zone__site", "project__tenant").get(pk=turn.key)
            return cls(turn, network, Firewall.objects.filter(pk=network.project_id).first())

    @property
    def site(self) -> Site:
        return self.network.zone.site

    @cached_property
    def driver(self) -> base.Driver:
        return outside.driver_of(self.site)

    @property
    def wanted(self) -> int:
        """The generation of the rules that it should have."""
        return self.firewall.generation if self.firewall else 0

    @property
    def rules(self) -> list[base.FirewallRule]:
        return rules_of(self.firewall)

    @property
    def goes(self) -> bool:
        return self.network.phase == ObjectPhase.DELETING

    def same(self) -> QuerySet[Network]:
        """The network, if nothing more was asked of it since it was read."""
        return Network.objects.filter(pk=self.network.pk, generation=self.network.generation, deleted_at=None)

    def spec(self, switch: base.SwitchFacts) -> base.NetworkSpec:
        network = self.network
        name = f"{network.project.tenant.name}-{network.project.name}-{network.name}"
        if network.vlan is None:
            raise TypeError("a network has a VLAN until it is gone")
        return base.NetworkSpec(key=network.id, name=name[:MOST_LETTERS], switch_ref=switch.ref, vlan=network.vlan)

    def reason(self, error: base.DriverError, action: str) -> dict[str, Any]:
        return outside.reason(error, action)


MOST_LETTERS = 60  # vSphere bears 80, and the key's suffix follows
