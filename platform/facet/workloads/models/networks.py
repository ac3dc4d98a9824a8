"""Networks of a project, their firewall, and the addresses that they give out."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.ids import uuid7
from facet.rest.owned import Owned
from infra.models import PhysicalNetwork, Zone
from tenants.models import Project, Tenant

from .phases import ObjectPhase
from .vms import VM


class Network(Owned, models.Model):
    """A network of a project's own in a zone. Its id is its key at the site."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="project_networks")
    name = models.CharField(max_length=63)
    vlan = models.PositiveSmallIntegerField(null=True)
    cidr = models.CharField(max_length=43, help_text="its subnet")
    gateway = models.GenericIPAddressField(null=True)
    dhcp = models.BooleanField(default=False, help_text="a DHCP server of the site's gives addresses; else Facet does")
    dns = models.JSONField(default=list)
    physical = models.ForeignKey(
        PhysicalNetwork, models.SET_NULL, null=True, related_name="+", help_text="as the site shows it, once made"
    )
    ref = models.CharField(max_length=255, blank=True, default="")
    firewall_applied = models.BigIntegerField(default=0, help_text="generation of the project's rules that it has")
    phase = models.CharField(max_length=16, choices=ObjectPhase, default=ObjectPhase.PENDING)
    reason = models.JSONField(null=True)
    failures = models.IntegerField(default=0)
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    delete_asked_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(deleted_at=None), name="network_name_in_project",
                violation_error_message="A network of this name exists in the project.",
            )
        ]  # fmt: skip


class Firewall(Owned, models.Model):
    """A project's firewall: one row a project, whose generation counts changes of its rules."""

    project = models.OneToOneField(Project, models.PROTECT, primary_key=True)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    rules = models.JSONField(
        default=list, help_text="in order: {action, direction, protocol, remote, ports, description}"
    )
    generation = models.BigIntegerField(default=1)


class Nic(Owned, models.Model):
    """A VM's network card, in order. On a network of the project, or on one that its zone lends."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    vm = models.ForeignKey(VM, models.CASCADE, related_name="nics")
    order = models.PositiveSmallIntegerField()
    network = models.ForeignKey(Network, models.PROTECT, null=True, related_name="nics")
    physical = models.ForeignKey(PhysicalNetwork, models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["vm", "order"], name="nic_in_order"),
            models.CheckConstraint(
                condition=Q(network=None, physical__isnull=False) | Q(network__isnull=False, physical=None),
                name="nic_on_one_network",
            ),
        ]


class Address(Owned, models.Model):
    """One address of a project's network that is given out: to a NIC, or kept as a VIP. Each once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    network = models.ForeignKey(Network, models.CASCADE, related_name="addresses")
    address = models.GenericIPAddressField()
    nic = models.OneToOneField(Nic, models.CASCADE, null=True, related_name="given")
    name = models.CharField(max_length=63, blank=True, default="", help_text="of a VIP that somebody keeps")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["network", "address"], name="address_given_once",
                violation_error_message="The network has given out this address.",
            )
        ]  # fmt: skip
