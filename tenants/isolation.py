"""The one place that tells PostgreSQL who is looking. A context is a transaction; without one, owned tables raise.

Roles, policies and why they are as they are: ARCHITECTURE.md, "Isolation".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction

from facet.rest.rls import SYSTEM_ROLE


@dataclass(frozen=True, slots=True)
class Scope:
    """What a transaction may see: some tenants, or (`system`) everything."""

    tenants: frozenset[UUID] = frozenset()
    system: bool = False


SYSTEM = Scope(system=True)


def of(tenants: Iterable[UUID]) -> Scope:
    return Scope(frozenset(tenants))


@contextmanager
def context(scope: Scope) -> Iterator[None]:
    """A transaction in which the database shows `scope` and nothing else. Never nests."""
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            if scope.system:
                cursor.execute(f"set local role {SYSTEM_ROLE}")
            else:
                ids = ",".join(str(tenant) for tenant in sorted(scope.tenants))
                cursor.execute("select set_config('app.tenants', %s, true)", [f"{{{ids}}}"])
        yield
