"""Volumes, and snapshots of VMs and volumes."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.ids import uuid7
from facet.rest.owned import Owned
from infra.models import Zone
from tenants.models import Project, Tenant

from .phases import ObjectPhase
from .vms import VM


class Volume(Owned, models.Model):
    """A disk of a project that outlives the VMs that have it. Its id is its key at the site."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="volumes")
    name = models.CharField(max_length=63)
    size_gib = models.BigIntegerField()
    storage_class = models.CharField(max_length=63, blank=True, default="")
    wanted_by = models.ForeignKey(VM, models.PROTECT, null=True, related_name="volumes", help_text="who shall have it")
    attached_to = models.UUIDField(null=True, help_text="the VM that has it, as the site shows it")
    ref = models.CharField(max_length=255, blank=True, default="")
    observed_gib = models.BigIntegerField(default=0)
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
                fields=["project", "name"], condition=Q(deleted_at=None), name="volume_name_in_project",
                violation_error_message="A volume of this name exists in the project.",
            )
        ]  # fmt: skip


class Snapshot(Owned, models.Model):
    """A snapshot of a VM or of a volume. Its id is its key at the site."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    vm = models.ForeignKey(VM, models.PROTECT, null=True, related_name="snapshots")
    volume = models.ForeignKey(Volume, models.PROTECT, null=True, related_name="snapshots")
    name = models.CharField(max_length=63)
    with_memory = models.BooleanField(default=False)
    phase = models.CharField(max_length=16, choices=ObjectPhase, default=ObjectPhase.PENDING)
    reason = models.JSONField(null=True)
    failures = models.IntegerField(default=0)
    revert_asked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    delete_asked_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(vm=None, volume__isnull=False) | Q(vm__isnull=False, volume=None), name="snapshot_of_one"
            ),
            models.UniqueConstraint(
                fields=["vm", "name"], condition=Q(deleted_at=None, volume=None), name="snapshot_name_of_vm",
                violation_error_message="The VM has a snapshot of this name.",
            ),
            models.UniqueConstraint(
                fields=["volume", "name"], condition=Q(deleted_at=None, vm=None), name="snapshot_name_of_volume",
                violation_error_message="The volume has a snapshot of this name.",
            ),
        ]  # fmt: skip
