"""What reconciles what, and in which database context: the engine's table. Imports everyone, imported by no one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from uuid import UUID

from facet.operations.engine import Outcome, Turn
from tenants import isolation

RECONCILERS: Mapping[str, Callable[[Turn], Outcome]] = {}


def context(tenant_id: UUID | None) -> AbstractContextManager[None]:
    """A pass over a tenant's object sees that tenant; a pass over the platform's sees all."""
    return isolation.context(isolation.of([tenant_id]) if tenant_id else isolation.SYSTEM)
