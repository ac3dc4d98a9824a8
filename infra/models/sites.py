"""Sites, the zones carved from them, and this installation."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.fields import valid_name
from facet.rest.ids import uuid7


class SitePhase(models.TextChoices):
    PENDING = "pending"
    ACTIVE = "active"
    FAILING = "failing"
    DELETING = "deleting"


class ZonePhase(models.TextChoices):
    PENDING = "pending"
    ACTIVE = "active"
    DRAINING = "draining"
    DISABLED = "disabled"
    DELETING = "deleting"
    FAILED = "failed"


class Placement(models.TextChoices):
    """Who chooses the host of a VM: our scheduler; or DRS, within the pool, and the allocation follows."""

    FACET = "facet"
    DRS = "drs"


class DriftPolicy(models.TextChoices):
    """What follows when something was changed by hand at the site: it is said, or put right and said."""

    REPORT = "report"
    REPAIR = "repair"


class Site(models.Model):
    """One vCenter, or one simulator. Credentials are sealed (facet.rest.secrets) for `site:<id>`, never shown."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=63, validators=[valid_name])
    driver = models.CharField(max_length=16)
    endpoint = models.CharField(max_length=255)
    username = models.CharField(max_length=255)
    password_sealed = models.BinaryField()
    ca_pem = models.TextField(blank=True, default="")
    phase = models.CharField(max_length=16, choices=SitePhase, default=SitePhase.PENDING)
    reason = models.JSONField(null=True, help_text="code, sentence, next action; null when all is well")
    product = models.CharField(max_length=255, blank=True, default="")
    instance_id = models.CharField(max_length=255, blank=True, default="")
    simulated = models.BooleanField(default=False)
    address_network = models.CharField(max_length=43, blank=True, default="")
    last_synced_at = models.DateTimeField(null=True)
    vms_seen = models.IntegerField(default=0, help_text="VMs of ours in the last complete listing")
    budget = models.PositiveSmallIntegerField(default=32, help_text="tasks that it may have in flight for us at once")
    missing_privileges = models.JSONField(default=dict, help_text="layer -> what Facet's user lacks there")
    isolation = models.CharField(max_length=16, blank=True, default="", help_text="what its network layer really gives")
    held_back = models.BooleanField(default=False, help_text="nothing is rebuilt or removed until a person says so")
    watcher = models.UUIDField(null=True)
    watched_until = models.DateTimeField(null=True)
    generation = models.BigIntegerField(default=1)
    observed_generation = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(deleted_at=None),
                name="site_name",
                violation_error_message="A site of this name exists.",
            )
        ]


class Zone(models.Model):
    """An availability zone: hosts, datastores and networks of one site, carved by IT."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="zones")
    name = models.CharField(max_length=63, validators=[valid_name])
    selector = models.JSONField(help_text='{"vsphere_cluster": name} | {"hosts": [names]} | {"label": "key=value"}')
    endpoint_range = models.CharField(max_length=64, blank=True, default="")
    placement = models.CharField(max_length=8, choices=Placement, default=Placement.FACET)
    drift_policy = models.CharField(max_length=8, choices=DriftPolicy, default=DriftPolicy.REPORT)
    vlan_range = models.CharField(
        max_length=255, blank=True, default="", help_text='"100-199,300": tags for networks of projects\' own'
    )
    switch = models.CharField(max_length=255, blank=True, default="", help_text="name of the switch they are made on")
    cpu_overcommit = models.DecimalField(max_digits=5, decimal_places=2, default=4)
    memory_overcommit = models.DecimalField(max_digits=5, decimal_places=2, default=1)
    failover_hosts = models.PositiveSmallIntegerField(
        default=0, help_text="k of N+k: room of this many of its N hosts is kept free for restarts"
    )
    hosts_counted = models.IntegerField(
        default=0, help_text="N of N+k: its hosts that are not gone, as its limits were reckoned"
    )
    phase = models.CharField(max_length=16, choices=ZonePhase, default=ZonePhase.PENDING)
    reason = models.JSONField(null=True)
    folder_ref = models.CharField(max_length=255, blank=True, default="")
    pool_refs = models.JSONField(default=dict, help_text="compute_ref -> ref of the zone's pool there")
    generation = models.BigIntegerField(default=1)
    observed_generation = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                condition=Q(deleted_at=None),
                name="zone_name",
                violation_error_message="A zone of this name exists.",
            ),
            models.CheckConstraint(
                condition=Q(cpu_overcommit__gte=1, memory_overcommit__gte=1), name="overcommit_is_at_least_one"
            ),
        ]


class Installation(models.Model):
    """This Facet's own id: root folders and pools at the sites carry it. One row, made by the migration."""

    id = models.UUIDField(primary_key=True)
