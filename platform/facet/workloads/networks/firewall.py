"""A project's firewall: its rules, in order, and which of its networks have them.

Rules are without memory wherever the layer's are: what is let in is not let out again by itself, so that answers need
a rule of their own where a later rule denies them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from facet.operations import services as operations
from facet.operations.engine import Again, Done, Outcome, Turn
from facet.operations.models import Operation
from facet.operations.services import Step
from facet.operations.wakeups import wake
from facet.rest.access import Actor
from facet.rest.problems import Invalid
from infra.drivers.base import FirewallRule
from tenants.models import Project

from ..models import Firewall, Network, ObjectPhase

KIND = "firewall"
LATER_S = 5.0


def rules_of(firewall: Firewall | None) -> list[FirewallRule]:
    """As the contract says them."""
    return [_rule(one) for one in firewall.rules] if firewall is not None else []


def _rule(one: Mapping[str, Any]) -> FirewallRule:
    ports = one["ports"]
    return FirewallRule(
        action=one["action"], direction=one["direction"], protocol=one["protocol"], remote=one["remote"],
        ports=None if ports is None else (ports[0], ports[1]), description=one["description"],
    )  # fmt: skip


def checked(rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rules as they are kept. Raises Invalid naming the field of one that means nothing."""
    return [_checked(number, rule) for number, rule in enumerate(rules)]


def _checked(number: int, rule: Mapping[str, Any]) -> dict[str, Any]:
    at, remote, ports = f"rules.{number}", rule["remote"], rule["ports"]
    if remote:
        try:
            network = ip_network(remote)
        except ValueError:
            raise Invalid({f"{at}.remote": "Addresses are like 10.0.0.0/24, or 10.0.0.5/32 for one."}) from None
        if "%" in remote:
            raise Invalid({f"{at}.remote": "Addresses are like 10.0.0.0/24, or 10.0.0.5/32 for one."})
        remote = str(network)
    if ports is not None:
        if rule["protocol"] not in ("tcp", "udp"):
            raise Invalid({f"{at}.ports": "Only tcp and udp have ports."})
        if len(ports) != 2 or ports[0] > ports[1]:
            raise Invalid({f"{at}.ports": "The first and the last port, the lower one first."})
    return dict(rule) | {"remote": remote, "ports": None if ports is None else list(ports)}


# --- asking --------------------------------------------------------------------------------------------------------


def target(firewall: Firewall, project: Project) -> operations.Target:
    return operations.Target(KIND, project.id, project.name, firewall.tenant_id, project.id)


def set_rules(
    *, firewall: Firewall, project: Project, rules: Sequence[Mapping[str, Any]], by: Actor
) -> tuple[Firewall, Operation]:
    """Other rules for all of a project's networks, those that come later too. `firewall` is held, see hold_project."""
    before = firewall.rules
    firewall.rules, firewall.generation = checked(rules), firewall.generation + 1
    firewall.save(update_fields=["rules", "generation"])
    operation = operations.start(
        "firewall.set", target=target(firewall, project), by=by, generation=firewall.generation,
        before={"rules": before}, after={"rules": firewall.rules},
    )  # fmt: skip
    for network in living(firewall).select_related("zone"):
        wake("network", network.id, tenant_id=network.tenant_id, site_id=network.zone.site_id)
    wake(KIND, project.id, tenant_id=firewall.tenant_id)
    return firewall, operation


def living(firewall: Firewall) -> Any:
    """The networks that shall have the rules."""
    rows = Network.objects.filter(project_id=firewall.project_id, deleted_at=None)
    return rows.exclude(phase=ObjectPhase.DELETING).order_by("id")


# --- reconciling ---------------------------------------------------------------------------------------------------


def firewall(turn: Turn) -> Outcome:
    """Its operation ends when every network has the rules; each network's own pass applies them."""
    with turn.transaction():
        found = Firewall.objects.get(pk=turn.key)
        have = list(living(found).values_list("firewall_applied", flat=True))
        done = sum(applied >= found.generation for applied in have)
        step = Step("networks", "Each network has the rules", "running", done, len(have))
        operations.report(KIND, turn.key, [step])
        if done == len(have):
            operations.succeed(KIND, turn.key, generation=found.generation)
    return Done() if done == len(have) else Again(LATER_S)
