"""The workers' Celery application. Tasks are bells: see facet/operations/tasks.py."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "facet.settings")

app = Celery("facet")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["facet.operations"])


@setup_logging.connect
def leave_logging_alone(**_: object) -> None:
    """Django has configured it (facet.logs); Celery must not do it again."""
