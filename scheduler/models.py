"""Pools, holds, allocations and moves. Written by the ledger alone (ledger.py, its SQL); see ARCHITECTURE.md."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from facet.rest.fields import valid_name
from facet.rest.ids import uuid7
from facet.rest.owned import Owned
from infra.models import Datastore, Host, Zone
from tenants.models import Project, Tenant


class PoolModel(models.TextChoices):
    ON_DEMAND = "on-demand"  # no guarantee
    RESERVED = "reserved"  # all of it is guaranteed
    FLEX = "flex"  # some of it is


class PoolPhase(models.TextChoices):
    PENDING = "pending"
    ACTIVE = "active"
    FAILED = "failed"
    DELETING = "deleting"


class ResourcePool(Owned, models.Model):
    """A tenant's or project's part of a zone, mirrored at the site. A limit of null is no limit."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT, related_name="pools")
    project = models.ForeignKey(Project, models.PROTECT, null=True, related_name="pools")
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="pools")
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="children")
    name = models.CharField(max_length=63, validators=[valid_name])
    model = models.CharField(max_length=16, choices=PoolModel)
    largest_shape = models.CharField(
        max_length=63, blank=True, default="", help_text="flavor in whose chunks room is held"
    )
    vcpu_reserved = models.BigIntegerField(default=0)
    memory_reserved_mib = models.BigIntegerField(default=0)
    vcpu_reserved_handed_down = models.BigIntegerField(default=0)
    memory_reserved_handed_down_mib = models.BigIntegerField(default=0)
    vcpu_limit = models.BigIntegerField(null=True)
    memory_limit_mib = models.BigIntegerField(null=True)
    vcpu_handed_down = models.BigIntegerField(default=0)
    memory_handed_down_mib = models.BigIntegerField(default=0)
    vcpu_used = models.BigIntegerField(default=0)
    memory_used_mib = models.BigIntegerField(default=0)
    survives_zone_loss = models.BooleanField(
        default=False, help_text="its guarantee is kept a second time, as spare room in the tenant's other such pools"
    )
    spare_id = models.UUIDField(default=uuid7, editable=False, help_text="pool_id of the Holds that are spare room")
    vcpu_spare = models.BigIntegerField(default=0, help_text="held in this zone for the loss of another")
    memory_spare_mib = models.BigIntegerField(default=0)
    phase = models.CharField(max_length=16, choices=PoolPhase, default=PoolPhase.PENDING)
    reason = models.JSONField(null=True)
    refs = models.JSONField(default=dict, help_text="compute_ref -> ref of the pool there")
    generation = models.BigIntegerField(default=1)
    observed_generation = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "project", "zone"],
                condition=Q(deleted_at=None),
                nulls_distinct=False,
                name="one_pool_per_owner_and_zone",
                violation_error_message="There is a pool in this zone already.",
            ),
            models.CheckConstraint(
                condition=(
                    Q(vcpu_limit=None) | Q(vcpu_used__lte=F("vcpu_limit"), vcpu_handed_down__lte=F("vcpu_limit"))
                )
                & (
                    Q(memory_limit_mib=None)
                    | Q(memory_used_mib__lte=F("memory_limit_mib"), memory_handed_down_mib__lte=F("memory_limit_mib"))
                ),
                name="pool_within_its_limits",
            ),
            models.CheckConstraint(
                condition=Q(
                    vcpu_reserved_handed_down__lte=F("vcpu_reserved"),
                    memory_reserved_handed_down_mib__lte=F("memory_reserved_mib"),
                ),
                name="pool_guarantee_within_its_own",
            ),
            models.CheckConstraint(
                condition=Q(
                    vcpu_used__gte=0,
                    memory_used_mib__gte=0,
                    vcpu_handed_down__gte=0,
                    memory_handed_down_mib__gte=0,
                    vcpu_reserved__gte=0,
                    memory_reserved_mib__gte=0,
                    vcpu_spare__gte=0,
                    memory_spare_mib__gte=0,
                ),
                name="pool_never_negative",
            ),
        ]


