"""What Prometheus is told: passes where they run, requests where they are answered, the queue wherever it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import prometheus_client
from django.db import connection
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

REQUESTS = prometheus_client.Counter(
    "facet_http_requests", "Answers of this web process, by method, route and status.", ["method", "route", "status"]
)
REQUEST_SECONDS = prometheus_client.Histogram("facet_http_request_seconds", "How long answers took.", ["method"])
PASSES = prometheus_client.Counter("facet_passes", "Passes that ended, by kind and outcome.", ["kind", "outcome"])
PASS_SECONDS = prometheus_client.Histogram("facet_pass_seconds", "How long passes took, by kind.", ["kind"])

_QUEUE = """
select count(*) filter (where due_at <= now() and (lease_until is null or lease_until <= now())),
       count(*) filter (where lease_until > now()),
       count(*) filter (where attempts > 0),
       coalesce(extract(epoch from now() - min(due_at) filter (where lease_until is null or lease_until <= now())), 0),
       (select count(*) from operations_circuit where open_until > now()),
       (select count(*) from operations_inflight where ended_at is null)
from operations_wakeup
"""
_GAUGES = (
    ("facet_wakeups_due", "Objects that are due for a look and that nobody looks at."),
    ("facet_wakeups_leased", "Objects that a worker looks at now."),
    ("facet_wakeups_failing", "Objects whose last pass failed."),
    ("facet_wakeups_oldest_due_seconds", "How long the oldest due object has waited."),
    ("facet_circuits_open", "Sites that are left alone because they do not answer."),
    ("facet_inflight", "Tasks that sites have accepted and not ended."),
)


@dataclass
class Passing:
    """A pass under way; `outcome` is what it is counted as."""

    outcome: str = "failed"


@contextmanager
def passing(kind: str) -> Iterator[Passing]:
    """Count and time one pass."""
    began, told = time.monotonic(), Passing()
    try:
        yield told
    finally:
        PASSES.labels(kind, told.outcome).inc()
        PASS_SECONDS.labels(kind).observe(time.monotonic() - began)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def answered(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count one answer. What callers may make up (paths, methods) never becomes a name here."""
    known = method if method in METHODS else "other"
    REQUESTS.labels(known, route, str(status)).inc()
    REQUEST_SECONDS.labels(known).observe(seconds)


class Queue(Collector):
    """The queue as the database has it at the moment of the scrape."""

    def collect(self) -> Iterator[Metric]:
        with connection.cursor() as cursor:
            cursor.execute(_QUEUE)
            row = cursor.fetchone()
        for (name, text), value in zip(_GAUGES, row, strict=True):
            yield GaugeMetricFamily(name, text, value=max(0.0, float(value)))

    def describe(self) -> list[Metric]:
        """Known without a database: registering must not ask one."""
        return [GaugeMetricFamily(name, text) for name, text in _GAUGES]
