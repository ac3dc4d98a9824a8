"""`python -m tests.gauntlet [--clients N] [--seed SEED] [--minutes MINUTES]`: the long race, on its own PostgreSQL.

Ends with 1 on the first broken law, or when PostgreSQL saw a deadlock.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
os.environ.setdefault("FACET_LOG_LEVEL", "ERROR")
django.setup()
logging.getLogger("django.request").setLevel(logging.ERROR)  # refusals are what is wanted here

from django.core.management import call_command  # noqa: E402  Django must be set up before its models are there
from django.db import connections  # noqa: E402

from facet.embedded import postgres  # noqa: E402
from facet.rest.secrets import Ring  # noqa: E402
from tests import factories  # noqa: E402
from tests.gauntlet import course, race  # noqa: E402
from tests.settings import OWN_HOME  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gauntlet", description=__doc__)
    parser.add_argument("--clients", type=int, default=8, help="processes that race (8)")
    parser.add_argument("--seed", type=int, default=None, help="of all dice; one is thrown, and printed, by default")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (2)")
    given = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    rules = race.Rules(seed=seed, clients=given.clients, seconds=given.minutes * 60)
    print(f"{rules.clients} processes race for {given.minutes:g} minutes, seed {seed}", flush=True)
    try:
        with postgres.running(OWN_HOME / "pg"):
            Ring.make(OWN_HOME / "keys.json")
            call_command("migrate", database="owner", verbosity=0)
            ground = course.made(course.Size())
            report = race.run(ground, factories.person("root", "platform-admin"), rules)
            connections.close_all()
        if report.deadlocks:
            print(_deadlocks((OWN_HOME / "pg" / "postgres.log").read_text()))
    finally:
        shutil.rmtree(OWN_HOME, ignore_errors=True)
    print("\n".join(report.lines()))
    if report.broken or report.deadlocks:
        print(f"repeat it: make gauntlet N={rules.clients} SEED={seed} MINUTES={given.minutes:g}")
        return 1
    return 0


def _deadlocks(log: str) -> str:
    """What PostgreSQL says of those that it broke up."""
    lines = log.splitlines()
    told = {near for at, line in enumerate(lines) if "deadlock" in line for near in range(at, min(at + 12, len(lines)))}
    return "\n".join(lines[at] for at in sorted(told))


if __name__ == "__main__":
    sys.exit(main())