class Hold(models.Model):
    """Guaranteed room of a pool on a host, not used yet; counted in the host's claims. A platform table."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    pool_id = models.UUIDField(db_index=True)
    host = models.ForeignKey(Host, models.PROTECT, related_name="holds")
    vcpu = models.BigIntegerField(default=0)
    memory_mib = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["pool_id", "host"], name="one_hold_per_pool_and_host"),
            models.CheckConstraint(condition=Q(vcpu__gte=0, memory_mib__gte=0), name="hold_never_negative"),
        ]


class Allocation(Owned, models.Model):
    """What a holder has, where, since when: closed when released, never deleted. `[created, released)`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    zone = models.ForeignKey(Zone, models.PROTECT)
    pool = models.ForeignKey(ResourcePool, models.PROTECT)
    host = models.ForeignKey(Host, models.PROTECT)
    seen_on = models.ForeignKey(
        Host, models.PROTECT, null=True, related_name="+",
        help_text="where DRS has put it: a host of the bin that it is claimed from; recorded, and not limited by",
    )  # fmt: skip
    datastore = models.ForeignKey(Datastore, models.PROTECT)
    holder = models.UUIDField(help_text="the VM's id")
    vcpu = models.BigIntegerField()
    memory_mib = models.BigIntegerField()
    storage_gib = models.BigIntegerField()
    vcpu_from_hold = models.BigIntegerField(default=0)
    memory_from_hold_mib = models.BigIntegerField(default=0)
    ask = models.JSONField(default=dict)
    why = models.JSONField(default=dict)
    created = models.DateTimeField()
    released = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["holder"], condition=Q(released=None), name="one_live_allocation_per_holder"
            ),
        ]
        indexes = [
            models.Index(fields=["host"], condition=Q(released=None), name="allocation_live_by_host"),
            models.Index(fields=["tenant", "created"], name="allocation_by_tenant"),
        ]


class MovePhase(models.TextChoices):
    """claimed -> moving -> done | undone. Room is held at the destination while it is open."""

    CLAIMED = "claimed"
    MOVING = "moving"
    DONE = "done"
    UNDONE = "undone"


OPEN_MOVES = (MovePhase.CLAIMED, MovePhase.MOVING)


class Move(Owned, models.Model):
    """A holder on its way to another host: the claim at the destination, beside the allocation at the source."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    drain_id = models.UUIDField(db_index=True, help_text="the drain that it belongs to")
    holder = models.UUIDField(help_text="the VM's id")
    source = models.ForeignKey(Allocation, models.PROTECT, related_name="moves")
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="moves")
    pool = models.ForeignKey(
        ResourcePool, models.PROTECT, related_name="moves", help_text="who pays at the destination"
    )
    host = models.ForeignKey(Host, models.PROTECT, related_name="moves", help_text="where it goes")
    datastore = models.ForeignKey(Datastore, models.PROTECT, related_name="moves")
    vcpu = models.BigIntegerField()
    memory_mib = models.BigIntegerField()
    storage_gib = models.BigIntegerField(default=0, help_text="claimed at the destination; 0: the disk stays")
    vcpu_from_hold = models.BigIntegerField(default=0)
    memory_from_hold_mib = models.BigIntegerField(default=0)
    why = models.JSONField(default=dict)
    phase = models.CharField(max_length=16, choices=MovePhase, default=MovePhase.CLAIMED)
    reason = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["holder"], condition=Q(ended_at=None), name="one_open_move_per_holder"),
        ]
        indexes = [models.Index(fields=["host"], condition=Q(ended_at=None), name="move_open_by_host")]


class VolumeClaim(Owned, models.Model):
    """Room on a datastore that a volume holds: an Allocation without a host or a pool. Written by the ledger alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.PROTECT)
    project = models.ForeignKey(Project, models.PROTECT)
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="volume_claims")
    datastore = models.ForeignKey(Datastore, models.PROTECT, related_name="volume_claims")
    holder = models.UUIDField(help_text="the volume's id")
    storage_gib = models.BigIntegerField()
    created = models.DateTimeField()
    released = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["holder"], condition=Q(released=None), name="one_live_claim_per_volume"),
            models.CheckConstraint(condition=Q(storage_gib__gt=0), name="volume_claim_is_positive"),
        ]
