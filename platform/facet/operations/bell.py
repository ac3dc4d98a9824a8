"""The doorbell: a Celery message that says "look". Losing one costs seconds, because the sweep rings again."""

from __future__ import annotations

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


def ring(after_s: float = 0.0) -> None:
    """Ask some worker to look, now or `after_s` from now. Never raises: the truth is in the table."""
    try:
        current_app.send_task("facet.look", countdown=after_s or None, retry=False, ignore_result=True)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("the bell is out of order; the sweep will come", error=str(error))
