"""The doorbell: a Celery message that says "look". Losing one costs seconds, because the sweep rings again.

While as many bells wait to be heard as there are slots, one more would say nothing: whoever takes one of those looks
after what was committed now, and goes on until nothing is due. (But for bells that have waited for longer than STALE_S,
which nobody answers: the sweep rings `always`.)
"""

from __future__ import annotations

import time
from functools import cache

import structlog
from celery import current_app
from django.conf import settings
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

log = structlog.get_logger(__name__)

STALE_S = 120  # an older message is worth nothing: the sweep has rung since
OUT_OF_ORDER_S = 10.0  # after a failure nobody waits for the broker again for so long

_silent_until = 0.0


def ring(after_s: float = 0.0, *, always: bool = False) -> None:
    """Ask some worker to look, now or `after_s` from now. Never raises: the truth is in the table."""
    global _silent_until  # a race between two threads costs one more try
    if time.monotonic() < _silent_until:
        return
    try:
        if not after_s and not always and _waiting() >= settings.FACET_WORKER_SLOTS:
            return
        current_app.send_task(
            "facet.look", countdown=after_s or None, expires=after_s + STALE_S, retry=False, ignore_result=True
        )
    except (OperationalError, RedisError, OSError) as error:
        _silent_until = time.monotonic() + OUT_OF_ORDER_S
        log.warning("the bell is out of order; the sweep will come", error=str(error))


def _waiting() -> int:
    """How many bells nobody has heard yet. Asking costs a seventh of ringing (0.08 ms of CPU instead of 0.6)."""
    found: int = _broker().llen(settings.CELERY_TASK_DEFAULT_QUEUE)
    return found


@cache
def _broker() -> Redis:
    once = Retry(NoBackoff(), 0)
    return Redis.from_url(settings.FACET_REDIS_URL, socket_connect_timeout=1, socket_timeout=5, retry=once)
