"""Who asks, and what views may ask about them. tenants/access.py implements it; the wiring puts it on the request."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did it, as the audit trail keeps it."""

    kind: str  # "user" | "service-account" | "system"
    id: UUID | None
    name: str
    source_ip: str | None = None
    request_id: str = ""


SYSTEM = Actor(kind="system", id=None, name="facet")


class Access(Protocol):
    """The rights of one caller, known before any database context is open."""

    actor: Actor
    token_id: UUID | None
    by_session: bool

    @property
    def authenticated(self) -> bool: ...

    @property
    def platform(self) -> bool:
        """Sees every tenant (platform-admin, auditor)."""

    def context(self) -> AbstractContextManager[None]:
        """A transaction in which the database shows this caller's tenants, and no others."""

    def may(self, verb: str, *, tenant_id: UUID | None = None, project_id: UUID | None = None) -> bool: ...

    def sees(self, row: Any) -> bool:
        """Whether `scope` would leave this row of a tenant-owned model."""

    def scope(self, queryset: Any) -> Any:
        """Only the rows that this caller may read. Rows are judged by their tenant_id and project_id."""
