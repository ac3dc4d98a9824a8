"""Tenants and projects: one verb, one transaction, one event. Called inside the caller's context."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from facet.operations import engine, events
from facet.rest.access import Actor
from facet.rest.problems import Conflict, InUse, NameTaken, NotFound

from . import quota
from .models import Project, Quota, Tenant, Token

_PROJECT = ("id", "tenant_id", "name", "description", "generation", "created_at", "deleted_at")
_WITH_TENANT = """
select p.id, p.tenant_id, p.name, p.description, p.generation, p.created_at, p.deleted_at, t.name
from tenants_project p join tenants_tenant t on t.id = p.tenant_id where p.id = %s and p.deleted_at is null
"""


def project_with_tenant(id: UUID) -> Project | None:
    """A living project with its tenant's id and name. The ORM takes 0.9 ms of CPU for it, this 0.1 (measured)."""
    with connection.cursor() as cursor:
        cursor.execute(_WITH_TENANT, [id])
        row = cursor.fetchone()
    if row is None:
        return None
    project = Project.from_db("default", _PROJECT, row[:-1])
    project.tenant = Tenant.from_db("default", ("id", "name"), (project.tenant_id, row[-1]))
    return project


def create(found: Any, sentence: str) -> None:
    """Insert, or say in the user's words that the name is taken."""
    try:
        with transaction.atomic():
            found.save(force_insert=True)
    except IntegrityError:
        raise NameTaken(sentence) from None


def change(found: Any, changes: dict[str, Any], sentence: str = "The name is taken.") -> None:
    """Compare-and-set: write `changes` if nobody else did since `found` was read. Raises Conflict, NameTaken."""
    try:
        with transaction.atomic():
            won = (
                type(found)
                ._default_manager.filter(pk=found.pk, generation=found.generation)
                .update(**changes, generation=found.generation + 1)
            )
    except IntegrityError:
        raise NameTaken(sentence) from None
    if not won:
        raise Conflict("Someone else changed it at this moment. Look again.")
    found.refresh_from_db()


def different(found: Any, changes: dict[str, Any]) -> bool:
    """Whether `changes` would change anything: what is said twice is done, and told, once."""
    return any(getattr(found, name) != value for name, value in changes.items())


def hold(owner: Tenant | Project) -> None:
    """Until the transaction ends this tenant or project is not deleted. Raises NotFound when it is already."""
    with connection.cursor() as cursor:
        table = owner._meta.db_table
        cursor.execute(f"select 1 from {table} where id = %s and deleted_at is null for share", [owner.pk])  # noqa: S608
        if cursor.fetchone() is None:
            raise NotFound("There is no such object, or it is not yours.")


def create_tenant(*, name: str, description: str, limits: quota.Limits, by: Actor) -> Tenant:
    tenant = Tenant(name=name, description=description)
    create(tenant, f"A tenant named {name} exists.")
    events.record("tenant.create", by=by, kind="tenant", id=tenant.id, name=name, tenant_id=tenant.id)
    if limits:
        quota.set_limits(tenant=tenant, project=None, limits=limits, zone_id=None, replace=True, by=by)
    return tenant


def update_tenant(*, tenant: Tenant, changes: dict[str, Any], by: Actor) -> Tenant:
    before = {name: getattr(tenant, name) for name in changes}
    if not different(tenant, changes):
        return tenant
    change(tenant, changes, "A tenant of this name exists.")
    events.record(
        "tenant.update",
        by=by,
        kind="tenant",
        id=tenant.id,
        name=tenant.name,
        tenant_id=tenant.id,
        before=before,
        after=changes,
    )
    return tenant


def delete_tenant(*, tenant: Tenant, by: Actor) -> None:
    """Delete a tenant that holds nothing. Raises InUse naming what it holds."""
    quota.lock(tenant, None)
    holders = [{"kind": "project", "name": p.name} for p in Project.objects.filter(tenant=tenant, deleted_at=None)]
    holders += quota.in_use(tenant=tenant) + engine.holders("tenant", tenant.id)
    if holders:
        raise InUse(f"{tenant.name} still has {_list(holders)}.", holders=holders)
    Tenant.objects.filter(pk=tenant.pk).update(deleted_at=timezone.now())
    events.record("tenant.delete", by=by, kind="tenant", id=tenant.id, name=tenant.name, tenant_id=tenant.id)


def create_project(*, tenant: Tenant, name: str, description: str, limits: quota.Limits, by: Actor) -> Project:
    hold(tenant)
    project = Project(tenant=tenant, name=name, description=description)
    create(project, f"{tenant.name} has a project named {name}.")
    events.record(
        "project.create",
        by=by,
        kind="project",
        id=project.id,
        name=name,
        tenant_id=tenant.id,
        project_id=project.id,
    )
    if limits:
        quota.set_limits(tenant=tenant, project=project, limits=limits, zone_id=None, replace=True, by=by)
    return project


def update_project(*, project: Project, changes: dict[str, Any], by: Actor) -> Project:
    before = {name: getattr(project, name) for name in changes}
    if not different(project, changes):
        return project
    change(project, changes, "The tenant has a project of this name.")
    _project_event("project.update", project, by, before=before, after=changes)
    return project


def delete_project(*, project: Project, by: Actor) -> None:
    """Delete a project that holds nothing: its quota returns to the tenant, its service accounts lose their tokens."""
    quota.lock(project.tenant, project)
    quota.lock_all(project.tenant, project)
    holders = quota.in_use(tenant=project.tenant, project=project) + engine.holders("project", project.id)
    if holders:
        raise InUse(f"{project.name} still holds {_list(holders)}.", holders=holders)
    zones = set(Quota.objects.filter(project=project).values_list("zone_id", flat=True))
    for zone_id in zones:
        quota.set_limits(tenant=project.tenant, project=project, limits={}, zone_id=zone_id, replace=True, by=by)
    Token.objects.filter(service_account__project=project).delete()
    Project.objects.filter(pk=project.pk).update(deleted_at=timezone.now())
    _project_event("project.delete", project, by)


def _project_event(verb: str, project: Project, by: Actor, **more: Any) -> None:
    events.record(
        verb,
        by=by,
        kind="project",
        id=project.id,
        name=project.name,
        tenant_id=project.tenant_id,
        project_id=project.id,
        **more,
    )


def _list(holders: list[dict[str, Any]]) -> str:
    return ", ".join(f"{h['kind']} {h.get('name', h.get('used'))}" for h in holders[:5])
