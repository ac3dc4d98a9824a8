"""Tenants, projects and people: one verb, one transaction, one event. Called inside the caller's context."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from facet.operations import engine, events
from facet.rest.access import Actor
from facet.rest.problems import Conflict, InUse, Invalid, NameTaken, NotFound

from . import credentials, quota
from .models import (
    PLATFORM_ROLES,
    PROJECT_ROLES,
    Group,
    Member,
    Project,
    Quota,
    Role,
    ServiceAccount,
    Tenant,
    Token,
    User,
)


def _create(found: Any, sentence: str) -> None:
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


# --- people --------------------------------------------------------------------------------------------------------


def check_password(password: str, user: User | None = None) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid({"password": error.messages}) from None


def create_user(*, name: str, password: str, email: str = "", by: Actor) -> User:
    user = User(name=name, email=email)
    check_password(password, user)
    user.set_password(password)
    _create(user, f"A user named {name} exists.")
    events.record("user.create", by=by, kind="user", id=user.id, name=name)
    return user


def update_user(*, user: User, changes: dict[str, Any], by: Actor) -> User:
    """Change e-mail, password, or disable; the last two end every token and session of theirs.

    The last platform-admin cannot be disabled.
    """
    password = changes.pop("password", None)
    if password is not None:
        check_password(password, user)
        user.set_password(password)
    if changes.get("disabled"):
        _keep_an_admin(without_user=user)
    if password is not None or changes.get("disabled"):
        credentials.end_all(user)
    before = {name: getattr(user, name) for name in changes}
    if password is None and not different(user, changes):
        return user
    change(user, changes | ({"password": user.password} if password is not None else {}))
    after = changes | ({"password": "changed"} if password is not None else {})
    events.record("user.update", by=by, kind="user", id=user.id, name=user.name, before=before, after=after)
    return user


def _keep_an_admin(*, without_user: User | None = None, without_member: Member | None = None) -> None:
    list(Member.objects.filter(role=Role.PLATFORM_ADMIN).order_by("id").select_for_update(no_key=True))
    left = Member.objects.filter(role=Role.PLATFORM_ADMIN)
    if without_member is not None:
        left = left.exclude(pk=without_member.pk)
    people = User.objects.filter(disabled=False).filter(Q(memberships__in=left) | Q(groups__memberships__in=left))
    if without_user is not None:
        people = people.exclude(pk=without_user.pk)
    if not people.exists():
        raise Conflict("Someone must stay platform-admin.", code="last_admin")


def set_group(*, group: Group | None, name: str | None, users: Sequence[str] | None, by: Actor) -> Group:
    """Make a group, or change its name or its people (names or ids)."""
    if group is None:
        group = Group(name=name or "")
        _create(group, f"A group named {name} exists.")
        verb = "group.create"
    else:
        change(group, {"name": name} if name else {}, f"A group named {name} exists.")
        verb = "group.update"
    if users is not None:
        group.users.set([user_named(user, "users") for user in users])
        if Member.objects.filter(group=group, role=Role.PLATFORM_ADMIN).exists():
            _keep_an_admin()
    after = {"users": sorted(group.users.values_list("name", flat=True))}
    events.record(verb, by=by, kind="group", id=group.id, name=group.name, after=after)
    return group


def delete_group(*, group: Group, by: Actor) -> None:
    id, name = group.id, group.name
    for member in Member.objects.filter(group=group, role=Role.PLATFORM_ADMIN):
        _keep_an_admin(without_member=member)
    group.delete()
    events.record("group.delete", by=by, kind="group", id=id, name=name)


def user_named(text: str, field: str) -> User:
    found = User.objects.filter(_name_or_id(text)).first()
    if found is None:
        raise Invalid({field: f"There is no user {text}."})
    return found


def _name_or_id(text: str) -> Q:
    try:
        return Q(pk=UUID(text))
    except ValueError:
        return Q(name=text)


# --- tenants and projects ------------------------------------------------------------------------------------------


def hold(owner: Tenant | Project) -> None:
    """Until the transaction ends this tenant or project is not deleted. Raises NotFound when it is already."""
    with connection.cursor() as cursor:
        table = owner._meta.db_table
        cursor.execute(f"select 1 from {table} where id = %s and deleted_at is null for share", [owner.pk])  # noqa: S608
        if cursor.fetchone() is None:
            raise NotFound("There is no such object, or it is not yours.")


def create_tenant(*, name: str, description: str, limits: quota.Limits, by: Actor) -> Tenant:
    tenant = Tenant(name=name, description=description)
    _create(tenant, f"A tenant named {name} exists.")
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
    _create(project, f"{tenant.name} has a project named {name}.")
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


# --- members, service accounts, tokens -----------------------------------------------------------------------------


def add_member(
    *,
    tenant: Tenant | None,
    project: Project | None,
    role: str,
    user: str | None,
    group: str | None,
    service_account: str | None,
    by: Actor,
) -> Member:
    """Give one principal (named by exact name or id) a role at a project, a tenant, or the platform."""
    allowed = PROJECT_ROLES if project else {Role.TENANT_ADMIN} if tenant else PLATFORM_ROLES
    if role not in allowed:
        raise Invalid({"role": f"Here: {', '.join(sorted(r.value for r in allowed))}."})
    if [bool(user), bool(group), bool(service_account)].count(True) != 1:
        raise Invalid({"user": "Exactly one of user, group, service_account."})
    place = project or tenant
    if place is not None:
        hold(place)
    member = Member(tenant=tenant, project=project, role=role)
    if user:
        member.user = user_named(user, "user")
    elif group:
        member.group = Group.objects.filter(_name_or_id(group)).first()
        if member.group is None:
            raise Invalid({"group": f"There is no group {group}."})
    elif service_account:
        accounts = ServiceAccount.objects.filter(_name_or_id(service_account), tenant=tenant)
        member.service_account = accounts.filter(project=project).first() if project else None
        if member.service_account is None:
            raise Invalid({"service_account": f"The project has no service account {service_account}."})
    try:
        with transaction.atomic():
            member.save(force_insert=True)
    except IntegrityError:
        raise Conflict("This role is held there already.", code="name_taken") from None
    _member_event("member.add", member, by)
    return member


def remove_member(*, member: Member, by: Actor) -> None:
    if member.role == Role.PLATFORM_ADMIN:
        _keep_an_admin(without_member=member)
    _member_event("member.remove", member, by)
    member.delete()


def principal(member: Member) -> tuple[str, Any]:
    """(kind, row) of who holds the role."""
    if member.user:
        return "user", member.user
    if member.group:
        return "group", member.group
    return "service-account", member.service_account


def _member_event(verb: str, member: Member, by: Actor) -> None:
    kind, who = principal(member)
    events.record(
        verb,
        by=by,
        kind=kind,
        id=who.id,
        name=who.name,
        tenant_id=member.tenant_id,
        project_id=member.project_id,
        after={"role": member.role},
    )


def create_service_account(*, project: Project, name: str, role: str, by: Actor) -> ServiceAccount:
    hold(project)
    account = ServiceAccount(tenant_id=project.tenant_id, project=project, name=name)
    _create(account, f"{project.name} has a service account named {name}.")
    _account_event("service-account.create", account, by, after={"role": role})
    add_member(
        tenant=project.tenant, project=project, role=role, user=None, group=None, service_account=str(account.id), by=by
    )
    return account


def delete_service_account(*, account: ServiceAccount, by: Actor) -> None:
    _account_event("service-account.delete", account, by)
    account.delete()


def _account_event(verb: str, account: ServiceAccount, by: Actor, **more: Any) -> None:
    events.record(
        verb,
        by=by,
        kind="service-account",
        id=account.id,
        name=account.name,
        tenant_id=account.tenant_id,
        project_id=account.project_id,
        **more,
    )


def issue_token(
    *, user: User | None = None, account: ServiceAccount | None = None, name: str, life_s: int | None, by: Actor
) -> tuple[Token, str]:
    life = timedelta(seconds=life_s) if life_s is not None else credentials.DEFAULT_LIFE
    if account is not None:
        hold(account.project)
    token, text = credentials.issue(user=user, service_account=account, name=name, life=life)
    _token_event("token.create", token, by, expires_at=token.expires_at.isoformat())
    return token, text


def end_token(*, token: Token, by: Actor) -> None:
    _token_event("token.delete", token, by)
    token.delete()


def _token_event(verb: str, token: Token, by: Actor, **more: str) -> None:
    account = token.service_account
    owner: Any = account or token.user
    events.record(
        verb,
        by=by,
        kind="service-account" if account else "user",
        id=owner.id,
        name=owner.name,
        tenant_id=account.tenant_id if account else None,
        project_id=account.project_id if account else None,
        after={"token": str(token.id), "name": token.name, **more},
    )
