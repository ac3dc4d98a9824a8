"""Hosts and zones being emptied."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from facet.rest.ids import uuid7
from infra.models import Host, Zone


class DrainPhase(models.TextChoices):
    """running -> drained | cancelled | failed; a resumed one is closed. While it is running nothing new comes."""

    RUNNING = "running"
    DRAINED = "drained"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Drain(models.Model):
    """A host, or all hosts of a zone, being emptied. A platform table: it moves VMs of any tenant."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    zone = models.ForeignKey(Zone, models.PROTECT, related_name="drains")
    host = models.ForeignKey(Host, models.PROTECT, null=True, related_name="drains", help_text="null: the whole zone")
    phase = models.CharField(max_length=16, choices=DrainPhase, default=DrainPhase.RUNNING)
    reason = models.JSONField(null=True)
    total = models.IntegerField(default=0, help_text="VMs that stood there when it began")
    generation = models.BigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["zone", "host"],
                condition=Q(ended_at=None),
                nulls_distinct=False,
                name="one_drain_at_a_time",
                violation_error_message="It is being drained already.",
            )
        ]
