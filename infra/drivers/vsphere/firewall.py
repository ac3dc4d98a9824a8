"""Rules of a network's filter as traffic rules of a distributed switch, both ways.

They stand in the port group's own filter policy, so that every port of it has them. They have no memory: what is let in
is not let out again by itself. Directions are seen from the VM: what comes in to it is incoming.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from pyVmomi import vim

from ..base import FirewallRule

Rule = vim.dvs.TrafficRule
Port = vim.dvs.DistributedVirtualPort
AGENT = "dvfilter-generic-vmware"
DIRECTIONS = {"in": "incomingPackets", "out": "outgoingPackets"}
ACTIONS = {"allow": Rule.AcceptAction, "deny": Rule.DropAction}
NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1}
ICMP_OF_IPV6 = 58
PRECEDENCE = 10


def policy(rules: Sequence[FirewallRule]) -> Any:
    """A port group's filter policy with these rules; with none, one that lets everything pass."""
    made = [_traffic_rule(number, rule) for number, rule in enumerate(rules, start=1)]
    ruleset = vim.dvs.TrafficRuleset(enabled=bool(made), precedence=PRECEDENCE, rules=made)
    config = Port.TrafficFilterConfig(agentName=AGENT, inherited=False, trafficRuleset=ruleset)
    return Port.FilterPolicy(inherited=False, filterConfig=[config])


def rules(found: Any) -> tuple[FirewallRule, ...]:
    """What a filter policy filters, in order. A ruleset that is switched off filters nothing."""
    sets = [getattr(config, "trafficRuleset", None) for config in getattr(found, "filterConfig", None) or ()]
    there = [rule for one in sets if one is not None and one.enabled for rule in one.rules]
    return tuple(_rule(one) for one in sorted(there, key=lambda one: one.sequence or 0))


# --- to the switch -------------------------------------------------------------------------------------------------


def _traffic_rule(number: int, rule: FirewallRule) -> Any:
    qualifier = vim.dvs.TrafficRule.IpQualifier()
    if rule.protocol != "any":
        qualifier.protocol = vim.IntExpression(value=_number(rule))
    if rule.remote:
        network = ip_network(rule.remote)
        side = vim.IpRange(addressPrefix=str(network.network_address), prefixLength=network.prefixlen)
        setattr(qualifier, "sourceAddress" if rule.direction == "in" else "destinationAddress", side)
    if rule.ports is not None:
        first, last = rule.ports
        qualifier.destinationIpPort = Rule.IpPortRange(startPortNumber=first, endPortNumber=last)
    some = rule.protocol != "any" or bool(rule.remote) or rule.ports is not None
    return Rule(
        description=rule.description,
        sequence=number,
        qualifier=[qualifier] if some else [],
        action=ACTIONS[rule.action](),
        direction=DIRECTIONS[rule.direction],
    )


def _number(rule: FirewallRule) -> int:
    if rule.protocol == "icmp" and rule.remote and ip_network(rule.remote).version == 6:
        return ICMP_OF_IPV6
    return NUMBERS[rule.protocol]


# --- from the switch -----------------------------------------------------------------------------------------------


def _rule(found: Any) -> FirewallRule:
    """What we would not write (a qualifier of another kind, an action of another kind) is told as it is not: no rule
    of ours is equal to it, so that it is written over."""
    direction = next((short for short, long in DIRECTIONS.items() if long == found.direction), str(found.direction))
    action = next((short for short, kind in ACTIONS.items() if isinstance(found.action, kind)), "other")
    protocol, remote, ports = "any", "", None
    for one in found.qualifier or ():
        if not isinstance(one, Rule.IpQualifier):
            protocol = "other"
            continue
        if one.protocol is not None:
            protocol = _protocol(one.protocol)
        side = one.sourceAddress if direction == "in" else one.destinationAddress
        remote = _cidr(side) if side is not None else ""
        ports = _ports(one.destinationIpPort)
    return FirewallRule(action, direction, protocol, remote, ports, found.description or "")


def _protocol(found: Any) -> str:
    if found.negate:
        return "other"
    numbers = {number: name for name, number in NUMBERS.items()} | {ICMP_OF_IPV6: "icmp"}
    return numbers.get(found.value, "other")


def _cidr(found: Any) -> str:
    if found.negate:
        return "other"
    if isinstance(found, vim.SingleIp):
        return str(ip_network(found.address))
    return f"{found.addressPrefix}/{found.prefixLength}"


def _ports(found: Any) -> tuple[int, int] | None:
    if found is None:
        return None
    if isinstance(found, Rule.SingleIpPort):
        return found.portNumber, found.portNumber
    return found.startPortNumber, found.endPortNumber
