"""Objects for tests, made as the product makes them: by services, in the system context."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from facet.rest.access import SYSTEM
from tenants import credentials, isolation, services
from tenants.models import Group, Member, Project, Role, Tenant, User
from tests.client import Api

PASSWORD = "a decent pass phrase"
PLENTY = {
    "vcpu": 1000,
    "memory_mib": 4_000_000,
    "storage_gib": 100_000,
    "vms": 1000,
    "clusters": 100,
    "volumes": 100,
    "networks": 100,
}


@contextmanager
def as_system() -> Iterator[None]:
    with isolation.context(isolation.SYSTEM):
        yield


def user(name: str) -> User:
    with as_system():
        return User.objects.create_user(name, PASSWORD)


def token_of(person: User) -> str:
    with as_system():
        return credentials.issue(user=person)[1]


def person(name: str, role: str, tenant: Tenant | None = None, project: Project | None = None) -> Api:
    """A logged-in client of a new user with one role."""
    made = user(name)
    with as_system():
        Member.objects.create(user=made, role=role, tenant=tenant, project=project)
    return Api(token_of(made))


def tenant(name: str, limits: dict[str, Any] | None = None) -> Tenant:
    with as_system():
        return services.create_tenant(name=name, description="", limits=limits or PLENTY, by=SYSTEM)


def project(of: Tenant, name: str, limits: dict[str, Any] | None = None) -> Project:
    with as_system():
        half = {key: None if value is None else value // 2 for key, value in PLENTY.items()}
        return services.create_project(tenant=of, name=name, description="", limits=limits or half, by=SYSTEM)


@dataclass(frozen=True)
class Office:
    """A tenant with one project, and a client for each role in it."""

    tenant: Tenant
    project: Project
    tenant_admin: Api
    editor: Api
    viewer: Api


def office(name: str = "acme") -> Office:
    made = tenant(name)
    web = project(made, "web")
    return Office(
        made,
        web,
        tenant_admin=person(f"{name}-admin", Role.TENANT_ADMIN, made),
        editor=person(f"{name}-editor", Role.PROJECT_EDITOR, made, web),
        viewer=person(f"{name}-viewer", Role.PROJECT_VIEWER, made, web),
    )


def group(name: str, *users: User) -> Group:
    with as_system():
        made = Group.objects.create(name=name)
        made.users.set(users)
        return made
