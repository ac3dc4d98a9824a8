"""A POST said twice is done once: the key's row is the first insert of the work's own transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.utils import timezone
from django.utils.crypto import salted_hmac

from .ids import uuid7
from .models import IdempotencyKey
from .problems import Conflict, Invalid, Problem

KEPT = timedelta(hours=24)
Answer = tuple[int, Any]  # status, JSON-able body


def check_key(key: str | None) -> None:
    """Raises Invalid for what is no key."""
    if key is not None and (not 1 <= len(key) <= 255 or not key.isprintable()):
        raise Invalid({"Idempotency-Key": "1 to 255 printable characters."})


def once(
    *,
    principal_id: UUID,
    method: str,
    path: str,
    key: str | None,
    body: Any,
    work: Callable[[], Answer],
    secret: bool = False,
) -> Answer:
    """`work()`, or the answer that it gave the first time. Must run inside the work's transaction.

    A rival with the same key waits here until the first one ends. Answers with secrets are not kept: their replay is
    409 `secret_shown_once`. A refusal raises, rolls the row back with the rest and so is judged anew.
    """
    if key is None:
        return work()
    digest = _digest(body)
    row_id = _begin(principal_id, method, path, key, digest)
    if row_id is None:
        return _replay(principal_id, method, path, key, digest)
    status, answer = work()
    kept = None if secret else json.loads(json.dumps(answer, cls=DjangoJSONEncoder))
    IdempotencyKey.objects.filter(pk=row_id).update(status=status, answer=kept)
    return status, answer


def replay(*, principal_id: UUID, method: str, path: str, key: str | None, body: Any) -> Answer | None:
    """The answer of an earlier request with this key, if there is one. Raises as `once` does for another body."""
    if (
        key is None
        or not IdempotencyKey.objects.filter(principal_id=principal_id, method=method, path=path, key=key).exists()
    ):
        return None
    return _replay(principal_id, method, path, key, _digest(body))


def _digest(body: Any) -> bytes:
    text = json.dumps(body, sort_keys=True, cls=DjangoJSONEncoder)
    return salted_hmac("facet.idempotency", text, algorithm="sha256").digest()  # keyed: a body may hold a password


def _begin(principal_id: UUID, method: str, path: str, key: str, digest: bytes) -> UUID | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """insert into rest_idempotencykey (id, principal_id, method, path, key, body_sha256, created_at)
               values (%s, %s, %s, %s, %s, %s, now())
               on conflict (principal_id, method, path, key) do nothing returning id""",
            [uuid7(), principal_id, method, path, key, digest],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _replay(principal_id: UUID, method: str, path: str, key: str, digest: bytes) -> Answer:
    row = IdempotencyKey.objects.filter(principal_id=principal_id, method=method, path=path, key=key).first()
    if row is None or row.status is None:
        raise Conflict("The first request with this key has not ended. Try again.", code="in_progress")
    if bytes(row.body_sha256) != digest:
        raise Problem("This Idempotency-Key was used for another body.", code="idempotency_mismatch", status=422)
    if row.answer is None:
        raise Conflict("The answer held a secret, which is shown once.", code="secret_shown_once")
    return row.status, row.answer


def forget_old() -> int:
    """Delete answers older than a day; how many."""
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]
