"""The doorbell: a Celery message that says "look". Losing one costs seconds, because the sweep rings again."""

from __future__ import annotations

import time

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

STALE_S = 120  # an older message is worth nothing: the sweep has rung since
OUT_OF_ORDER_S = 10.0  # after a failure nobody waits for the broker again for so long

_silent_until = 0.0


def ring(after_s: float = 0.0) -> None:
    """Ask some worker to look, now or `after_s` from now. Never raises: the truth is in the table."""
    global _silent_until  # a race between two threads costs one more try
    if time.monotonic() < _silent_until:
        return
    try:
        current_app.send_task(
            "facet.look", countdown=after_s or None, expires=after_s + STALE_S, retry=False, ignore_result=True
        )
    except (OperationalError, RedisError, OSError) as error:
        _silent_until = time.monotonic() + OUT_OF_ORDER_S
        log.warning("the bell is out of order; the sweep will come", error=str(error))
