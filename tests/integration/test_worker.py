"""The worker that ships: it waits for its broker, keeps its database connections, shows its counters, and ends well."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import psycopg2
import pytest
from celery import current_app
from django.conf import settings
from kombu import Connection

from facet.embedded import valkey
from facet.operations.models import Wakeup
from facet.operations.wakeups import wake
from facet.rest.ids import uuid7
from facet.settings import broker

PATIENCE_S = 30.0
NAME = "facet-worker-trial"


def until(true):
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        pause.wait(0.05)


@contextmanager
def working(folder, url, **more):
    """`facet-manage worker` on the tests' database, its sessions under a name of their own."""
    environ = os.environ | {
        "DJANGO_SETTINGS_MODULE": "facet.settings",
        "FACET_REDIS_URL": url,
        "FACET_DATABASE_URL": os.environ["FACET_DATABASE_URL"] + f"&application_name={NAME}",
        "FACET_WORKER_SLOTS": "2",
        "FACET_LOG_LEVEL": "INFO",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **more,
    }
    log = folder / "worker.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "facet.manage", "worker"], env=environ, stdout=out, stderr=out
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def sessions(migrated):
    """`sessions()`: pid -> begin of each database session that the worker has now."""

    def found():
        with psycopg2.connect(host=str(migrated.socket), user="postgres") as line, line.cursor() as cursor:
            cursor.execute("select pid, backend_start from pg_stat_activity where application_name = %s", [NAME])
            return dict(cursor.fetchall())

    return found


def ring(url):
    with Connection(broker(url), transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS) as line:
        current_app.send_task("facet.look", connection=line, ignore_result=True)


def looked_at(*keys):
    """Nobody reconciles a stranger: its passes are counted, and nothing else happens."""
    return Wakeup.objects.filter(key__in=keys, attempts__gte=1, lease_until=None).count() == len(keys)


def strangers(count):
    keys = [uuid7() for _ in range(count)]
    for key in keys:
        wake("stranger", key)
    return keys


def test_a_worker_waits_for_its_broker_keeps_its_sessions_and_ends_well(tmp_path, sessions):
    home = tmp_path / "home"
    url = valkey.Server.at(home).url
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with working(tmp_path, url, FACET_METRICS_PORT=str(port)) as (process, log):
        until(lambda: "Cannot connect" in log.read_text())
        assert process.poll() is None
        with valkey.running(home):
            first = strangers(3)
            ring(url)
            until(lambda: looked_at(*first))
            for _ in range(20):
                keys = strangers(1)
                ring(url)
                until(lambda keys=keys: looked_at(*keys))
            kept = sessions()
            assert 1 <= len(kept) <= 2, kept  # a thread keeps its own, also from bell to bell
            for _ in range(10):
                keys = strangers(1)
                ring(url)
                until(lambda keys=keys: looked_at(*keys))
            assert kept.items() <= sessions().items()
            told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            assert float(re.search(r'facet_passes_total\{kind="stranger",outcome="failed"\} (\S+)', told)[1]) >= 33
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def test_a_worker_whose_sessions_are_ended_by_the_server_works_on(tmp_path, migrated, sessions):
    home = tmp_path / "home"
    with valkey.running(home) as doorbell, working(tmp_path, doorbell.url) as (process, log):
        before = strangers(2)
        ring(doorbell.url)
        until(lambda: looked_at(*before))
        ended = sessions()
        with psycopg2.connect(host=str(migrated.socket), user="postgres") as line, line.cursor() as cursor:
            for pid in ended:
                cursor.execute("select pg_terminate_backend(%s)", [pid])
        after = strangers(2)
        until(lambda: not set(ended) & set(sessions()))
        ring(doorbell.url)
        until(lambda: looked_at(*after))
        assert process.poll() is None
        assert "OperationalError" not in log.read_text()
