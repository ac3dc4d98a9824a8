"""Tables of the engine. Wakeup, Inflight, Share and Circuit are platform tables; Operation and Event tenant-owned."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.dbtypes import CurrentXid, Xid8Field
from facet.rest.ids import uuid7
from facet.rest.owned import Owned


class Wakeup(models.Model):
    """This object is due for a look. One row per object; see engine.py for its life."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=32)
    key = models.UUIDField()
    tenant_id = models.UUIDField(null=True)
    site_id = models.UUIDField(null=True)
    due_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True)
    turn = models.BigIntegerField(default=0)
    wakes = models.BigIntegerField(default=1)
    seen = models.BigIntegerField(default=0)
    rung_at = models.DateTimeField(null=True)
    attempts = models.IntegerField(default=0)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="one_wakeup_per_object")]
        indexes = [models.Index(fields=["due_at"], name="wakeup_due")]


class Inflight(models.Model):
    """A task that a site has accepted and not yet ended; also the site's budget. `ended_at`: its owner has to look."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    site_id = models.UUIDField()
    tenant_id = models.UUIDField(null=True, help_text="of the wakeup that owns this task")
    ref = models.TextField()
    kind = models.CharField(max_length=32, help_text="the wakeup's kind that owns this task")
    key = models.UUIDField(help_text="the wakeup's key")
    about = models.UUIDField(help_text="the object that the task makes or changes: a VM's key")
    doing = models.CharField(max_length=32)
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    progress = models.SmallIntegerField(null=True)
    error_code = models.CharField(max_length=64, blank=True, default="")
    error = models.TextField(blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site_id", "ref"], name="one_row_per_task")]
        indexes = [models.Index(fields=["kind", "key"], name="inflight_owner")]


class Share(models.Model):
    """What a pass may begin at a site and has not recorded yet, and until when its owner waits for more.

    One row per owner (a wakeup's kind and key) that has asked; see governor.py.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=32)
    key = models.UUIDField()
    site_id = models.UUIDField(db_index=True)
    tenant_id = models.UUIDField(null=True)
    held = models.IntegerField(default=0)
    held_until = models.DateTimeField()
    waits_until = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "key"], name="one_share_per_owner")]


class Circuit(models.Model):
    """A site that does not answer: no pass touches it before `open_until`."""

    site_id = models.UUIDField(primary_key=True)
    failures = models.IntegerField(default=0)
    open_until = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")


class Phase(models.TextChoices):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_PHASES = (Phase.PENDING, Phase.RUNNING)


class Operation(Owned, models.Model):
    """The receipt for what takes time.

    pending -> running -> succeeded | failed | cancelled; pending may end at once. It asks for `generation` of its
    target and succeeds when that has become real.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant_id = models.UUIDField(null=True, db_index=True)
    project_id = models.UUIDField(null=True)
    site_id = models.UUIDField(null=True)
    verb = models.CharField(max_length=64)
    target_kind = models.CharField(max_length=32)
    target_id = models.UUIDField()
    target_name = models.CharField(max_length=255)
    generation = models.BigIntegerField(default=1)
    phase = models.CharField(max_length=16, choices=Phase, default=Phase.PENDING)
    steps = models.JSONField(default=list)
    problem = models.JSONField(null=True)
    undo = models.JSONField(null=True, help_text="what a cancel puts back")
    superseded_by = models.UUIDField(null=True)
    actor = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["created_at", "id"], name="operation_order"),
            models.Index(fields=["target_kind", "target_id"], name="operation_target"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(phase__in=["pending", "running"]) ^ Q(ended_at__isnull=False),
                name="operation_ended_at_says_whether_it_ended",
            )
        ]


class Event(Owned, models.Model):
    """Who did what to what, from where, before and after. Append-only; ordered by (xid, seq), see events.py."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    xid = Xid8Field(db_default=CurrentXid())
    seq = models.BigIntegerField(db_default=models.Func(models.Value("operations_event_seq"), function="nextval"))
    at = models.DateTimeField(auto_now_add=True)
    tenant_id = models.UUIDField(null=True)
    project_id = models.UUIDField(null=True)
    verb = models.CharField(max_length=64)
    actor_kind = models.CharField(max_length=32)
    actor_id = models.UUIDField(null=True)
    actor_name = models.CharField(max_length=255)
    source_ip = models.GenericIPAddressField(null=True)
    request_id = models.CharField(max_length=64, blank=True, default="")
    target_kind = models.CharField(max_length=32)
    target_id = models.UUIDField(null=True)
    target_name = models.CharField(max_length=255)
    message = models.TextField(blank=True, default="")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["xid", "seq"], name="event_order"),
            models.Index(fields=["tenant_id", "xid", "seq"], name="event_tenant"),
            models.Index(fields=["target_id", "xid", "seq"], name="event_target"),
        ]
