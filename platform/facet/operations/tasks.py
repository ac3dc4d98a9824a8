"""The Celery tasks: bells and the sweep. No logic, no truth."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from facet.rest import idempotency

from . import bell, engine, governor, wakeups

PASSES_PER_BELL = 20


@shared_task(name="facet.look", ignore_result=True)
def look() -> None:
    """Take what is due, one after another, until nothing is or others should have a turn at this slot."""
    for _ in range(PASSES_PER_BELL):
        if not engine.take_next():
            return
    bell.ring()


@shared_task(name="facet.sweep", ignore_result=True)
def sweep() -> None:
    """Ring for what is due and has nobody looking at it."""
    for _ in range(min(wakeups.sweep(limit=200), settings.FACET_WORKER_SLOTS)):
        bell.ring(always=True)


@shared_task(name="facet.tidy", ignore_result=True)
def tidy() -> None:
    """Forget what has served its time."""
    idempotency.forget_old()
    governor.tidy()
