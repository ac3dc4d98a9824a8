"""What VMs and clusters are made of."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.fields import valid_name
from facet.rest.ids import uuid7

from .room import Datastore
from .sites import Site, Zone


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
    kind = models.CharField(max_length=16, blank=True, default="template", help_text="template, vm or library-item")
    datastore_refs = models.JSONField(default=list, help_text="where it lies; empty: not known")
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


class ReplicaPhase(models.TextChoices):
    """pending -> copying -> ready; failed is tried again when someone asks; deleting -> the row goes."""

    PENDING = "pending"
    COPYING = "copying"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"


class ImageReplica(models.Model):
    """An image's copy in a zone that cannot clone from its template. Its id is the copy's key at the site."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    image = models.ForeignKey(Image, models.SET_NULL, null=True, related_name="replicas")
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="image_replicas")
    phase = models.CharField(max_length=16, choices=ReplicaPhase, default=ReplicaPhase.PENDING)
    reason = models.JSONField(null=True)
    ref = models.CharField(max_length=255, blank=True, default="")
    datastore = models.ForeignKey(Datastore, models.PROTECT, null=True)
    failures = models.IntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["image", "zone"], name="one_replica_per_zone",
                violation_error_message="The zone has a copy of this image.",
            )
        ]  # fmt: skip


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
