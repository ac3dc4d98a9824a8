"""Migrations that change a text within a SQL function take it back, and know a function that is not theirs."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connections

from facet.rest.functions import patched
from tests.gauntlet import guards

FUNCTIONS = (
    "ledger_commit(jsonb)", "ledger_release(uuid, uuid, uuid[], jsonb)", "quota_take(uuid, uuid, jsonb)",
    "fleet_since(xid8)", "vm_ground(text[], text, text, uuid, uuid)",
)  # fmt: skip
BEFORE_THEM = {"scheduler": "0012", "tenants": "0006"}


@pytest.fixture
def own(database):
    with guards.own_database(database):
        yield


def texts():
    with connections["owner"].cursor() as cursor:
        cursor.execute("select f, pg_get_functiondef(f::regprocedure) from unnest(%s) f", [list(FUNCTIONS)])
        return dict(cursor.fetchall())


def test_what_was_patched_can_be_taken_back_and_done_again(own):
    now = texts()
    for app, name in BEFORE_THEM.items():
        call_command("migrate", app, name, database="owner", verbosity=0)
    with connections["owner"].cursor() as cursor:
        cursor.execute("select pg_get_functiondef('ledger_release(uuid, uuid, uuid[], jsonb)'::regprocedure)")
        assert cursor.fetchone()[0] != now["ledger_release(uuid, uuid, uuid[], jsonb)"]
    call_command("migrate", database="owner", verbosity=0)
    assert texts() == now


def test_a_function_that_a_migration_does_not_know_is_left_alone(own):
    was = texts()
    operation = patched("quota_take(uuid, uuid, jsonb)", ("a text that no function has", "another"))
    with connections["owner"].schema_editor() as schema, pytest.raises(RuntimeError, match="is not the function"):
        operation.code(None, schema)
    assert texts() == was
