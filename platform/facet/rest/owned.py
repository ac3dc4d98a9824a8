"""What a row says about who owns it: the tenant and project by which rights are judged and lists are scoped."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID


class Owned:
    """Mixin of tenant-owned models. `project_path` None: the row belongs to the tenant as a whole."""

    tenant_path: ClassVar[str] = "tenant_id"
    project_path: ClassVar[str | None] = "project_id"

    @property
    def owner_tenant_id(self) -> UUID | None:
        found: UUID | None = getattr(self, self.tenant_path)
        return found

    @property
    def owner_project_id(self) -> UUID | None:
        found: UUID | None = getattr(self, self.project_path) if self.project_path else None
        return found
