"""The life that networks, volumes and snapshots share."""

from __future__ import annotations

from django.db import models


class ObjectPhase(models.TextChoices):
    """pending -> ready; from anywhere -> deleting -> (deleted_at). failed keeps its claims."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    DELETING = "deleting"
