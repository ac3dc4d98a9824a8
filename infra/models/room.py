"""What a site has: hosts, datastores, and what stands there that is not ours."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from facet.rest.dbtypes import CurrentXid, Xid8Field
from facet.rest.fields import valid_name
from facet.rest.ids import uuid7

from .sites import Site, Zone


class HostState(models.TextChoices):
    UP = "up"
    MAINTENANCE = "maintenance"
    DOWN = "down"
    GONE = "gone"


class HostKind(models.TextChoices):
    """What a row of hosts stands for."""

    HOST = "host"
    BIN = "bin"  # all hosts of a zone that DRS places in: what is claimed from there


class Host(models.Model):
    """A hypervisor, in at most one zone; or the one bin of a zone that DRS places in, see infra/bins.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.PROTECT, related_name="hosts")
    zone = models.ForeignKey(Zone, models.PROTECT, null=True, related_name="hosts")
    kind = models.CharField(max_length=8, choices=HostKind, default=HostKind.HOST)
    bin = models.ForeignKey(
        "self", models.PROTECT, null=True, related_name="members",
        help_text="of the zone whose room it is part of; such a host has no zone of its own",
    )  # fmt: skip
    stands_for = models.IntegerField(default=1, help_text="of a bin: so many hosts are up")
    largest_vcpu = models.BigIntegerField(null=True, help_text="of a bin: no VM is larger than its largest host")
    largest_memory_mib = models.BigIntegerField(null=True)
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

    @property
    def of_zone(self) -> Zone | None:
        """The zone whose room it is part of, whichever way that is counted."""
        return self.zone if self.bin is None else self.bin.zone


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


class StoragePolicy(models.Model):
    """A storage policy of a site, and the datastores that satisfy it, as observed."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.CASCADE, related_name="policies")
    ref = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    datastore_refs = models.JSONField(default=list)
    present = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "ref"], name="policy_once_per_site")]


class StorageClass(models.Model):
    """A kind of storage that a zone offers by name, and the datastores of the zone that satisfy it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    zone = models.ForeignKey(Zone, models.CASCADE, related_name="storage_classes")
    name = models.CharField(max_length=63, validators=[valid_name])
    datastores = models.ManyToManyField(Datastore, related_name="storage_classes")
    policy = models.ForeignKey(
        "StoragePolicy", models.PROTECT, null=True, related_name="classes",
        help_text="then its datastores are those of the zone that satisfy this policy",
    )  # fmt: skip
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


class UnmanagedVm(models.Model):
    """A VM of a site that Facet did not make and does not manage, as observed. Nobody's, so IT alone sees it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site = models.ForeignKey(Site, models.CASCADE, related_name="unmanaged_vms")
    ref = models.CharField(max_length=255)
    key = models.UUIDField(help_text="its instanceUuid")
    name = models.CharField(max_length=255)
    host = models.ForeignKey(Host, models.SET_NULL, null=True, related_name="unmanaged_vms")
    datastore_refs = models.JSONField(default=list)
    vcpu = models.IntegerField()
    memory_mib = models.BigIntegerField()
    disk_gib = models.BigIntegerField()
    power = models.CharField(max_length=16)
    address = models.GenericIPAddressField(null=True)
    seen_at = models.DateTimeField(help_text="when a look that told something new of it began")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "ref"], name="unmanaged_vm_once_per_site")]
        indexes = [models.Index(fields=["site", "key"], name="unmanaged_vm_key")]
