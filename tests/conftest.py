"""Fixtures for every kind of test. The database is real, and the tests log in as the plain role that production uses.

One PostgreSQL runs per test process (its own socket and folder), migrated once by the owner; between tests the owner
empties the tables, so that what a test commits is really committed, as in production.
"""

from __future__ import annotations

import os
import shutil

import pytest
from django.core.management import call_command
from django.db import connections

from facet.embedded import postgres
from facet.rest.secrets import Ring
from tests.settings import OWN_HOME

FLAVOR_COLUMNS = "id, name, vcpu, memory_mib, disk_gib, created_at"
SEEDED_FLAVORS: list[tuple[object, ...]] = []  # as the migrations left them: a test may take some away
SEEDED = ("infra_flavor", "infra_installation", "django_migrations", "django_content_type", "auth_permission")


def pytest_unconfigure(config):
    shutil.rmtree(OWN_HOME, ignore_errors=True)


def _no_skip(report):
    """Where nothing may be left out (.ci/run), a skip is a failure that says what is missing."""
    if os.environ.get("FACET_TEST_NO_SKIP") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"nothing may be skipped here: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _no_skip((yield))


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL of this test process, provisioned as in production."""
    with postgres.running(OWN_HOME / "pg", fsync=False) as found:
        yield found


@pytest.fixture(scope="session")
def migrated(server, django_db_blocker):
    Ring.make(OWN_HOME / "keys.json")
    with django_db_blocker.unblock():
        call_command("migrate", database="owner", verbosity=0)
        with connections["owner"].cursor() as cursor:
            cursor.execute(f"select {FLAVOR_COLUMNS} from infra_flavor")
            SEEDED_FLAVORS[:] = cursor.fetchall()
        connections.close_all()
        yield server
        connections.close_all()


@pytest.fixture
def database(migrated, django_db_blocker):
    """An empty, migrated database; the test is logged in as facet_app."""

    with django_db_blocker.unblock():
        yield migrated
        emptied()


def emptied():
    """The owner empties the tables, but for what migrations left in them, and goes: an event loop that a browser test
    starts or ends has connections of its own, and would leave this one to nobody.
    """
    connections["default"].close()
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> all(%s)", [list(SEEDED)]
        )
        tables = ", ".join(row[0] for row in cursor.fetchall())
        cursor.execute(f"truncate {tables}")
        cursor.execute("delete from infra_flavor")
        cursor.executemany(
            f"insert into infra_flavor ({FLAVOR_COLUMNS}) values (%s, %s, %s, %s, %s, %s)", SEEDED_FLAVORS
        )
    connections["owner"].close()
