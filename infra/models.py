"""Sites and what stands in them. All platform tables: closed by access.py, not by row-level security.

Host and Datastore carry the counters that the ledger guards: `claimed + unmanaged <= limit + overdrawn` is the last
wall. Only observation raises `overdrawn`; a grant needs `claimed + unmanaged + asked <= limit`. `changed` is the id of
the transaction that wrote the row last: a look reads only what is newer than the look before.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from facet.rest.dbtypes import CurrentXid, Xid8Field
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


class HostState(models.TextChoices):
    UP = "up"
    MAINTENANCE = "maintenance"
    DOWN = "down"
    GONE = "gone"


class Host(models.Model):
    """A hypervisor. In at most one zone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="hosts")
    zone = models.ForeignKey(Zone, models.PROTECT, null=True, related_name="hosts")
    ref = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    compute_ref = models.CharField(max_length=255)
    vsphere_cluster = models.CharField(max_length=255, blank=True, default="")
    state = models.CharField(max_length=16, choices=HostState, default=HostState.UP)
    cordoned = models.BooleanField(default=False)
    labels = models.JSONField(default=dict)
    cpu_cores = models.IntegerField()
    core_mhz = models.IntegerField()
    memory_mib = models.BigIntegerField()
    vcpu_limit = models.BigIntegerField(
        default=0, help_text="cores x overcommit, less failover headroom; 0 outside zones"
    )
    vcpu_claimed = models.BigIntegerField(default=0)
    vcpu_unmanaged = models.BigIntegerField(default=0)
    vcpu_overdrawn = models.BigIntegerField(default=0)
    memory_limit_mib = models.BigIntegerField(default=0)
    memory_claimed_mib = models.BigIntegerField(default=0)
    memory_unmanaged_mib = models.BigIntegerField(default=0)
    memory_overdrawn_mib = models.BigIntegerField(default=0)
    datastore_refs = models.JSONField(default=list)
    network_refs = models.JSONField(default=list)
    seen_at = models.DateTimeField(null=True)
    changed = Xid8Field(db_default=CurrentXid())
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "ref"], name="host_once_per_site"),
            models.CheckConstraint(
                condition=Q(vcpu_claimed__lte=F("vcpu_limit") + F("vcpu_overdrawn") - F("vcpu_unmanaged")),
                name="host_vcpu_not_oversold",
            ),
            models.CheckConstraint(
                condition=Q(
                    memory_claimed_mib__lte=F("memory_limit_mib")
                    + F("memory_overdrawn_mib")
                    - F("memory_unmanaged_mib")
                ),
                name="host_memory_not_oversold",
            ),
            models.CheckConstraint(
                condition=Q(vcpu_claimed__gte=0, memory_claimed_mib__gte=0), name="host_claims_not_negative"
            ),
        ]
        indexes = [
            models.Index(fields=["changed"], name="host_changed"),
            models.Index(fields=["zone"], name="host_zone"),
        ]


class Datastore(models.Model):
    """Where disks lie. `free_gib` is observed; claims are ours."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="datastores")
    ref = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=32, blank=True, default="")
    zones = models.ManyToManyField(Zone, related_name="datastores")
    accessible = models.BooleanField(default=True)
    present = models.BooleanField(default=True)
    capacity_gib = models.BigIntegerField()
    free_gib = models.BigIntegerField()
    limit_gib = models.BigIntegerField(default=0)
    claimed_gib = models.BigIntegerField(default=0)
    unmanaged_gib = models.BigIntegerField(default=0, help_text="used at the site by what we did not claim")
    overdrawn_gib = models.BigIntegerField(default=0)
    changed = Xid8Field(db_default=CurrentXid())
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "ref"], name="datastore_once_per_site"),
            models.CheckConstraint(
                condition=Q(claimed_gib__lte=F("limit_gib") + F("overdrawn_gib") - F("unmanaged_gib")),
                name="datastore_not_oversold",
            ),
            models.CheckConstraint(condition=Q(claimed_gib__gte=0), name="datastore_claims_not_negative"),
        ]
        indexes = [models.Index(fields=["changed"], name="datastore_changed")]


class StorageClass(models.Model):
    """A kind of storage that a zone offers by name, and the datastores of the zone that satisfy it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    zone = models.ForeignKey(Zone, models.CASCADE, related_name="storage_classes")
    name = models.CharField(max_length=63, validators=[valid_name])
    datastores = models.ManyToManyField(Datastore, related_name="storage_classes")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["zone", "name"],
                name="storage_class_in_zone",
                violation_error_message="The zone has a storage class of this name.",
            )
        ]


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
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "ref"], name="network_once_per_site")]


class Template(models.Model):
    """What a site offers to clone from: the observed side of an Image."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="templates")
    ref = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    path = models.CharField(max_length=1024)
    vcpu = models.IntegerField()
    memory_mib = models.BigIntegerField()
    disk_gib = models.BigIntegerField()
    is_template = models.BooleanField(default=True)
    present = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "ref"], name="template_once_per_site")]


class Flavor(models.Model):
    """A shape of VM that teams ask for by name."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=63, unique=True, validators=[valid_name])
    vcpu = models.IntegerField()
    memory_mib = models.BigIntegerField()
    disk_gib = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(vcpu__gt=0, memory_mib__gt=0, disk_gib__gt=0), name="flavor_is_positive")
        ]


class Image(models.Model):
    """A template of a site, published for a framework and version. The name may recur at other sites."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="images")
    template = models.ForeignKey(Template, models.PROTECT)
    name = models.CharField(max_length=63)
    framework = models.CharField(max_length=32)
    version = models.CharField(max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "name"], name="image_name_at_site", violation_error_message="The site has this image."
            )
        ]


class Addon(models.Model):
    """A manifest that Facet applies to clusters, imported by IT."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=63, validators=[valid_name])
    kind = models.CharField(max_length=8, choices=[(kind, kind) for kind in ("cni", "cpi", "csi", "other")])
    version = models.CharField(max_length=32)
    sha256 = models.CharField(max_length=64)
    images = models.JSONField(default=list)
    manifest = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "version"],
                name="addon_version",
                violation_error_message="This version is there already.",
            )
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


class Installation(models.Model):
    """This Facet's own id: root folders and pools at the sites carry it. One row, made by the migration."""

    id = models.UUIDField(primary_key=True)
