"""`facet-manage doctor`: what is wrong with this installation, and the fix."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from kombu import Connection

from facet import serving
from facet.rest.secrets import Ring

SHORTEST_SECRET = 32
CLOCKS_APART_S = 5


class Wrong(Exception):
    """What is wrong, and what mends it."""


def database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("show server_version")
            return f"PostgreSQL {cursor.fetchone()[0]}"
    except DatabaseError as error:
        raise Wrong(f"The database does not answer: {str(error).splitlines()[0]}. Check FACET_DATABASE_URL.") from None


def role() -> str:
    """Row-level security binds neither superusers nor owners nor BYPASSRLS."""
    with connection.cursor() as cursor:
        cursor.execute("select current_user, rolsuper or rolbypassrls from pg_roles where rolname = current_user")
        name, unbound = cursor.fetchone()
        cursor.execute(
            "select exists (select 1 from pg_tables where schemaname = 'public' and tableowner = current_user)"
        )
        owns = cursor.fetchone()[0]
        cursor.execute("select pg_has_role('facet_system', 'USAGE')")
        inherits = cursor.fetchone()[0]
    if unbound or owns:
        raise Wrong(f"Facet logs in as {name}, whom row-level security does not bind. Log in as facet_app.")
    if inherits:
        raise Wrong("facet_app inherits facet_system and sees every tenant: grant it WITH INHERIT FALSE, SET TRUE.")
    return f"logged in as {name}, bound by row-level security"


def migrations() -> str:
    executor = MigrationExecutor(connection)
    left = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if left:
        raise Wrong(f"{len(left)} migrations are not applied. Run: facet-manage migrate --database owner")
    return "all applied"


def clock() -> str:
    """Tokens, links and certificates are judged by this machine's clock, leases by the database's."""
    with connection.cursor() as cursor:
        cursor.execute("select extract(epoch from clock_timestamp())")
        apart_s = abs(float(cursor.fetchone()[0]) - time.time())
    if apart_s > CLOCKS_APART_S:
        raise Wrong(f"This machine's clock and the database's are {apart_s:.0f} s apart. Let both follow NTP.")
    return "as the database's"


def keys() -> str:
    path = Path(settings.FACET_KEYS_FILE)
    try:
        ring = Ring.read(path)
    except (OSError, ValueError, KeyError) as error:
        raise Wrong(f"The key ring {path} cannot be read: {error}. See docs/production.md, Keys.") from None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise Wrong(f"Others may read the key ring {path}. Mend it: chmod 600.")
    return f"{len(ring.keys)} in the ring, current {ring.current}"


def secret_key() -> str:
    if len(settings.SECRET_KEY) < SHORTEST_SECRET:
        raise Wrong(f"FACET_SECRET_KEY has under {SHORTEST_SECRET} characters. Make one: openssl rand -base64 36")
    return "long enough"


def doorbell() -> str:
    try:
        with Connection(settings.CELERY_BROKER_URL, connect_timeout=2) as broker:
            broker.ensure_connection(max_retries=1, timeout=3)
    except Exception as error:  # kombu raises what its transport raises; to this check all of it means one thing
        raise Wrong(f"Redis does not answer: {error}. Work goes on by the sweep alone, more slowly.") from None
    return "answers"


def bind() -> str:
    try:
        serving.check_bind()
    except CommandError as error:
        raise Wrong(str(error)) from None
    return f"{settings.FACET_BIND}:{settings.FACET_PORT}"


def debugging() -> str:
    if settings.DEBUG:
        raise Wrong("FACET_DEBUG is on: faults show their insides to callers. Turn it off.")
    return "off"


CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("database", database),
    ("role", role),
    ("migrations", migrations),
    ("clock", clock),
    ("keys", keys),
    ("secret key", secret_key),
    ("doorbell", doorbell),
    ("bind", bind),
    ("debug", debugging),
)


class Command(BaseCommand):
    help = "Name what is wrong with this installation, and the fix. Exit code 1 when something is."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for name, check in CHECKS:
            try:
                self.stdout.write(f"ok     {name:<11} {check()}")
            except Wrong as found:
                wrong += 1
                self.stdout.write(f"WRONG  {name:<11} {found}")
            except DatabaseError:
                wrong += 1
                self.stdout.write(f"WRONG  {name:<11} The database did not answer this.")
        if wrong:
            raise CommandError(f"{wrong} things are wrong.")
