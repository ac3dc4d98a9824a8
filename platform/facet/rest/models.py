"""The one table of this room: answers already given."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.db import models

from .ids import uuid7


class IdempotencyKey(models.Model):
    """The first answer to (principal, method, path, key), kept for a day.

    A platform table: it is read only by its own principal's next request, before which the rights are checked again.
    """

    id: models.UUIDField[UUID, UUID] = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    principal_id: models.UUIDField[UUID, UUID] = models.UUIDField()
    method: models.CharField[str, str] = models.CharField(max_length=8)
    path: models.TextField[str, str] = models.TextField()
    key: models.CharField[str, str] = models.CharField(max_length=255)
    body_sha256: models.BinaryField[bytes, bytes] = models.BinaryField(max_length=32)
    status: models.SmallIntegerField[int | None, int | None] = models.SmallIntegerField(null=True)
    answer = models.JSONField(null=True)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["principal_id", "method", "path", "key"], name="one_answer_per_idempotency_key"
            )
        ]
