"""Networks of a site, and the numbers that zones hand out."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.ids import uuid7

from .sites import Site, Zone


class PhysicalNetwork(models.Model):
    """A network of a site that VMs can be put on."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="networks")
    ref = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=32, blank=True, default="")
    vlan = models.IntegerField(null=True)
    zones = models.ManyToManyField(Zone, related_name="networks")
    present = models.BooleanField(default=True)
    of_zone = models.ForeignKey(
        Zone,
        models.SET_NULL,
        null=True,
        related_name="own_networks",
        help_text="Facet made it for a project; never lent",
    )
    offered_to_all = models.BooleanField(default=True, help_text="no: only to the tenants of its offers")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "ref"], name="network_once_per_site")]


class NetworkOffer(models.Model):
    """A network that IT lends to a chosen tenant."""

    network = models.ForeignKey(PhysicalNetwork, models.CASCADE, related_name="offers")
    tenant_id = models.UUIDField(help_text="of room tenants, which this room does not import")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["network", "tenant_id"], name="network_offered_once")]


class Vlan(models.Model):
    """One tag of a zone's VLAN range. `holder` is the network that has it; handed out once at a time."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="vlans")
    zone = models.ForeignKey(Zone, models.CASCADE, related_name="vlans")
    tag = models.PositiveSmallIntegerField()
    holder = models.UUIDField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "tag"], name="vlan_in_one_zone", violation_error_message="Another zone has this tag."
            ),
            models.UniqueConstraint(fields=["holder"], name="one_vlan_per_holder"),
            models.CheckConstraint(condition=Q(tag__gte=1, tag__lte=4094), name="vlan_is_a_tag"),
        ]


class Endpoint(models.Model):
    """One address of a zone's endpoint range. `holder` is the cluster that has it; handed out once at a time."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="cluster_endpoints")
    zone = models.ForeignKey(Zone, models.CASCADE, related_name="endpoints")
    address = models.GenericIPAddressField()
    holder = models.UUIDField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "address"],
                name="endpoint_in_one_zone",
                violation_error_message="The range overlaps another zone's.",
            ),
            models.UniqueConstraint(fields=["holder"], name="one_endpoint_per_holder"),
        ]
