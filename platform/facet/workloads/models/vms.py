"""VMs of a project, and the folder that a project has in each zone."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.ids import uuid7
from facet.rest.owned import Owned
from infra.models import Image, PhysicalNetwork, Zone
from tenants.models import Project, Tenant

VM_KIND = "vm"  # of operations and events about a VM, and of the wakeup that looks after one of its own


class VmPhase(models.TextChoices):
    """pending -> cloning -> built -> running; from anywhere -> deleting -> (deleted_at). failed keeps its claims.

    built: it stands, and is not on; one that is stopped is built again.
    """

    PENDING = "pending"
    CLONING = "cloning"
    BUILT = "built"
    RUNNING = "running"
    FAILED = "failed"
    DELETING = "deleting"


class VM(Owned, models.Model):
    """A machine of a project. Its id is its key at the site (instanceUuid); where it stands, the allocation says."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="vms")
    name = models.CharField(max_length=63)
    site_name = models.CharField(
        max_length=255, blank=True, default="", help_text="its name at the site, where that is another"
    )
    image = models.ForeignKey(Image, models.SET_NULL, null=True, help_text="needed until it is built")
    network = models.ForeignKey(PhysicalNetwork, models.PROTECT, null=True)
    vcpu = models.IntegerField()
    memory_mib = models.BigIntegerField()
    disk_gib = models.BigIntegerField()
    flavor = models.CharField(max_length=63, blank=True, default="", help_text="the name of its shape when asked for")
    owner_kind = models.CharField(
        max_length=32, blank=True, default="", help_text="the wakeup's kind that looks after it"
    )
    owner_id = models.UUIDField(null=True, db_index=True)
    phase = models.CharField(max_length=16, choices=VmPhase, default=VmPhase.PENDING)
    reason = models.JSONField(null=True)
    external_ref = models.CharField(max_length=255, null=True)
    power = models.CharField(max_length=16, blank=True, default="")
    power_wanted = models.CharField(
        max_length=16, default="on", help_text="on: it is booted; off: it is made, and left"
    )
    address = models.GenericIPAddressField(null=True)
    addresses = models.JSONField(default=list, help_text="all that its guest has told; the first one first")
    adopted = models.BooleanField(default=False, help_text="Facet did not make it: nothing on it is changed")
    drift = models.JSONField(
        null=True, help_text="what differs at the site: [{field, wanted, seen, since}]; null: nothing"
    )
    guest_id = models.CharField(max_length=63, blank=True, default="", help_text="of an empty VM: its guest's type")
    source_id = models.UUIDField(null=True, help_text="the VM that it is a clone of")
    source_snapshot_id = models.UUIDField(null=True)
    ssh_keys = models.JSONField(default=list, help_text="public keys that its guest lets in")
    user_data_sealed = models.BinaryField(null=True, help_text="cloud-config, until it has booted")
    stop_asked_at = models.DateTimeField(null=True, help_text="when its guest was asked to shut down")
    stop_within_s = models.IntegerField(default=120, help_text="then it is powered off; 0: at once")
    restart_wanted = models.BooleanField(default=False, help_text="it goes off, and on again")
    resizing = models.JSONField(null=True, help_text="another size on its way: {was, may_stop, begun, off}; null: none")
    booted_at = models.DateTimeField(null=True, help_text="when Facet last powered it on")
    wiped_at = models.DateTimeField(null=True, help_text="when its boot data was seen wiped")
    seen_at = models.DateTimeField(null=True, help_text="last time the site showed it")
    missing_at = models.DateTimeField(null=True, help_text="when a site that had shown it no longer did")
    failures = models.IntegerField(default=0, help_text="tasks about it that ended in a fault since it was last right")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    delete_asked_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)

    @property
    def needs_no_image(self) -> bool:
        """It is made of another VM, or of nothing."""
        return self.source_id is not None or bool(self.guest_id)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=Q(deleted_at=None),
                name="vm_name_in_project",
                violation_error_message="A VM of this name exists in the project.",
            )
        ]
        indexes = [models.Index(fields=["zone", "phase"], condition=Q(deleted_at=None), name="vm_living_in_zone")]


class ProjectFolder(Owned, models.Model):
    """Where a project's VMs lie in a zone's site. The row's id is the folder's key."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    zone = models.ForeignKey(Zone, models.PROTECT)
    ref = models.CharField(max_length=255, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "zone"], name="one_folder_per_project_and_zone")]
