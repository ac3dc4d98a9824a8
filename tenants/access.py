"""ONE table: which role may do which verb. docs/roles.md is printed from it by a test."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Q

from facet.rest.access import Actor

from . import isolation
from .models import PLATFORM_ROLES, Role

_IT = {Role.PLATFORM_ADMIN}
_IT_READS = _IT | {Role.AUDITOR}
_TENANT = _IT | {Role.TENANT_ADMIN}
_TENANT_READS = _TENANT | {Role.AUDITOR}
_EDIT = _TENANT | {Role.PROJECT_EDITOR}
_VIEW = _TENANT_READS | {Role.PROJECT_EDITOR, Role.PROJECT_VIEWER}

VERBS: Mapping[str, frozenset[Role]] = {
    verb: frozenset(roles)
    for verb, roles in {
        "site.read": _IT_READS,
        "site.write": _IT,
        "zone.write": _IT,
        "zone.inspect": _IT_READS,
        "catalogue.write": _IT,
        "user.read": _IT_READS,
        "user.write": _IT,
        "platform-member.read": _IT_READS,
        "platform-member.write": _IT,
        "tenant.read": _VIEW,
        "tenant.write": _IT,
        "tenant-quota.read": _TENANT_READS,
        "tenant-quota.write": _IT,
        "tenant-pool.read": _TENANT_READS,
        "tenant-pool.write": _IT,
        "tenant-member.read": _TENANT_READS,
        "tenant-member.write": _TENANT,
        "project.read": _VIEW,
        "project.create": _TENANT,
        "project.write": _TENANT,
        "project-quota.read": _VIEW,
        "project-quota.write": _TENANT,
        "project-pool.read": _VIEW,
        "project-pool.write": _TENANT,
        "project-member.read": _VIEW,
        "project-member.write": _TENANT,
        "service-account.read": _VIEW,
        "service-account.write": _TENANT,
        "service-account-token.read": _TENANT_READS,
        "service-account-token.write": _TENANT,
        "cluster.read": _VIEW,
        "cluster.write": _EDIT,
        "vm.read": _VIEW,
        "vm.write": _EDIT,
        "network.read": _VIEW,
        "network.write": _EDIT,
        "volume.read": _VIEW,
        "volume.write": _EDIT,
        "cluster.kubeconfig": _EDIT | {Role.PROJECT_VIEWER},
        "placement.ask": _VIEW,
        "allocation.read": _VIEW,
        "usage.read": _TENANT_READS,
        "project-usage.read": _VIEW,
        "operation.read": _VIEW,
        "operation.write": _EDIT,
        "event.read": _VIEW,
    }.items()
}
OPEN_TO_ALL = frozenset({"me", "own-token", "zone.read", "catalogue.read"})  # to anyone who is logged in
FROM_PROJECT = frozenset({"tenant.read"})  # verbs on a tenant that a role in one of its projects is enough for


@dataclass(frozen=True, slots=True)
class Grant:
    """A role at a place. Neither tenant nor project: the platform."""

    role: Role
    tenant_id: UUID | None = None
    project_id: UUID | None = None

    def covers(self, verb: str, tenant_id: UUID | None, project_id: UUID | None) -> bool:
        if self.role not in VERBS[verb]:
            return False
        if self.role in PLATFORM_ROLES or (tenant_id is None and project_id is None):
            return True
        if self.project_id is not None:
            return self.project_id == project_id or (verb in FROM_PROJECT and self.tenant_id == tenant_id)
        return self.tenant_id == tenant_id


@dataclass(frozen=True)
class Caller:
    """The rights of one caller: the Access of facet.rest."""

    actor: Actor
    grants: tuple[Grant, ...] = ()
    token_id: UUID | None = None
    by_session: bool = False
    authenticated: bool = True
    tenants: frozenset[UUID] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tenants", frozenset(g.tenant_id for g in self.grants if g.tenant_id))

    @property
    def platform(self) -> bool:
        return any(grant.role in PLATFORM_ROLES for grant in self.grants)

    @property
    def isolation(self) -> isolation.Scope:
        return isolation.SYSTEM if self.platform else isolation.of(self.tenants)

    def context(self) -> AbstractContextManager[None]:
        return isolation.context(self.isolation)

    def may(self, verb: str, *, tenant_id: UUID | None = None, project_id: UUID | None = None) -> bool:
        """Without a place: whether any of its roles includes the verb at all (the rows are scoped then)."""
        if verb in OPEN_TO_ALL:
            return self.authenticated
        return any(grant.covers(verb, tenant_id, project_id) for grant in self.grants)

    def sees(self, row: Any) -> bool:
        if self.platform:
            return True
        if type(row).project_path is None:
            return row.owner_tenant_id in self.tenants
        return any(
            grant.tenant_id == row.owner_tenant_id
            if grant.project_id is None
            else grant.project_id == row.owner_project_id
            for grant in self.grants
        )

    def scope(self, queryset: Any) -> Any:
        tenant_path = getattr(queryset.model, "tenant_path", None)
        if self.platform or tenant_path is None:
            return queryset
        project_path = queryset.model.project_path
        if project_path is None:
            return queryset.filter(**{f"{tenant_path}__in": self.tenants})
        whole = [grant.tenant_id for grant in self.grants if grant.project_id is None]
        projects = [grant.project_id for grant in self.grants if grant.project_id is not None]
        return queryset.filter(Q(**{f"{tenant_path}__in": whole}) | Q(**{f"{project_path}__in": projects}))


ANONYMOUS = Caller(Actor(kind="anonymous", id=None, name=""), authenticated=False)
