"""`python -m tests.bench.programs.claims HOSTS CLIENTS SECONDS`: claims through the whole ledger, as web processes do.

Each client is a process with a Fleet and a connection of its own: look, decide, and a commit in the tenant's context
that takes host, datastore, pool and eight quota rows. PostgreSQL syncs to disk as it does in production.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
import sys
import time

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.core.management import call_command  # noqa: E402  Django must be set up before its models are there
from django.db import connections  # noqa: E402

from facet.embedded import postgres  # noqa: E402
from facet.rest.endpoint import LookAgain  # noqa: E402
from facet.rest.secrets import Ring  # noqa: E402
from scheduler import ledger  # noqa: E402
from scheduler.models import Allocation  # noqa: E402
from tests import factories, room  # noqa: E402
from tests.factories import as_system  # noqa: E402
from tests.settings import OWN_HOME  # noqa: E402

LOOKS = 20


def client(place, project, pool, gate, seconds, answers):
    """Claim one VM after another; answers (claims, plans that were out of date)."""
    connections.close_all()
    ledger.look(full=True)
    gate.wait()
    claims = stale = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            room.claim(project, pool, [room.ask(place, pool, 1, 64, 1)])
            claims += 1
        except LookAgain:
            stale += 1
    answers.put((claims, stale))
    connections.close_all()


def measure(hosts: int, clients: int, seconds: float) -> dict[str, float]:
    place = room.land(hosts=hosts, vcpu=10_000)
    plenty = dict.fromkeys(factories.PLENTY, 10**9)
    tenant = factories.tenant("acme", plenty)
    project = factories.project(tenant, "web", dict.fromkeys(plenty, 10**8))
    pool = room.pool(place, tenant)
    whole = statistics.median(timed(lambda: ledger.look(full=True)) for _ in range(LOOKS))
    changes = statistics.median(timed(ledger.look) for _ in range(LOOKS))
    connections.close_all()
    forked = multiprocessing.get_context("fork")
    gate, answers = forked.Barrier(clients + 1), forked.Queue()
    workers = [
        forked.Process(target=client, args=(place, project, pool, gate, seconds, answers)) for _ in range(clients)
    ]
    for worker in workers:
        worker.start()
    gate.wait()
    began = time.monotonic()
    found = [answers.get() for _ in workers]
    took = time.monotonic() - began
    for worker in workers:
        worker.join()
    claims = sum(one for one, _ in found)
    with as_system():
        assert Allocation.objects.count() == claims
    room.check_books()
    return {
        "claims_per_s": claims / took,
        "stale_per_claim": sum(stale for _, stale in found) / max(1, claims),
        "look_whole_ms": whole * 1000,
        "look_changes_ms": changes * 1000,
    }


def timed(act) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main(hosts: str, clients: str, seconds: str) -> None:
    try:
        with postgres.running(OWN_HOME / "pg"):
            Ring.make(OWN_HOME / "keys.json")
            call_command("migrate", database="owner", verbosity=0)
            print(json.dumps(measure(int(hosts), int(clients), float(seconds))))
            connections.close_all()
    finally:
        shutil.rmtree(OWN_HOME, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
