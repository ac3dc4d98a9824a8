"""The Celery application, of workers and of whoever rings. Tasks are bells: see facet/operations/tasks.py."""

from __future__ import annotations

import os

from celery import Celery
from celery.fixups.django import DjangoFixup, DjangoWorkerFixup
from celery.signals import setup_logging, worker_ready
from django.conf import settings
from django.db import connections
from prometheus_client import start_http_server

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")


class LastingConnections(DjangoWorkerFixup):
    """Celery's own closes the thread's database connection around every task: ten milliseconds for a bell of one."""

    def _close_database(self) -> None:
        for one in connections.all(initialized_only=True):
            one.close_if_unusable_or_obsolete()

    def validate_models(self) -> None:
        self.django_setup()  # and no checks: they would import every view


class Fixup(DjangoFixup):
    @property
    def worker_fixup(self) -> DjangoWorkerFixup:
        if self._worker_fixup is None:
            self._worker_fixup = LastingConnections(self.app)
        return self._worker_fixup


def fixup(app: Celery) -> DjangoFixup:
    return Fixup(app).install()


app = Celery("facet", fixups=["facet.celery:fixup"])
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["facet.operations"])


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Django has configured it (facet.logs); Celery must not do it again."""


@worker_ready.connect
def show_metrics(**_: object) -> None:
    """A worker's own counters, for whoever asked for them."""
    if settings.FACET_METRICS_PORT:
        start_http_server(settings.FACET_METRICS_PORT, addr=settings.FACET_BIND)
