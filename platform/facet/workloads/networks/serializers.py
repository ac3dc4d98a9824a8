"""Shapes of networks of projects' own, and of their firewall."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from facet.rest.fields import NameField, StrictSerializer, Text, Truth, WholeNumber
from tenants.serializers import NamedSerializer

from ..models import Firewall, Network, ObjectPhase
from ..serializers import ReasonSerializer

MOST_RULES = 200
MOST_SERVERS = 4
LONGEST_ADDRESS = 45
MEMORY = "stateless-acl: the layer's filter has no memory, so that answers must be allowed too"


class ServersField(serializers.ListField):
    """Addresses of servers of names."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=Text(max_length=LONGEST_ADDRESS), max_length=MOST_SERVERS, **options)


class OwnNetworkRequest(StrictSerializer):
    """A network of the project's own in a zone. Its VLAN is the zone's to give."""

    name = NameField()
    zone = Text(max_length=63)
    cidr = Text(max_length=43, help_text="its subnet, such as 10.0.0.0/24")
    gateway = Text(max_length=LONGEST_ADDRESS, required=False, allow_blank=True, default="", help_text="left out: none")
    dhcp = Truth(
        required=False, default=False, help_text="a DHCP server of the site's gives addresses; else Facet does"
    )
    dns = ServersField(required=False, default=list)


class OwnNetworkChange(StrictSerializer):
    """What may change; it counts for VMs to come."""

    name = NameField(required=False)
    gateway = Text(max_length=LONGEST_ADDRESS, required=False, allow_blank=True)
    dns = ServersField(required=False)


class AppliedSerializer(serializers.Serializer):
    """Which rules a network has: `wanted` is the generation of its project's firewall."""

    applied_generation = serializers.IntegerField(source="firewall_applied")
    wanted = serializers.IntegerField(source="firewall_wanted")


class OwnNetworkSerializer(serializers.ModelSerializer):
    """Needs `firewall_wanted` beside the row's own columns: see views.networks."""

    tenant = NamedSerializer(source="project.tenant")
    project = NamedSerializer()
    zone = serializers.CharField(source="zone.name")
    dns = serializers.ListField(child=serializers.CharField())
    phase = serializers.ChoiceField(choices=ObjectPhase.choices)
    reason = ReasonSerializer(allow_null=True)
    firewall = AppliedSerializer(source="*")
    isolation = serializers.CharField(
        source="zone.site.isolation", help_text=f'what the layer really gives: l2 | stateless-acl | stateful; "" while '
        f"the site was not looked at. {MEMORY}",
    )  # fmt: skip
    simulated = serializers.BooleanField(source="zone.site.simulated")

    class Meta:
        model = Network
        fields = [
            "id", "name", "tenant", "project", "zone", "vlan", "cidr", "gateway", "dhcp", "dns", "phase", "reason",
            "firewall", "isolation", "simulated", "generation", "created_at", "delete_asked_at",
        ]  # fmt: skip


# --- firewall ------------------------------------------------------------------------------------------------------


class RuleSerializer(StrictSerializer):
    """One rule; the first that matches counts, and what none matches passes. Rules have no memory where the layer has
    none: then answers must be allowed too."""

    action = serializers.ChoiceField(choices=["allow", "deny"])
    direction = serializers.ChoiceField(choices=["in", "out"], help_text="to the project's VMs, or out of them")
    protocol = serializers.ChoiceField(choices=["any", "tcp", "udp", "icmp"], required=False, default="any")
    remote = Text(
        max_length=43,
        required=False,
        allow_blank=True,
        default="",
        help_text="the other side's addresses; left out: any",
    )
    ports = serializers.ListField(
        child=WholeNumber(maximum=65535), min_length=2, max_length=2, allow_null=True, required=False, default=None,
        help_text="of the receiving side: the first and the last; null: all",
    )  # fmt: skip
    description = Text(max_length=200, required=False, allow_blank=True, default="")


class FirewallRequest(StrictSerializer):
    """All rules of a project, in order; they replace those that it has."""

    rules = serializers.ListField(child=RuleSerializer(), max_length=MOST_RULES)


class FirewallSerializer(serializers.ModelSerializer):
    """A project's rules, for all of its networks."""

    rules = RuleSerializer(many=True)

    class Meta:
        model = Firewall
        fields = ["rules", "generation"]
